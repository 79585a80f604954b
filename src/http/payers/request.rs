//! Which payer, and why.

use crate::http::extract::json_object::Form;
use crate::http::orders::request::{is_noted, plain};
use crate::http::problem::Error;
use crate::ids::{AppKey, OpenId};
use crate::ops::sessions::OfPayer;

const REASON_MAX_BYTES: usize = 500;

/// `{"app": "shop", "openid": "o…", "reason": "…"}`: `app` is one of `seen`, and may be left out where there is one.
pub fn parse(body: &[u8], seen: &[&AppKey]) -> Result<OfPayer, Error> {
    let mut form = Form::parse(body)?;
    let named = form.parsed("app", AppKey::parse);
    let openid = form.parsed("openid", OpenId::parse);
    let reason = plain(&mut form, "reason", REASON_MAX_BYTES).filter(|reason| !reason.trim().is_empty());
    for (member, is_there) in [("openid", openid.is_some()), ("reason", reason.is_some())] {
        if !is_there && !is_noted(&form, member) {
            form.problem(member, "is required");
        }
    }
    if named.is_none() && seen.len() != 1 && !is_noted(&form, "app") {
        form.problem("app", "is required where there are several apps");
    }
    let problems = form.finish();
    let (Some(openid), Some(reason), true) = (openid, reason, problems.is_empty()) else {
        return Err(Error::Invalid(problems));
    };
    let wanted = |app: &&&AppKey| named.as_ref().is_none_or(|named| named == **app);
    let app = seen.iter().find(wanted).ok_or(Error::NotFound("app"))?;
    Ok(OfPayer { app: (*app).clone(), openid, reason })
}
