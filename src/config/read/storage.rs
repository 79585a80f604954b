//! Where things are kept, and for how long: the keys of `[store]` and `[retention]`.

use std::time::Duration;

use crate::config::address;
use crate::config::reader::Reader;
use crate::config::secrets::strong;
use crate::config::storage::{Retention, Store};
use crate::secret::Secret;

pub(in crate::config) fn store(r: &mut Reader<'_>) -> Option<Store> {
    let url = r.required_url("url", "url_file", |text| address::store_url(text).map(|()| Secret::new(text)));
    let is_postgres = url.as_ref().is_some_and(|url: &Secret| !url.expose().starts_with("sqlite:"));
    let migrate_url =
        r.secret_url("migrate_url", "migrate_url_file", |text| address::owner_url(text).map(|()| Secret::new(text)));
    let payer_key = r.secret("payer_key", "payer_key_file", |text| strong(text, 32));
    let allow_unverified_tls = r.flag("allow_unverified_tls");
    let max_connections = r.number("max_connections", 1..=1_000);
    if is_postgres && max_connections == Some(1) {
        let text = "must be 2 at least with PostgreSQL: one connection is reserved for what must not wait";
        r.problem("max_connections", text.into());
    }
    let migrate_on_start = r.flag("migrate_on_start");
    roles(r, url.as_ref(), migrate_url.as_ref().and_then(Option::as_ref), migrate_on_start);
    for (key, url) in [("url", url.as_ref()), ("migrate_url", migrate_url.as_ref().and_then(Option::as_ref))] {
        if allow_unverified_tls == Some(false) && url.is_some_and(|url| address::is_unverified_postgres(url.expose())) {
            let mend = "goes over the internet to a server whose certificate is not checked: add \
                        ?sslmode=verify-full (with sslrootcert=FILE where its authority is not a public one), or set \
                        store.allow_unverified_tls = true";
            r.problem(key, mend.into());
        }
    }
    let statement_cache = r.number("statement_cache", 0..=10_000);
    let compact = r.flag("compact");
    let lease = r.millis("lease_ms", 1_000..=60_000);
    let store = Store {
        url: url?,
        migrate_url: migrate_url?,
        payer_key: payer_key?,
        allow_unverified_tls: allow_unverified_tls?,
        max_connections: max_connections?.try_into().ok()?,
        migrate_on_start: migrate_on_start?,
        statement_cache: statement_cache?.try_into().ok()?,
        compact: compact?,
        lease: lease?,
    };
    if let Some(file) = store.sqlite_file() {
        r.warn_if_open("url", &file);
    }
    Some(store)
}

/// Whether the running service owns its tables.
fn roles(r: &mut Reader<'_>, url: Option<&Secret>, owner: Option<&Secret>, migrate_on_start: Option<bool>) {
    let Some(url) = url else { return };
    let is_sqlite = url.expose().starts_with("sqlite:");
    match owner {
        Some(_) if is_sqlite => r.problem("migrate_url", "is for PostgreSQL, and url is SQLite: leave it out".into()),
        Some(owner) if address::same_role(url.expose(), owner.expose()) => {
            let text = "names the role of url, which would own the tables: give each a role of its own \
                        (deploy/postgres/roles.sh)";
            r.problem("migrate_url", text.into());
        }
        None if !is_sqlite && migrate_on_start == Some(true) => {
            let text = "is not set, so that the service runs as the owner of its tables, who can take away what \
                        protects the ledger: make two roles with deploy/postgres/roles.sh";
            r.warning("migrate_url", text);
        }
        Some(_) | None => {}
    }
}

pub(in crate::config) fn retention(r: &mut Reader<'_>) -> Option<Retention> {
    let days = |n: i64| Duration::from_secs(n.unsigned_abs() * 86_400);
    // An order can be paid for a week: what it is repeated and settled by stays longer than that.
    let [notifications, outbox, dead_letters, idempotency] =
        ["notifications_days", "outbox_days", "dead_letters_days", "idempotency_days"]
            .map(|key| r.number(key, 8..=36_500).map(days));
    // The database itself keeps the audit for a year.
    let audit = r.number("audit_days", 366..=36_500).map(days);
    // WeChat refunds a payment for a year, and which of its refunds were approved counts for the next one.
    let approvals = r.number("approvals_days", 366..=36_500).map(days);
    let users = r.number("users_days", 1..=36_500).map(days);
    // A delivery is tried for a day.
    let webhooks = r.number("webhooks_days", 2..=36_500).map(days);
    Some(Retention {
        notifications: notifications?,
        outbox: outbox?,
        dead_letters: dead_letters?,
        audit: audit?,
        idempotency: idempotency?,
        approvals: approvals?,
        users: users?,
        webhooks: webhooks?,
    })
}
