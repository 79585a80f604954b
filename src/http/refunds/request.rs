//! The body of a request for a refund, from untrusted bytes to what is wanted back.

use serde_json::value::RawValue;

use crate::event::command::Idempotency;
use crate::http::extract::auth::Caller;
use crate::http::extract::json_object::Form;
use crate::http::orders::request::plain;
use crate::http::problem::{Error, FieldProblem};
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::new_refund::REASON_MAX_BYTES;
use crate::ops::money::{About, content_hash};
use crate::order::Order;

const UNSAID: &str = "is required; for all that is left of the payment give \"all\": true in its place";

/// How much is wanted back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Amount(Fen),
    /// All that is left.
    All,
    /// The request does not say, as a client that lost its body. The version before took it for all: a repeat of such
    /// a request is answered, a new one is refused.
    Unsaid,
}

/// What the path names.
#[derive(Debug, Clone, Copy)]
pub enum RefundOf<'a> {
    Order(&'a Order),
    /// A payment, of an order or not.
    Payment(&'a MerchantKey, &'a TransactionId),
}

impl RefundOf<'_> {
    pub fn merchant(&self) -> &MerchantKey {
        match self {
            RefundOf::Order(order) => &order.merchant,
            RefundOf::Payment(merchant, _) => merchant,
        }
    }
}

/// What is wanted back.
#[derive(Debug)]
pub struct RefundRequest {
    /// Its number: the caller's own, or one that follows from its `Idempotency-Key`, or, for all that is left, from the
    /// order or the payment.
    pub refund_no: OutRefundNo,
    pub wanted: Wanted,
    /// What the payer reads.
    pub reason: Option<String>,
    /// Which payment; where it is not said, the one that counted at the first request under the number.
    pub transaction_id: Option<TransactionId>,
}

impl RefundRequest {
    pub fn parse(
        body: &[u8],
        of: RefundOf<'_>,
        caller: &Caller,
        idempotency: Option<&Idempotency>,
    ) -> Result<RefundRequest, Error> {
        let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
        let mut form = Form::parse(body)?;
        let named = form.parsed("refund_no", OutRefundNo::parse_own);
        let wanted = wanted(&mut form);
        let reason = plain(&mut form, "reason", REASON_MAX_BYTES);
        let named_payment = form.parsed("transaction_id", TransactionId::parse);
        let mut problems = form.finish();
        let transaction_id = match of {
            RefundOf::Order(_) => named_payment,
            RefundOf::Payment(_, transaction_id) => {
                if named_payment.is_some_and(|named| named != *transaction_id) {
                    problems
                        .push(FieldProblem::member("transaction_id", "must be the payment of the path, or left out"));
                }
                Some(transaction_id.clone())
            }
        };
        let named_by_key = || idempotency.map(|key| OutRefundNo::of_key(of.merchant(), caller.id(), &key.key));
        let refund_no = match (named.or_else(named_by_key), wanted) {
            (Some(refund_no), _) => Some(refund_no),
            (None, Wanted::All) => Some(match of {
                RefundOf::Order(order) => {
                    OutRefundNo::of_all(&order.merchant, &order.order_no, transaction_id.as_ref())
                }
                // Not of its order: that may appear between a request and its repeat.
                RefundOf::Payment(merchant, transaction_id) => OutRefundNo::of_payment(merchant, transaction_id),
            }),
            (None, Wanted::Amount(_)) => {
                let rule = "must be given with amount_fen, or an Idempotency-Key: else the repeat of a request whose \
                            answer was lost would be another refund";
                problems.push(FieldProblem::member("refund_no", rule));
                None
            }
            (None, Wanted::Unsaid) => {
                problems.push(FieldProblem::member("amount_fen", UNSAID));
                None
            }
        };
        match refund_no {
            Some(refund_no) if problems.is_empty() => Ok(RefundRequest { refund_no, wanted, reason, transaction_id }),
            Some(_) | None => Err(Error::Invalid(problems)),
        }
    }

    /// The amount of a new refund of a payment of which this much is left.
    pub fn amount(&self, left: Fen) -> Fen {
        match self.wanted {
            Wanted::Amount(amount) => amount,
            Wanted::All | Wanted::Unsaid => left,
        }
    }

    /// Why a new refund is not taken without an amount.
    pub fn unsaid(&self) -> Error {
        Error::Invalid(vec![FieldProblem::member("amount_fen", UNSAID)])
    }

    /// What the request is about, before its payment is known.
    pub fn about(&self, of: RefundOf<'_>) -> About {
        let about = About::new(of.merchant(), None, &self.refund_no, self.reason.as_deref());
        let order_no = match of {
            RefundOf::Order(order) => Some(order.order_no.clone()),
            RefundOf::Payment(..) => None,
        };
        About { order_no, transaction_id: self.transaction_id.clone(), ..about }
    }

    /// A hash that two requests share exactly when they ask for the same refund: of this order, or of no order.
    pub fn hash(&self, order_no: Option<&OrderNo>) -> String {
        // "All" has no text of its own: the version before had no word for it.
        let amount = match self.wanted {
            Wanted::Amount(amount) => Some(amount),
            Wanted::All | Wanted::Unsaid => None,
        };
        content_hash(order_no, amount, self.transaction_id.as_ref(), self.reason.as_deref())
    }
}

fn wanted(form: &mut Form<'_>) -> Wanted {
    let before = form.problems.len();
    let amount = form.amount("amount_fen");
    let all = form.raw("all");
    match (amount, all.map(RawValue::get)) {
        (None, Some("true")) if form.problems.len() == before => Wanted::All,
        (None, None) => Wanted::Unsaid,
        (Some(amount), None) => Wanted::Amount(amount),
        (_, Some(_)) => {
            form.problem("all", "must be true, without amount_fen, or left out");
            amount.map_or(Wanted::All, Wanted::Amount)
        }
    }
}
