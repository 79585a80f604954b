//! A day's result and its lines as they are stored.

use sea_orm::Value;

use super::explain::{DayNote, explained};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::reconciliation::{
    BillFigures, Classes, DayState, Figures, LedgerFigures, LineClass, LineKind, Loops, Others, Resolution, YUAN,
    day_state, remainders,
};
use crate::store::db::DbError;
use crate::store::order::rows::{broken, unknown, unreadable};
use crate::store::writer::Row;

/// Whether a day is being worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Work {
    Idle,
    /// Asked for.
    Pending,
    Running,
}

named!(Work { Idle = "idle", Pending = "pending", Running = "running" });

/// A day of a merchant: its newest result, and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    pub merchant: MerchantKey,
    /// `2026-11-27`, in Beijing.
    pub day: String,
    pub work: Work,
    /// The run of the result; 0 where there is none.
    pub run: i64,
    /// Why the newest run failed; none where it did not.
    pub error: Option<String>,
    /// The bill's SHA-256; none of an empty day.
    pub bill_hash: Option<String>,
    /// In yuan, as all figures beside `others`.
    pub bill: BillFigures,
    pub ledger: LedgerFigures,
    pub classes: Classes,
    pub loops: Loops,
    pub unexplained_fen: i64,
    pub differences: i64,
    pub difference_fen: i64,
    /// The figures of other currencies.
    pub others: Others,
    /// Whether all figures are sums over several currencies, which another version did not tell apart.
    pub is_mixed: bool,
    pub open_lines: i64,
    /// The note that explains the day as a whole; none of another result than this one.
    pub explained: Option<DayNote>,
    pub asked_by: Option<String>,
    pub asked_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// When it is tried again; none where it is not.
    pub next_at: Option<Timestamp>,
}

impl Reconciliation {
    /// How the result stands, whatever is being done now; none where there is none.
    pub fn result(&self) -> Option<DayState> {
        if self.run == 0 {
            return None;
        }
        let remainder = if self.unexplained_fen == 0 { remainders(&self.others) } else { self.unexplained_fen };
        Some(day_state(self.differences, self.open_lines, remainder))
    }

    /// The same with the note that explains the day.
    pub fn standing(&self) -> Option<DayState> {
        match (self.result(), &self.explained) {
            (None | Some(DayState::Red), Some(_)) => Some(DayState::Explained),
            (result, _) => result,
        }
    }

    /// The word of the contract: what is being done, a failure, or the result. A failure that no further try follows,
    /// because WeChat no longer has the bill, leaves the result as it was.
    pub fn state(&self) -> &'static str {
        match (self.work, &self.error, self.standing()) {
            (Work::Running, _, _) => "running",
            (Work::Pending, _, _) => "pending",
            (Work::Idle, Some(_), Some(state)) if self.next_at.is_none() => state.as_str(),
            (Work::Idle, Some(_), _) => "failed",
            (Work::Idle, None, Some(state)) => state.as_str(),
            (Work::Idle, None, None) => "pending",
        }
    }
}

pub(in crate::store) const DAY_COLUMNS: &str = "
merchant, day, work, run, error, bill_hash, bill_payments, bill_refunds, bill_payments_fen, bill_refunds_fen,
bill_coupons_fen, bill_settlement_fen, bill_fees, ledger_payments, ledger_refunds, ledger_payments_fen,
ledger_refunds_fen, classes, loops, unexplained_fen, differences, difference_fen, open_lines, asked_by, asked_at_ms,
started_at_ms, finished_at_ms, next_at_ms, CASE WHEN others_run = run THEN others END AS others,
CASE WHEN explained_run = run THEN explained_note END AS explained_note, explained_by, explained_at_ms";

/// A day whose result has sums over several currencies: another version wrote it, and the merchant's books or the
/// result's lines have another currency than yuan.
pub(in crate::store) const IS_MIXED: &str = "
(reconciliations.run > 0 AND (others_run IS NULL OR others_run <> reconciliations.run) AND (
  EXISTS (SELECT 1 FROM ledger_closings AS c WHERE c.merchant = reconciliations.merchant AND c.currency <> 'CNY')
  OR EXISTS (SELECT 1 FROM reconciliation_lines AS m WHERE m.merchant = reconciliations.merchant
               AND m.day = reconciliations.day AND m.run = reconciliations.run
               AND (COALESCE(m.bill_currency, '') NOT IN ('CNY', '')
                 OR COALESCE(m.ledger_currency, '') NOT IN ('CNY', '')))))";

/// A day whose result is red, and that no note explains. What another version wrote has no other currencies.
pub(in crate::store) const IS_RED: &str = "
((open_lines > 0 OR unexplained_fen <> 0 OR (others_red > 0 AND others_run = run))
 AND (explained_run IS NULL OR explained_run <> run))";

pub(in crate::store) fn reconciliation(row: &Row) -> Result<Reconciliation, DbError> {
    let work: String = row.get("work")?;
    let json = |column: &'static str| row.get::<String>(column);
    let at = |column: &str| Ok::<_, DbError>(row.get::<Option<i64>>(column)?.map(Timestamp::from_ms));
    let mut found = Reconciliation {
        merchant: MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))?,
        day: row.get("day")?,
        work: Work::parse(&work).ok_or_else(|| unknown("work", &work))?,
        run: row.get("run")?,
        error: row.get("error")?,
        bill_hash: row.get("bill_hash")?,
        bill: BillFigures {
            payments: row.get("bill_payments")?,
            refunds: row.get("bill_refunds")?,
            payments_fen: row.get("bill_payments_fen")?,
            refunds_fen: row.get("bill_refunds_fen")?,
            coupons_fen: row.get("bill_coupons_fen")?,
            settlement_fen: row.get("bill_settlement_fen")?,
            fees: row.get("bill_fees")?,
        },
        ledger: LedgerFigures {
            payments: row.get("ledger_payments")?,
            refunds: row.get("ledger_refunds")?,
            payments_fen: row.get("ledger_payments_fen")?,
            refunds_fen: row.get("ledger_refunds_fen")?,
        },
        classes: serde_json::from_str(&json("classes")?).map_err(|e| unreadable("classes", &e))?,
        loops: serde_json::from_str(&json("loops")?).map_err(|e| unreadable("loops", &e))?,
        others: others(row.get("others")?)?,
        is_mixed: row.get::<i64>("is_mixed")? != 0,
        unexplained_fen: row.get("unexplained_fen")?,
        differences: row.get("differences")?,
        difference_fen: row.get("difference_fen")?,
        open_lines: row.get("open_lines")?,
        explained: explained(row)?,
        asked_by: row.get("asked_by")?,
        asked_at: Timestamp::from_ms(row.get("asked_at_ms")?),
        started_at: at("started_at_ms")?,
        finished_at: at("finished_at_ms")?,
        next_at: at("next_at_ms")?,
    };
    // Lines may have been explained since the run.
    found.loops.trades.holds = found.result().is_some_and(|state| state != DayState::Red);
    Ok(found)
}

fn others(text: Option<String>) -> Result<Others, DbError> {
    text.map_or(Ok(Others::new()), |text| serde_json::from_str(&text).map_err(|e| unreadable("others", &e)))
}

/// The figures as columns from `bill_payments` to `difference_fen`, in the order of [`DAY_COLUMNS`], and those of other
/// currencies.
pub(in crate::store) fn figure_values(figures: &Figures, loops: &Loops) -> Result<Vec<Value>, DbError> {
    let (bill, ledger) = (&figures.yuan.bill, &figures.yuan.ledger);
    Ok(vec![
        bill.payments.into(),
        bill.refunds.into(),
        bill.payments_fen.into(),
        bill.refunds_fen.into(),
        bill.coupons_fen.into(),
        bill.settlement_fen.into(),
        bill.fees.into(),
        ledger.payments.into(),
        ledger.refunds.into(),
        ledger.payments_fen.into(),
        ledger.refunds_fen.into(),
        serde_json::to_string(&figures.classes).map_err(|e| unreadable("classes", &e))?.into(),
        serde_json::to_string(loops).map_err(|e| unreadable("loops", &e))?.into(),
        figures.yuan.unexplained_fen().into(),
        figures.differences.into(),
        figures.yuan.difference_fen.into(),
        serde_json::to_string(&figures.others).map_err(|e| unreadable("others", &e))?.into(),
        remainders(&figures.others).into(),
    ])
}

/// A line of a day's result: a difference, or a carried pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its place in the list.
    pub id: i64,
    pub merchant: MerchantKey,
    pub day: String,
    pub class: LineClass,
    pub kind: LineKind,
    pub transaction_id: String,
    pub out_trade_no: Option<String>,
    pub refund_no: Option<String>,
    pub refund_id: Option<String>,
    pub order_no: Option<String>,
    pub bill_fen: Option<i64>,
    pub bill_currency: Option<String>,
    pub bill_settlement_fen: Option<i64>,
    /// In 1/100,000 yuan, as all fees here.
    pub bill_fee: Option<i64>,
    pub bill_rate: Option<String>,
    pub bill_time: Option<Timestamp>,
    pub bill_status: Option<String>,
    pub bill_appid: Option<String>,
    /// What the fee should be, where it is not that.
    pub expected_fee: Option<i64>,
    /// What was booked on the account.
    pub booked_fee: Option<i64>,
    pub ledger_fen: Option<i64>,
    pub ledger_currency: Option<String>,
    /// A payment's class, a refund's state.
    pub ledger_state: Option<String>,
    pub ledger_time: Option<Timestamp>,
    /// The day on which the other side has it.
    pub other_day: Option<String>,
    /// The bill's amount less ours, as it changes the total. Where both are in different currencies, the bill's.
    pub explains_fen: i64,
    /// Ours then.
    pub explains_ours_fen: Option<i64>,
    pub resolution: Resolution,
    /// The rule that covers it.
    pub rule: Option<String>,
    pub note: Option<String>,
    pub resolved_by: Option<String>,
    pub resolved_at: Option<Timestamp>,
    /// When a repair had WeChat asked about it; none where its answer was final.
    pub asked_at: Option<Timestamp>,
    /// What WeChat said then, where that does not repair it.
    pub said: Option<String>,
}

impl Line {
    /// What it changes the totals by, per currency.
    pub fn explains(&self) -> Vec<(&str, i64)> {
        let own = self.bill_currency.as_deref().or(self.ledger_currency.as_deref()).filter(|text| !text.is_empty());
        let ours = self.explains_ours_fen.map(|fen| (self.ledger_currency.as_deref().unwrap_or(YUAN), fen));
        [(own.unwrap_or(YUAN), self.explains_fen)].into_iter().chain(ours).collect()
    }
}

pub(in crate::store) const LINE_COLUMNS: &str = "
id, merchant, day, class, kind, transaction_id, out_trade_no, refund_no, refund_id, order_no, bill_fen, bill_currency,
bill_settlement_fen, bill_fee, bill_rate, bill_time_ms, bill_status, bill_appid, expected_fee, booked_fee, ledger_fen,
ledger_currency, ledger_state, ledger_time_ms, other_day, explains_fen, resolution, rule, note, resolved_by,
resolved_at_ms, explains_ours_fen, asked_at_ms, said";

pub(in crate::store) fn line(row: &Row) -> Result<Line, DbError> {
    let (class, kind, resolution): (String, String, String) =
        (row.get("class")?, row.get("kind")?, row.get("resolution")?);
    let at = |column: &str| Ok::<_, DbError>(row.get::<Option<i64>>(column)?.map(Timestamp::from_ms));
    Ok(Line {
        id: row.get("id")?,
        merchant: MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))?,
        day: row.get("day")?,
        class: LineClass::parse(&class).ok_or_else(|| unknown("class", &class))?,
        kind: LineKind::parse(&kind).ok_or_else(|| unknown("kind", &kind))?,
        transaction_id: row.get("transaction_id")?,
        out_trade_no: row.get("out_trade_no")?,
        refund_no: row.get("refund_no")?,
        refund_id: row.get("refund_id")?,
        order_no: row.get("order_no")?,
        bill_fen: row.get("bill_fen")?,
        bill_currency: row.get("bill_currency")?,
        bill_settlement_fen: row.get("bill_settlement_fen")?,
        bill_fee: row.get("bill_fee")?,
        bill_rate: row.get("bill_rate")?,
        bill_time: at("bill_time_ms")?,
        bill_status: row.get("bill_status")?,
        bill_appid: row.get("bill_appid")?,
        expected_fee: row.get("expected_fee")?,
        booked_fee: row.get("booked_fee")?,
        ledger_fen: row.get("ledger_fen")?,
        ledger_currency: row.get("ledger_currency")?,
        ledger_state: row.get("ledger_state")?,
        ledger_time: at("ledger_time_ms")?,
        other_day: row.get("other_day")?,
        explains_fen: row.get("explains_fen")?,
        explains_ours_fen: row.get("explains_ours_fen")?,
        resolution: Resolution::parse(&resolution).ok_or_else(|| unknown("resolution", &resolution))?,
        rule: row.get("rule")?,
        note: row.get("note")?,
        resolved_by: row.get("resolved_by")?,
        resolved_at: at("resolved_at_ms")?,
        asked_at: at("asked_at_ms")?,
        said: row.get("said")?,
    })
}

/// The key of a row of a day, for the log.
pub(super) fn day_of(row: &Row) -> Result<String, DbError> {
    Ok(format!("{} {}", row.get::<String>("merchant")?, row.get::<String>("day")?))
}
