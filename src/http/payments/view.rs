//! The payment as callers see it. The payer's openid never appears in it.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::money::Fen;
use crate::store::{LedgerRow, StoredPayment};

/// The JSON of a payment.
#[derive(Debug, Serialize)]
pub struct PaymentJson<'a> {
    transaction_id: &'a str,
    merchant: &'a str,
    order_no: Option<&'a str>,
    out_trade_no: &'a str,
    class: &'static str,
    reason: Option<&'static str>,
    amount_fen: Fen,
    currency: &'a str,
    refunded_fen: Fen,
    paid_at: Timestamp,
    recorded_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<EntryJson<'a>>>,
}

/// The JSON of a ledger row about a payment: its entry, or a change of its class.
#[derive(Debug, Serialize)]
struct EntryJson<'a> {
    entry: &'a str,
    from: Option<&'a str>,
    to: Option<&'a str>,
    amount_fen: i64,
    reason: Option<&'a str>,
    by: Option<&'a str>,
    evidence: Option<&'a str>,
    recorded_at: Timestamp,
}

impl<'a> PaymentJson<'a> {
    /// Of a stored payment.
    pub fn new(payment: &'a StoredPayment) -> PaymentJson<'a> {
        PaymentJson {
            transaction_id: payment.transaction_id.as_str(),
            merchant: payment.merchant.as_str(),
            order_no: payment.order_no.as_ref().map(|order_no| order_no.as_str()),
            out_trade_no: payment.out_trade_no.as_str(),
            class: payment.class.as_str(),
            reason: payment.reason.map(|reason| reason.as_str()),
            amount_fen: payment.amount,
            currency: &payment.currency,
            refunded_fen: payment.refunded,
            paid_at: payment.paid_at,
            recorded_at: payment.recorded_at,
            updated_at: payment.updated_at,
            history: None,
        }
    }

    /// With its ledger rows, oldest first.
    pub fn with_history(self, rows: &'a [LedgerRow]) -> PaymentJson<'a> {
        let entry = |row: &'a LedgerRow| EntryJson {
            entry: &row.entry,
            from: row.from_class.as_deref(),
            to: row.to_class.as_deref(),
            amount_fen: row.amount_fen,
            reason: row.reason.as_deref(),
            by: row.done_by.as_deref(),
            evidence: row.evidence.as_deref(),
            recorded_at: Timestamp::from_ms(row.recorded_at_ms),
        };
        PaymentJson { history: Some(rows.iter().map(entry).collect()), ..self }
    }
}
