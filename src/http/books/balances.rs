//! `GET /v1/balances`: per merchant and currency what was there, what the rows of a day come to, and what is there.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::query::BalancesQuery;
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::query::StrictQuery;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::ids::MerchantKey;
use crate::store::{BookRange, BookSum};

#[derive(Serialize)]
struct BalanceJson {
    merchant: MerchantKey,
    currency: String,
    from: Timestamp,
    to: Option<Timestamp>,
    opening_fen: i64,
    sums: Vec<SumJson>,
    closing_fen: i64,
}

/// The rows of one kind: `change_fen` is what they do to the balance.
#[derive(Serialize)]
struct SumJson {
    entry: String,
    from_class: Option<String>,
    class: String,
    rows: i64,
    amount_fen: i64,
    change_fen: i64,
}

pub async fn list(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(BalancesQuery { merchant, between }): StrictQuery<BalancesQuery>,
) -> Result<Response, Error> {
    let merchants = match caller.among(&app.config, merchant.as_deref())? {
        Some(merchants) => merchants,
        None => app.store.books().merchants().await?,
    };
    let is_complete = between.is_complete(app.clock.now());
    let mut balances = Vec::new();
    for merchant in merchants {
        let range = BookRange { merchant, from: between.from, to: between.to };
        let opening = app.store.balances_before(&range.merchant, range.from).await?;
        let mut currencies: BTreeMap<String, (i64, Vec<BookSum>)> =
            opening.into_iter().map(|(currency, balance)| (currency, (balance, Vec::new()))).collect();
        for sum in app.store.book_sums(&range).await? {
            currencies.entry(sum.currency.clone()).or_default().1.push(sum);
        }
        for (currency, (opening_fen, sums)) in currencies {
            balances.push(BalanceJson {
                merchant: range.merchant.clone(),
                currency,
                from: between.from,
                to: between.end(),
                opening_fen,
                closing_fen: sums.iter().fold(opening_fen, |balance, sum| balance.saturating_add(sum.change_fen)),
                sums: sums.into_iter().map(sum_json).collect(),
            });
        }
    }
    Ok(axum::Json(json!({"balances": balances, "complete": is_complete})).into_response())
}

fn sum_json(sum: BookSum) -> SumJson {
    SumJson {
        entry: sum.entry,
        from_class: sum.from_class,
        class: sum.class,
        rows: sum.rows,
        amount_fen: sum.amount_fen,
        change_fen: sum.change_fen,
    }
}
