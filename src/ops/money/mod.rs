//! What a person decides about money: accept what is held, give back what was paid.

mod accept;
mod refund;

pub use accept::{AcceptError, Accepted, accept};
pub use refund::{
    About, Asked, PAYER_REASON_MAX_BYTES, Recorded, RefundError, RefundRefusal, audit_refused, content_hash, record,
};
