//! What a person decides about money: accept what is held, give back what was paid; and what a second one decides of
//! it where it is much.

mod accept;
mod approvals;
mod confirm;
mod refund;
mod second_person;

pub use accept::{AcceptError, Accepted, accept};
pub use approvals::{ApprovalFilter, ApproveError, approvals, approve, refuse};
pub use confirm::{Held, NotConfirmed, confirm};
pub use refund::{
    About, Asked, PAYER_REASON_MAX_BYTES, Recorded, RefundError, RefundRefusal, audit_refused, content_hash, record,
};
pub use second_person::RefundContent;
