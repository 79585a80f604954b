//! Rows of both sides as bytes of the sorter: numbers of eight bytes, texts with their length in front.

use std::io;

use crate::clock::Timestamp;
use crate::reconciliation::{BillItem, BillSide, Ids, LedgerItem, LedgerSide, LineKind};

/// Longer texts are cut: of a number that long nothing of ours has the like.
const TEXT_BYTES: usize = 256;

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, n: i64) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        let mut end = text.len().min(TEXT_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        self.0.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn option(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        text.into_iter().for_each(|text| self.text(text));
    }

    fn ids(&mut self, ids: &Ids) {
        self.0.push(u8::from(ids.kind == LineKind::Refund));
        self.text(&ids.transaction_id);
        self.text(&ids.out_trade_no);
        self.option(ids.refund_no.as_deref());
        self.option(ids.refund_id.as_deref());
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, n: usize) -> io::Result<&'b [u8]> {
        let (part, rest) = self.0.split_at_checked(n).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(part)
    }

    fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn number(&mut self) -> io::Result<i64> {
        Ok(i64::from_le_bytes(self.take(8)?.try_into().map_err(|_| damaged())?))
    }

    fn text(&mut self) -> io::Result<String> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().map_err(|_| damaged())?);
        String::from_utf8(self.take(usize::from(length))?.to_vec()).map_err(|_| damaged())
    }

    fn option(&mut self) -> io::Result<Option<String>> {
        if self.byte()? == 1 { self.text().map(Some) } else { Ok(None) }
    }

    fn ids(&mut self) -> io::Result<Ids> {
        let kind = if self.byte()? == 1 { LineKind::Refund } else { LineKind::Payment };
        let (transaction_id, out_trade_no) = (self.text()?, self.text()?);
        Ok(Ids { kind, transaction_id, out_trade_no, refund_no: self.option()?, refund_id: self.option()? })
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a sorted row is damaged")
}

pub fn write_bill(item: &BillItem) -> Vec<u8> {
    let mut out = Writer::default();
    out.ids(&item.ids);
    let side = &item.side;
    [side.fen, side.settlement_fen, side.fee, side.time.as_ms()].into_iter().for_each(|n| out.number(n));
    [&side.currency, &side.rate, &side.status, &side.appid].into_iter().for_each(|text| out.text(text));
    out.0
}

pub fn read_bill(bytes: &[u8]) -> io::Result<BillItem> {
    let mut from = Reader(bytes);
    let ids = from.ids()?;
    let [fen, settlement_fen, fee, time] = [from.number()?, from.number()?, from.number()?, from.number()?];
    let [currency, rate, status, appid] = [from.text()?, from.text()?, from.text()?, from.text()?];
    let time = Timestamp::from_ms(time);
    Ok(BillItem { ids, side: BillSide { fen, currency, settlement_fen, fee, rate, time, status, appid } })
}

pub fn write_ledger(item: &LedgerItem) -> Vec<u8> {
    let mut out = Writer::default();
    out.ids(&item.ids);
    out.option(item.order_no.as_deref());
    let side = &item.side;
    [side.fen, side.time.as_ms(), i64::from(side.counts), i64::from(side.is_certain)]
        .into_iter()
        .for_each(|n| out.number(n));
    [&side.currency, &side.state].into_iter().for_each(|text| out.text(text));
    out.0
}

pub fn read_ledger(bytes: &[u8]) -> io::Result<LedgerItem> {
    let mut from = Reader(bytes);
    let (ids, order_no) = (from.ids()?, from.option()?);
    let [fen, time, counts, is_certain] = [from.number()?, from.number()?, from.number()?, from.number()?];
    let (currency, state) = (from.text()?, from.text()?);
    let time = Timestamp::from_ms(time);
    let side = LedgerSide { fen, currency, state, time, counts: counts == 1, is_certain: is_certain == 1 };
    Ok(LedgerItem { ids, order_no, side })
}

/// A refund of the bill: what is settled of it in fen, and the key of its row.
pub fn write_refund(settlement_fen: i64, key: &[u8]) -> Vec<u8> {
    [settlement_fen.to_le_bytes().as_slice(), key].concat()
}

pub fn read_refund(bytes: &[u8]) -> io::Result<(i64, &[u8])> {
    let mut from = Reader(bytes);
    Ok((from.number()?, from.0))
}

/// A fee that was booked, in 1/100,000 yuan; or an amount in fen.
pub fn write_fee(fee: i64) -> Vec<u8> {
    fee.to_le_bytes().to_vec()
}

pub fn read_fee(bytes: &[u8]) -> io::Result<i64> {
    Reader(bytes).number()
}
