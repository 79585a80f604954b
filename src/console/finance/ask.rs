//! `POST /console/reconciliation/{merchant}/{day}/ask` and `POST /console/reconciliation/ask`: a day, or the days of a
//! month without a bill, are compared. It changes nothing but what the bill says, so that no reason is needed.

use axum::extract::Path;
use axum::response::Response;

use super::calendar::month_of;
use super::day::{Named, named};
use super::ledger::merchant_of;
use super::words::FinanceWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::links;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::ops::reconciliation::{AskError, Asked, ask};
use crate::ops::reports::{DayState, reconciled};
use crate::store::Right;
use crate::wechat::v2::bill::BillDay;

/// One day, again or for the first time.
pub async fn day(app: Console, Path(name): Path<Named>, Posted { viewer, .. }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = FinanceWords::of(app.lang);
    let (merchant, day) = named(&app, &viewer, &name)?;
    let back = links::reconciliation(&merchant.key, &name.1);
    let says = match ask((&app.store, &app.clock), &viewer.operator(), &merchant.key, day).await {
        Ok(Asked { is_new: true, .. }) => t.says_asked,
        Ok(_) => t.says_under_way,
        Err(AskError::Day(_)) => t.says_not_over,
        Err(AskError::NotKept { .. }) => t.says_not_kept,
        Err(AskError::Store(e)) => return Err(e.into()),
    };
    Ok(flash::redirect(app.shared.jar, &back, says))
}

/// The days of a month that are over and were never compared.
pub async fn month(app: Console, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    viewer.require(Right::Replay)?;
    let t = FinanceWords::of(app.lang);
    let query = Filters::of_fields(fields.pairs());
    let (now, operator) = (app.clock.now(), viewer.operator());
    let merchant = merchant_of(&app, &viewer, &query)?;
    let month = month_of(&query, now)?;
    let known = reconciled(&app.store, &merchant, (month.begins_at, month.ends_at), now).await?;
    let mut day = BillDay::of(month.begins_at);
    let mut asked: u32 = 0;
    while day.ends_at() <= now.min(month.ends_at) {
        let state = known.get(&day.to_string()).map_or(DayState::Missing, |found| found.state);
        // Where it is too early, WeChat says so.
        if matches!(state, DayState::Missing | DayState::NotDue) {
            match ask((&app.store, &app.clock), &operator, &merchant, day).await {
                Ok(done) => asked += u32::from(done.is_new),
                Err(AskError::Day(_)) => break,
                Err(AskError::NotKept { .. }) => {}
                Err(AskError::Store(e)) => return Err(e.into()),
            }
        }
        day = day.next();
    }
    let says = if asked == 0 { t.says_none_missing.to_owned() } else { format!("{asked} {}", t.days_asked) };
    Ok(flash::redirect(app.shared.jar, &links::month(&merchant, &month.text), &says))
}
