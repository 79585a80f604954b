//! Bills: layouts, bytes in pieces, hostile input.

mod download;
mod edges;
mod hostile;
mod layouts;
mod pieces;

use wxpay_worker::wechat::v2::bill::{BillError, Limits, Parser, Row, TradeLine, TradeTotals, Trades};

pub const HEADER: &str = "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,\
    付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,\
    商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
pub const SUMMARY: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

/// A payment of one yuan for this product.
pub fn payment(product: &str) -> String {
    format!(
        "`2025-01-02 11:16:33,`wx88,`1900000109,`0,`,`42000,`T1,`openid-of-a-payer,`JSAPI,`SUCCESS,`OTHERS,`CNY,`1.00,\
         `0.00,`0,`0,`0.00,`0.00,`,`,`{product},`,`0.01000,`0.60%,`1.00,`0.00,`"
    )
}

/// A bill of these rows, payments of one yuan each.
pub fn bill(rows: &[String]) -> String {
    let n = rows.len();
    let summary = format!("`{n},`{n}.00,`0.00,`0.00,`{}.{:02},`{n}.00,`0.00", n / 100, n % 100);
    let mut lines = vec![HEADER.to_owned()];
    lines.extend(rows.iter().cloned());
    lines.extend([SUMMARY.to_owned(), summary]);
    lines.join("\n")
}

pub fn read(bill: &[u8]) -> Result<(Vec<Row<TradeLine>>, TradeTotals), BillError> {
    read_in(bill, bill.len().max(1), Limits::default())
}

pub fn read_in(bill: &[u8], piece: usize, limits: Limits) -> Result<(Vec<Row<TradeLine>>, TradeTotals), BillError> {
    let (mut rows, mut last) = (Vec::new(), Vec::new());
    let mut parser = Parser::<Trades>::new(limits);
    for piece in bill.chunks(piece) {
        parser.feed(piece, |row| rows.push(row))?;
    }
    let totals = parser.finish(|row| last.push(row))?;
    rows.extend(last);
    Ok((rows, totals))
}
