//! The books on a terminal and as a file.

use serde_json::json;

use super::support::Operator;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_are_a_table_a_file_and_json() {
    let operator = Operator::new().await;
    operator.service.place(&operator.process.base, "CTL00009", 123_456).await;
    operator.service.pay("CTL00009").await;
    operator.service.until_state(&operator.process.base, "CTL00009", "paid").await;
    operator.service.until_drained().await;

    let ledger = operator.run(&["ledger", "--merchant", "main"]).await;
    let row = ledger.out.lines().find(|line| line.contains("CTL00009")).unwrap_or_else(|| panic!("{}", ledger.err));
    assert!(row.contains("credited") && row.contains("¥1,234.56"), "{row}");
    let page = operator.run(&["ledger", "--merchant", "main", "--limit", "1", "--json"]).await.json();
    assert_eq!(page["rows"][0]["balance_fen"], json!(123_456));
    let file = operator.run(&["ledger", "--merchant", "main", "--csv"]).await;
    assert!(file.out.starts_with('\u{feff}') && file.out.contains(",1234.56,1234.56,1234.56,CNY,"), "{}", file.out);
    let balances = operator.run(&["balances", "--merchant", "main"]).await;
    assert!(
        balances.out.lines().any(|line| line.contains("closing") && line.contains("¥1,234.56")),
        "{}",
        balances.out
    );
    assert_eq!(operator.run(&["ledger", "--merchant", "main", "--day", "tomorrow"]).await.code, 2);
    assert_eq!(operator.run(&["ledger", "--merchant", "main", "--day", "tomorrow", "--csv"]).await.code, 2);
    operator.finish().await;
}
