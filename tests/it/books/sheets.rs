//! Sheets for finance: what a stranger wrote stays a text, amounts are numbers, times are times.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use futures_util::TryStreamExt;
use serde_json::json;
use wxpay_worker::ops::reports::{Cell, Language, Month, daily_sheet, period};
use wxpay_worker::store::PeriodChange;

use super::months::{at, close, main, taken};
use crate::harness::service::{API_KEY, InProcess, TestService, jsapi};
use crate::harness::store::TestStore;
use crate::settling::on_both;

const HOSTILE: &str = "=cmd|' /C calc'!A0";

/// The files of a zip archive.
fn unzip(bytes: &[u8]) -> BTreeMap<String, String> {
    let number = |at: usize, len: usize| {
        bytes[at..at + len].iter().rev().fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let end = (0..bytes.len() - 21).rev().find(|at| bytes[*at..].starts_with(b"PK\x05\x06")).unwrap();
    let (count, mut at) = (number(end + 10, 2), number(end + 16, 4));
    let mut files = BTreeMap::new();
    for _ in 0..count {
        assert!(bytes[at..].starts_with(b"PK\x01\x02"));
        let (method, size, name_len) = (number(at + 10, 2), number(at + 20, 4), number(at + 28, 2));
        let name = String::from_utf8(bytes[at + 46..at + 46 + name_len].to_vec()).unwrap();
        let local = number(at + 42, 4);
        let data = local + 30 + number(local + 26, 2) + number(local + 28, 2);
        let packed = &bytes[data..data + size];
        let mut text = String::new();
        match method {
            0 => text.push_str(std::str::from_utf8(packed).unwrap()),
            8 => drop(flate2::read::DeflateDecoder::new(packed).read_to_string(&mut text).unwrap()),
            other => panic!("method {other}"),
        }
        files.insert(name, text);
        at += 46 + name_len + number(at + 30, 2) + number(at + 32, 2);
    }
    files
}

impl InProcess {
    async fn sheet(&self, path: &str) -> (u16, String, Vec<u8>) {
        let response = self.http.get(format!("{}{path}", self.base)).bearer_auth(API_KEY).send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        (response.status().as_u16(), kind, response.bytes().await.unwrap().to_vec())
    }

    /// The XML of the first sheet.
    async fn xlsx(&self, path: &str) -> String {
        let (status, kind, bytes) = self.sheet(path).await;
        assert_eq!((status, kind.contains("spreadsheetml")), (200, true), "{}", String::from_utf8_lossy(&bytes));
        unzip(&bytes).remove("xl/worksheets/sheet1.xml").unwrap()
    }

    async fn csv(&self, path: &str) -> String {
        let (status, kind, bytes) = self.sheet(path).await;
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!((status, kind.as_str()), (200, "text/csv; charset=utf-8"), "{text}");
        text
    }

    /// The detail sheet of a day has our rows, then rows of the bill alone, each as number, type and flags; and its
    /// fees are those of the day.
    async fn assert_detail(&self, day: &str, ours: &[[&str; 3]], of_bill: &[[&str; 3]]) {
        let text = self.csv(&format!("/v1/reports/main/{day}.csv")).await;
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
        assert_eq!(rows.len(), ours.len() + of_bill.len(), "{text}");
        for (rows, expected) in [(&rows[..ours.len()], ours), (&rows[ours.len()..], of_bill)] {
            let found: BTreeSet<[&str; 3]> = rows.iter().map(|row| [row[1], row[4], row[10]]).collect();
            assert_eq!(found, expected.iter().copied().collect::<BTreeSet<_>>(), "{text}");
        }
        let fees: Vec<i64> = rows.iter().filter(|row| !row[7].is_empty()).map(|row| fen(row[7])).collect();
        let (_, result) = self.get(&format!("/v1/reconciliations/main/{day}")).await;
        assert_eq!(json!(fees.len()), result["bill"]["rows"], "{text}");
        let (_, daily) = self.get(&format!("/v1/reports/daily?from={day}&to={day}")).await;
        assert_eq!(fees.iter().sum::<i64>(), fen(daily["days"][0]["fees"].as_str().unwrap()), "{text} {daily}");
    }
}

/// An amount with two decimals.
fn fen(text: &str) -> i64 {
    let (whole, part) = text.split_once('.').unwrap();
    assert_eq!(part.len(), 2, "{text}");
    format!("{whole}{part}").parse().unwrap()
}

/// The rows of the daily sheet of a range.
async fn daily(stage: &TestStore, from: &str, to: &str) -> Vec<Vec<Cell>> {
    let (range, now) = ((at(from), at(to)), at("2026-12-20 00:00:00"));
    let sheet = daily_sheet(&stage.store, &[main()], range, (Language::Chinese, now)).await.unwrap();
    let batches: Vec<Vec<Vec<Cell>>> = sheet.rows.try_collect().await.unwrap();
    batches.concat()
}

on_both! {
    async fn adjustments_are_in_the_open_months_sheet(db: TestDb) {
        let stage = TestStore::open(db).await;
        taken(&stage, "1", 100, ("2026-10-05 10:00:00", "2026-10-05 10:00:01")).await;
        assert_eq!(close(&stage, "2026-10", "2026-11-02 11:00:00").await, PeriodChange::Done);
        taken(&stage, "2", 4000, ("2026-10-07 08:00:00", "2026-11-09 09:00:00")).await;
        taken(&stage, "3", 1, ("2026-10-07 09:00:00", "2026-11-09 23:59:59")).await;
        taken(&stage, "4", 20, ("2026-10-31 08:00:00", "2026-11-09 10:00:00")).await;
        taken(&stage, "5", 8, ("2026-11-09 08:00:00", "2026-11-09 09:00:01")).await;
        let is_adjustment = |row: &&Vec<Cell>| row[11] == Cell::text("调整");
        let row = |adjusts: &str, n: i64, fen: i64| {
            let mut row = vec![Cell::text("main"), Cell::Day("2026-11-09".to_owned()), Cell::Count(n), Cell::yuan(fen),
                               Cell::Count(0), Cell::yuan(0)];
            row.extend(vec![Cell::Empty; 5]);
            row.extend([Cell::text("调整"), Cell::text("CNY"), Cell::Day(adjusts.to_owned())]);
            row
        };
        let expected = [row("2026-10-07", 2, 4001), row("2026-10-31", 1, 20)];
        let november = daily(&stage, "2026-11-01 00:00:00", "2026-12-01 00:00:00").await;
        assert_eq!((november.len(), &november[9..11]), (32, &expected[..]), "behind the row of the day");
        assert_eq!((&november[8][3], &november[8][13]), (&Cell::yuan(8), &Cell::Empty));
        // Once, whatever the range is; not in the sheet of the closed month.
        for (from, to, rows) in [("2026-10-01", "2026-11-01", 0), ("2026-11-09", "2026-11-10", 2),
                                 ("2026-11-10", "2026-12-01", 0), ("2026-09-15", "2026-12-15", 2)] {
            let sheet = daily(&stage, &format!("{from} 00:00:00"), &format!("{to} 00:00:00")).await;
            assert_eq!(sheet.iter().filter(is_adjustment).count(), rows, "{from} to {to}");
        }
        let now = at("2026-12-20 00:00:00");
        let november = period(&stage.store, &main(), Month::parse("2026-11").unwrap(), now).await.unwrap();
        assert_eq!(november.adjustments.len(), 3);
        assert_eq!(json!(november.adjusted), json!({
            "CNY": {"payments": 3, "payments_fen": 4021, "refunds": 0, "refunds_fen": 0},
        }));
        // All of them, also where there are more than one statement reads.
        let before = (at("2026-10-31 08:00:00").as_ms(), at("2026-11-10 00:00:00").as_ms());
        stage
            .execute(&format!(
                "INSERT INTO ledger (merchant, order_version, out_trade_no, entry, transaction_id, amount_fen, currency,
                                     occurred_at_ms, recorded_at_ms, to_class, payment_version)
                 WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10050)
                 SELECT 'main', 0, 'M' || n, 'payment', 'M' || n, 1, 'CNY', {}, {} + n / 3, 'unmatched', 1
                 FROM numbers",
                before.0, before.1
            ))
            .await
            .unwrap();
        let november = period(&stage.store, &main(), Month::parse("2026-11").unwrap(), now).await.unwrap();
        assert_eq!(november.adjustments.len(), 10_000);
        assert_eq!((november.adjusted["CNY"].payments, november.adjusted["CNY"].payments_fen), (10_053, 14_071));
    }

    async fn the_lines_of_a_day_are_a_sheet_without_a_formula(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.skip_to(service.clock.now().next_beijing_midnight());
        service.skip(3600);
        let mut body = jsapi("SH000001", 123_456);
        (body["description"], body["attach"]) = (json!(HOSTILE), json!(HOSTILE));
        body["metadata"] = json!({"table": "7", "cells": HOSTILE});
        service.place_as(&body).await;
        service.pay("SH000001").await;
        service.until_state("SH000001", "paid").await;
        let (status, refund) = service.give_back("SH000001", json!({"refund_no": "SHR1", "amount_fen": 56})).await;
        assert!(status < 300, "{refund}");
        service.until_refunded("SHR1", "processing").await;
        service.ends("SHR1", "SUCCESS").await;
        service.until_refunded("SHR1", "succeeded").await;
        let day = service.clock.now().to_beijing_day();
        let columns = "columns=attach,metadata.table,metadata.cells";

        let xml = service.xlsx(&format!("/v1/reports/main/{day}.xlsx?{columns}")).await;
        assert!(!xml.contains("<f>"), "a formula: {xml}");
        let cells = xml.matches("=cmd|").count();
        assert_eq!(cells, 6, "three texts of two lines: {xml}");
        for text in xml.split("<c ").filter(|cell| cell.contains("=cmd|")) {
            assert!(text.contains("t=\"inlineStr\"") || text.contains("t=\"s\""), "{text}");
        }
        assert!(xml.contains("<v>1234.56</v>") && xml.contains("<v>0.56</v>"), "{xml}");
        assert!(!xml.contains("<v>4200"), "an identifier is no number: {xml}");

        let text = service.csv(&format!("/v1/reports/main/{day}.csv?lang=zh&{columns}")).await;
        let mut lines = text.split("\r\n");
        let head = "交易时间,商户订单号,微信订单号,商品,类型,金额,退款,手续费,费率,净额,标记,附加数据,table,cells";
        assert_eq!(lines.next().and_then(|line| line.strip_prefix('\u{feff}')), Some(head));
        let paid: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!((paid[1], paid[3], paid[4], paid[5]), ("SH000001", "'=cmd|' /C calc'!A0", "支付", "1234.56"));
        assert_eq!((paid[11], paid[12]), ("'=cmd|' /C calc'!A0", "'7"));
        let back: Vec<&str> = lines.next().unwrap().split(',').collect();
        assert_eq!((back[4], back[5], back[6], back[9]), ("退款", "", "0.56", "-0.56"));
        assert_eq!((lines.next(), lines.next()), (Some(""), None));

        let ledger = service.xlsx("/v1/ledger?format=xlsx&lang=zh").await;
        assert_eq!(ledger.matches("<row ").count(), 3, "a head and two rows: {ledger}");
        assert!(ledger.contains("所属月份"), "{ledger}");
        service.finish().await;
    }

    async fn the_daily_sheet_has_a_row_for_each_day(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.skip_to(service.clock.now().next_beijing_midnight());
        service.skip(3600);
        service.paid("SH000011").await;
        let day = service.clock.now().to_beijing_day();
        let (_, answer) = service.get(&format!("/v1/reports/daily?from={day}")).await;
        let row = &answer["days"][0];
        assert_eq!((&row["day"], &row["payments"], &row["payments_fen"]), (&json!(day), &json!(1), &json!(100)));
        assert_eq!((&row["merchant"], &row["state"]), (&json!("main"), &json!("not_due")));
        let month = &day[..7];
        let text = service.csv(&format!("/v1/reports/daily?from={month}-01&to={day}&format=csv&lang=zh")).await;
        let head = "商户,日期,交易笔数,交易金额,退款笔数,退款金额,代金券,手续费,应结净额,差异笔数,差异金额,状态,货币,调整日期";
        assert_eq!(text.lines().next().and_then(|line| line.strip_prefix('\u{feff}')), Some(head));
        let last = text.lines().last().unwrap();
        assert_eq!(last, format!("main,{day},1,1.00,0,0.00,,,,,,未出账,CNY,"));
        assert_eq!(text.lines().count(), day[8..].parse::<usize>().unwrap() + 1);
        // From noon of the next day on its bill is missed.
        service.skip_to(service.clock.now().next_beijing_midnight());
        service.skip(12 * 3600 - 60);
        let state = async || service.get(&format!("/v1/reports/daily?from={day}")).await.1["days"][0]["state"].clone();
        assert_eq!(state().await, "not_due");
        service.skip(60);
        assert_eq!(state().await, "missing");
        let xml = service.xlsx(&format!("/v1/reports/daily?from={day}&format=xlsx")).await;
        assert!(xml.contains("payments_amount") && xml.contains("<v>1</v>"), "{xml}");
        // Days that a workbook cannot have as dates are texts in it.
        let xml = service.xlsx("/v1/reports/daily?from=1899-12-30&to=1900-01-01&format=xlsx").await;
        assert!(xml.contains("1899-12-30") && xml.contains("<v>1</v>"), "{xml}");
        for bad in [
            "",
            "from=today",
            "from=2026-11-27&to=2026-11-26",
            "from=2020-01-01&to=2026-01-01",
            "from=2026-11-27&lang=fr",
        ] {
            assert_eq!(service.get(&format!("/v1/reports/daily?{bad}")).await.0, 400, "{bad}");
        }
        for bad in ["2026-11-27", "2026-11-27.pdf", "today.csv"] {
            assert_eq!(service.get(&format!("/v1/reports/main/{bad}")).await.0, 404, "{bad}");
        }
        assert_eq!(service.get(&format!("/v1/reports/none/{day}.csv")).await.0, 404);
        service.finish().await;
    }

    async fn every_row_of_the_bill_is_in_one_sheet(db: TestDb) {
        let service = TestService::new().on(db).refunds().config("[reconcile]\nforeign = [\"POS\"]\n");
        let service = service.in_process().await;
        let day = service.begin_day().await;
        service.paid("SH000021").await;
        service.paid("SH000022").await;
        service.refunding("SH000021", "SHR21", 30).await;
        // Half past eleven in the evening: WeChat books it on the next day.
        service.skip(21 * 3600 + 1800);
        service.paid("SH000023").await;
        let of = day.replace('-', "");
        service.plant(json!([{"kind": "duplicate", "number": "SH000022"},
                             {"kind": "postponed", "number": "SH000023"},
                             {"kind": "extra", "out_trade_no": "POS000024", "day": of, "total_fee": 700}])).await;
        service.end_day().await;
        let next = service.clock.now().to_beijing_day();
        service.reconciled(&day).await;
        let carried = ["SH000023", "payment", "carried"];
        let ours = [["SH000021", "payment", ""], ["SH000022", "payment", ""], carried];
        let of_bill = [
            ["POS000024", "payment", "foreign"],
            ["SH000022", "payment", "duplicate"],
            ["SH000021", "refund", "refund_pending"],
        ];
        service.assert_detail(&day, &ours, &of_bill).await;
        service.end_day().await;
        service.reconciled(&next).await;
        service.assert_detail(&next, &[], &[carried]).await;
        service.leave_books_open("differences are planted, and a refund is on its way");
        service.finish().await;
    }
}
