//! A bill's rows in the order of their keys, and its sums per currency.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::codec::{write_bill, write_refund};
use super::error::RunError;
use super::sorter::Sorter;
use crate::money::Fen;
use crate::reconciliation::{BillFigures, BillItem, BillSide, Ids, LineKind, YUAN};
use crate::wechat::v2::bill::{Expected, Layout, Limits, Parser, TradeLine, Trades};

/// Bytes of the bill that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Currencies of one bill.
const CURRENCIES: usize = 64;

/// The sums of a bill's rows, by currency.
pub(super) type BillSums = BTreeMap<String, BillFigures>;

/// Sorts a bill's rows, whose sums its summary confirms, and into `refunds` those of refunds by WeChat's number.
pub(super) fn sort_bill(
    file: &Path,
    expected: Expected,
    sorter: &mut Sorter,
    mut refunds: Option<&mut Sorter>,
) -> Result<BillSums, RunError> {
    let mut sums = BillSums::new();
    let mut failed: Option<RunError> = None;
    read::<Trades>(file, expected, |line| {
        if failed.is_none() {
            let item = bill_item(&line);
            let refunds = refunds.as_deref_mut();
            failed = add(&mut sums, &line, &item).and_then(|()| Ok(push(&item, sorter, refunds)?)).err();
        }
    })?;
    failed.map_or(Ok(sums), Err)
}

fn push(item: &BillItem, sorter: &mut Sorter, refunds: Option<&mut Sorter>) -> io::Result<()> {
    let key = item.ids.sort_key();
    sorter.push(&key, &write_bill(item))?;
    match (refunds, &item.ids.refund_id) {
        (Some(refunds), Some(id)) => refunds.push(id.as_bytes(), &write_refund(item.side.settlement_fen, &key)),
        _ => Ok(()),
    }
}

fn add(sums: &mut BillSums, line: &TradeLine, item: &BillItem) -> Result<(), RunError> {
    let currency = Some(item.side.currency.as_str()).filter(|text| !text.is_empty()).unwrap_or(YUAN);
    if !sums.contains_key(currency) {
        if sums.len() == CURRENCIES {
            return Err(RunError::TooManyCurrencies(CURRENCIES));
        }
        sums.insert(currency.to_owned(), BillFigures::default());
    }
    let Some(sum) = sums.get_mut(currency) else { return Ok(()) };
    added(sum, line).ok_or(RunError::TooLarge)
}

/// Nothing when a sum does not fit.
fn added(sum: &mut BillFigures, line: &TradeLine) -> Option<()> {
    let trade = line.trade();
    let back = line.refund().map_or(0, |refund| refund.amount.as_i64());
    sum.payments_fen = sum.payments_fen.checked_add(trade.order.as_i64())?;
    sum.coupons_fen = sum.coupons_fen.checked_add(trade.coupon.as_i64())?;
    sum.settlement_fen = sum.settlement_fen.checked_add(trade.settlement.as_i64())?.checked_sub(back)?;
    sum.fees = sum.fees.checked_add(trade.fee.units())?;
    match line.refund() {
        None => sum.payments += 1,
        Some(refund) => {
            sum.refunds += 1;
            sum.refunds_fen = sum.refunds_fen.checked_add(refund.requested.as_i64())?;
        }
    }
    Some(())
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

/// A row of the bill. One that is called reversed and names no refund is about the payment itself: its amounts are less
/// what went back, as in the sums.
pub(super) fn bill_item(line: &TradeLine) -> BillItem {
    let trade = line.trade();
    let (refund, reversal) = match line.refund() {
        Some(refund) if refund.refund_id.is_none() && refund.out_refund_no.is_none() => (None, Some(refund)),
        refund => (refund, None),
    };
    let less = |of_payment: Fen, back: Option<Fen>| of_payment.as_i64().saturating_sub(back.map_or(0, Fen::as_i64));
    let fen = less(trade.order, reversal.map(|refund| refund.requested));
    let settlement_fen = less(trade.settlement, reversal.map(|refund| refund.amount));
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
            fen: refund.map_or(fen, |refund| refund.requested.as_i64()),
            currency: trade.currency.clone(),
            settlement_fen: refund.map_or(settlement_fen, |refund| refund.amount.as_i64()),
            fee: trade.fee.units(),
            rate: trade.rate_text.clone(),
            time: trade.time,
            status: refund.map_or(&trade.state, |refund| &refund.state).clone(),
            appid: trade.appid.clone(),
        },
    }
}
