//! Bills as WeChat writes them: UTF-8 with a byte order mark, CRLF, a backtick in front of every value.

use super::day::spaced;
use super::fund_rows::{FundRow, yuan};
use super::trade_rows::{RefundRow, TradeRow};

/// Which rows and columns a trade bill has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum TradeBill {
    All,
    Success,
    Refund,
    RechargeRefund,
}

const BEGIN: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,\
    付款银行,货币种类,应结订单金额,代金券金额,";
const TIMES: &str = "退款申请时间,退款成功时间,";
const REFUND: &str = "微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,";
const TRADE_SUMMARY: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";
const FUNDS: &str = "记账时间,微信支付业务单号,资金流水单号,业务名称,业务类型,收支类型,收支金额（元）,账户结余（元）,\
    资金变更提交申请人,备注,业务凭证号";
const FUND_SUMMARY: &str = "资金流水总笔数,收入笔数,收入金额,支出笔数,支出金额";

impl TradeBill {
    /// By WeChat's word; ALL where there is none.
    pub fn parse(text: Option<&str>) -> Option<TradeBill> {
        match text {
            None | Some("ALL") => Some(TradeBill::All),
            Some("SUCCESS") => Some(TradeBill::Success),
            Some("REFUND") => Some(TradeBill::Refund),
            Some("RECHARGE_REFUND") => Some(TradeBill::RechargeRefund),
            Some(_) => None,
        }
    }

    pub fn holds(self, row: &TradeRow) -> bool {
        match (self, &row.refund) {
            (TradeBill::All, _) => true,
            (TradeBill::Success, refund) => refund.is_none(),
            (TradeBill::Refund, refund) => refund.is_some(),
            (TradeBill::RechargeRefund, refund) => refund.as_ref().is_some_and(|refund| refund.coupon > 0),
        }
    }

    fn header(self) -> String {
        let end = |fee: &str, requested: &str| format!("商品名称,商户数据包,{fee},费率,订单金额,{requested}费率备注");
        match self {
            TradeBill::All => format!("{BEGIN}{REFUND}{}", end("手续费", "申请退款金额,")),
            TradeBill::Success => format!("{BEGIN}{}", end("手续费", "")),
            TradeBill::Refund => format!("{BEGIN}{TIMES}{REFUND}{}", end("手续费", "申请退款金额,")),
            TradeBill::RechargeRefund => format!("{BEGIN}{TIMES}{REFUND}{}", end("返还手续费", "申请退款金额,")),
        }
    }

    /// The whole file. `more` is added to the summary's count: a planted contradiction.
    pub fn write(self, rows: &[TradeRow], more: i64) -> String {
        let sum = |amount: fn(&TradeRow) -> i64| rows.iter().map(amount).sum::<i64>();
        let of_refunds =
            |amount: fn(&RefundRow) -> i64| rows.iter().filter_map(|row| row.refund.as_ref()).map(amount).sum();
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX).saturating_add(more);
        let summary = [
            count.to_string(),
            yuan(sum(|row| row.settlement)),
            yuan(of_refunds(|refund| refund.amount)),
            yuan(of_refunds(|refund| refund.coupon)),
            fee(sum(|row| row.fee)),
            yuan(sum(|row| row.order)),
            yuan(of_refunds(|refund| refund.requested)),
        ];
        file(&self.header(), rows.iter().map(|row| self.cells(row)), TRADE_SUMMARY, &summary)
    }

    fn cells(self, row: &TradeRow) -> Vec<String> {
        let mut cells = vec![
            spaced(row.time),
            row.appid.clone(),
            row.mch_id.clone(),
            "0".to_owned(),
            plain(&row.device_info),
            row.transaction_id.clone(),
            row.out_trade_no.clone(),
            row.openid.clone(),
            row.trade_type.clone(),
            row.trade_state.clone(),
            row.bank_type.clone(),
            row.currency.clone(),
            yuan(row.settlement),
            yuan(row.coupon),
        ];
        let refund = row.refund.as_ref();
        if matches!(self, TradeBill::Refund | TradeBill::RechargeRefund) {
            cells.push(refund.map(|refund| spaced(refund.requested_at)).unwrap_or_default());
            cells.push(refund.and_then(|refund| refund.succeeded_at).map(spaced).unwrap_or_default());
        }
        if self != TradeBill::Success {
            cells.extend(match refund {
                Some(refund) => [
                    refund.refund_id.clone(),
                    refund.out_refund_no.clone(),
                    yuan(refund.amount),
                    yuan(refund.coupon),
                    "ORIGINAL".to_owned(),
                    refund.state.clone(),
                ],
                None => ["0", "0", "0.00", "0.00", "", ""].map(str::to_owned),
            });
        }
        cells.extend([plain(&row.body), plain(&row.attach), fee(row.fee), "0.60%".to_owned(), yuan(row.order)]);
        if self != TradeBill::Success {
            cells.push(yuan(refund.map_or(0, |refund| refund.requested)));
        }
        cells.push(String::new());
        cells
    }
}

/// The whole file of an account.
pub(in crate::sandbox) fn fund_flow(rows: &[FundRow]) -> String {
    let cells = rows.iter().map(|row| {
        vec![
            spaced(row.time),
            row.business_no.clone(),
            row.flow_no.clone(),
            row.kind.to_owned(),
            row.kind.to_owned(),
            if row.is_income { "收入" } else { "支出" }.to_owned(),
            yuan(row.amount),
            yuan(row.balance),
            row.requested_by.clone(),
            plain(&row.remark),
            row.voucher_no.clone(),
        ]
    });
    let side = |is_income: bool| rows.iter().filter(move |row| row.is_income == is_income);
    let sum = |is_income: bool| yuan(side(is_income).map(|row| row.amount).sum());
    let count = |is_income: bool| format!("{}.0", side(is_income).count());
    let summary = [format!("{}.0", rows.len()), count(true), sum(true), count(false), sum(false)];
    file(FUNDS, cells, FUND_SUMMARY, &summary)
}

fn file(header: &str, rows: impl Iterator<Item = Vec<String>>, summary: &str, sums: &[String]) -> String {
    let values = |cells: &[String]| format!("`{}\r\n", cells.join(",`"));
    let mut text = format!("\u{feff}{header}\r\n");
    rows.for_each(|cells| text.push_str(&values(&cells)));
    text.push_str(&format!("{summary}\r\n"));
    text.push_str(&values(sums));
    text
}

/// Fees have five decimals.
fn fee(fen: i64) -> String {
    format!("{}000", yuan(fen))
}

/// A comma of a merchant's text is backslash and blank, a line break backslash and `n`.
fn plain(text: &str) -> String {
    text.replace(',', "\\ ").replace("\r\n", "\\n").replace(['\n', '\r'], "\\n")
}
