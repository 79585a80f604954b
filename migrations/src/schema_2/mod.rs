//! The steps since payments have rows of their own.

pub mod m20261128_000001_payments;
pub mod m20261128_000009_said;
pub mod m20261128_000010_feed;
pub mod m20261128_000011_refund_targets;
pub mod m20261128_000021_refunded_elsewhere;
pub mod m20261129_000020_call_rates;
pub mod m20261129_000030_refunds_of_no_order;
pub mod m20261129_000040_merchant_faults;
pub mod m20261129_000050_retention;
