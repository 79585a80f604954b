//! What waits for a second person: money that is accepted or refunded above an amount.
//!
//! An older process asks no second person and reads none of this.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, APPROVALS).await
    }
}

const APPROVALS: &str = "
CREATE TABLE approvals (
  id {id},
  kind TEXT NOT NULL CHECK (kind IN ('accept', 'refund')),
  merchant TEXT NOT NULL,
  order_no TEXT,
  transaction_id TEXT NOT NULL,
  refund_no TEXT,
  amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
  order_amount_fen BIGINT,
  class TEXT,
  currency TEXT NOT NULL,
  reason TEXT NOT NULL,
  content TEXT NOT NULL,
  asked_by TEXT NOT NULL,
  asked_by_id TEXT NOT NULL,
  asked_key_id TEXT NOT NULL,
  asked_from TEXT NOT NULL,
  asked_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL CHECK (expires_at_ms > asked_at_ms),
  state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'approved', 'refused', 'expired')),
  decided_by TEXT,
  decided_by_id TEXT,
  decided_at_ms BIGINT,
  decision_reason TEXT,
  CHECK ((kind = 'refund') = (refund_no IS NOT NULL)),
  CHECK ((kind = 'refund') = (class IS NOT NULL)),
  CHECK ((kind = 'accept') = (order_amount_fen IS NOT NULL)),
  CHECK ((state IN ('approved', 'refused')) = (decided_by_id IS NOT NULL)),
  CHECK (state <> 'approved' OR decided_by_id <> asked_by_id)
)
--;
CREATE UNIQUE INDEX approvals_of_refunds ON approvals (merchant, refund_no)
  WHERE kind = 'refund' AND state <> 'expired'
--;
CREATE UNIQUE INDEX approvals_of_held ON approvals (merchant, transaction_id)
  WHERE kind = 'accept' AND state = 'waiting'
--;
CREATE INDEX approvals_by_refund ON approvals (merchant, refund_no, id) WHERE kind = 'refund'
--;
CREATE INDEX approvals_of_askers ON approvals (asked_by_id, expires_at_ms) WHERE state = 'waiting'
--;
CREATE INDEX approvals_waiting ON approvals (id) WHERE state = 'waiting'
";
