//! `/_sandbox/refunds/…`, `/_sandbox/merchant`, `/_sandbox/certificates/…`: the bank, the merchant platform and the
//! people who sit at it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::pay::merchant;
use super::wire::{Answer, Problem, Read};
use crate::money::Fen;
use crate::sandbox::ledger::record::{Record, RefundStatus};
use crate::sandbox::ledger::refund_flow;
use crate::sandbox::ledger::refunds::{Ask, Of, RefundRefused};
use crate::sandbox::pay_v2::UNSETTLED_FUNDS;
use crate::sandbox::state::SandboxState;

pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    Router::new()
        .route("/_sandbox/refunds/outcome", post(outcome))
        .route("/_sandbox/refunds/console", post(console))
        .route("/_sandbox/merchant", post(set_merchant))
        .route("/_sandbox/certificates/{mch_id}", get(certificates))
}

/// Which refund, or the refunds of which order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeRequest {
    /// May be left out where there is only one merchant.
    mch_id: Option<String>,
    out_refund_no: Option<String>,
    out_trade_no: Option<String>,
    outcome: RefundStatus,
}

/// A refund that is on its way ends at once; one that is not there yet, and those to come of an order, will end so.
async fn outcome(State(sandbox): State<Arc<SandboxState>>, Read(request): Read<OutcomeRequest>) -> Answer {
    let mch_id = merchant(&sandbox, request.mch_id.as_deref())?;
    let status = request.outcome;
    if status == RefundStatus::Processing {
        return Err(Problem::bad_request("a refund ends with SUCCESS, CHANGE or REFUNDCLOSE"));
    }
    let number = match (request.out_refund_no, request.out_trade_no) {
        (Some(number), None) => {
            let known = sandbox.book().refund_by_number(mch_id, &number).map(|(_, refund)| refund.clone());
            if let Some(refund) = known {
                let Some(refund) = refund_flow::end(&sandbox, &refund, status).map_err(refused)? else {
                    return Err(Problem::conflict("ended", "the refund has ended, and not so that this could follow"));
                };
                return Ok(Json(json!(refund)));
            }
            number
        }
        (None, Some(number)) => number,
        (Some(_), Some(_)) | (None, None) => {
            return Err(Problem::bad_request("give exactly one of out_refund_no, out_trade_no"));
        }
    };
    let plan = Record::RefundPlanned { mch_id: mch_id.to_owned(), number: number.clone(), status };
    sandbox.book().commit(plan).map_err(|_| refused(RefundRefused::System))?;
    Ok(Json(json!({"planned": {"number": number, "outcome": status}})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsoleRequest {
    mch_id: Option<String>,
    out_trade_no: String,
    refund_fee: Fen,
    /// Whether the merchant is notified: true needs a `refund_notify_url`. Left out: where there is one.
    notify: Option<bool>,
}

/// A refund made in the merchant platform: the merchant's program has not asked for it.
async fn console(State(sandbox): State<Arc<SandboxState>>, Read(request): Read<ConsoleRequest>) -> Answer {
    let mch_id = merchant(&sandbox, request.mch_id.as_deref())?;
    let account = sandbox.accounts.get(mch_id).ok_or_else(|| Problem::bad_request("no such mch_id"))?;
    if request.refund_fee <= Fen::ZERO {
        return Err(Problem::bad_request("refund_fee must be at least 1"));
    }
    if request.notify == Some(true) && !sandbox.book().tells_of_refunds(mch_id) {
        return Err(Problem::conflict("no_address", "the merchant has no refund_notify_url"));
    }
    let ask = Ask {
        mch_id: &account.mch_id,
        appid: None,
        of: Of::OutTradeNo(&request.out_trade_no),
        out_refund_no: None,
        total_fee: None,
        refund_fee: request.refund_fee,
        refund_desc: "",
        refund_account: UNSETTLED_FUNDS,
        notify_url: None,
        is_silent: request.notify == Some(false),
        parameters_sha256: "",
    };
    let taken = sandbox.book().refund(&ask, sandbox.now()).map_err(refused)?;
    refund_flow::begin(&sandbox, &taken.refund);
    Ok(Json(json!(taken.refund)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MerchantRequest {
    mch_id: Option<String>,
    /// What is in the account, in fen; null or absent: without limit.
    balance: Option<Fen>,
    /// Where the merchant hears of refunds that name no address; null or absent: nowhere.
    refund_notify_url: Option<String>,
}

/// Sets both; what is absent is unset.
async fn set_merchant(
    State(sandbox): State<Arc<SandboxState>>,
    Read(MerchantRequest { mch_id, balance, refund_notify_url }): Read<MerchantRequest>,
) -> Answer {
    let mch_id = merchant(&sandbox, mch_id.as_deref())?.to_owned();
    if !sandbox.accounts.contains_key(&mch_id) {
        return Err(Problem::bad_request("no such mch_id"));
    }
    let answer = json!({"mch_id": mch_id, "balance": balance, "refund_notify_url": refund_notify_url});
    let record = Record::MerchantSet { mch_id, balance, refund_notify_url };
    sandbox.book().commit(record).map_err(|_| refused(RefundRefused::System))?;
    Ok(Json(answer))
}

/// What a merchant needs for `/secapi/…`. Keys of a simulator are no secrets.
async fn certificates(State(sandbox): State<Arc<SandboxState>>, Path(mch_id): Path<String>) -> Answer {
    let Some(account) = sandbox.accounts.get(&mch_id) else { return Err(Problem::not_found("no such mch_id")) };
    let mch_id = account.mch_id.clone();
    let shared = Arc::clone(&sandbox);
    // Making an RSA key keeps a processor busy.
    let issued = tokio::task::spawn_blocking(move || shared.authority.merchant(&mch_id)).await;
    let issued = match issued {
        Ok(Ok(issued)) => issued,
        Ok(Err(error)) => return Err(Problem::internal(error.to_string())),
        Err(error) => return Err(Problem::internal(error.to_string())),
    };
    let body = json!({
        "mch_id": account.mch_id,
        "apiclient_cert.pem": issued.cert_pem,
        "apiclient_key.pem": issued.key_pem,
        "apiclient_cert.p12": STANDARD.encode(&issued.p12),
        "ca.pem": sandbox.authority.pem(),
        "refund_base_url": sandbox.refund_base_url(),
    });
    Ok(Json(body))
}

fn refused(refused: RefundRefused) -> Problem {
    let (code, des) = refused.in_wechats_words();
    match refused {
        RefundRefused::System => Problem::internal("the journal cannot be written"),
        RefundRefused::OrderNotFound | RefundRefused::UnknownTransaction => Problem::not_found(des),
        RefundRefused::AmountsDiffer
        | RefundRefused::ParametersDiffer
        | RefundRefused::TotalDiffers
        | RefundRefused::Exceeds
        | RefundRefused::AllRefunded
        | RefundRefused::TooMany
        | RefundRefused::TooSoon
        | RefundRefused::Overdue
        | RefundRefused::NotEnough => Problem::conflict(code, des),
    }
}
