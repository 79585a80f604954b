//! `/v1/webhooks`: endpoints of webhooks, for the scope `finance`.

pub(super) mod deliveries;
pub(super) mod endpoints;
mod request;
mod view;
