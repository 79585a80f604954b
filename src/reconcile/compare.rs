//! One pass over both sides in the order of their keys. Runs on a thread of its own; what is not matched leaves it in
//! small parts.

use std::io;
use std::path::Path;

use super::codec::{read_bill, read_fee, read_ledger, write_bill};
use super::error::RunError;
use super::sorter::{Sorted, Sorter};
use crate::reconciliation::{
    BillFigures, BillItem, BillSide, Booked, Ids, LedgerItem, LineClass, LineKind, Rules, both,
};
use crate::wechat::v2::bill::{Expected, Layout, Limits, Parser, TradeLine, TradeTotals, Trades};

/// Bytes of the bill that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Both sides in the order of their keys, and the fees that were booked.
#[derive(Debug)]
pub struct Sides {
    pub bill: Sorted,
    pub ledger: Sorted,
    pub fees: Option<Sorted>,
}

/// A pair that is not matched.
#[derive(Debug, Clone)]
pub enum Pair {
    /// Both have it, and it is not the same.
    Differs {
        bill: BillItem,
        ledger: LedgerItem,
        booked: Option<i64>,
    },
    OnlyInBill(BillItem),
    OnlyInLedger(LedgerItem),
    /// A further row of the bill with the key of one before it.
    Repeated {
        bill: BillItem,
        ledger: Option<LedgerItem>,
        repeat: u32,
    },
}

/// What the pass counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    pub matched: i64,
    pub pairs: u64,
}

/// A sorted row: its key and its bytes.
type Keyed = (Vec<u8>, Vec<u8>);

/// Gives every pair that is not matched to `sink`, which may end the pass with an error.
pub fn compare(
    mut sides: Sides,
    rules: &Rules,
    mut sink: impl FnMut(Pair) -> Result<(), RunError>,
) -> Result<Summary, RunError> {
    let mut summary = Summary::default();
    let (mut bill, mut ledger) = (sides.bill.read()?, sides.ledger.read()?);
    let mut fee = sides.fees.as_mut().map_or(Ok(None), Sorted::read)?;
    loop {
        summary.pairs += 1;
        match (bill.take(), ledger.take()) {
            (None, None) => return Ok(summary),
            (None, Some((_, l))) => {
                sink(Pair::OnlyInLedger(read_ledger(&l)?))?;
                ledger = sides.ledger.read()?;
            }
            (Some((key, b)), None) => {
                sink(Pair::OnlyInBill(read_bill(&b)?))?;
                bill = repeats(&mut sides.bill, &key, None, &mut sink)?;
            }
            (Some((key, b)), Some((other, l))) if key < other => {
                sink(Pair::OnlyInBill(read_bill(&b)?))?;
                bill = repeats(&mut sides.bill, &key, None, &mut sink)?;
                ledger = Some((other, l));
            }
            (Some(row), Some((other, l))) if row.0 > other => {
                sink(Pair::OnlyInLedger(read_ledger(&l)?))?;
                bill = Some(row);
                ledger = sides.ledger.read()?;
            }
            (Some((key, b)), Some((_, l))) => {
                let (b, l) = (read_bill(&b)?, read_ledger(&l)?);
                let booked = booked(sides.fees.as_mut(), &mut fee, &key)?;
                if both(&b, &l, booked.map(|fee| Booked { fee }), rules).class == LineClass::Matched {
                    summary.matched += 1;
                } else {
                    sink(Pair::Differs { bill: b, ledger: l.clone(), booked })?;
                }
                bill = repeats(&mut sides.bill, &key, Some(&l), &mut sink)?;
                ledger = sides.ledger.read()?;
            }
        }
    }
}

/// The next row of the bill behind all that have this key.
fn repeats(
    bill: &mut Sorted,
    key: &[u8],
    ledger: Option<&LedgerItem>,
    sink: &mut impl FnMut(Pair) -> Result<(), RunError>,
) -> Result<Option<Keyed>, RunError> {
    let mut repeat = 0;
    loop {
        match bill.read()? {
            Some((next, row)) if next == key => {
                repeat += 1;
                sink(Pair::Repeated { bill: read_bill(&row)?, ledger: ledger.cloned(), repeat })?;
            }
            next => return Ok(next),
        }
    }
}

/// What was booked as the fee of this key.
fn booked(fees: Option<&mut Sorted>, next: &mut Option<Keyed>, key: &[u8]) -> Result<Option<i64>, RunError> {
    let Some(fees) = fees else { return Ok(None) };
    let mut sum = None;
    while let Some((at, value)) = next.as_ref() {
        if at.as_slice() > key {
            break;
        }
        if at == key {
            sum = Some(sum.unwrap_or(0_i64).saturating_add(read_fee(value)?));
        }
        *next = fees.read()?;
    }
    Ok(sum)
}

/// Sorts a bill's rows; answers its sums, which its summary confirms.
pub(super) fn sort_bill(file: &Path, expected: Expected, sorter: &mut Sorter) -> Result<BillFigures, RunError> {
    let mut failed: Option<io::Error> = None;
    let mut coupons = 0_i64;
    let totals: TradeTotals = read::<Trades>(file, expected, |line| {
        if failed.is_none() {
            let item = bill_item(&line);
            coupons = coupons.saturating_add(line.trade().coupon.as_i64());
            failed = sorter.push(&item.ids.sort_key(), &write_bill(&item)).err();
        }
    })?;
    match failed {
        Some(e) => Err(e.into()),
        None => Ok(figures(&totals, coupons)),
    }
}

/// Reads a bill of either kind to its end.
pub(super) fn read<L: Layout>(
    file: &Path,
    expected: Expected,
    mut sink: impl FnMut(L::Line),
) -> Result<L::Totals, RunError> {
    let mut parser: Parser<L> = Parser::new(Limits::default()).expecting(expected);
    let mut file = std::fs::File::open(file)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let bytes = io::Read::read(&mut file, &mut chunk)?;
        if bytes == 0 {
            return Ok(parser.finish(|row| sink(row.line))?);
        }
        parser.feed(chunk.get(..bytes).unwrap_or_default(), |row| sink(row.line))?;
    }
}

fn figures(totals: &TradeTotals, coupons_fen: i64) -> BillFigures {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    BillFigures {
        payments: count(totals.payments),
        refunds: count(totals.refunds),
        payments_fen: totals.order.as_i64(),
        refunds_fen: totals.requested.as_i64(),
        coupons_fen,
        settlement_fen: totals.settlement.as_i64().saturating_sub(totals.refunded.as_i64()),
        fees: totals.fee.units(),
    }
}

/// A row of the bill. One that is called reversed and names no refund is about the payment itself.
fn bill_item(line: &TradeLine) -> BillItem {
    let trade = line.trade();
    let refund = line.refund().filter(|refund| refund.refund_id.is_some() || refund.out_refund_no.is_some());
    let kind = if refund.is_some() { LineKind::Refund } else { LineKind::Payment };
    BillItem {
        ids: Ids {
            kind,
            transaction_id: trade.transaction_id.clone(),
            out_trade_no: trade.out_trade_no.clone(),
            refund_no: refund.and_then(|refund| refund.out_refund_no.clone()),
            refund_id: refund.and_then(|refund| refund.refund_id.clone()),
        },
        side: BillSide {
            fen: refund.map_or(trade.order, |refund| refund.requested).as_i64(),
            currency: trade.currency.clone(),
            settlement_fen: refund.map_or(trade.settlement, |refund| refund.amount).as_i64(),
            fee: trade.fee.units(),
            rate: trade.rate_text.clone(),
            time: trade.time,
            status: refund.map_or(&trade.state, |refund| &refund.state).clone(),
            appid: trade.appid.clone(),
        },
    }
}
