//! The file: no text of another party is a formula, a number or a date in a spreadsheet, and no row is lost in it.

use super::CSV;
use crate::http::stage::{KEY, Stage};

/// What WeChat or the business may have written, and the cell of it.
const CELLS: &[(&str, &str)] = &[
    ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
    ("+1", "'+1"),
    ("-1", "'-1"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\tx", "'\tx"),
    ("=A1,\"b\"", "\"'=A1,\"\"b\"\"\""),
    ("4200000001202611270000000001", "'4200000001202611270000000001"),
    ("2026-11-27", "'2026-11-27"),
    ("A100001", "A100001"),
];

async fn enter(stage: &Stage, n: usize, out_trade_no: &str, amount: i64, currency: &str) {
    let out_trade_no = out_trade_no.replace('\'', "''");
    let sql = format!(
        "INSERT INTO ledger (merchant, order_version, out_trade_no, entry, transaction_id, amount_fen, currency,
                             occurred_at_ms, recorded_at_ms, to_class, payment_version)
         VALUES ('main', 0, '{out_trade_no}', 'payment', 'T{n}', {amount}, '{currency}', 1795702089000, {n},
                 'unmatched', 1)"
    );
    stage.execute(&sql).await;
}

/// Every row has its payment: the books do not contradict each other at the end.
async fn finish(stage: Stage) {
    let sql = "INSERT INTO payments (merchant, transaction_id, version, class, out_trade_no, mch_id, appid, amount_fen,
                                     currency, paid_at_ms, recorded_at_ms, updated_at_ms)
               SELECT merchant, transaction_id, 1, 'unmatched', out_trade_no, 'm', 'a', amount_fen, currency, 1, 1, 1
               FROM ledger";
    stage.store.db().execute("test", sql, []).await.unwrap();
    stage.finish().await;
}

async fn file(stage: &Stage, query: &str, accepted: &str) -> String {
    let request = reqwest::Client::new().get(format!("http://{}/v1/ledger{query}", stage.address)).bearer_auth(KEY);
    let response = request.header("accept", accepted).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()), (200, CSV));
    response.text().await.unwrap()
}

#[tokio::test]
async fn no_text_is_a_formula_a_number_or_a_date() {
    let stage = Stage::start().await;
    for (n, (text, _)) in CELLS.iter().enumerate() {
        enter(&stage, n, text, 123_456, "CNY").await;
    }
    enter(&stage, 100, "YEN", 500, "JPY").await;
    let file = file(&stage, "", "text/html, text/csv;q=0.9").await;
    let mut lines = file.split("\r\n");
    assert!(lines.next().unwrap().starts_with("\u{feff}id,recorded_at,occurred_at,"), "{file}");
    for (n, (_, cell)) in CELLS.iter().enumerate() {
        let line = lines.next().unwrap();
        assert!(line.contains(&format!(",,{cell},T{n},,,1234.56,1234.56,")), "{cell}: {line}");
        assert!(line.contains(",2026-11-26 22:08:09,payment,payment,,unmatched,"), "Beijing's time: {line}");
    }
    assert!(lines.next().unwrap().contains(",,YEN,T100,,,500,500,500,JPY,"), "{file}");
    assert_eq!((lines.next(), lines.next()), (Some(""), None), "the last line has its end");
    finish(stage).await;
}

#[tokio::test]
async fn a_file_longer_than_what_is_read_at_once_has_every_row_once() {
    let stage = Stage::start().await;
    let sql = "INSERT INTO ledger (merchant, order_version, out_trade_no, entry, transaction_id, amount_fen, currency,
                                   occurred_at_ms, recorded_at_ms, to_class, payment_version)
               WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
               SELECT 'main', 0, 'N' || i, 'payment', 'T' || i, 1, 'CNY', 1, i / 7, 'unmatched', 1 FROM n";
    stage.store.db().execute("test", sql, []).await.unwrap();
    let file = file(&stage, "?format=csv", "*/*").await;
    let rows: Vec<Vec<&str>> = file.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2500);
    for (n, row) in (1..).zip(&rows) {
        let balance = format!("{}.{:02}", n / 100, n % 100);
        assert_eq!((row[11], row[16]), (&*format!("T{n}"), &*balance), "{row:?}");
    }
    finish(stage).await;
}
