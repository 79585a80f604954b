//! WeChat's browser: the script a page loads, what stands behind it, and what it checks.

pub(in crate::sandbox) mod js_config;
pub(in crate::sandbox) mod page;
pub(in crate::sandbox) mod pay_check;
pub(in crate::sandbox) mod state;
