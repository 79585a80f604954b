//! What must fail as a whole, with a readable reason and in little memory.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use wxpay_worker::wechat::setup_fault::SetupFault;
use wxpay_worker::wechat::v2::bill::{
    BillError, Flaw, Gunzip, GunzipError, Limits, Parser, RefusalKind, TradeBill, Trades,
};

use super::{HEADER, SUMMARY, bill, payment, read, read_in};

fn fails(bill: &str) -> String {
    read(bill.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_wrong_summary_fails_the_bill() {
    let bill = bill(&[payment("a"), payment("b")]);
    for (says, wrong, reason) in [
        ("`2,`2.00", "`3,`2.00", "the summary counts 3 as 总交易单数, there are 2"),
        ("`2,`2.00", "`2,`2.01", "the summary has 2.01000 as 应结订单总金额, the rows come to 2.00000"),
        ("`0.02,`2.00", "`0.03,`2.00", "the summary has 0.03000 as 手续费总金额, the rows come to 0.02000"),
        ("`0.02,`2.00,", "`0.02,`1.99,", "the summary has 1.99000 as 订单总金额, the rows come to 2.00000"),
        ("`2.00,`0.00", "`2.00,`x", "line 5, column 7 (申请退款总金额): not an amount"),
        ("`2,`2.00", "`2.5,`2.00", "line 5, column 1 (总交易单数): not a whole number"),
    ] {
        let (rows, end) = bill.rsplit_once('\n').unwrap();
        let end = match end.rfind(says) {
            Some(at) => format!("{}{wrong}{}", &end[..at], &end[at + says.len()..]),
            None => panic!("{says}"),
        };
        assert_eq!(fails(&format!("{rows}\n{end}")), reason);
    }
}

#[test]
fn rows_that_do_not_fit_fail_the_bill_with_line_and_column() {
    let with = |row: String| fails(&bill(&[payment("a"), row]));
    let row = payment("b");
    assert_eq!(with(row.replacen("11:16", "25:16", 1)), "line 3, column 1 (交易时间): not a time");
    assert_eq!(
        with(row.replacen("`1.00,`0.00,`0,", "`1.001,`0.00,`0,", 1)),
        "line 3, column 13 (应结订单金额): not an amount"
    );
    assert_eq!(with(row.replacen("`0.01000", "`0.010001", 1)), "line 3, column 23 (手续费): not an amount");
    assert_eq!(with(row.replacen("`SUCCESS", "`NEW", 1)), "line 3, column 10 (交易状态): not a known state of a trade");
    assert_eq!(with(row.replacen("`42000", "`", 1)), "line 3, column 6 (微信订单号): nothing stands there");
    assert_eq!(with(format!("{row},`extra")), "line 3: the row has 28 cells, the header 27 columns");
    assert_eq!(with(row.replacen(",`CNY", "", 1)), "line 3: the row has 26 cells, the header 27 columns");
    assert_eq!(with(row[1..].to_owned()), "line 3: the row does not begin with a backtick");
    let largest = row.replace("`1.00,", "`90000000000000000.00,");
    assert_eq!(fails(&bill(&[largest.clone(), largest])), "line 3: the sum is too large");
    let not_text = read(&[HEADER.as_bytes(), b"\n`\xff\n"].concat()).unwrap_err();
    assert_eq!(not_text, BillError::Line { line: 2, flaw: Flaw::NotText });
}

#[test]
fn a_bill_that_is_cut_short_or_has_more_behind_its_end_fails() {
    let bill = bill(&[payment("a")]);
    for cut in [bill.find("\n总交易单数").unwrap(), bill.rfind('\n').unwrap()] {
        assert!(fails(&bill[..cut]).ends_with("without its summary: it is cut short"), "{cut}");
    }
    for cut in 0..bill.len() {
        assert!(read(&bill.as_bytes()[..cut]).is_err() || bill.len() - cut <= 3, "{cut} of {}", bill.len());
    }
    assert_eq!(fails(&format!("{bill}\n{}", payment("b"))), "line 5: text behind the summary");
    assert_eq!(fails(""), "there is nothing to read");
    assert_eq!(fails("\n\r\n"), "there is nothing to read");
    assert_eq!(fails("a,b,c\n1,2,3\n"), "line 1: not the header of this kind of bill");
    assert_eq!(fails(&",".repeat(300)), "line 1: more than 256 columns");
    let refund = payment("b").replacen("`SUCCESS", "`REFUND", 1);
    let success = HEADER.replace("微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,", "");
    let refund = refund.replacen("`0,`0,`0.00,`0.00,`,`,`b", "`b", 1);
    let reason = fails(&format!("{success}\n{refund}\n{SUMMARY}\n`1,`1,`0,`0,`0,`1,`0"));
    assert_eq!(reason, "line 2, column 10 (交易状态): a refund in a layout without columns for refunds");
}

/// Two gigabytes of one line, made while they are read; counts what was taken.
struct Endless {
    begin: &'static [u8],
    taken: u64,
}

impl AsyncRead for Endless {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let room = buf.remaining().min(16 * 1024);
        let from = std::mem::take(&mut self.begin);
        buf.put_slice(&from[..from.len().min(room)]);
        buf.put_slice(&vec![b'x'; room.saturating_sub(from.len())]);
        self.taken += room as u64;
        assert!(self.taken <= 2 << 30, "read to the end");
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_line_without_end_is_given_up_early() {
    let mut endless = Endless { begin: HEADER.as_bytes(), taken: 0 };
    let error = TradeBill::new(&mut endless, Limits::default()).next().await.unwrap_err();
    assert_eq!(error.to_string(), "line 1: longer than 65536 bytes");
    assert!(endless.taken <= 128 * 1024, "{} bytes", endless.taken);
}

#[test]
fn limits_hold_for_lines_and_rows() {
    let bill = bill(&[payment("a"), payment("b"), payment("c")]);
    let limits = |line_bytes, rows| Limits { line_bytes, rows };
    for piece in [1, 100, bill.len()] {
        let error = read_in(bill.as_bytes(), piece, limits(300, 9)).unwrap_err();
        assert_eq!(error.to_string(), "line 1: longer than 300 bytes");
        let error = read_in(bill.as_bytes(), piece, limits(1000, 2)).unwrap_err();
        assert_eq!(error.to_string(), "line 4: more than 2 rows");
        assert_eq!(read_in(bill.as_bytes(), piece, limits(1000, 3)).unwrap().0.len(), 3);
    }
}

#[test]
fn after_an_error_every_call_gives_the_same_error() {
    let mut parser = Parser::<Trades>::new(Limits::default());
    let error = parser.feed(b"a,b\n", |_| panic!()).unwrap_err();
    assert_eq!(parser.feed(HEADER.as_bytes(), |_| panic!()).unwrap_err(), error);
    assert_eq!(parser.finish(|_| panic!()).unwrap_err(), error);
}

#[test]
fn pages_and_answers_in_place_of_a_bill_are_named() {
    let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
    for piece in [1, 7, 1000] {
        let error = read_in(page.as_bytes(), piece, Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "neither a bill nor an answer of WeChat's: 502 Bad Gateway nginx");
    }
    let long = format!("<html><body>maintenance{}</body></html>", "x".repeat(300_000));
    for piece in [1000, 400_000] {
        let error = read_in(long.as_bytes(), piece, Limits::default()).unwrap_err().to_string();
        assert!(error.starts_with("neither a bill nor an answer of WeChat's: maintenance"), "{error}");
    }
    let kind = |answer: &str| match read(answer.as_bytes()) {
        Err(BillError::Refused(refusal)) => refusal.kind,
        other => panic!("{answer}: {other:?}"),
    };
    let business = |code: &str| {
        format!(
            "<xml><return_code>SUCCESS</return_code><result_code>FAIL</result_code><err_code>{code}</err_code></xml>"
        )
    };
    let said =
        |words: &str| format!("\u{feff} \n<xml><return_code>FAIL</return_code><return_msg>{words}</return_msg></xml>");
    for (answer, expected) in [
        (business("NO_BILL_EXIST"), RefusalKind::NoBill),
        (business("BILL_CREATING"), RefusalKind::Creating),
        (business("SYSTEMERROR"), RefusalKind::Busy),
        (business("FREQUENCY_LIMITED"), RefusalKind::TooFrequent),
        (business("PARAM_ERROR"), RefusalKind::Request),
        (business("NEW_CODE"), RefusalKind::Unknown),
        (said("no bill exist "), RefusalKind::NoBill),
        (said("CompressGZip Error"), RefusalKind::Busy),
        (said("UnCompressGZip Error"), RefusalKind::Busy),
        (said("invalid bill_type"), RefusalKind::Request),
        (said("data format error"), RefusalKind::Request),
        (said("missing parameter"), RefusalKind::Request),
        (said("签名错误"), RefusalKind::Setup(SetupFault::Signature)),
        (said("请求过于频繁"), RefusalKind::TooFrequent),
        (r#"{"code":"NO_STATEMENT_EXIST","message":"No Bill Exist"}"#.to_owned(), RefusalKind::NoBill),
        (r#"{"errcode":-1,"errmsg":"system error"}"#.to_owned(), RefusalKind::Busy),
    ] {
        assert_eq!(kind(&answer), expected, "{answer}");
    }
}

#[test]
fn damaged_and_endless_archives_fail() {
    let archive = gzip(&vec![b'x'; 3 << 20]);
    let read = |archive: &[u8], limit: u64| {
        let mut largest = 0;
        let mut gunzip = Gunzip::new(limit);
        gunzip.feed(archive, |bytes| largest = largest.max(bytes.len()))?;
        gunzip.finish(|bytes| largest = largest.max(bytes.len()))?;
        Ok(largest)
    };
    assert!(read(&archive, 3 << 20).unwrap() <= 2 << 20, "given in steps");
    assert_eq!(read(&archive, (3 << 20) - 1), Err(GunzipError::TooLarge { limit: (3 << 20) - 1 }));
    let small = gzip(&vec![b'x'; 64 << 10]);
    for cut in [10, small.len() / 2, small.len() - 1] {
        assert_eq!(read(&small[..cut], 1 << 30), Err(GunzipError::CutShort), "{cut} bytes");
    }
    let mut damaged = small.clone();
    let at = damaged.len() - 6;
    damaged[at] ^= 1;
    assert!(read(&damaged, 1 << 30).is_err());
    let more = read(&[&small[..], b"tail"].concat(), 1 << 30);
    assert!(matches!(more, Err(GunzipError::Damaged(_) | GunzipError::CutShort)));
    assert_eq!(read(&[small.clone(), small].concat(), 128 << 10).map(|_| ()), Ok(()));
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
