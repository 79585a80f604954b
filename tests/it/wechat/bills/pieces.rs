//! The same bill in pieces of every size.

use wxpay_worker::wechat::v2::bill::{FundFlowBill, Limits, TradeBill};

use super::{bill, payment, read, read_in};
use crate::vectors;

#[test]
fn pieces_of_every_size_give_the_same() {
    let bill = format!("\u{feff}{}\r\n", bill(&[payment("逗号, \"引号\""), payment("b")]).replace('\n', "\r\n"));
    let whole = read(bill.as_bytes()).unwrap();
    assert_eq!(whole.0.iter().map(|row| row.number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(whole.0[0].line.trade().product, "逗号, \"引号\"");
    for piece in 1..=64 {
        assert_eq!(read_in(bill.as_bytes(), piece, Limits::default()).unwrap(), whole, "pieces of {piece}");
    }
}

#[tokio::test]
async fn a_reader_gives_rows_then_totals_and_stays_at_the_end() {
    let bill = bill(&(0..500).map(|n| payment(&format!("p{n}"))).collect::<Vec<_>>());
    let mut reader = TradeBill::new(bill.as_bytes(), Limits::default());
    let mut products = Vec::new();
    while let Some(row) = reader.next().await.unwrap() {
        products.push(row.line.trade().product.clone());
        assert!(reader.totals().is_none() || products.len() > 400, "totals only once the source is read");
    }
    assert_eq!(products.len(), 500);
    assert_eq!(reader.totals().unwrap().payments, 500);
    assert_eq!(reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_reader_fails_the_same_way_every_time() {
    let cut = bill(&[payment("a")]);
    let cut = &cut.as_bytes()[..cut.len() - 60];
    let mut reader = TradeBill::new(cut, Limits::default());
    let error = loop {
        match reader.next().await {
            Ok(row) => assert!(row.is_some(), "a bill that is cut short has no end"),
            Err(error) => break error,
        }
    };
    assert_eq!(reader.next().await.unwrap_err(), error);
    assert!(reader.totals().is_none());
}

#[tokio::test]
async fn a_fund_flow_bill_is_read_from_a_source() {
    let vectors = vectors::of("bill", 16);
    let flow = vectors.iter().find(|v| v.name == "bill-fundflow").unwrap().input("csv_text");
    let mut reader = FundFlowBill::new(flow.as_bytes(), Limits::default());
    let mut rows = 0;
    while reader.next().await.unwrap().is_some() {
        rows += 1;
    }
    assert_eq!((rows, reader.totals().unwrap().expenses), (3, 2));
}
