//! Maps between rows and the domain: what is read is validated again, so that an invalid row is found here and not in a
//! payment.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::event::command::OrderContent;
use crate::event::fact::{Prepay, WechatError};
use crate::event::json;
use crate::ids::{AppId, AppKey, EventId, MchId, MerchantKey, OrderNo, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::order::{Attempt, AttemptState, Flags, Intent, Order, OrderPayment, OrderState, PaidBy, Queries};
use crate::store::db::DbError;
use crate::store::entity::{attempt, order};
use crate::store::packed::rows::{defect, read_order};
use crate::store::writer::Row;
use crate::trade::TradeType;

/// An order with what the decision does not need.
#[derive(Debug, Clone)]
pub struct StoredOrder {
    /// What the decision works on.
    pub order: Order,
    /// What the business asked for.
    pub content: OrderContent,
    /// Tells whether a repeated request is the same.
    pub content_hash: String,
    /// The event that asked for it.
    pub requested_by: EventId,
    /// Lets a browser follow this one order.
    pub order_token: crate::secret::Secret,
    /// What was refunded.
    pub refunded: Fen,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// A process places it at WeChat until then: see [`crate::store::Store::claim_placing`].
    pub placing_until: Option<Timestamp>,
    /// By attempt, in order: the parameters WeChat was or will be sent, as JSON.
    pub params: Vec<AttemptParams>,
    /// What WeChat will be sent for the attempt the business asked for.
    pub wanted: Option<AttemptParams>,
}

impl StoredOrder {
    /// Whether a process places it at WeChat now.
    pub fn is_being_placed(&self, now: Timestamp) -> bool {
        self.placing_until.is_some_and(|until| until > now)
    }
}

/// What is sent for one attempt, byte for byte each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptParams {
    /// Every signed parameter except the nonce.
    pub params: BTreeMap<String, String>,
    /// WeChat's name of the algorithm.
    pub sign_type: String,
}

impl AttemptParams {
    fn of_row(row: &attempt::Model) -> Result<AttemptParams, DbError> {
        AttemptParams::of_json(&row.params, row.sign_type.clone())
    }

    /// From the column's text.
    pub(in crate::store) fn of_json(params: &str, sign_type: String) -> Result<AttemptParams, DbError> {
        let params = serde_json::from_str(params).map_err(|e| unreadable("params", &e))?;
        Ok(AttemptParams { params, sign_type })
    }

    /// What was wanted carries its algorithm among the signed parameters.
    fn wanted(text: &str) -> Result<AttemptParams, DbError> {
        let params: BTreeMap<String, String> =
            serde_json::from_str(text).map_err(|e| unreadable("intent_params", &e))?;
        let sign_type = params.get("sign_type").cloned().unwrap_or_else(|| "MD5".into());
        Ok(AttemptParams { params, sign_type })
    }

    /// The column's text.
    pub(in crate::store) fn to_json(&self) -> Result<String, DbError> {
        serde_json::to_string(&self.params).map_err(|e| unreadable("params", &e))
    }
}

pub(in crate::store) fn broken(what: &str) -> impl Fn(crate::ids::IdError) -> DbError + '_ {
    move |e| DbError::Defect(format!("column {what}: {e}"))
}

/// A JSON column that is not what belongs there; what it holds stays out of the words.
pub(in crate::store) fn unreadable(what: &str, e: &serde_json::Error) -> DbError {
    DbError::Defect(format!("column {what}: {}", json::describe(e)))
}

pub(in crate::store) fn unknown(what: &str, text: &str) -> DbError {
    DbError::Defect(format!("column {what} holds {text:?}"))
}

/// So many rows that cannot be read are passed over among those that are due.
pub(in crate::store) const UNREADABLE: u64 = 100;

/// The first `limit` rows that can be read. One that cannot is logged with its key and keeps none of the others.
pub(in crate::store) fn readable<R, T>(
    what: &'static str,
    rows: &[R],
    limit: u64,
    key: impl Fn(&R) -> Result<String, DbError>,
    read: impl Fn(&R) -> Result<T, DbError>,
) -> Vec<T> {
    let read = |row: &R| {
        let logged = |error: &DbError| {
            let key = key(row).unwrap_or_default();
            tracing::error!(what, key, %error, "a row cannot be read, and is passed over");
        };
        read(row).inspect_err(logged).ok()
    };
    rows.iter().filter_map(read).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
}

/// The key of a row that has a number.
pub(in crate::store) fn id_of(row: &Row) -> Result<String, DbError> {
    row.get::<i64>("id").map(|id| id.to_string())
}

/// Builds the aggregate from its rows; `attempts` in order of `n`.
pub(in crate::store) fn stored_order(
    row: order::Model,
    attempts: Vec<attempt::Model>,
    payments: Vec<OrderPayment>,
) -> Result<StoredOrder, DbError> {
    let content = read_order(&row).map_err(|e| defect("orders", row.id, e))?;
    let content: OrderContent = serde_json::from_str(&content).map_err(|e| unreadable("content", &e))?;
    let paid_by = match (row.transaction_id, row.paid_at_ms) {
        (Some(id), Some(at)) => Some(PaidBy {
            transaction_id: TransactionId::parse(id).map_err(broken("transaction_id"))?,
            paid_at: Timestamp::from_ms(at),
        }),
        _ => None,
    };
    let params = attempts.iter().map(AttemptParams::of_row).collect::<Result<_, _>>()?;
    let wanted = row.intent_params.as_deref().map(AttemptParams::wanted).transpose()?;
    let intent = intent(row.intent.as_deref(), row.intent_trade_type.as_deref(), row.intent_expires_at_ms)?;
    let open = OrderState::parse(&row.state).is_some_and(OrderState::is_open);
    // A process of an older version ends an order without checking its intent.
    let intent = intent.filter(|intent| open || *intent == Intent::Close);
    // A change of the order ended the claim on the version before.
    let placing_until = row.placing_until_ms.filter(|_| row.placing_version == Some(row.version));
    let order = Order {
        id: row.id,
        version: row.version,
        merchant: MerchantKey::parse(row.merchant).map_err(broken("merchant"))?,
        order_no: OrderNo::parse(row.order_no).map_err(broken("order_no"))?,
        app: AppKey::parse(row.app).map_err(broken("app"))?,
        amount: Fen::from_i64(row.amount_fen),
        state: OrderState::parse(&row.state).ok_or_else(|| unknown("state", &row.state))?,
        flags: Flags {
            paid_late: row.paid_late,
            paid_twice: row.paid_twice,
            outcome_unknown: row.outcome_unknown,
            amount_mismatch: row.amount_mismatch,
            paid_before_order: row.paid_before_order,
        },
        failure: error(row.failure_code, row.failure_message),
        paid_by,
        // An older process tells it of every payment in time and writes no such column.
        paid_reported: row.paid_told || row.state == OrderState::Paid.as_str() && !row.paid_late,
        intent,
        created_at: Timestamp::from_ms(row.created_at_ms),
        expires_at: Timestamp::from_ms(row.expires_at_ms),
        queries: Queries {
            done: u32::try_from(row.queries_done).unwrap_or(u32::MAX),
            next_at: row.next_query_at_ms.or(row.next_look_at_ms).map(Timestamp::from_ms),
            answered_at: row.answered_at_ms.map(Timestamp::from_ms),
        },
        attempts: attempts.into_iter().map(attempt).collect::<Result<_, _>>()?,
        payments,
    };
    Ok(StoredOrder {
        order,
        content,
        content_hash: row.content_hash,
        requested_by: EventId::parse(&row.requested_by).map_err(broken("requested_by"))?,
        order_token: crate::secret::Secret::new(row.order_token),
        refunded: Fen::from_i64(row.refunded_fen),
        updated_at: Timestamp::from_ms(row.updated_at_ms),
        placing_until: placing_until.map(Timestamp::from_ms),
        params,
        wanted,
    })
}

fn intent(name: Option<&str>, trade_type: Option<&str>, expires_at_ms: Option<i64>) -> Result<Option<Intent>, DbError> {
    match (name, trade_type, expires_at_ms) {
        (None, _, _) => Ok(None),
        (Some("close"), _, _) => Ok(Some(Intent::Close)),
        (Some("new_attempt"), Some(text), Some(at)) => {
            let trade_type = TradeType::parse(text).ok_or_else(|| unknown("intent_trade_type", text))?;
            Ok(Some(Intent::NewAttempt { trade_type, expires_at: Timestamp::from_ms(at) }))
        }
        (Some(other), _, _) => Err(unknown("intent", other)),
    }
}

fn attempt(row: attempt::Model) -> Result<Attempt, DbError> {
    let prepay = match (row.prepay_id, row.prepay_issued_at_ms) {
        (Some(prepay_id), Some(at)) => Some(Prepay {
            prepay_id,
            code_url: row.code_url,
            mweb_url: row.mweb_url,
            issued_at: Timestamp::from_ms(at),
        }),
        _ => None,
    };
    Ok(Attempt {
        out_trade_no: OutTradeNo::parse(row.out_trade_no).map_err(broken("out_trade_no"))?,
        n: u32::try_from(row.n).map_err(|_| unknown("n", &row.n.to_string()))?,
        trade_type: TradeType::parse(&row.trade_type).ok_or_else(|| unknown("trade_type", &row.trade_type))?,
        mch_id: MchId::parse(row.mch_id).map_err(broken("mch_id"))?,
        appid: AppId::parse(row.appid).map_err(broken("appid"))?,
        created_at: Timestamp::from_ms(row.created_at_ms),
        state: AttemptState::parse(&row.state).ok_or_else(|| unknown("state", &row.state))?,
        prepay,
        transaction_id: row.transaction_id.map(TransactionId::parse).transpose().map_err(broken("transaction_id"))?,
        error: error(row.error_code, row.error_message)
            .or_else(|| row.said.and_then(|said| serde_json::from_str(&said).ok())),
        setup_refusals: row
            .setup_refusals
            .filter(|_| row.state == AttemptState::Unknown.as_str())
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
    })
}

fn error(code: Option<String>, message: Option<String>) -> Option<WechatError> {
    code.map(|code| WechatError { code, message: message.unwrap_or_default() })
}
