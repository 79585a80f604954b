//! `/_sandbox/…`: acting as the payer, the merchant platform and the tester.

pub(super) mod bills;
pub(super) mod page;
pub(super) mod pay;
pub(super) mod people;
pub(super) mod platform;
pub(super) mod refunds;
pub(super) mod view;
pub(super) mod wire;
