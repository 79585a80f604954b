//! `/_sandbox/bills/differences`: what is wrong with the bills to come, though the ledger is right;
//! `/_sandbox/bills/form`: in which of WeChat's layouts they are written.
//!
//! `POST {"mch_id"?, "differences": [{"kind": …, …}]}` plants some, in trade bills of every type and day; `GET` shows
//! them, `DELETE` removes all. They are kept in memory, as faults are. A `number` is a payment's `out_trade_no` or a
//! refund's `out_refund_no`; each `kind` with its fields is a variant of `Difference`:
//!
//! | kind | fields | the bill |
//! |---|---|---|
//! | `missing_payment` | `out_trade_no` | lacks the payment |
//! | `missing_refund` | `out_refund_no` | lacks the refund |
//! | `amount` | `number`, `fen`? | has it larger by so many fen, 1 by default |
//! | `fee` | `number`, `fen`? | has its fee larger by so many fen, 1 by default |
//! | `status` | `number`, `status` | has this refund state, or trade state of a payment |
//! | `duplicate` | `number` | has it twice |
//! | `postponed` | `number` | has it on the next day; far from midnight, that bill is not usable |
//! | `currency` | `number`, `currency`? | has it in this currency, `USD` by default |
//! | `extra` | `out_trade_no`, `day`, `total_fee`, `appid`? | has a payment of another system at noon of that day |
//! | `summary` | `day` | counts one row too many in its summary |
//!
//! `POST /_sandbox/bills/form {"mch_id"?, "form": {"legacy"?, "reversed"?, "short_summary"?, "short_numbers"?,
//! "wide_colons"?, "byte_order_mark"?, "crlf"?, "last_line_ended"?, "unit"?, "spoil"?}}`; what is left out is as in
//! today's real bills. Each is a field of `Form`.
//!
//! Money that arrives before midnight or under a number that the service does not know is made with
//! `POST /_sandbox/pay`, refunds of the merchant platform with `POST /_sandbox/refunds/console`.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::pay::merchant;
use super::wire::{Answer, Problem, Read};
use crate::sandbox::bill::differences::Difference;
use crate::sandbox::bill::form::Form;
use crate::sandbox::state::SandboxState;

pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    Router::new()
        .route("/_sandbox/bills/differences", post(plant).get(list).delete(clear))
        .route("/_sandbox/bills/form", post(choose))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plant {
    /// May be left out where there is only one merchant.
    mch_id: Option<String>,
    differences: Vec<Difference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choose {
    /// May be left out where there is only one merchant.
    mch_id: Option<String>,
    form: Form,
}

async fn choose(State(sandbox): State<Arc<SandboxState>>, Read(request): Read<Choose>) -> Answer {
    let mch_id = merchant(&sandbox, request.mch_id.as_deref())?;
    if !sandbox.accounts.contains_key(mch_id) {
        return Err(Problem::bad_request("no such mch_id"));
    }
    sandbox.choose_bill_form(mch_id, request.form);
    Ok(Json(json!({"mch_id": mch_id, "form": request.form})))
}

async fn plant(State(sandbox): State<Arc<SandboxState>>, Read(request): Read<Plant>) -> Answer {
    let mch_id = merchant(&sandbox, request.mch_id.as_deref())?;
    if !sandbox.accounts.contains_key(mch_id) {
        return Err(Problem::bad_request("no such mch_id"));
    }
    if !request.differences.iter().all(Difference::is_possible) {
        return Err(Problem::bad_request("day must be a day (20261127), total_fee at least 1"));
    }
    sandbox.differences().extend(request.differences.into_iter().map(|difference| (mch_id.to_owned(), difference)));
    Ok(shown(&sandbox))
}

async fn list(State(sandbox): State<Arc<SandboxState>>) -> Json<Value> {
    shown(&sandbox)
}

async fn clear(State(sandbox): State<Arc<SandboxState>>) -> Json<Value> {
    sandbox.differences().clear();
    shown(&sandbox)
}

fn shown(sandbox: &SandboxState) -> Json<Value> {
    let differences = sandbox.differences();
    let each: Vec<Value> = differences
        .iter()
        .map(|(mch_id, difference)| {
            let mut each = json!(difference);
            each["mch_id"] = json!(mch_id);
            each
        })
        .collect();
    Json(json!({"differences": each}))
}
