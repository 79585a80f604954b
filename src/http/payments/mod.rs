//! Payments: everything that WeChat holds for the merchant, by class.

pub(crate) mod list;
pub(crate) mod view;
