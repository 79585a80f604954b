//! The books: the ledgers in the order of recording, and balances at the ends of days.
//!
//! A closing is a sum that can be computed again. A row that is recorded before it takes it away, whichever version
//! writes the row.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        // SQLite appends the row's number to every index by itself.
        let id = if is_postgres { ", id" } else { "" };
        dialect::run(manager, &BOOKS.replace("{by_id}", id)).await?;
        dialect::run(manager, if is_postgres { TRIGGERS_POSTGRES } else { TRIGGERS_SQLITE }).await
    }
}

const BOOKS: &str = "
CREATE INDEX ledger_recorded ON ledger (merchant, recorded_at_ms{by_id})
--;
CREATE INDEX refund_ledger_recorded ON refund_ledger (merchant, recorded_at_ms{by_id})
--;
CREATE TABLE ledger_closings (
  merchant TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  currency TEXT NOT NULL,
  balance_fen BIGINT NOT NULL,
  PRIMARY KEY (merchant, at_ms, currency)
)
";

const TRIGGERS_POSTGRES: &str = "
CREATE FUNCTION ledger_closings_end() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    DELETE FROM ledger_closings WHERE merchant = NEW.merchant AND at_ms > NEW.recorded_at_ms;
    RETURN NULL;
  END $$
--;
CREATE TRIGGER ledger_closing AFTER INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_closings_end()
--;
CREATE TRIGGER refund_ledger_closing AFTER INSERT ON refund_ledger
  FOR EACH ROW EXECUTE FUNCTION ledger_closings_end()
";

const TRIGGERS_SQLITE: &str = "
CREATE TRIGGER ledger_closing AFTER INSERT ON ledger
BEGIN
  DELETE FROM ledger_closings WHERE merchant = NEW.merchant AND at_ms > NEW.recorded_at_ms;
END
--;
CREATE TRIGGER refund_ledger_closing AFTER INSERT ON refund_ledger
BEGIN
  DELETE FROM ledger_closings WHERE merchant = NEW.merchant AND at_ms > NEW.recorded_at_ms;
END
";
