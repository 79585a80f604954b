//! What the simulated WeChat knows: orders and refunds, the records that change them, the journal.

pub(super) mod account;
pub(super) mod journal;
pub(super) mod order;
pub(super) mod payment_flow;
pub(super) mod record;
pub(super) mod refund_flow;
pub(super) mod refund_index;
pub(super) mod refunds;
