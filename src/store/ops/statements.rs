//! What operators read, by name, for a test of the plans.

use sea_orm::Value;

use super::notifications::Part;
use super::{audit, dead_letters, notifications};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;

/// The lists of operators by name, with the filters they are mostly read with, for a test of their plans.
#[doc(hidden)]
pub fn list_statements(merchant: &MerchantKey) -> Vec<(&'static str, String, Vec<Value>)> {
    let (audit, dead, archive) =
        (audit::AuditFilter::default, dead_letters::DeadLetterFilter::default, notifications::ArchiveFilter::default);
    let merchants = Some(vec![merchant.clone()]);
    let before = notifications::ArchiveCursor { received_at: Timestamp::from_ms(1_000), id: "x".into() };
    let text = |text: &str| Some(text.to_owned());
    let of_audit = |filter| audit::audit_statement(&filter, 50);
    let of_dead = |filter| dead_letters::dead_letters_statement(&filter, 50);
    let of_archive = |part, filter| notifications::archive_statement(part, &filter, 50);
    let statements = [
        ("audit", of_audit(audit())),
        ("audit of a merchant", of_audit(audit::AuditFilter { merchants: merchants.clone(), ..audit() })),
        ("audit by action", of_audit(audit::AuditFilter { action: text("payment.accept"), ..audit() })),
        ("audit of an order", of_audit(audit::AuditFilter { order_no: text("D77"), ..audit() })),
        ("dead letters", of_dead(dead())),
        ("dead letters of an order", of_dead(dead_letters::DeadLetterFilter { order_no: text("D77"), ..dead() })),
        ("archive", of_archive(Part::Recorded, archive())),
        (
            "archive, second page of a merchant",
            of_archive(Part::Recorded, notifications::ArchiveFilter { merchants, before: Some(before), ..archive() }),
        ),
        (
            "archive, parked",
            of_archive(Part::Recorded, notifications::ArchiveFilter { verdict: text("parked"), ..archive() }),
        ),
        ("archive, refused", of_archive(Part::Refused, archive())),
        ("archive by number", notifications::hits_statement(std::slice::from_ref(merchant), "D77")),
    ];
    statements.into_iter().map(|(name, (sql, values))| (name, sql, values)).collect()
}
