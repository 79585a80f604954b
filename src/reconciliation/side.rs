//! A row of the bill, a row of ours, and their common key.

use crate::clock::Timestamp;

/// What money is in, unless a row says otherwise.
pub const YUAN: &str = "CNY";

/// What moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineKind {
    Payment,
    Refund,
}

named!(LineKind { Payment = "payment", Refund = "refund" });

impl LineKind {
    /// Of an amount of this kind, what it does to the total.
    pub const fn signed(self, fen: i64) -> i64 {
        match self {
            LineKind::Payment => fen,
            LineKind::Refund => -fen,
        }
    }
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    pub kind: LineKind,
    pub transaction_id: String,
    pub out_trade_no: String,
    /// The merchant's own number of the refund.
    pub refund_no: Option<String>,
    /// WeChat's number of the refund.
    pub refund_id: Option<String>,
}

impl Ids {
    /// Rows of both sides with the same key are about the same money. Payments stand before their refunds.
    pub fn sort_key(&self) -> Vec<u8> {
        let refund = match (self.kind, &self.refund_no, &self.refund_id) {
            (LineKind::Payment, _, _) => String::new(),
            (LineKind::Refund, Some(number), _) => format!("n{number}"),
            (LineKind::Refund, None, Some(id)) => format!("i{id}"),
            (LineKind::Refund, None, None) => "-".to_owned(),
        };
        let mut key = Vec::with_capacity(self.transaction_id.len() + refund.len() + 1);
        key.extend_from_slice(self.transaction_id.as_bytes());
        key.push(0);
        key.extend_from_slice(refund.as_bytes());
        key
    }
}

/// The bill's side. Amounts in fen, fees in 1/100,000 yuan with the bill's sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillSide {
    /// Of a payment 订单金额, of a refund 申请退款金额.
    pub fen: i64,
    pub currency: String,
    /// Of a payment 应结订单金额, of a refund 退款金额: what the fee is taken on.
    pub settlement_fen: i64,
    pub fee: i64,
    /// 费率 as it stands.
    pub rate: String,
    pub time: Timestamp,
    /// `SUCCESS`, `REVOKED`, or the refund's state of the day.
    pub status: String,
    pub appid: String,
}

/// A row of the bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillItem {
    pub ids: Ids,
    pub side: BillSide,
}

/// Our side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSide {
    pub fen: i64,
    pub currency: String,
    /// A payment's class, a refund's state.
    pub state: String,
    /// When it was paid; when WeChat accepted the refund.
    pub time: Timestamp,
    /// Whether it is in the books: a refund is once the payer has the money.
    pub counts: bool,
    /// Whether `time` is WeChat's own, or that of a call which it answered.
    pub is_certain: bool,
}

impl LedgerSide {
    /// What of it is in the books.
    pub fn counted_fen(&self) -> i64 {
        if self.counts { self.fen } else { 0 }
    }
}

/// A row of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerItem {
    pub ids: Ids,
    pub order_no: Option<String>,
    pub side: LedgerSide,
}
