//! The tables whose rows are kept for a time, and what keeps a row longer.

use sea_orm::Value;

/// What is removed when its period has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Notifications as WeChat posted them.
    Notifications,
    /// Calls to WeChat that are in no evidence.
    Calls,
    /// Samples of refused bodies.
    Quarantine,
    /// Refused notifications that were kept whole.
    RefusedNotifications,
    /// Events.
    Outbox,
    /// Messages that were replayed or discarded.
    DeadLetters,
    /// What operators did.
    Audit,
    /// Claims of the callers' keys.
    IdempotencyKeys,
    /// Which payment a refund's number means.
    RefundTargets,
    /// Requests for a second person that have ended.
    Approvals,
    /// Payers who logged in.
    Users,
    /// Attempts at webhooks.
    WebhookAttempts,
    /// Deliveries to webhooks that have ended.
    WebhookDeliveries,
}

named!(Kept {
    Notifications = "notifications",
    Calls = "calls",
    Quarantine = "quarantine",
    RefusedNotifications = "refused_notifications",
    Outbox = "outbox",
    DeadLetters = "dead_letters",
    Audit = "audit",
    IdempotencyKeys = "idempotency_keys",
    RefundTargets = "refund_targets",
    Approvals = "approvals",
    Users = "users",
    WebhookAttempts = "webhook_attempts",
    WebhookDeliveries = "webhook_deliveries",
});

/// The column that orders a table; an index serves it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    Number(&'static str),
    Text(&'static str),
}

impl Key {
    /// What every row comes after.
    pub fn least(self) -> Value {
        match self {
            Key::Number(_) => Value::from(i64::MIN),
            Key::Text(_) => Value::from(""),
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Key::Number(column) | Key::Text(column) => column,
        }
    }
}

pub(super) struct Table {
    name: &'static str,
    pub key: Key,
    /// When a row's period began.
    age: &'static str,
    /// Whether rows in the order of the key are in the order of their age, more or less.
    pub is_by_age: bool,
    /// When a row was made, where rows in the order of the key are in the order of that, more or less, and no row's
    /// period began before it.
    pub made: Option<&'static str>,
    /// Whether nothing is removed behind a row that stays.
    pub is_prefix: bool,
    /// Which rows are considered.
    scope: &'static str,
    /// Which of them may go.
    may_go: &'static str,
}

impl Table {
    pub fn page_sql(&self, rows: u64) -> String {
        let Table { name, key, age, scope, .. } = self;
        let (key, made) = (key.column(), self.made.unwrap_or("CAST(NULL AS BIGINT)"));
        format!(
            "SELECT {key} AS place, {age} AS age_ms, {made} AS made_ms FROM {name}
             WHERE {key} > $1 AND {scope} ORDER BY {key} LIMIT {rows}"
        )
    }

    pub fn delete_sql(&self) -> String {
        let Table { name, key, age, scope, may_go, .. } = self;
        let key = key.column();
        let old = if self.is_prefix { String::new() } else { format!(" AND {age} < $3") };
        format!("DELETE FROM {name} WHERE {key} > $1 AND {key} <= $2{old} AND {scope} AND {may_go}")
    }
}

impl Kept {
    pub(super) const fn table(self) -> Table {
        match self {
            Kept::Notifications => NOTIFICATIONS,
            Kept::Calls => CALLS,
            Kept::Quarantine => QUARANTINE,
            Kept::RefusedNotifications => REFUSED_NOTIFICATIONS,
            Kept::Outbox => OUTBOX,
            Kept::DeadLetters => DEAD_LETTERS,
            Kept::Audit => AUDIT,
            Kept::IdempotencyKeys => IDEMPOTENCY_KEYS,
            Kept::RefundTargets => REFUND_TARGETS,
            Kept::Approvals => APPROVALS,
            Kept::Users => USERS,
            Kept::WebhookAttempts => WEBHOOK_ATTEMPTS,
            Kept::WebhookDeliveries => WEBHOOK_DELIVERIES,
        }
    }
}

/// Ids are of version 7: their order is the order of time.
const NOTIFICATIONS: Table = Table {
    name: "notifications",
    key: Key::Text("event_id"),
    age: "received_at_ms",
    is_by_age: true,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "verdict NOT IN ('waiting', 'parked')
      AND NOT EXISTS (SELECT 1 FROM payments AS p
                      WHERE p.merchant = notifications.merchant AND p.transaction_id = notifications.transaction_id
                        AND p.class IN ('held', 'unmatched'))
      AND NOT EXISTS (SELECT 1 FROM orders AS o
                      WHERE o.id = notifications.order_id AND o.state IN ('requested', 'payable'))
      AND NOT EXISTS (SELECT 1 FROM refunds AS r
                      WHERE r.order_id = notifications.order_id AND r.next_at_ms IS NOT NULL)",
};

const CALLS: Table = Table {
    name: "calls",
    key: Key::Number("id"),
    age: "at_ms",
    is_by_age: true,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "NOT EXISTS (SELECT 1 FROM orders AS o
                  WHERE o.id = calls.order_id AND o.state IN ('requested', 'payable'))",
};

const QUARANTINE: Table = Table {
    name: "quarantine",
    key: Key::Number("id"),
    age: "received_at_ms",
    is_by_age: true,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "TRUE",
};

/// Their bodies go with the last row that refers to them.
const REFUSED_NOTIFICATIONS: Table = Table {
    name: "refused_notifications",
    key: Key::Text("id"),
    age: "last_received_at_ms",
    is_by_age: false,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "NOT EXISTS (SELECT 1 FROM orders AS o
                  WHERE o.id = refused_notifications.order_id AND o.state IN ('requested', 'payable'))",
};

/// A row is young by both of its times: one of them alone may come from a clock that was wrong.
const OUTBOX: Table = Table {
    name: "outbox",
    key: Key::Number("position"),
    age: "created_at_ms",
    is_by_age: false,
    made: None,
    is_prefix: true,
    scope: "position IS NOT NULL",
    may_go: "position < (SELECT MAX(position) FROM outbox)
      AND position < COALESCE(
        (SELECT MIN(o.position) FROM outbox AS o
         WHERE o.position <= $2
           AND (o.relayed_at_ms IS NULL OR (o.created_at_ms >= $3 AND o.relayed_at_ms >= $3))), $2 + 1)",
};

const DEAD_LETTERS: Table = Table {
    name: "dead_letters",
    key: Key::Number("id"),
    age: "ended_at_ms",
    is_by_age: false,
    made: None,
    is_prefix: false,
    scope: "state <> 'parked'",
    may_go: "TRUE",
};

const AUDIT: Table = Table {
    name: "audit",
    key: Key::Number("id"),
    age: "at_ms",
    is_by_age: true,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "TRUE",
};

const IDEMPOTENCY_KEYS: Table = Table {
    name: "idempotency_keys",
    key: Key::Number("created_at_ms"),
    age: "created_at_ms",
    is_by_age: true,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "NOT EXISTS (
        SELECT 1 FROM orders AS o
        WHERE o.merchant = idempotency_keys.merchant AND o.order_no = idempotency_keys.order_no
          AND (o.state IN ('requested', 'payable')
               OR EXISTS (SELECT 1 FROM payments AS p WHERE p.order_id = o.id AND p.class = 'held')
               OR EXISTS (SELECT 1 FROM refunds AS r WHERE r.order_id = o.id AND r.next_at_ms IS NOT NULL)))",
};

const REFUND_TARGETS: Table = Table {
    name: "refund_targets",
    key: Key::Number("created_at_ms"),
    age: "created_at_ms",
    is_by_age: true,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "NOT EXISTS (SELECT 1 FROM orders AS o
                  WHERE o.id = refund_targets.order_id AND o.state IN ('requested', 'payable'))
      AND NOT EXISTS (SELECT 1 FROM payments AS p WHERE p.order_id = refund_targets.order_id AND p.class = 'held')
      AND NOT EXISTS (SELECT 1 FROM refunds AS r
                      WHERE r.order_id = refund_targets.order_id AND r.next_at_ms IS NOT NULL)",
};

/// Nothing writes down that the time of a request is over. WeChat refunds a payment for a year: by then no refund asks
/// which of those before it were approved.
const APPROVALS: Table = Table {
    name: "approvals",
    key: Key::Number("id"),
    age: "COALESCE(decided_at_ms, expires_at_ms)",
    is_by_age: false,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "NOT EXISTS (SELECT 1 FROM refunds AS r
                  WHERE r.merchant = approvals.merchant AND r.refund_no = approvals.refund_no
                    AND r.next_at_ms IS NOT NULL)",
};

/// The last login is when a payer was seen. Codes of the last hour refer to their user.
const USERS: Table = Table {
    name: "users",
    key: Key::Number("updated_at_ms"),
    age: "updated_at_ms",
    is_by_age: true,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "NOT EXISTS (SELECT 1 FROM login_codes AS c WHERE c.user_id = users.id)",
};

const WEBHOOK_ATTEMPTS: Table = Table {
    name: "webhook_attempts",
    key: Key::Number("id"),
    age: "started_at_ms",
    is_by_age: true,
    made: None,
    is_prefix: false,
    scope: "TRUE",
    may_go: "TRUE",
};

const WEBHOOK_DELIVERIES: Table = Table {
    name: "webhook_deliveries",
    key: Key::Number("id"),
    age: "ended_at_ms",
    is_by_age: false,
    made: Some("created_at_ms"),
    is_prefix: false,
    scope: "TRUE",
    may_go: "state <> 'pending'",
};
