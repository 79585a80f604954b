//! Refunds: what goes back, what is reserved for it, and what proves it.
//!
//! `refund_totals` is the one place where "never more than was paid" is held, by a CHECK besides the statement that
//! reserves: a row per payment, with what its refunds that have not failed come to.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, REFUNDS).await?;
        dialect::run(manager, PROOF).await?;
        dialect::append_only(manager, "refund_evidence").await?;
        dialect::append_only(manager, "refund_ledger").await
    }
}

const REFUNDS: &str = "
CREATE TABLE refund_totals (
  merchant TEXT NOT NULL,
  transaction_id TEXT NOT NULL,
  out_trade_no TEXT NOT NULL,
  order_id BIGINT NOT NULL REFERENCES orders (id),
  paid_fen BIGINT NOT NULL CHECK (paid_fen > 0),
  reserved_fen BIGINT NOT NULL CHECK (reserved_fen >= 0),
  refunded_fen BIGINT NOT NULL CHECK (refunded_fen >= 0),
  count BIGINT NOT NULL CHECK (count BETWEEN 0 AND 50),
  next_call_at_ms BIGINT NOT NULL,
  last_called TEXT,
  PRIMARY KEY (merchant, transaction_id),
  CHECK (reserved_fen <= paid_fen),
  CHECK (refunded_fen <= reserved_fen)
)
--;
CREATE TABLE refunds (
  id {id},
  merchant TEXT NOT NULL,
  refund_no TEXT NOT NULL,
  order_id BIGINT NOT NULL REFERENCES orders (id),
  order_no TEXT NOT NULL,
  out_trade_no TEXT NOT NULL,
  transaction_id TEXT NOT NULL,
  version BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('requested', 'unknown', 'processing', 'succeeded', 'abnormal', 'failed')),
  origin TEXT NOT NULL CHECK (origin IN ('api', 'policy', 'console')),
  amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
  total_fen BIGINT NOT NULL,
  reason TEXT,
  requested_by TEXT NOT NULL,
  content_hash TEXT NOT NULL,
  params TEXT NOT NULL,
  sign_type TEXT NOT NULL CHECK (sign_type IN ('MD5', 'HMAC-SHA256')),
  refund_id TEXT,
  error_code TEXT,
  error_message TEXT,
  delayed BOOLEAN NOT NULL,
  calls BIGINT NOT NULL CHECK (calls >= 0),
  unanswered_at_ms BIGINT,
  queries_done BIGINT NOT NULL,
  next_at_ms BIGINT,
  succeeded_at_ms BIGINT,
  created_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  UNIQUE (merchant, refund_no),
  UNIQUE (merchant, refund_id),
  FOREIGN KEY (merchant, transaction_id) REFERENCES refund_totals (merchant, transaction_id),
  CHECK (amount_fen <= total_fen),
  CHECK ((state = 'succeeded') = (succeeded_at_ms IS NOT NULL)),
  CHECK (state NOT IN ('processing', 'succeeded', 'abnormal') OR refund_id IS NOT NULL),
  CHECK (state NOT IN ('requested', 'unknown') OR refund_id IS NULL),
  CHECK (state <> 'failed' OR error_code IS NOT NULL),
  CHECK ((state IN ('succeeded', 'failed')) = (next_at_ms IS NULL))
)
--;
CREATE INDEX refunds_next ON refunds (next_at_ms) WHERE next_at_ms IS NOT NULL
--;
CREATE INDEX refunds_order ON refunds (order_id)
";

const PROOF: &str = "
CREATE TABLE refund_evidence (
  id {id},
  refund BIGINT NOT NULL REFERENCES refunds (id),
  version BIGINT NOT NULL,
  source TEXT NOT NULL CHECK (source IN ('refund', 'query', 'notification', 'bill')),
  source_id TEXT NOT NULL,
  fact TEXT NOT NULL,
  raw TEXT,
  verified_by TEXT,
  received_at_ms BIGINT NOT NULL,
  recorded_at_ms BIGINT NOT NULL,
  UNIQUE (refund, version)
)
--;
CREATE TABLE refund_ledger (
  id {id},
  merchant TEXT NOT NULL,
  refund BIGINT NOT NULL REFERENCES refunds (id),
  refund_version BIGINT NOT NULL,
  order_id BIGINT NOT NULL REFERENCES orders (id),
  order_no TEXT NOT NULL,
  out_trade_no TEXT NOT NULL,
  transaction_id TEXT NOT NULL,
  refund_no TEXT NOT NULL,
  refund_id TEXT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
  currency TEXT NOT NULL CHECK (currency = 'CNY'),
  occurred_at_ms BIGINT NOT NULL,
  recorded_at_ms BIGINT NOT NULL,
  UNIQUE (merchant, refund_no),
  UNIQUE (merchant, refund_id)
)
--;
CREATE INDEX refund_ledger_order ON refund_ledger (order_id)
";
