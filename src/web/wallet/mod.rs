//! `/api/wechat/pay/payWallet`: which order a click gets, and its pay parameters.

pub(super) mod order;
pub(super) mod pay;
