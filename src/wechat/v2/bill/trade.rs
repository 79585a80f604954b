//! Trade bills: payments and refunds, in each layout that WeChat has or had.

use std::fmt;
use std::sync::Arc;

use super::cells::{Cells, Header, OtherCell};
use super::decimal::{Rate, Yuan};
use super::error::{BillError, Flaw};
use super::parser::Layout;
use super::request::Expected;
use super::trade_totals::{Amounts, RefundAmounts, TradeTotals};
use crate::clock::Timestamp;
use crate::money::Fen;

/// The kind of bill: ALL, SUCCESS, REFUND and RECHARGE_REFUND differ in their columns only.
#[derive(Debug)]
pub enum Trades {}

/// A row of a trade bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TradeLine {
    /// Money came in.
    Payment(Trade),
    /// A refund was accepted on this day, whatever became of it. The trade is the payment's; its amounts are zero.
    Refund(Trade, Refund),
}

impl TradeLine {
    /// What both have.
    pub const fn trade(&self) -> &Trade {
        match self {
            TradeLine::Payment(trade) | TradeLine::Refund(trade, _) => trade,
        }
    }

    pub const fn refund(&self) -> Option<&Refund> {
        match self {
            TradeLine::Payment(_) => None,
            TradeLine::Refund(_, refund) => Some(refund),
        }
    }
}

/// What payments and refunds have. Texts are as they stand in the bill: WeChat writes a comma of a merchant's text as
/// backslash and blank, a line break as backslash and `n`. What the merchant wrote may be about a person: `Debug` does
/// not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Trade {
    /// When it was paid; of a refund, when it was requested.
    pub time: Timestamp,
    pub appid: String,
    pub mch_id: String,
    pub sub_mch_id: Option<String>,
    /// `device_info`.
    pub device: Option<String>,
    pub transaction_id: String,
    pub out_trade_no: String,
    pub openid: Personal,
    /// WeChat's word; an open list.
    pub trade_type: String,
    /// WeChat's word: `SUCCESS`, `REFUND` or `REVOKED`.
    pub state: String,
    /// The bank's short name.
    pub bank: String,
    /// Three letters.
    pub currency: String,
    /// 应结订单金额: the order less coupons that were not paid for in advance.
    pub settlement: Fen,
    /// 代金券金额: coupons of the payment.
    pub coupon: Fen,
    /// 订单金额: `total_fee`. Zero in refunds.
    pub order: Fen,
    /// 商品名称.
    pub product: String,
    /// 商户数据包.
    pub attach: String,
    /// 手续费, with its sign.
    pub fee: Yuan,
    /// 费率 as it stands.
    pub rate_text: String,
    /// 费率, where it is one.
    pub rate: Option<Rate>,
    /// 费率备注.
    pub rate_note: String,
    /// Columns that this program does not know.
    pub others: Vec<OtherCell>,
}

impl fmt::Debug for Trade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trade")
            .field("time", &self.time)
            .field("appid", &self.appid)
            .field("mch_id", &self.mch_id)
            .field("transaction_id", &self.transaction_id)
            .field("out_trade_no", &self.out_trade_no)
            .field("trade_type", &self.trade_type)
            .field("state", &self.state)
            .field("currency", &self.currency)
            .field("settlement", &self.settlement)
            .field("coupon", &self.coupon)
            .field("order", &self.order)
            .field("fee", &self.fee)
            .field("rate", &self.rate)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

/// The refund of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    pub kind: RefundKind,
    /// WeChat's number.
    pub refund_id: Option<String>,
    /// The merchant's own; a reversal has none.
    pub out_refund_no: Option<String>,
    /// 退款金额: what leaves the merchant's account.
    pub amount: Fen,
    /// 充值券退款金额: the part of coupons that were paid for in advance.
    pub coupon: Fen,
    /// 申请退款金额: `refund_fee`. In the oldest layouts, which lack it, the same as `amount`.
    pub requested: Fen,
    /// 退款类型: `ORIGINAL`, `BALANCE`…
    pub refund_type: String,
    /// 退款状态 on the day of the bill, never updated: `SUCCESS`, `PROCESSING`, `FAIL`, `CHANGE`…
    pub state: String,
    /// 退款申请时间, in REFUND bills.
    pub requested_at: Option<Timestamp>,
    /// 退款成功时间, in REFUND bills.
    pub succeeded_at: Option<Timestamp>,
}

/// How money went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundKind {
    /// `REFUND`.
    Refund,
    /// `REVOKED`: a card payment at a till that was reversed.
    Reversal,
}

/// Personal data: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Personal(String);

impl Personal {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal")
    }
}

/// Where the columns are.
pub struct Columns {
    time: usize,
    appid: usize,
    mch_id: usize,
    sub_mch_id: Option<usize>,
    device: Option<usize>,
    transaction_id: usize,
    out_trade_no: usize,
    openid: Option<usize>,
    trade_type: usize,
    state: usize,
    bank: Option<usize>,
    currency: usize,
    settlement: Option<usize>,
    coupon: Option<usize>,
    order: usize,
    product: Option<usize>,
    attach: Option<usize>,
    fee: usize,
    rate: Option<usize>,
    rate_note: Option<usize>,
    refund: Option<RefundColumns>,
    others: Vec<(usize, Arc<str>)>,
}

struct RefundColumns {
    refund_id: usize,
    out_refund_no: usize,
    amount: usize,
    state: usize,
    coupon: Option<usize>,
    refund_type: Option<usize>,
    requested: Option<usize>,
    requested_at: Option<usize>,
    succeeded_at: Option<usize>,
}

impl RefundColumns {
    /// All of the mandatory ones, or none of any.
    fn find(header: &Header) -> Result<Option<RefundColumns>, BillError> {
        const MANDATORY: [&str; 4] = ["微信退款单号", "商户退款单号", "退款金额", "退款状态"];
        if !MANDATORY.iter().any(|name| header.has(name)) {
            return Ok(None);
        }
        Ok(Some(RefundColumns {
            refund_id: header.require(&["微信退款单号"])?,
            out_refund_no: header.require(&["商户退款单号"])?,
            amount: header.require(&["退款金额"])?,
            state: header.require(&["退款状态"])?,
            coupon: header.find(&["充值券退款金额", "代金券或立减优惠退款金额", "企业红包退款金额"])?,
            refund_type: header.find(&["退款类型"])?,
            requested: header.find(&["申请退款金额"])?,
            requested_at: header.find(&["退款申请时间"])?,
            succeeded_at: header.find(&["退款成功时间"])?,
        }))
    }

    fn read(&self, kind: RefundKind, cells: &Cells<'_>) -> Result<Refund, BillError> {
        let amount = cells.unsigned_fen(self.amount)?;
        let refund_id = cells.number(Some(self.refund_id));
        let out_refund_no = cells.number(Some(self.out_refund_no));
        // A reversal belongs to its payment as a whole.
        if kind == RefundKind::Refund && refund_id.is_none() && out_refund_no.is_none() {
            return Err(cells.error(self.refund_id, Flaw::Nothing));
        }
        Ok(Refund {
            kind,
            refund_id,
            out_refund_no,
            amount,
            coupon: cells.unsigned_fen_or_zero(self.coupon)?,
            requested: self.requested.map_or(Ok(amount), |column| cells.unsigned_fen(column))?,
            refund_type: cells.optional(self.refund_type).to_owned(),
            state: cells.text(self.state).trim().to_owned(),
            requested_at: cells.optional_time(self.requested_at)?,
            succeeded_at: cells.optional_time(self.succeeded_at)?,
        })
    }

    fn all(&self) -> [Option<usize>; 9] {
        [
            Some(self.refund_id),
            Some(self.out_refund_no),
            Some(self.amount),
            Some(self.state),
            self.coupon,
            self.refund_type,
            self.requested,
            self.requested_at,
            self.succeeded_at,
        ]
    }
}

impl Columns {
    fn find(header: &Header) -> Result<Columns, BillError> {
        let mut columns = Columns {
            time: header.require(&["交易时间"])?,
            appid: header.require(&["公众账号ID"])?,
            mch_id: header.require(&["商户号"])?,
            sub_mch_id: header.find(&["特约商户号", "子商户号"])?,
            device: header.find(&["设备号"])?,
            transaction_id: header.require(&["微信订单号"])?,
            out_trade_no: header.require(&["商户订单号"])?,
            openid: header.find(&["用户标识"])?,
            trade_type: header.require(&["交易类型"])?,
            state: header.require(&["交易状态"])?,
            bank: header.find(&["付款银行"])?,
            currency: header.require(&["货币种类"])?,
            settlement: header.find(&["应结订单金额"])?,
            coupon: header.find(&["代金券金额", "代金券或立减优惠金额", "企业红包金额"])?,
            order: header.require(&["订单金额", "总金额"])?,
            product: header.find(&["商品名称"])?,
            attach: header.find(&["商户数据包"])?,
            fee: header.require(&["手续费", "返还手续费"])?,
            rate: header.find(&["费率"])?,
            rate_note: header.find(&["费率备注"])?,
            refund: RefundColumns::find(header)?,
            others: Vec::new(),
        };
        columns.others = header.others(&columns.all());
        Ok(columns)
    }

    fn all(&self) -> Vec<Option<usize>> {
        let required = [
            self.time,
            self.appid,
            self.mch_id,
            self.transaction_id,
            self.out_trade_no,
            self.trade_type,
            self.state,
            self.currency,
            self.order,
            self.fee,
        ];
        let optional = [
            self.sub_mch_id,
            self.device,
            self.openid,
            self.bank,
            self.settlement,
            self.coupon,
            self.product,
            self.attach,
            self.rate,
            self.rate_note,
        ];
        let of_refunds = self.refund.iter().flat_map(RefundColumns::all);
        required.into_iter().map(Some).chain(optional).chain(of_refunds).collect()
    }

    fn trade(&self, cells: &Cells<'_>) -> Result<Trade, BillError> {
        let order = cells.unsigned_fen(self.order)?;
        let rate_text = cells.optional(self.rate).trim();
        Ok(Trade {
            time: cells.time(self.time)?,
            appid: cells.text(self.appid).to_owned(),
            mch_id: cells.required(self.mch_id)?,
            sub_mch_id: cells.number(self.sub_mch_id),
            device: Some(cells.optional(self.device)).filter(|text| !text.is_empty()).map(str::to_owned),
            transaction_id: cells.required(self.transaction_id)?,
            out_trade_no: cells.required(self.out_trade_no)?,
            openid: Personal(cells.optional(self.openid).to_owned()),
            trade_type: cells.text(self.trade_type).to_owned(),
            state: cells.text(self.state).trim().to_owned(),
            bank: cells.optional(self.bank).to_owned(),
            currency: cells.required(self.currency)?,
            // The oldest layouts have one amount for both.
            settlement: self.settlement.map_or(Ok(order), |column| cells.unsigned_fen(column))?,
            coupon: cells.unsigned_fen_or_zero(self.coupon)?,
            order,
            product: cells.optional(self.product).to_owned(),
            attach: cells.optional(self.attach).to_owned(),
            fee: cells.yuan(self.fee)?,
            rate_text: rate_text.to_owned(),
            rate: Rate::parse(rate_text).ok(),
            rate_note: cells.optional(self.rate_note).to_owned(),
            others: cells.others(&self.others),
        })
    }
}

impl Layout for Trades {
    type Line = TradeLine;
    type Totals = TradeTotals;
    type Columns = Columns;
    const FIRST: &'static str = "交易时间";
    const SUMMARY: &'static str = "总交易单数";

    fn columns(header: &Header) -> Result<Columns, BillError> {
        Columns::find(header)
    }

    fn read(columns: &Columns, cells: &Cells<'_>) -> Result<TradeLine, BillError> {
        let kind = match cells.text(columns.state).trim() {
            "SUCCESS" => None,
            "REFUND" => Some(RefundKind::Refund),
            "REVOKED" => Some(RefundKind::Reversal),
            _ => return Err(cells.error(columns.state, Flaw::UnknownState)),
        };
        let trade = columns.trade(cells)?;
        match (kind, &columns.refund) {
            (None, _) => Ok(TradeLine::Payment(trade)),
            (Some(kind), Some(refund)) => Ok(TradeLine::Refund(trade, refund.read(kind, cells)?)),
            (Some(_), None) => Err(cells.error(columns.state, Flaw::RefundWithoutColumns)),
        }
    }

    fn suffice(expected: &Expected, columns: &Columns) -> Result<(), Flaw> {
        let lacking = expected.has_refund_columns() && columns.refund.is_none();
        if lacking { Err(Flaw::MissingColumn("微信退款单号")) } else { Ok(()) }
    }

    fn check(expected: &Expected, line: &TradeLine) -> Result<(), Flaw> {
        expected.check_day(line.trade().time)?;
        expected.check(&line.trade().mch_id, line.refund().is_some())
    }

    fn add(totals: &mut TradeTotals, line: &TradeLine) -> Option<()> {
        let trade = line.trade();
        totals.add(&Amounts {
            settlement: trade.settlement,
            order: trade.order,
            fee: trade.fee,
            refund: line.refund().map(|refund| RefundAmounts {
                amount: refund.amount,
                coupon: refund.coupon,
                requested: refund.requested,
            }),
        })
    }

    fn compare(totals: &TradeTotals, summary: &Cells<'_>, header: &Header) -> Result<(), BillError> {
        totals.compare(summary, header)
    }
}
