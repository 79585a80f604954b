//! `GET` and `POST /console/reconciliation/close`: closing a month, with its preview.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::calendar::{PATH, month_of};
use super::ledger::merchant_of;
use super::words::FinanceWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::frame::{Frame, page};
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::reason;
use crate::console::viewer::Viewer;
use crate::ids::MerchantKey;
use crate::ops::reports::{Month, PeriodError, close_month, frozen_or_now};
use crate::store::Right;

#[derive(Template)]
#[template(path = "console/close_month.html")]
struct ClosePage {
    frame: Frame,
    t: &'static FinanceWords,
    facts: Facts,
    merchant: String,
    month: String,
    reason: String,
    problem: Option<String>,
    back: String,
}

fn back(merchant: &MerchantKey, month: &Month) -> String {
    format!("{PATH}?month={}&merchant={merchant}", month.text)
}

async fn shown(
    app: &Console,
    viewer: &Viewer,
    (merchant, month): (&MerchantKey, &Month),
    (reason, problem): (&str, Option<String>),
) -> Result<ClosePage, Fault> {
    let t = FinanceWords::of(app.lang);
    let frame = Frame::new(app, viewer, Place::Reconciliation, format!("{} {}", t.close, month.text));
    let range = (month.begins_at, month.ends_at);
    let days = frozen_or_now(&app.store, merchant, range, app.clock.now()).await?;
    let sum = |of: fn(&crate::ops::reports::DayRow) -> i64| days.iter().map(of).fold(0, i64::saturating_add);
    let facts = Facts {
        rows: vec![
            (frame.w.merchant, Cell::Text(merchant.to_string())),
            (t.month, Cell::Text(month.text.clone())),
            (t.payments, Cell::Money(frame.money(sum(|day| day.payments_fen)))),
            (t.refunds, Cell::Money(frame.money(-sum(|day| day.refunds_fen)))),
        ],
    };
    let (reason, back) = (reason.to_owned(), back(merchant, month));
    Ok(ClosePage { frame, t, facts, merchant: merchant.to_string(), month: month.text.clone(), reason, problem, back })
}

/// The preview and the reason.
pub async fn ask(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let merchant = merchant_of(&app, &viewer, &query)?;
    let month = month_of(&query, app.clock.now())?;
    page(&shown(&app, &viewer, (&merchant, &month), ("", None)).await?)
}

/// Closes it, or says why not.
pub async fn close(app: Console, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Accept)?;
    let t = FinanceWords::of(app.lang);
    let query = Filters::of_fields(fields.pairs());
    let merchant = merchant_of(&app, &viewer, &query)?;
    let month = month_of(&query, app.clock.now())?;
    let about = (&merchant, &month);
    let problem = match reason::check(fields.get("reason"), app.lang) {
        Err(problem) => problem.to_owned(),
        Ok(reason) => match close_month(&app.store, &app.clock, &viewer.operator(), about, &reason).await {
            Ok(is_new) => {
                let says = if is_new { t.says_closed } else { t.says_already };
                return Ok(flash::redirect(app.shared.jar, &back(&merchant, &month), says));
            }
            Err(PeriodError::Store(e)) => return Err(e.into()),
            Err(PeriodError::NotOver) => t.not_over.to_owned(),
            Err(PeriodError::OutOfOrder { last }) => format!("{} {last}", t.out_of_order),
            Err(PeriodError::OpenDays(days)) => {
                let days: Vec<&str> = days.iter().map(|(day, _)| day.as_str()).collect();
                format!("{} {}", t.open_days, days.join(", "))
            }
        },
    };
    let entered = fields.get("reason").unwrap_or_default();
    let form = shown(&app, &viewer, about, (entered, Some(problem))).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page(&form)?).into_response())
}
