//! `POST /console/payers/end-sessions` and `POST /console/payers/erase`.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::page::{Entered, shown};
use super::words::PayerWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::{Fields, Posted};
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::reason;
use crate::console::viewer::Viewer;
use crate::ids::{AppKey, OpenId};
use crate::ops;
use crate::ops::sessions::OfPayer;
use crate::store::Right;

/// So many characters of the openid's end are typed in.
const TYPED: usize = 4;

#[derive(Template)]
#[template(path = "console/erase_payer.html")]
struct ErasePage {
    frame: Frame,
    t: &'static PayerWords,
    facts: Facts,
    app: String,
    openid: String,
    reason: String,
    problem: Option<&'static str>,
    back: &'static str,
}

/// Ends all sessions of a payer.
pub async fn end_sessions(app: Console, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let t = PayerWords::of(app.lang);
    let operator = viewer.operator();
    let request = match parse(&app, t, &fields, &ops::sessions::apps(&app.config, &operator)) {
        Ok(request) => request,
        Err(entered) => return again(&app, &viewer, (entered, Entered::default())).await,
    };
    // A session may be of a payer of whom nothing is kept: it ends all the same.
    let now = app.clock.now();
    let is_known = ops::erasures::is_known((&app.store, &app.config), &request, now).await?;
    ops::sessions::end(&app.store, &operator, request, now).await?;
    let says = if is_known { t.ended } else { t.ended_unknown };
    Ok(flash::redirect(app.shared.jar, links::PAYERS, says))
}

/// Shows what would be erased; with the openid's end typed in, asks for the erasure.
pub async fn erase(app: Console, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    let t = PayerWords::of(app.lang);
    let operator = viewer.operator();
    let request = match parse(&app, t, &fields, &ops::erasures::apps(&app.config, &operator)) {
        Ok(request) => request,
        Err(entered) => return again(&app, &viewer, (Entered::default(), entered)).await,
    };
    let Some(typed) = fields.exact("typed") else {
        return page(&preview(&app, &viewer, &request, None));
    };
    if typed.trim() != end_of(&request.openid) {
        let shown = preview(&app, &viewer, &request, Some(t.wrong_end));
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&shown)?).into_response());
    }
    match ops::erasures::ask((&app.store, &app.config), &operator, request, app.clock.now()).await? {
        Some(erasure) => Ok(flash::redirect(app.shared.jar, &links::erasure(erasure.id), t.asked)),
        None => {
            let entered = Entered { problem: Some(t.unknown.to_owned()), ..entered(&fields) };
            again(&app, &viewer, (Entered::default(), entered)).await
        }
    }
}

fn preview(app: &Console, viewer: &Viewer, request: &OfPayer, problem: Option<&'static str>) -> ErasePage {
    let t = PayerWords::of(app.lang);
    let frame = Frame::new(app, viewer, Place::Settings, t.preview);
    let OfPayer { app: of, openid, reason } = request;
    let rows = vec![
        (t.app, Cell::Text(of.to_string())),
        (t.openid, Cell::Code(openid.as_str().to_owned())),
        (frame.w.reason, Cell::Text(reason.clone())),
    ];
    ErasePage {
        facts: Facts { rows },
        frame,
        t,
        app: of.to_string(),
        openid: openid.as_str().to_owned(),
        reason: reason.clone(),
        problem,
        back: links::PAYERS,
    }
}

fn end_of(openid: &OpenId) -> &str {
    let text = openid.as_str();
    &text[text.len().saturating_sub(TYPED)..]
}

/// The page again, with what was entered.
async fn again(app: &Console, viewer: &Viewer, entered: (Entered, Entered)) -> Result<Response, Fault> {
    let shown = shown(app, viewer, Filters::default(), entered).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&shown)?).into_response())
}

fn entered(fields: &Fields) -> Entered {
    let text = |name: &str| fields.get(name).unwrap_or_default().to_owned();
    Entered { app: text("app"), openid: text("openid"), reason: text("reason"), problem: None }
}

/// Which payer of one of these apps, and why; or what was entered, with what is wrong with it.
fn parse(app: &Console, t: &'static PayerWords, fields: &Fields, apps: &[&AppKey]) -> Result<OfPayer, Entered> {
    let wrong = |problem: &str| Entered { problem: Some(problem.to_owned()), ..entered(fields) };
    let named = fields.get("app").unwrap_or_default();
    let of = apps.iter().find(|known| known.as_str() == named).ok_or_else(|| wrong(t.no_app))?;
    let openid = OpenId::parse(fields.get("openid").unwrap_or_default()).map_err(|_| wrong(t.bad_openid))?;
    let reason = reason::check(fields.get("reason"), app.lang).map_err(wrong)?;
    Ok(OfPayer { app: (*of).clone(), openid, reason })
}
