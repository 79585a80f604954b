//! The body of `POST /v1/orders/{order_no}/refunds`, from untrusted bytes to what is wanted back.

use crate::event::command::Idempotency;
use crate::http::extract::auth::Caller;
use crate::http::extract::json_object::Form;
use crate::http::orders::request::plain;
use crate::http::problem::{Error, FieldProblem};
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::new_refund::REASON_MAX_BYTES;
use crate::secret::{random_text, sha256_hex};

/// What is wanted back.
#[derive(Debug)]
pub struct RefundRequest {
    /// Its number: the caller's own, or one that follows from its `Idempotency-Key`, or, for all that is left, a fresh
    /// one: a repeat finds nothing left.
    pub refund_no: OutRefundNo,
    /// How much; all that is left where it is not said.
    pub amount: Option<Fen>,
    /// What the payer reads.
    pub reason: Option<String>,
    /// Which payment; the one that counts where it is not said.
    pub transaction_id: Option<TransactionId>,
}

impl RefundRequest {
    pub fn parse(
        body: &[u8],
        merchant: &MerchantKey,
        caller: &Caller,
        idempotency: Option<&Idempotency>,
    ) -> Result<RefundRequest, Error> {
        // All of it may be left out.
        let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
        let mut form = Form::parse(body)?;
        let named = form.parsed("refund_no", OutRefundNo::parse_own);
        let amount = form.amount("amount_fen");
        let reason = plain(&mut form, "reason", REASON_MAX_BYTES);
        let transaction_id = form.parsed("transaction_id", TransactionId::parse);
        let mut problems = form.finish();
        if named.is_none() && amount.is_some() && idempotency.is_none() {
            let rule = "must be given with amount_fen, or an Idempotency-Key: else the repeat of a request whose \
                        answer was lost would be another refund";
            problems.push(FieldProblem::member("refund_no", rule));
        }
        if !problems.is_empty() {
            return Err(Error::Invalid(problems));
        }
        let refund_no = match (named, idempotency) {
            (Some(refund_no), _) => refund_no,
            (None, Some(key)) => OutRefundNo::of_key(merchant, caller.id(), &key.key),
            (None, None) => OutRefundNo::of_key(merchant, "", &random_text(32)),
        };
        Ok(RefundRequest { refund_no, amount, reason, transaction_id })
    }

    /// A hash that two requests share exactly when they ask for the same refund.
    pub fn hash(&self, order_no: &OrderNo) -> String {
        let amount = self.amount.map(|a| a.to_string()).unwrap_or_default();
        let transaction = self.transaction_id.as_ref().map(TransactionId::as_str).unwrap_or_default();
        // Only the last part is free text, so equal texts have equal parts.
        let reason = self.reason.as_deref().unwrap_or_default();
        sha256_hex(format!("{order_no}\n{amount}\n{transaction}\n{reason}").as_bytes())
    }
}
