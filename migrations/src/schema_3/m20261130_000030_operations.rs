//! What operators read: the audit by whom and about what, dead letters by order and with their attempts, notifications
//! by time and number, and refused bodies that name an attempt of ours.
//!
//! An older process leaves the new columns empty and the new tables alone.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, AUDIT).await?;
        dialect::run(manager, DEAD_LETTERS).await?;
        dialect::run(manager, NOTIFICATIONS).await?;
        dialect::run(manager, REFUSED).await
    }
}

const AUDIT: &str = "
ALTER TABLE audit ADD COLUMN actor_id TEXT
--;
ALTER TABLE audit ADD COLUMN subject TEXT
--;
CREATE INDEX audit_action ON audit (action, id)
--;
CREATE INDEX audit_actor ON audit (actor, id)
--;
CREATE INDEX audit_order ON audit (order_no) WHERE order_no IS NOT NULL
";

const DEAD_LETTERS: &str = "
ALTER TABLE dead_letters ADD COLUMN order_no TEXT
--;
ALTER TABLE dead_letters ADD COLUMN ended_by TEXT
--;
ALTER TABLE dead_letters ADD COLUMN ended_reason TEXT
--;
CREATE INDEX dead_letters_groups ON dead_letters (reason, consumer, parked_at_ms) WHERE state = 'parked'
--;
CREATE INDEX dead_letters_order ON dead_letters (order_no) WHERE order_no IS NOT NULL
--;
CREATE TABLE failed_attempts (
  event_id TEXT NOT NULL,
  consumer TEXT NOT NULL,
  attempt BIGINT NOT NULL,
  at_ms BIGINT NOT NULL,
  error TEXT NOT NULL,
  PRIMARY KEY (event_id, consumer, attempt)
)
";

const NOTIFICATIONS: &str = "
CREATE INDEX notifications_received ON notifications (received_at_ms, event_id)
--;
CREATE INDEX notifications_unsettled ON notifications (verdict, received_at_ms, event_id)
  WHERE verdict IN ('waiting', 'rejected', 'parked', 'no_payment')
--;
CREATE INDEX notifications_unplaced_number ON notifications (out_trade_no) WHERE order_id IS NULL
--;
CREATE INDEX notifications_unplaced_payment ON notifications (transaction_id) WHERE order_id IS NULL
";

const REFUSED: &str = "
CREATE TABLE refused_bodies (
  merchant TEXT NOT NULL,
  hash TEXT NOT NULL,
  body {bytes} NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (merchant, hash)
)
--;
CREATE TABLE refused_notifications (
  id TEXT NOT NULL PRIMARY KEY,
  merchant TEXT NOT NULL,
  kind TEXT NOT NULL,
  reason TEXT NOT NULL,
  hash TEXT NOT NULL,
  headers TEXT NOT NULL,
  remote_addr TEXT NOT NULL,
  received_at_ms BIGINT NOT NULL,
  last_received_at_ms BIGINT NOT NULL,
  copies BIGINT NOT NULL CHECK (copies >= 1),
  out_trade_no TEXT NOT NULL,
  transaction_id TEXT,
  order_id BIGINT NOT NULL REFERENCES orders (id),
  state TEXT NOT NULL CHECK (state IN ('refused', 'replayed'))
)
--;
CREATE INDEX refused_notifications_received ON refused_notifications (received_at_ms, id)
--;
CREATE INDEX refused_notifications_attempt ON refused_notifications (merchant, out_trade_no, reason, id)
--;
CREATE INDEX refused_notifications_order ON refused_notifications (order_id)
--;
CREATE INDEX refused_notifications_payment ON refused_notifications (transaction_id) WHERE transaction_id IS NOT NULL
--;
CREATE INDEX refused_notifications_body ON refused_notifications (merchant, hash, id)
";
