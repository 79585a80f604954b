//! The triggers that end a closing run once per statement and not once per row: a group of settled payments is one
//! statement. PostgreSQL alone; SQLite's triggers are per row, and cheap.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            dialect::run(manager, PER_STATEMENT).await?;
        }
        Ok(())
    }
}

const PER_STATEMENT: &str = "
CREATE FUNCTION ledger_closings_end_together() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF EXISTS (SELECT 1 FROM entered
               WHERE recorded_at_ms < EXTRACT(EPOCH FROM clock_timestamp()) * 1000 - 300000) THEN
      PERFORM pg_advisory_xact_lock_shared(7722019);
    END IF;
    DELETE FROM ledger_closings AS c
      USING (SELECT merchant, MIN(recorded_at_ms) AS first FROM entered GROUP BY merchant) AS e
      WHERE c.merchant = e.merchant AND c.at_ms > e.first;
    RETURN NULL;
  END $$
--;
DROP TRIGGER ledger_closing ON ledger
--;
CREATE TRIGGER ledger_closing AFTER INSERT ON ledger REFERENCING NEW TABLE AS entered
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_closings_end_together()
--;
DROP TRIGGER refund_ledger_closing ON refund_ledger
--;
CREATE TRIGGER refund_ledger_closing AFTER INSERT ON refund_ledger REFERENCING NEW TABLE AS entered
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_closings_end_together()
--;
DROP FUNCTION ledger_closings_end()
";
