//! The lines of a run, while they are written.

use sea_orm::Value;

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::reconciliation::NewLine;
use crate::store::Store;
use crate::store::db::{DbError, placeholders};
use crate::store::leases::{Fenced, Lease, holds};
use crate::store::writer::WriteTx;

/// A run of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunKey {
    pub merchant: MerchantKey,
    pub day: String,
    pub run: i64,
}

/// Rows of one statement: SQLite takes 32,766 values.
const PER_STATEMENT: usize = 200;
const COLUMNS: usize = 30;
/// Rows of other runs that one write deletes.
const PER_DELETE: u64 = 2000;

impl Store {
    /// Adds lines to a run. They do not count until it is finished.
    pub async fn add_lines(&self, lease: &Lease, run: &RunKey, lines: Vec<NewLine>) -> Result<Fenced<()>, DbError> {
        let write = (lease.clone(), run.clone(), lines);
        let add = self.db.write("reconciliation.lines", write, |tx, (lease, run, lines)| {
            Box::pin(async move {
                if !holds(tx, lease).await? {
                    return Ok(Fenced::Lost);
                }
                insert(tx, run, lines).await?;
                Ok(Fenced::Done(()))
            })
        });
        add.await
    }

    /// Removes lines of runs that are not the day's result, some at once; returns how many.
    pub async fn sweep_lines(&self, merchant: &MerchantKey, day: &str) -> Result<u64, DbError> {
        let sql = format!(
            "DELETE FROM reconciliation_lines WHERE id IN (
               SELECT l.id FROM reconciliation_lines AS l
               JOIN reconciliations AS r ON r.merchant = l.merchant AND r.day = l.day
               WHERE l.merchant = $1 AND l.day = $2 AND l.run <> r.run LIMIT {PER_DELETE})"
        );
        self.db.execute("reconciliation.sweep", sql, [merchant.as_str().into(), day.into()]).await
    }
}

async fn insert(tx: &WriteTx, run: &RunKey, lines: &[NewLine]) -> Result<(), DbError> {
    for lines in lines.chunks(PER_STATEMENT) {
        let sql = format!(
            "INSERT INTO reconciliation_lines (merchant, day, run, line_key, class, kind, transaction_id, out_trade_no,
               refund_no, refund_id, order_no, bill_fen, bill_currency, bill_settlement_fen, bill_fee, bill_rate,
               bill_time_ms, bill_status, bill_appid, expected_fee, booked_fee, ledger_fen, ledger_currency,
               ledger_state, ledger_time_ms, other_day, explains_fen, explains_ours_fen, resolution, rule)
             VALUES {}",
            placeholders(lines.len(), COLUMNS, 0)
        );
        let values: Vec<Value> = lines.iter().flat_map(|line| values(run, line)).collect();
        tx.execute(&sql, values).await?;
    }
    Ok(())
}

fn values(run: &RunKey, line: &NewLine) -> [Value; COLUMNS] {
    let (bill, ledger) = (line.bill.as_ref(), line.ledger.as_ref());
    let ms = |at: Option<Timestamp>| at.map(Timestamp::as_ms);
    [
        run.merchant.as_str().into(),
        run.day.as_str().into(),
        run.run.into(),
        line.key().into(),
        line.verdict.class.as_str().into(),
        line.ids.kind.as_str().into(),
        line.ids.transaction_id.as_str().into(),
        line.ids.out_trade_no.as_str().into(),
        line.ids.refund_no.clone().into(),
        line.ids.refund_id.clone().into(),
        line.order_no.clone().into(),
        bill.map(|side| side.fen).into(),
        bill.map(|side| side.currency.clone()).into(),
        bill.map(|side| side.settlement_fen).into(),
        bill.map(|side| side.fee).into(),
        bill.map(|side| side.rate.clone()).into(),
        ms(bill.map(|side| side.time)).into(),
        bill.map(|side| side.status.clone()).into(),
        bill.map(|side| side.appid.clone()).into(),
        line.verdict.expected_fee.into(),
        line.booked_fee.into(),
        ledger.map(|side| side.fen).into(),
        ledger.map(|side| side.currency.clone()).into(),
        ledger.map(|side| side.state.clone()).into(),
        ms(ledger.map(|side| side.time)).into(),
        line.other_day.clone().into(),
        line.explains_fen().into(),
        line.explains_ours_fen().into(),
        line.verdict.resolution.as_str().into(),
        line.verdict.rule.into(),
    ]
}
