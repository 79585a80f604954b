//! How often a refund that is in the books was moved to another day, per merchant: a month is closed only where none
//! moved while its figures were read. A trigger counts, so that it counts what an older process moves, too.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, MOVES).await?;
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        dialect::run(manager, if is_postgres { COUNTED_POSTGRES } else { COUNTED_SQLITE }).await
    }
}

const MOVES: &str = "
CREATE TABLE refund_moves (
  merchant TEXT PRIMARY KEY,
  moves BIGINT NOT NULL
)
";

// Days of Beijing, whose midnight is eight hours before that of UTC.
const COUNTED_POSTGRES: &str = "
CREATE FUNCTION refund_moves_count() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF (COALESCE(OLD.accepted_at_ms, OLD.created_at_ms) + 28800000) / 86400000
         <> (COALESCE(NEW.accepted_at_ms, NEW.created_at_ms) + 28800000) / 86400000
       AND EXISTS (SELECT 1 FROM refund_ledger AS l
                   WHERE l.merchant = NEW.merchant AND l.refund_no = NEW.refund_no) THEN
      INSERT INTO refund_moves AS m (merchant, moves) VALUES (NEW.merchant, 1)
        ON CONFLICT (merchant) DO UPDATE SET moves = m.moves + 1;
    END IF;
    RETURN NULL;
  END $$
--;
CREATE TRIGGER refund_moved AFTER UPDATE OF accepted_at_ms ON refunds
  FOR EACH ROW WHEN (OLD.accepted_at_ms IS DISTINCT FROM NEW.accepted_at_ms)
  EXECUTE FUNCTION refund_moves_count()
";

const COUNTED_SQLITE: &str = "
CREATE TRIGGER refund_moved AFTER UPDATE OF accepted_at_ms ON refunds
  WHEN (COALESCE(OLD.accepted_at_ms, OLD.created_at_ms) + 28800000) / 86400000
         <> (COALESCE(NEW.accepted_at_ms, NEW.created_at_ms) + 28800000) / 86400000
       AND EXISTS (SELECT 1 FROM refund_ledger AS l
                   WHERE l.merchant = NEW.merchant AND l.refund_no = NEW.refund_no)
  BEGIN
    INSERT INTO refund_moves (merchant, moves) VALUES (NEW.merchant, 1)
      ON CONFLICT (merchant) DO UPDATE SET moves = moves + 1;
  END
";
