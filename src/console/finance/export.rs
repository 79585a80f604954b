//! Files: the ledger of a day, the days of a month, the lines of a day. Each is in the audit.

use axum::response::Response;

use super::calendar::month_of;
use super::ledger::{day_of, merchant_of};
use crate::console::fault::Fault;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::viewer::Viewer;
use crate::console::words::Lang;
use crate::http::books::file::answer;
use crate::ids::MerchantKey;
use crate::ops::audit::{Viewed, viewed};
use crate::ops::reports::{DetailSource, FileKind, Language, daily_sheet, detail_sheet, ledger_sheet};
use crate::store::{BookRange, Right};

fn asked(app: &Console, query: &Filters) -> Result<(FileKind, Language), Fault> {
    let kind = query.get("format").map_or(Some(FileKind::Csv), FileKind::parse).ok_or(Fault::NotFound)?;
    let language = match app.lang {
        Lang::Zh => Language::Chinese,
        Lang::En => Language::English,
    };
    Ok((kind, language))
}

async fn noted(
    app: &Console,
    viewer: &Viewer,
    action: &'static str,
    (merchant, subject): (Option<&MerchantKey>, String),
) -> Result<(), Fault> {
    let exported = Viewed { action, subject, merchant: merchant.cloned(), order_no: None };
    Ok(viewed(&app.store, &viewer.operator(), exported, app.clock.now()).await?)
}

/// `GET /console/ledger/export`
pub async fn ledger(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    viewer.require(Right::Export)?;
    let (kind, language) = asked(&app, &query)?;
    let merchant = merchant_of(&app, &viewer, &query)?;
    let begin = day_of(&query, app.clock.now());
    noted(&app, &viewer, "ledger.export", (Some(&merchant), format!("day:{}", begin.to_beijing_day()))).await?;
    let range = BookRange { merchant, from: begin, to: begin.next_beijing_midnight() };
    Ok(answer(ledger_sheet((app.config.clone(), app.store.clone()), range, None, language), kind).await?)
}

/// `GET /console/reconciliation/export`: a row for a merchant and a day.
pub async fn days(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    viewer.require(Right::Export)?;
    let (kind, language) = asked(&app, &query)?;
    let now = app.clock.now();
    let month = month_of(&query, now)?;
    let merchants: Vec<MerchantKey> = match query.get("merchant") {
        Some(_) => vec![merchant_of(&app, &viewer, &query)?],
        None => app.config.merchants.iter().map(|m| m.key.clone()).filter(|key| viewer.sees(key)).collect(),
    };
    let only = if let [only] = &merchants[..] { Some(only) } else { None };
    noted(&app, &viewer, "reconciliation.export", (only, format!("month:{}", month.text))).await?;
    let range = (month.begins_at, month.ends_at);
    Ok(answer(daily_sheet(&app.store, &merchants, range, (language, now)).await?, kind).await?)
}

/// `GET /console/reconciliation/lines`: the lines of a day.
pub async fn lines(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    viewer.require(Right::Export)?;
    let (kind, language) = asked(&app, &query)?;
    let merchant = merchant_of(&app, &viewer, &query)?;
    let begin = day_of(&query, app.clock.now());
    noted(&app, &viewer, "reconciliation.export", (Some(&merchant), format!("day:{}", begin.to_beijing_day()))).await?;
    let on = DetailSource { config: &app.config, store: &app.store, wechat: &app.wechat };
    Ok(answer(detail_sheet(on, &merchant, begin, (language, Vec::new())).await?, kind).await?)
}
