//! What is due in the order of an index, and what retention needs: indexes over the times it goes by, when a dead
//! letter ended, and an audit whose rows may go after a year.
//!
//! An older process leaves the new column alone and never removes anything. The indexes are over what it writes, too.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, DUE).await?;
        dialect::run(manager, PERIODS).await?;
        dialect::run(manager, READ).await?;
        let audit = match manager.get_database_backend() {
            DbBackend::Postgres => AUDIT_POSTGRES,
            _ => AUDIT_SQLITE,
        };
        dialect::run(manager, audit).await
    }
}

const DUE: &str = "
CREATE INDEX orders_due ON orders (merchant, COALESCE(next_query_at_ms, next_look_at_ms))
  WHERE COALESCE(next_query_at_ms, next_look_at_ms) IS NOT NULL
--;
CREATE INDEX dead_letters_parked ON dead_letters (reason) WHERE state = 'parked'
";

const PERIODS: &str = "
ALTER TABLE dead_letters ADD COLUMN ended_at_ms BIGINT
--;
CREATE INDEX dead_letters_ended ON dead_letters (id) WHERE state <> 'parked'
--;
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at_ms)
--;
CREATE INDEX refund_targets_created ON refund_targets (created_at_ms)
--;
CREATE INDEX users_updated ON users (updated_at_ms)
";

// An order's history reads its notifications; no version of the program has read them by the number.
const READ: &str = "
CREATE INDEX notifications_order ON notifications (order_id) WHERE order_id IS NOT NULL
--;
DROP INDEX notifications_out_trade_no
";

// The configured period is not known here: no row of the last year goes, whatever the configuration says.
const AUDIT_POSTGRES: &str = "
DROP TRIGGER audit_append_only ON audit
--;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR TRUNCATE ON audit
  FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
--;
CREATE FUNCTION audit_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF OLD.at_ms > (EXTRACT(EPOCH FROM clock_timestamp()) - 31536000) * 1000 THEN
      RAISE EXCEPTION 'audit is append-only';
    END IF;
    RETURN OLD;
  END $$
--;
CREATE TRIGGER audit_kept BEFORE DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_kept()
";

const AUDIT_SQLITE: &str = "
DROP TRIGGER audit_no_delete
--;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
  WHEN OLD.at_ms > (CAST(strftime('%s', 'now') AS INTEGER) - 31536000) * 1000
  BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END
";
