//! The jobs, one file each.

mod books;
mod deferred_messages;
mod erasures;
mod far_times;
mod gauges;
mod merchant_faults;
mod pending_queries;
mod pending_refunds;
mod platform_tokens;
mod reconciliations;
mod repairs;
mod retention;
mod unmatched_notifications;

pub(super) use books::books;
pub(super) use deferred_messages::{deferred_messages, has_deferred};
pub(super) use erasures::{erasures, has_due_erasures};
pub(super) use far_times::{far_times, has_far_times};
pub(super) use gauges::{gauges, measure};
pub(super) use merchant_faults::{has_faults, merchant_faults};
pub(super) use pending_queries::{has_due_queries, pending_queries};
pub(super) use pending_refunds::{has_due_refunds, pending_refunds};
pub(super) use platform_tokens::{has_due_tokens, platform_tokens};
pub(super) use reconciliations::{has_due_days, reconciliations};
pub(super) use repairs::{has_due_repairs, repairs};
pub(super) use retention::retention;
pub(super) use unmatched_notifications::{has_orphans, orphans};
