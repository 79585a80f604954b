//! Payments by class, and the first rows of the audit: who moved held money, and why.
//!
//! `payments` holds one row per payment that WeChat reported; its class changes by compare-and-set, and each entry and
//! each change appends to `ledger`, which from now on also takes money of no order and of another currency. An older
//! process writes its ledger row as before; a trigger derives the payment of it, so that both may run on one database.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, ASK_AGAIN).await?;
        match manager.get_database_backend() {
            DbBackend::Postgres => postgres(manager).await?,
            _ => sqlite(manager).await?,
        }
        dialect::run(manager, AUDIT).await?;
        dialect::append_only(manager, "audit").await
    }
}

/// The payments of the rows that are there are derived before anything is locked: the service of before goes on.
async fn postgres(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    dialect::run(manager, PAYMENTS).await?;
    let newest = "SELECT COALESCE(MAX(id), 0) AS id FROM ledger".to_owned();
    let connection = manager.get_connection();
    let newest = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, newest)).await?;
    let newest: i64 = newest.map_or(Ok(0), |row| row.try_get("", "id"))?;
    dialect::run(manager, &derived("ledger AS l", "TRUE")).await?;
    dialect::run(manager, ORDERS).await?;
    dialect::run(manager, LEDGER_POSTGRES).await?;
    // What was entered meanwhile, with room for transactions that were open.
    dialect::run(manager, &derived("ledger AS l", &format!("l.id > {newest} - 10000"))).await?;
    let insert = derived("(SELECT NEW.*) AS l", "TRUE");
    dialect::run(manager, &TRIGGER_POSTGRES.replace("{insert}", &insert)).await?;
    dialect::run(manager, REFERENCE_POSTGRES).await
}

async fn sqlite(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    dialect::run(manager, ORDERS).await?;
    dialect::run(manager, &PAYMENTS.replace("order_id BIGINT,", "order_id BIGINT REFERENCES orders (id),")).await?;
    dialect::run(manager, LEDGER_SQLITE).await?;
    dialect::append_only(manager, "ledger").await?;
    dialect::run(manager, &derived("ledger AS l", "TRUE")).await?;
    let insert = derived("ledger AS l", "l.id = NEW.id");
    dialect::run(manager, &TRIGGER_SQLITE.replace("{insert}", &insert)).await
}

fn derived(rows: &str, only: &str) -> String {
    DERIVED.replace("{rows}", rows).replace("{only}", only)
}

/// Orders that the version before marked and asks about no more: what WeChat holds for them is not in the ledger.
const ASK_AGAIN: &str = "
UPDATE orders SET next_look_at_ms = 0, queries_done = 0
  WHERE amount_mismatch AND state IN ('paid', 'closed', 'failed')
";

const ORDERS: &str = "
ALTER TABLE orders ADD COLUMN paid_before_order BOOLEAN NOT NULL DEFAULT FALSE
--;
CREATE INDEX refunds_state ON refunds (state, id)
";

const PAYMENTS: &str = "
CREATE TABLE payments (
  id {id},
  merchant TEXT NOT NULL,
  transaction_id TEXT NOT NULL,
  version BIGINT NOT NULL,
  class TEXT NOT NULL CHECK (class IN ('credited', 'held', 'unmatched', 'returned')),
  reason TEXT CHECK (reason IN ('late', 'twice', 'before_order', 'mismatched')),
  order_id BIGINT,
  order_no TEXT,
  out_trade_no TEXT NOT NULL,
  mch_id TEXT NOT NULL,
  appid TEXT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
  currency TEXT NOT NULL,
  paid_at_ms BIGINT NOT NULL,
  recorded_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  UNIQUE (merchant, transaction_id),
  CHECK ((order_id IS NULL) = (order_no IS NULL)),
  CHECK (class NOT IN ('credited', 'held') OR order_id IS NOT NULL),
  CHECK (class <> 'unmatched' OR order_id IS NULL),
  CHECK (class <> 'held' OR reason IS NOT NULL)
)
--;
CREATE INDEX payments_order ON payments (order_id) WHERE order_id IS NOT NULL
--;
CREATE INDEX payments_class ON payments (class, id)
--;
CREATE INDEX payments_order_no ON payments (order_no, id) WHERE order_no IS NOT NULL
--;
CREATE INDEX payments_paid_at ON payments (merchant, paid_at_ms)
";

const REFERENCE_POSTGRES: &str = "
ALTER TABLE payments ADD CONSTRAINT payments_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders (id) NOT VALID
";

const LEDGER_POSTGRES: &str = "
ALTER TABLE ledger ALTER COLUMN order_id DROP NOT NULL, ALTER COLUMN order_no DROP NOT NULL,
  ADD COLUMN from_class TEXT, ADD COLUMN to_class TEXT, ADD COLUMN payment_version BIGINT, ADD COLUMN reason TEXT,
  ADD COLUMN done_by TEXT, ADD COLUMN evidence TEXT,
  DROP CONSTRAINT ledger_entry_check, DROP CONSTRAINT ledger_currency_check,
  ADD CONSTRAINT ledger_entry_check CHECK (entry IN ('payment', 'matched', 'accepted', 'returned')) NOT VALID
";

// SQLite cannot relax a constraint: the table is written anew, rows and numbers as they are.
const LEDGER_SQLITE: &str = "
CREATE TABLE ledger_new (
  id {id},
  merchant TEXT NOT NULL,
  order_id BIGINT REFERENCES orders (id),
  order_version BIGINT NOT NULL,
  order_no TEXT,
  out_trade_no TEXT NOT NULL,
  entry TEXT NOT NULL CHECK (entry IN ('payment', 'matched', 'accepted', 'returned')),
  transaction_id TEXT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
  currency TEXT NOT NULL,
  occurred_at_ms BIGINT NOT NULL,
  recorded_at_ms BIGINT NOT NULL,
  from_class TEXT,
  to_class TEXT,
  payment_version BIGINT,
  reason TEXT,
  done_by TEXT,
  evidence TEXT,
  UNIQUE (merchant, entry, transaction_id)
)
--;
INSERT INTO ledger_new (id, merchant, order_id, order_version, order_no, out_trade_no, entry, transaction_id,
                        amount_fen, currency, occurred_at_ms, recorded_at_ms)
  SELECT id, merchant, order_id, order_version, order_no, out_trade_no, entry, transaction_id, amount_fen, currency,
         occurred_at_ms, recorded_at_ms FROM ledger
--;
DROP TRIGGER ledger_no_update
--;
DROP TRIGGER ledger_no_delete
--;
DROP TABLE ledger
--;
ALTER TABLE ledger_new RENAME TO ledger
--;
CREATE INDEX ledger_order ON ledger (order_id)
";

/// The payment of a ledger row that names no class. It counts if it is the order's payment and `order.paid` was
/// emitted; a process from before the column `paid_told` emitted it for every payment in time.
const DERIVED: &str = "
INSERT INTO payments (merchant, transaction_id, version, class, reason, order_id, order_no, out_trade_no, mch_id, appid,
                      amount_fen, currency, paid_at_ms, recorded_at_ms, updated_at_ms)
  SELECT l.merchant, l.transaction_id, 1,
         CASE WHEN o.transaction_id = l.transaction_id AND (o.paid_told OR NOT o.paid_late) THEN 'credited'
              WHEN t.refunded_fen = t.paid_fen THEN 'returned'
              ELSE 'held' END,
         CASE WHEN o.transaction_id <> l.transaction_id OR o.transaction_id IS NULL THEN 'twice'
              WHEN o.paid_late THEN 'late' END,
         l.order_id, l.order_no, l.out_trade_no, a.mch_id, a.appid, l.amount_fen, l.currency, l.occurred_at_ms,
         l.recorded_at_ms, l.recorded_at_ms
  FROM {rows} JOIN orders AS o ON o.id = l.order_id
              JOIN attempts AS a ON a.merchant = l.merchant AND a.out_trade_no = l.out_trade_no
              LEFT JOIN refund_totals AS t ON t.merchant = l.merchant AND t.transaction_id = l.transaction_id
  WHERE {only} ORDER BY l.id
  ON CONFLICT DO NOTHING
";

const TRIGGER_POSTGRES: &str = "
CREATE FUNCTION ledger_derives_payment() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    {insert};
    RETURN NULL;
  END $$
--;
CREATE TRIGGER ledger_payment AFTER INSERT ON ledger
  FOR EACH ROW WHEN (NEW.to_class IS NULL) EXECUTE FUNCTION ledger_derives_payment()
";

const TRIGGER_SQLITE: &str = "
CREATE TRIGGER ledger_payment AFTER INSERT ON ledger WHEN NEW.to_class IS NULL
BEGIN
  {insert};
END
";

const AUDIT: &str = "
CREATE TABLE audit (
  id {id},
  at_ms BIGINT NOT NULL,
  actor TEXT NOT NULL,
  remote_addr TEXT NOT NULL,
  action TEXT NOT NULL,
  merchant TEXT NOT NULL,
  order_no TEXT,
  transaction_id TEXT,
  reason TEXT,
  result TEXT NOT NULL
)
";
