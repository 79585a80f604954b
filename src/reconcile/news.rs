//! The events of a result: once per result, and only what the one before did not say.

use crate::clock::Timestamp;
use crate::event::domain::{
    BillFailed, BillMismatch, BillReconciled, BillSums, CurrencySums, DomainData, DomainEvent, EncodedEvent, LedgerSums,
};
use crate::ids::OrderNo;
use crate::reconciliation::{BillFigures, CurrencyFigures, DayState, Figures, LedgerFigures, Loops};
use crate::store::{DueDay, Line, Reconciliation, RunKey};
use crate::wechat::v2::bill::Yuan;

/// A result tells of so many differences one by one; `bill.reconciled` counts all.
pub(super) const MISMATCHES_MAX: u64 = 100;

pub(super) fn events(
    run: &RunKey,
    (figures, loops, state): (&Figures, &Loops, DayState),
    before: Option<&Reconciliation>,
    fresh: &[Line],
    at: Timestamp,
) -> Vec<EncodedEvent> {
    let mut events = Vec::new();
    if before.is_none_or(|before| !is_same(before, figures, loops, state)) {
        let data = DomainData::BillReconciled(reconciled(run, figures, state));
        events.push(DomainEvent { merchant: run.merchant.clone(), order_no: None, data }.encode(at));
    }
    for line in fresh {
        let order_no = line.order_no.clone().and_then(|number| OrderNo::parse(number).ok());
        let data = DomainData::BillMismatchFound(mismatch(run, line));
        events.push(DomainEvent { merchant: run.merchant.clone(), order_no, data }.encode(at));
    }
    events
}

fn is_same(before: &Reconciliation, figures: &Figures, loops: &Loops, state: DayState) -> bool {
    before.result() == Some(state)
        && before.bill == figures.yuan.bill
        && before.ledger == figures.yuan.ledger
        && before.others == figures.others
        && before.classes == figures.classes
        && before.open_lines == figures.open_lines
        && before.unexplained_fen == figures.yuan.unexplained_fen()
        && before.loops.funds == loops.funds
}

fn reconciled(run: &RunKey, figures: &Figures, state: DayState) -> BillReconciled {
    BillReconciled {
        day: run.day.clone(),
        state: state.as_str(),
        bill: bill_sums(&figures.yuan.bill),
        ledger: ledger_sums(&figures.yuan.ledger),
        classes: figures.classes.clone(),
        differences: figures.differences,
        open: figures.open_lines,
        unexplained_fen: figures.yuan.unexplained_fen(),
        others: figures.others.iter().map(|(currency, figures)| (currency.clone(), other(figures))).collect(),
    }
}

fn other(figures: &CurrencyFigures) -> CurrencySums {
    CurrencySums {
        bill: bill_sums(&figures.bill),
        ledger: ledger_sums(&figures.ledger),
        unexplained_fen: figures.unexplained_fen(),
    }
}

fn bill_sums(bill: &BillFigures) -> BillSums {
    BillSums {
        rows: bill.payments + bill.refunds,
        payments_fen: bill.payments_fen,
        refunds_fen: bill.refunds_fen,
        fees: Yuan::from_units(bill.fees).to_string(),
    }
}

const fn ledger_sums(ledger: &LedgerFigures) -> LedgerSums {
    LedgerSums {
        rows: ledger.payments + ledger.refunds,
        payments_fen: ledger.payments_fen,
        refunds_fen: ledger.refunds_fen,
    }
}

/// Of a run that brought no result, unless the one before failed for the same reason.
pub(super) fn failed(due: &DueDay, error: &str, next_try_at: Option<Timestamp>, at: Timestamp) -> EncodedEvent {
    let data = BillFailed { day: due.day.clone(), error: error.to_owned(), next_try_at };
    DomainEvent { merchant: due.merchant.clone(), order_no: None, data: DomainData::BillFailed(data) }.encode(at)
}

fn mismatch(run: &RunKey, line: &Line) -> BillMismatch {
    BillMismatch {
        day: run.day.clone(),
        line: line.id,
        class: line.class.as_str(),
        kind: line.kind.as_str(),
        resolution: line.resolution.as_str(),
        order_no: line.order_no.clone(),
        transaction_id: line.transaction_id.clone(),
        out_trade_no: line.out_trade_no.clone(),
        refund_no: line.refund_no.clone(),
        refund_id: line.refund_id.clone(),
        bill_fen: line.bill_fen,
        bill_currency: line.bill_currency.clone(),
        ledger_fen: line.ledger_fen,
        ledger_currency: line.ledger_currency.clone(),
        explains_fen: line.explains_fen,
        explains_ours_fen: line.explains_ours_fen,
    }
}
