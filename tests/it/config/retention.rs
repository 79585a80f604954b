//! How long things are kept, and how many statements a connection keeps.

use std::time::Duration;

use wxpay_worker::config::Retention;

use super::support::*;

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn every_period_has_a_default_and_can_be_set() {
    let all = |kept: Retention| {
        let Retention { notifications, outbox, dead_letters, audit, idempotency, approvals, users, webhooks } = kept;
        [notifications, outbox, dead_letters, audit, idempotency, approvals, users, webhooks]
    };
    let kept = load(&good(), &[]).unwrap().retention;
    assert_eq!(all(kept), [180, 180, 365, 3650, 30, 1095, 730, 30].map(|days| days * DAY));
    let section = "[retention]\nnotifications_days = 10\noutbox_days = 11\ndead_letters_days = 12\naudit_days = 400\n\
                   idempotency_days = 13\napprovals_days = 401\nusers_days = 14\nwebhooks_days = 15\n[store]";
    let kept = load(&good().replace("[store]", section), &[]).unwrap().retention;
    assert_eq!(all(kept), [10, 11, 12, 400, 13, 401, 14, 15].map(|days| days * DAY));
}

#[test]
fn a_period_that_would_take_what_is_needed_is_refused() {
    for (line, key) in [
        ("notifications_days = 7", "retention.notifications_days"),
        ("outbox_days = 0", "retention.outbox_days"),
        ("dead_letters_days = -1", "retention.dead_letters_days"),
        ("audit_days = 365", "retention.audit_days"),
        ("idempotency_days = 7", "retention.idempotency_days"),
        ("approvals_days = 365", "retention.approvals_days"),
        ("users_days = 0", "retention.users_days"),
        ("webhooks_days = 1", "retention.webhooks_days"),
        ("ledger_days = 30", "retention.ledger_days"),
    ] {
        let text = good().replace("[store]", &format!("[retention]\n{line}\n[store]"));
        let problems = load(&text, &[]).unwrap_err().to_string();
        assert!(problems.contains(key), "{problems}");
    }
}

#[test]
fn no_statement_may_be_kept_and_the_default_is_a_hundred() {
    assert_eq!(load(&good(), &[]).unwrap().store.statement_cache, 100);
    let none = load(&good(), &[("WXPAY__STORE__STATEMENT_CACHE", "0")]).unwrap();
    assert_eq!(none.store.statement_cache, 0);
    load(&good(), &[("WXPAY__STORE__STATEMENT_CACHE", "-1")]).unwrap_err();
}
