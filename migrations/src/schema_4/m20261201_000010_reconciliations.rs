//! Bills, and what comparing them with our books came to.
//!
//! A day has one result; a new one replaces it by naming another run, so that lines of a run that failed never count.
//! An older process leaves the tables alone, and leaves a refund's `accepted_at_ms` empty.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, REFUNDS).await?;
        dialect::run(manager, DAYS).await?;
        dialect::run(manager, LINES).await
    }
}

/// A bill has a refund on the day on which WeChat accepted it.
const REFUNDS: &str = "
ALTER TABLE refunds ADD COLUMN accepted_at_ms BIGINT
--;
CREATE INDEX refunds_accepted ON refunds (merchant, (COALESCE(accepted_at_ms, created_at_ms)))
";

const DAYS: &str = "
CREATE TABLE bills (
  merchant TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('trades', 'funds')),
  day TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'held', 'empty', 'failed')),
  content_hash TEXT,
  bytes BIGINT,
  error TEXT,
  asked_at_ms BIGINT NOT NULL,
  fetched_at_ms BIGINT,
  PRIMARY KEY (merchant, kind, day)
)
--;
CREATE TABLE reconciliations (
  merchant TEXT NOT NULL,
  day TEXT NOT NULL,
  work TEXT NOT NULL CHECK (work IN ('idle', 'pending', 'running')),
  runs BIGINT NOT NULL,
  run BIGINT NOT NULL,
  error TEXT,
  bill_hash TEXT,
  bill_payments BIGINT NOT NULL DEFAULT 0,
  bill_refunds BIGINT NOT NULL DEFAULT 0,
  bill_payments_fen BIGINT NOT NULL DEFAULT 0,
  bill_refunds_fen BIGINT NOT NULL DEFAULT 0,
  bill_coupons_fen BIGINT NOT NULL DEFAULT 0,
  bill_settlement_fen BIGINT NOT NULL DEFAULT 0,
  bill_fees BIGINT NOT NULL DEFAULT 0,
  ledger_payments BIGINT NOT NULL DEFAULT 0,
  ledger_refunds BIGINT NOT NULL DEFAULT 0,
  ledger_payments_fen BIGINT NOT NULL DEFAULT 0,
  ledger_refunds_fen BIGINT NOT NULL DEFAULT 0,
  classes TEXT NOT NULL DEFAULT '{}',
  loops TEXT NOT NULL DEFAULT '{}',
  unexplained_fen BIGINT NOT NULL DEFAULT 0,
  differences BIGINT NOT NULL DEFAULT 0,
  difference_fen BIGINT NOT NULL DEFAULT 0,
  open_lines BIGINT NOT NULL DEFAULT 0,
  asked_by TEXT,
  asked_at_ms BIGINT NOT NULL,
  started_at_ms BIGINT,
  finished_at_ms BIGINT,
  next_at_ms BIGINT,
  recheck_at_ms BIGINT,
  PRIMARY KEY (merchant, day)
)
--;
CREATE INDEX reconciliations_next ON reconciliations (next_at_ms) WHERE next_at_ms IS NOT NULL
--;
CREATE INDEX reconciliations_recheck ON reconciliations (recheck_at_ms) WHERE recheck_at_ms IS NOT NULL
--;
CREATE INDEX reconciliations_red ON reconciliations (merchant, day) WHERE open_lines > 0 OR unexplained_fen <> 0
";

// `fee` columns are in 1/100,000 yuan, as bills have them.
const LINES: &str = "
CREATE TABLE reconciliation_lines (
  id {id},
  merchant TEXT NOT NULL,
  day TEXT NOT NULL,
  run BIGINT NOT NULL,
  line_key TEXT NOT NULL,
  class TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('payment', 'refund')),
  transaction_id TEXT NOT NULL,
  out_trade_no TEXT,
  refund_no TEXT,
  refund_id TEXT,
  order_no TEXT,
  bill_fen BIGINT,
  bill_currency TEXT,
  bill_settlement_fen BIGINT,
  bill_fee BIGINT,
  bill_rate TEXT,
  bill_time_ms BIGINT,
  bill_status TEXT,
  bill_appid TEXT,
  expected_fee BIGINT,
  booked_fee BIGINT,
  ledger_fen BIGINT,
  ledger_currency TEXT,
  ledger_state TEXT,
  ledger_time_ms BIGINT,
  other_day TEXT,
  explains_fen BIGINT NOT NULL,
  resolution TEXT NOT NULL CHECK (resolution IN ('none', 'open', 'resolved', 'repaired', 'covered')),
  rule TEXT,
  note TEXT,
  resolved_by TEXT,
  resolved_at_ms BIGINT,
  UNIQUE (merchant, day, run, line_key)
)
--;
CREATE INDEX reconciliation_lines_class ON reconciliation_lines (merchant, day, run, class, id)
--;
CREATE INDEX reconciliation_lines_carried ON reconciliation_lines (merchant, transaction_id) WHERE class = 'carried'
--;
CREATE INDEX reconciliation_lines_open ON reconciliation_lines (merchant, day, run, class) WHERE resolution = 'open'
";
