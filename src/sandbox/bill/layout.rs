//! Bills as WeChat writes them: a backtick in front of every value, no quoting; columns, line ends and the rest in the
//! form that was chosen.

use super::day::spaced;
use super::form::{Form, FundUnit};
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

/// A column: its name, and its value in a row.
type Column<R> = (String, Box<dyn Fn(&R) -> String>);

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

    /// The whole file. `more` is added to the summary's count: a planted contradiction.
    pub fn write(self, rows: &[TradeRow], more: i64, form: Form) -> String {
        let mut columns = begin(form);
        if matches!(self, TradeBill::Refund | TradeBill::RechargeRefund) {
            let time = move |at| timed(at, form);
            put(&mut columns, "退款申请时间", move |row| of_refund(row, "", |refund| time(refund.requested_at)));
            put(&mut columns, "退款成功时间", move |row| {
                of_refund(row, "", |refund| refund.succeeded_at.map(time).unwrap_or_default())
            });
        }
        if self != TradeBill::Success {
            refund_columns(&mut columns, form);
        }
        self.end_columns(&mut columns, form);
        file(columns, rows, self.summary(rows, more, form), form)
    }

    fn end_columns(self, columns: &mut Vec<Column<TradeRow>>, form: Form) {
        put(columns, "商品名称", |row| plain(&row.body));
        put(columns, "商户数据包", |row| plain(&row.attach));
        let fee_name = if self == TradeBill::RechargeRefund { "返还手续费" } else { "手续费" };
        put(columns, fee_name, |row| fee(row.fee));
        put(columns, "费率", |_| "0.60%".to_owned());
        if form.legacy {
            return;
        }
        put(columns, "订单金额", move |row| amount(row.order, form));
        if self != TradeBill::Success {
            put(columns, "申请退款金额", move |row| {
                amount(row.refund.as_ref().map_or(0, |refund| refund.requested), form)
            });
        }
        put(columns, "费率备注", |_| String::new());
    }

    /// Names and values.
    fn summary(self, rows: &[TradeRow], more: i64, form: Form) -> Vec<(&'static str, String)> {
        let sum = |of: fn(&TradeRow) -> i64| rows.iter().map(of).sum::<i64>();
        let refunded = |of: fn(&RefundRow) -> i64| rows.iter().filter_map(|row| row.refund.as_ref()).map(of).sum();
        let count = i64::try_from(rows.len()).unwrap_or(i64::MAX).saturating_add(more);
        let count = if form.short_numbers { format!("{count}.0") } else { count.to_string() };
        let fees = sum(|row| row.fee);
        let fees = if form.short_numbers { yuan(fees) } else { fee(fees) };
        let money = |fen: i64| amount(fen, form);
        let (amounts, coupons) = (money(refunded(|refund| refund.amount)), money(refunded(|refund| refund.coupon)));
        let (settled, ordered) = (money(sum(|row| row.settlement)), money(sum(|row| row.order)));
        if form.legacy {
            return vec![
                ("总交易单数", count),
                ("总交易额", ordered),
                ("总退款金额", amounts),
                ("总代金券或立减优惠退款金额", coupons),
                ("手续费总金额", fees),
            ];
        }
        if form.short_summary && self == TradeBill::Success {
            let sums = [("应结订单总金额", settled), ("手续费总金额", fees), ("订单总金额", ordered)];
            return [("总交易单数", count)].into_iter().chain(sums).collect();
        }
        vec![
            ("总交易单数", count),
            ("应结订单总金额", settled),
            ("退款总金额", amounts),
            ("充值券退款总金额", coupons),
            ("手续费总金额", fees),
            ("订单总金额", ordered),
            ("申请退款总金额", money(refunded(|refund| refund.requested))),
        ]
    }
}

fn put<R>(columns: &mut Vec<Column<R>>, name: &str, value: impl Fn(&R) -> String + 'static) {
    columns.push((name.to_owned(), Box::new(value)));
}

fn begin(form: Form) -> Vec<Column<TradeRow>> {
    let mut columns: Vec<Column<TradeRow>> = Vec::new();
    put(&mut columns, "交易时间", move |row| timed(row.time, form));
    put(&mut columns, "公众账号ID", |row| row.appid.clone());
    put(&mut columns, "商户号", |row| row.mch_id.clone());
    put(&mut columns, if form.legacy { "子商户号" } else { "特约商户号" }, |_| "0".to_owned());
    put(&mut columns, "设备号", |row| plain(&row.device_info));
    put(&mut columns, "微信订单号", |row| row.transaction_id.clone());
    put(&mut columns, "商户订单号", |row| row.out_trade_no.clone());
    put(&mut columns, "用户标识", |row| row.openid.clone());
    put(&mut columns, "交易类型", |row| row.trade_type.clone());
    put(&mut columns, "交易状态", |row| row.trade_state.clone());
    put(&mut columns, "付款银行", |row| row.bank_type.clone());
    put(&mut columns, "货币种类", |row| row.currency.clone());
    if form.legacy {
        put(&mut columns, "总金额", move |row| amount(row.order, form));
        put(&mut columns, "代金券或立减优惠金额", move |row| amount(row.coupon, form));
    } else {
        put(&mut columns, "应结订单金额", move |row| amount(row.settlement, form));
        put(&mut columns, "代金券金额", move |row| amount(row.coupon, form));
    }
    columns
}

fn refund_columns(columns: &mut Vec<Column<TradeRow>>, form: Form) {
    let none = if form.short_numbers { "0" } else { "0.00" };
    put(columns, "微信退款单号", |row| of_refund(row, "0", |refund| refund.refund_id.clone()));
    put(columns, "商户退款单号", |row| of_refund(row, "0", |refund| refund.out_refund_no.clone()));
    put(columns, "退款金额", move |row| of_refund(row, none, |refund| amount(refund.amount, form)));
    let coupons = if form.legacy { "代金券或立减优惠退款金额" } else { "充值券退款金额" };
    put(columns, coupons, move |row| of_refund(row, none, |refund| amount(refund.coupon, form)));
    put(columns, "退款类型", |row| of_refund(row, "", |_| "ORIGINAL".to_owned()));
    put(columns, "退款状态", |row| of_refund(row, "", |refund| refund.state.clone()));
}

fn of_refund(row: &TradeRow, none: &str, value: impl Fn(&RefundRow) -> String) -> String {
    row.refund.as_ref().map_or_else(|| none.to_owned(), value)
}

/// The whole file of an account.
pub(in crate::sandbox) fn fund_flow(rows: &[FundRow], form: Form) -> String {
    let money = move |fen: i64| if form.unit == FundUnit::Fen { fen.to_string() } else { yuan(fen) };
    let named = |name: &str| format!("{name}{}", form.unit.brackets());
    let mut columns: Vec<Column<FundRow>> = Vec::new();
    put(&mut columns, "记账时间", move |row| timed(row.time, form));
    put(&mut columns, "微信支付业务单号", |row| row.business_no.clone());
    put(&mut columns, "资金流水单号", |row| row.flow_no.clone());
    put(&mut columns, "业务名称", |row| row.kind.to_owned());
    put(&mut columns, "业务类型", |row| row.kind.to_owned());
    put(&mut columns, "收支类型", |row| if row.is_income { "收入" } else { "支出" }.to_owned());
    put(&mut columns, &named("收支金额"), move |row| money(row.amount));
    put(&mut columns, &named("账户结余"), move |row| money(row.balance));
    put(&mut columns, "资金变更提交申请人", |row| row.requested_by.clone());
    put(&mut columns, "备注", |row| plain(&row.remark));
    put(&mut columns, "业务凭证号", |row| row.voucher_no.clone());
    let side = |is_income: bool| rows.iter().filter(move |row| row.is_income == is_income);
    let sum = |is_income: bool| money(side(is_income).map(|row| row.amount).sum());
    let count = |is_income: bool| format!("{}.0", side(is_income).count());
    // A sum in fen says so, as its column does.
    let (income, expense) = match form.unit {
        FundUnit::Fen => ("收入金额(分)", "支出金额(分)"),
        FundUnit::WideYuan | FundUnit::Yuan | FundUnit::Unsaid => ("收入金额", "支出金额"),
    };
    let summary = vec![
        ("资金流水总笔数", format!("{}.0", rows.len())),
        ("收入笔数", count(true)),
        (income, sum(true)),
        ("支出笔数", count(false)),
        (expense, sum(false)),
    ];
    file(columns, rows, summary, form)
}

fn file<R>(mut columns: Vec<Column<R>>, rows: &[R], summary: Vec<(&str, String)>, form: Form) -> String {
    if form.reversed
        && let Some(behind) = columns.get_mut(1..)
    {
        behind.reverse();
    }
    let values = |cells: Vec<String>| format!("`{}", cells.join(",`"));
    let mut lines = vec![columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")];
    lines.extend(rows.iter().map(|row| values(columns.iter().map(|(_, value)| value(row)).collect())));
    let (names, sums): (Vec<&str>, Vec<String>) = summary.into_iter().unzip();
    lines.extend([names.join(","), values(sums)]);
    let end = if form.crlf { "\r\n" } else { "\n" };
    let mark = if form.byte_order_mark { "\u{feff}" } else { "" };
    let last = if form.last_line_ended { end } else { "" };
    format!("{mark}{}{last}", lines.join(end))
}

fn timed(at: crate::clock::Timestamp, form: Form) -> String {
    let text = spaced(at);
    if form.wide_colons { text.replace(':', "：") } else { text }
}

fn amount(fen: i64, form: Form) -> String {
    let text = yuan(fen);
    if !form.short_numbers {
        return text;
    }
    let short = text.strip_suffix(".00").or_else(|| text.strip_suffix('0')).unwrap_or(&text);
    short.to_owned()
}

/// Fees have five decimals.
fn fee(fen: i64) -> String {
    format!("{}000", yuan(fen))
}

/// A comma of a merchant's text is backslash and blank, a line break backslash and `n`.
fn plain(text: &str) -> String {
    text.replace(',', "\\ ").replace("\r\n", "\\n").replace(['\n', '\r'], "\\n")
}
