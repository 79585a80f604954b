//! Orders and everything that proves what happened to them.
//!
//! The CHECK constraints tie columns to states, so that no code path, and no person with a console, can leave an order
//! paid without a transaction or payable without a prepay id.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, ORDERS).await?;
        dialect::run(manager, PROOF).await?;
        dialect::run(manager, WORK).await?;
        dialect::append_only(manager, "ledger").await?;
        dialect::append_only(manager, "evidence").await
    }
}

const ORDERS: &str = "
CREATE TABLE orders (
  id {id},
  merchant TEXT NOT NULL,
  order_no TEXT NOT NULL,
  app TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('requested', 'payable', 'paid', 'closed', 'failed')),
  version BIGINT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen BETWEEN 1 AND 10000000000),
  currency TEXT NOT NULL CHECK (currency = 'CNY'),
  refunded_fen BIGINT NOT NULL DEFAULT 0 CHECK (refunded_fen >= 0),
  content TEXT NOT NULL,
  content_hash TEXT NOT NULL,
  requested_by TEXT NOT NULL,
  order_token TEXT NOT NULL,
  outcome_unknown BOOLEAN NOT NULL,
  paid_late BOOLEAN NOT NULL,
  paid_twice BOOLEAN NOT NULL,
  amount_mismatch BOOLEAN NOT NULL,
  failure_code TEXT,
  failure_message TEXT,
  transaction_id TEXT,
  paid_at_ms BIGINT,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  queries_done BIGINT NOT NULL,
  next_query_at_ms BIGINT,
  UNIQUE (merchant, order_no),
  CHECK ((state = 'paid') = (transaction_id IS NOT NULL)),
  CHECK ((state = 'paid') = (paid_at_ms IS NOT NULL)),
  CHECK ((state = 'failed') = (failure_code IS NOT NULL)),
  CHECK (state = 'paid' OR NOT (paid_late OR paid_twice)),
  CHECK (state IN ('requested', 'payable') OR next_query_at_ms IS NULL)
)
--;
CREATE INDEX orders_next_query ON orders (next_query_at_ms) WHERE next_query_at_ms IS NOT NULL
--;
CREATE TABLE attempts (
  id {id},
  order_id BIGINT NOT NULL REFERENCES orders (id),
  merchant TEXT NOT NULL,
  out_trade_no TEXT NOT NULL,
  n BIGINT NOT NULL CHECK (n >= 1),
  trade_type TEXT NOT NULL CHECK (trade_type IN ('JSAPI', 'NATIVE', 'APP', 'MWEB')),
  mch_id TEXT NOT NULL,
  appid TEXT NOT NULL,
  sign_type TEXT NOT NULL CHECK (sign_type IN ('MD5', 'HMAC-SHA256')),
  params TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('created', 'unknown', 'payable', 'paid', 'closed', 'failed')),
  prepay_id TEXT,
  code_url TEXT,
  mweb_url TEXT,
  prepay_issued_at_ms BIGINT,
  transaction_id TEXT,
  error_code TEXT,
  error_message TEXT,
  created_at_ms BIGINT NOT NULL,
  UNIQUE (merchant, out_trade_no),
  UNIQUE (order_id, n),
  UNIQUE (merchant, transaction_id),
  CHECK (state <> 'payable' OR (prepay_id IS NOT NULL AND prepay_issued_at_ms IS NOT NULL)),
  CHECK ((state = 'paid') = (transaction_id IS NOT NULL)),
  CHECK ((state = 'failed') = (error_code IS NOT NULL))
)
--;
CREATE TABLE idempotency_keys (
  api_key TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  content_hash TEXT NOT NULL,
  merchant TEXT NOT NULL,
  order_no TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (api_key, idempotency_key)
)
";

const PROOF: &str = "
CREATE TABLE notifications (
  event_id TEXT NOT NULL PRIMARY KEY,
  merchant TEXT NOT NULL,
  kind TEXT NOT NULL,
  body {bytes} NOT NULL,
  headers TEXT NOT NULL,
  remote_addr TEXT NOT NULL,
  received_at_ms BIGINT NOT NULL,
  processed_at_ms BIGINT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ('settled', 'duplicate', 'no_payment', 'waiting', 'rejected', 'parked')),
  reason TEXT,
  out_trade_no TEXT,
  transaction_id TEXT,
  verified_by TEXT,
  order_id BIGINT REFERENCES orders (id)
)
--;
CREATE INDEX notifications_out_trade_no ON notifications (merchant, out_trade_no)
--;
CREATE TABLE evidence (
  id {id},
  order_id BIGINT NOT NULL REFERENCES orders (id),
  version BIGINT NOT NULL,
  out_trade_no TEXT NOT NULL,
  source TEXT NOT NULL CHECK (source IN ('notification', 'query', 'unified_order')),
  source_id TEXT NOT NULL,
  fact TEXT NOT NULL,
  raw TEXT,
  verified_by TEXT,
  received_at_ms BIGINT NOT NULL,
  recorded_at_ms BIGINT NOT NULL,
  UNIQUE (order_id, version)
)
--;
CREATE TABLE ledger (
  id {id},
  merchant TEXT NOT NULL,
  order_id BIGINT NOT NULL REFERENCES orders (id),
  order_version BIGINT NOT NULL,
  order_no TEXT NOT NULL,
  out_trade_no TEXT NOT NULL,
  entry TEXT NOT NULL CHECK (entry IN ('payment')),
  transaction_id TEXT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
  currency TEXT NOT NULL CHECK (currency = 'CNY'),
  occurred_at_ms BIGINT NOT NULL,
  recorded_at_ms BIGINT NOT NULL,
  UNIQUE (merchant, entry, transaction_id)
)
--;
CREATE INDEX ledger_order ON ledger (order_id)
--;
CREATE TABLE outbox (
  id {id},
  event_id TEXT NOT NULL UNIQUE,
  merchant TEXT NOT NULL,
  order_no TEXT,
  subject TEXT NOT NULL,
  event_type TEXT NOT NULL,
  payload TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  position BIGINT UNIQUE,
  relayed_at_ms BIGINT
)
--;
CREATE INDEX outbox_unplaced ON outbox (id) WHERE position IS NULL
--;
CREATE INDEX outbox_type ON outbox (event_type, position)
--;
CREATE INDEX outbox_unrelayed ON outbox (position) WHERE relayed_at_ms IS NULL
";

const WORK: &str = "
CREATE TABLE dead_letters (
  id {id},
  event_id TEXT NOT NULL,
  consumer TEXT NOT NULL,
  subject TEXT NOT NULL,
  headers TEXT NOT NULL,
  payload {bytes} NOT NULL,
  reason TEXT NOT NULL,
  first_error TEXT NOT NULL,
  last_error TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  parked_at_ms BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('parked', 'replayed', 'discarded')),
  UNIQUE (event_id, consumer)
)
--;
CREATE TABLE deferred (
  event_id TEXT NOT NULL,
  consumer TEXT NOT NULL,
  subject TEXT NOT NULL,
  headers TEXT NOT NULL,
  payload {bytes} NOT NULL,
  attempts BIGINT NOT NULL,
  first_error TEXT NOT NULL,
  last_error TEXT NOT NULL,
  next_attempt_at_ms BIGINT NOT NULL,
  PRIMARY KEY (event_id, consumer)
)
--;
CREATE INDEX deferred_due ON deferred (next_attempt_at_ms)
--;
CREATE TABLE quarantine (
  id {id},
  merchant TEXT NOT NULL,
  reason TEXT NOT NULL,
  remote_addr TEXT NOT NULL,
  received_at_ms BIGINT NOT NULL,
  body {bytes} NOT NULL
)
--;
CREATE TABLE leases (
  name TEXT NOT NULL PRIMARY KEY,
  holder TEXT NOT NULL,
  term BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL
)
";
