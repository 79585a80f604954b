//! One pass over both sides in the order of their keys. Runs on a thread of its own; what is not matched leaves it in
//! small parts.

use super::codec::{read_bill, read_fee, read_ledger};
use super::error::RunError;
use super::sorter::Sorted;
use crate::reconciliation::{BillItem, Booked, LedgerItem, LineClass, Rules, both};

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
