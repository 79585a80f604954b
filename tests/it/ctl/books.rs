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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_names_an_order_whose_books_do_not_agree() {
    let operator = Operator::new().await;
    operator.service.place(&operator.process.base, "CTL00010", 100).await;
    operator.service.pay("CTL00010").await;
    operator.service.until_state(&operator.process.base, "CTL00010", "paid").await;
    operator.service.until_drained().await;
    let config = operator.service.config_file();
    let doctor = ["doctor", "--config", config.to_str().unwrap(), "--books", "--json"];
    let (report, code) = books_of(&operator, &doctor).await;
    assert!(code == 0 && !report.is_empty() && report.iter().all(|finding| finding["status"] == "ok"), "{report:#?}");
    let db = operator.service.open_db().await;
    let changed = "UPDATE payments SET amount_fen = 99 WHERE order_no = 'CTL00010'";
    db.execute("test", changed, []).await.unwrap();
    let (report, code) = books_of(&operator, &doctor).await;
    let found = report.iter().find(|finding| finding["found"].as_str().unwrap().contains("CTL00010"));
    let found = found.unwrap_or_else(|| panic!("{report:#?}"));
    assert_eq!((code, &found["status"]), (1, &json!("problem")));
    for side in ["ledger: payment of 100 fen", "payments: 99 fen"] {
        assert!(found["found"].as_str().unwrap().contains(side), "{found}");
    }
    assert!(found["mend"].as_str().is_some_and(|mend| !mend.is_empty()));
    db.execute("test", "UPDATE payments SET amount_fen = 100 WHERE order_no = 'CTL00010'", []).await.unwrap();
    assert_eq!(operator.run(&["doctor", "--url", &operator.process.base, "--books"]).await.code, 2);
    operator.finish().await;
}

/// What the doctor says of the books, and its exit code.
async fn books_of(operator: &Operator, doctor: &[&str]) -> (Vec<serde_json::Value>, i32) {
    let shown = operator.run(doctor).await;
    let report = shown.json();
    let findings = report["findings"].as_array().unwrap().iter();
    (findings.filter(|finding| finding["check"] == "books").cloned().collect(), shown.code)
}
