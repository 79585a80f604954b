//! One order's change, and the rows of orders and attempts that it writes.

use std::collections::{HashMap, HashSet};

use sea_orm::{Set, Value};

use crate::clock::Timestamp;
use crate::event::domain::EncodedEvent;
use crate::order::{AttemptState, Intent, Order, OrderState, PaymentEntry};
use crate::secret::Secret;
use crate::store::approvals::types::Decided;
use crate::store::db::DbError;
use crate::store::entity::attempt;
use crate::store::evidence::{Evidence, NotificationRecord};
use crate::store::order::calls::CallRecord;
use crate::store::order::rows::AttemptParams;
use crate::store::payment::audit::AuditEntry;
use crate::store::payment::commit::Reclassed;
use crate::store::queue::Finished;
use crate::store::refund::rows::NewRefund;
use crate::store::writer::{Holds, Outcome, Rowwise, WriteTx};

/// One order's change.
#[derive(Debug, Clone)]
pub struct OrderCommit {
    /// The version that was decided on.
    pub before: i64,
    /// How many attempts the order had then; later ones are new.
    pub attempts_before: usize,
    /// The order as it will be.
    pub next: Order,
    /// What the new attempts will be sent.
    pub new_params: Vec<AttemptParams>,
    /// What the attempt that the business asked for will be sent, while it is not opened.
    pub wanted: Option<AttemptParams>,
    /// One per version between `before` and `next`, with the version each made.
    pub evidence: Vec<(i64, Evidence)>,
    /// Payments, with the version that entered each.
    pub payments: Vec<(i64, PaymentEntry)>,
    /// A payment that an operator moved to another class.
    pub reclassed: Option<Reclassed>,
    /// The operator's action.
    pub audit: Option<AuditEntry>,
    /// The second person's approval of it.
    pub approved: Option<Decided>,
    /// Events to tell.
    pub events: Vec<EncodedEvent>,
    /// Notifications that led here, or changed nothing.
    pub notifications: Vec<NotificationRecord>,
    /// Calls to WeChat that are in no evidence.
    pub calls: Vec<CallRecord>,
    /// Deliveries that end with this change, or end because it was made before.
    pub finished: Vec<Finished>,
    /// Money to send back, because the merchant's policy says so. One that is recorded already stays as it is.
    pub refunds: Vec<NewRefund>,
}

/// Changes the orders that are still of the version decided on, and have the token that is known of them; their ids.
pub(super) async fn cas_orders(
    tx: &WriteTx,
    changes: &[OrderCommit],
    known: &HashMap<i64, Secret>,
    at: Timestamp,
) -> Result<HashSet<i64>, DbError> {
    let changed: Vec<&OrderCommit> = changes.iter().filter(|c| c.before != c.next.version).collect();
    if changed.is_empty() {
        return Ok(HashSet::new());
    }
    let row = |c: &&OrderCommit| order_row(c, known.get(&c.next.id).map(Secret::expose), at);
    let rows = changed.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    match update_orders(tx, &rows).await? {
        Outcome::Each(updated) => {
            Ok(changed.iter().zip(updated).filter(|(_, row)| row.is_some()).map(|(c, _)| c.next.id).collect())
        }
        Outcome::Returned(rows) => rows.iter().map(|row| row.get("id")).collect(),
    }
}

async fn update_orders(tx: &WriteTx, rows: &[Vec<Value>]) -> Result<Outcome, DbError> {
    static UPDATE: Rowwise = Rowwise::new(
        &[
            ("id", Holds::Integer),
            ("before", Holds::Integer),
            ("version", Holds::Integer),
            ("state", Holds::Text),
            ("outcome_unknown", Holds::Truth),
            ("paid_late", Holds::Truth),
            ("paid_twice", Holds::Truth),
            ("amount_mismatch", Holds::Truth),
            ("failure_code", Holds::Text),
            ("failure_message", Holds::Text),
            ("transaction_id", Holds::Text),
            ("paid_at_ms", Holds::Integer),
            ("updated_at_ms", Holds::Integer),
            ("queries_done", Holds::Integer),
            ("next_query_at_ms", Holds::Integer),
            ("next_look_at_ms", Holds::Integer),
            ("expires_at_ms", Holds::Integer),
            ("paid_told", Holds::Truth),
            ("intent", Holds::Text),
            ("intent_trade_type", Holds::Text),
            ("intent_expires_at_ms", Holds::Integer),
            ("intent_params", Holds::Text),
            ("paid_before_order", Holds::Truth),
            ("known_token", Holds::Text),
        ],
        "UPDATE orders SET version = v.version, state = v.state, outcome_unknown = v.outcome_unknown,
           paid_late = v.paid_late, paid_twice = v.paid_twice, amount_mismatch = v.amount_mismatch,
           failure_code = v.failure_code, failure_message = v.failure_message, transaction_id = v.transaction_id,
           paid_at_ms = v.paid_at_ms, updated_at_ms = v.updated_at_ms, queries_done = v.queries_done,
           next_query_at_ms = v.next_query_at_ms, next_look_at_ms = v.next_look_at_ms,
           expires_at_ms = v.expires_at_ms, paid_told = v.paid_told, intent = v.intent,
           intent_trade_type = v.intent_trade_type, intent_expires_at_ms = v.intent_expires_at_ms,
           intent_params = v.intent_params, paid_before_order = v.paid_before_order
         {from} WHERE orders.id = v.id AND orders.version = v.before
           AND (v.known_token IS NULL OR orders.order_token = v.known_token)",
    )
    .locking("orders")
    .returning("orders.id AS id");
    tx.over(&UPDATE, rows).await
}

fn order_row(c: &OrderCommit, known_token: Option<&str>, at: Timestamp) -> Result<Vec<Value>, DbError> {
    let o = &c.next;
    let open = o.state.is_open();
    let next_at = o.queries.next_at.map(Timestamp::as_ms);
    let (intent, trade_type, until) = intent_columns(o.intent);
    Ok(vec![
        o.id.into(),
        c.before.into(),
        o.version.into(),
        o.state.as_str().into(),
        o.flags.outcome_unknown.into(),
        o.flags.paid_late.into(),
        o.flags.paid_twice.into(),
        o.flags.amount_mismatch.into(),
        o.failure.as_ref().map(|f| f.code.clone()).into(),
        o.failure.as_ref().map(|f| f.message.clone()).into(),
        o.paid_by.as_ref().map(|p| p.transaction_id.to_string()).into(),
        o.paid_by.as_ref().map(|p| p.paid_at.as_ms()).into(),
        at.as_ms().into(),
        i64::from(o.queries.done).into(),
        next_at.filter(|_| open).into(),
        next_at.filter(|_| !open).into(),
        o.expires_at.as_ms().into(),
        o.paid_reported.into(),
        intent.into(),
        trade_type.into(),
        until.into(),
        c.wanted.as_ref().filter(|_| o.intent.is_some()).map(AttemptParams::to_json).transpose()?.into(),
        o.flags.paid_before_order.into(),
        known_token.map(str::to_owned).into(),
    ])
}

/// The columns of what the business asked for.
fn intent_columns(intent: Option<Intent>) -> (Option<&'static str>, Option<&'static str>, Option<i64>) {
    match intent {
        None => (None, None, None),
        Some(Intent::Close) => (Some("close"), None, None),
        Some(Intent::NewAttempt { trade_type, expires_at }) => {
            (Some("new_attempt"), Some(trade_type.as_str()), Some(expires_at.as_ms()))
        }
    }
}

pub(super) fn write_attempts(tx: &WriteTx, changed: &[&OrderCommit]) -> Result<(), DbError> {
    let mut updated: Vec<Vec<Value>> = Vec::new();
    let mut new = Vec::new();
    for c in changed {
        let merchant = c.next.merchant.to_string();
        for (i, a) in c.next.attempts.iter().enumerate() {
            if let Some(params) = i.checked_sub(c.attempts_before).and_then(|n| c.new_params.get(n)) {
                new.push(new_attempt(c.next.id, &merchant, a, params)?);
                continue;
            }
            updated.push(vec![
                merchant.clone().into(),
                a.out_trade_no.to_string().into(),
                a.state.as_str().into(),
                a.prepay.as_ref().map(|p| p.prepay_id.clone()).into(),
                a.prepay.as_ref().and_then(|p| p.code_url.clone()).into(),
                a.prepay.as_ref().and_then(|p| p.mweb_url.clone()).into(),
                a.prepay.as_ref().map(|p| p.issued_at.as_ms()).into(),
                a.transaction_id.as_ref().map(ToString::to_string).into(),
                a.error.as_ref().filter(|_| a.state == AttemptState::Failed).map(|e| e.code.clone()).into(),
                a.error.as_ref().filter(|_| a.state == AttemptState::Failed).map(|e| e.message.clone()).into(),
                said(a)?.into(),
                a.setup_refusals.filter(|_| a.state == AttemptState::Unknown).map(i64::from).into(),
                // It is never sent again; the order's own content says what was asked.
                (c.next.state == OrderState::Paid && a.state == AttemptState::Paid).into(),
            ]);
        }
    }
    tx.over_later(&UPDATE_ATTEMPTS, &updated)?;
    tx.insert_later(new, None)
}

static UPDATE_ATTEMPTS: Rowwise = Rowwise::new(
    &[
        ("merchant", Holds::Text),
        ("out_trade_no", Holds::Text),
        ("state", Holds::Text),
        ("prepay_id", Holds::Text),
        ("code_url", Holds::Text),
        ("mweb_url", Holds::Text),
        ("prepay_issued_at_ms", Holds::Integer),
        ("transaction_id", Holds::Text),
        ("error_code", Holds::Text),
        ("error_message", Holds::Text),
        ("said", Holds::Text),
        ("setup_refusals", Holds::Integer),
        ("is_over", Holds::Truth),
    ],
    "UPDATE attempts SET state = v.state, prepay_id = v.prepay_id, code_url = v.code_url, mweb_url = v.mweb_url,
       prepay_issued_at_ms = v.prepay_issued_at_ms, transaction_id = v.transaction_id, error_code = v.error_code,
       error_message = v.error_message, said = v.said, setup_refusals = v.setup_refusals,
       params = CASE WHEN v.is_over THEN '{}' ELSE attempts.params END
     {from} WHERE attempts.merchant = v.merchant AND attempts.out_trade_no = v.out_trade_no",
);

fn new_attempt(
    order_id: i64,
    merchant: &str,
    a: &crate::order::Attempt,
    params: &AttemptParams,
) -> Result<attempt::ActiveModel, DbError> {
    Ok(attempt::ActiveModel {
        id: sea_orm::NotSet,
        order_id: Set(order_id),
        merchant: Set(merchant.to_owned()),
        out_trade_no: Set(a.out_trade_no.to_string()),
        n: Set(i64::from(a.n)),
        trade_type: Set(a.trade_type.as_str().into()),
        mch_id: Set(a.mch_id.to_string()),
        appid: Set(a.appid.to_string()),
        sign_type: Set(params.sign_type.clone()),
        params: Set(params.to_json()?),
        state: Set(a.state.as_str().into()),
        prepay_id: Set(None),
        code_url: Set(None),
        mweb_url: Set(None),
        prepay_issued_at_ms: Set(None),
        transaction_id: Set(None),
        error_code: Set(None),
        error_message: Set(None),
        created_at_ms: Set(a.created_at.as_ms()),
        said: Set(None),
        setup_refusals: Set(None),
    })
}

/// What WeChat said against an attempt that it has not refused.
fn said(a: &crate::order::Attempt) -> Result<Option<String>, DbError> {
    let error = a.error.as_ref().filter(|_| a.state != AttemptState::Failed);
    error.map(serde_json::to_string).transpose().map_err(|e| DbError::Defect(e.to_string()))
}
