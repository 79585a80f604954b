//! `GET /v1/reconciliations/{merchant}/{date}/bill`: a bill as WeChat gives it.

use axum::response::Response;

use super::path::DayPath;
use crate::http::books::file::answer_file;
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::query::{Params, QueryParams, StrictQuery};
use crate::http::ops::operator;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ops::audit::{Viewed, viewed};
use crate::ops::reconciliation::{AskError, BillError, BillOf, bill};
use crate::ops::reports::FileKind;

pub struct BillQuery {
    of: BillOf,
}

impl QueryParams for BillQuery {
    const NAMES: &'static [&'static str] = &["type"];

    fn read(params: &Params) -> Result<BillQuery, Error> {
        const RULE: &str = "must be all, success, refund, basic, operation or fees";
        let of = params.parsed("type", |text| BillOf::parse(text).ok_or(RULE))?;
        Ok(BillQuery { of: of.unwrap_or(BillOf::All) })
    }
}

/// Uncompressed, and complete before its first byte is sent.
pub async fn get(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(BillQuery { of }): StrictQuery<BillQuery>,
    path: DayPath,
    ClientIp(client): ClientIp,
) -> Result<Response, Error> {
    let merchant = path.merchant(&app, &caller)?;
    let now = app.clock.now();
    let bill = bill(&app.config, &app.wechat, merchant, (path.day, of), now).await?;
    let subject = format!("bill:{}:{}", path.day, of.as_str());
    let exported = Viewed { action: "bill.export", subject, merchant: Some(merchant.key.clone()), order_no: None };
    viewed(&app.store, &operator(&caller, client), exported, now).await?;
    Ok(answer_file(bill.file, FileKind::Csv, &bill.name, bill.place))
}

impl From<BillError> for Error {
    fn from(e: BillError) -> Error {
        match e {
            BillError::Day(AskError::Day(rule)) => Error::Invalid(vec![FieldProblem::parameter("date", rule)]),
            BillError::Day(AskError::NotKept { oldest }) => Error::BillNotKept { oldest },
            BillError::Day(AskError::Store(e)) => e.into(),
            BillError::Refused(why) => Error::NoBill { why },
            BillError::Files(internal) => Error::Unavailable { internal },
            e @ BillError::Busy => Error::Unavailable { internal: e.to_string() },
        }
    }
}
