//! What the tables themselves refuse, from any writer.

use crate::harness::service::TestService;
use crate::settling::on_both;

on_both! {
    async fn the_tables_keep_the_proof_and_the_sums_by_themselves(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("T100001").await;
        service.refunding("T100001", "T1-a", 60).await;
        service.ends("T1-a", "SUCCESS").await;
        service.until_refunded("T1-a", "succeeded").await;
        for sql in [
            "UPDATE refund_ledger SET amount_fen = 1",
            "DELETE FROM refund_ledger",
            "UPDATE refund_evidence SET fact = ''",
            "DELETE FROM refund_evidence",
            "UPDATE refund_totals SET reserved_fen = 101",
            "UPDATE refund_totals SET reserved_fen = 59",
            "UPDATE refund_totals SET refunded_fen = 61",
            "UPDATE refund_totals SET count = 51",
            "UPDATE refunds SET amount_fen = 101",
            "UPDATE refunds SET state = 'processing'",
            "UPDATE refunds SET refund_id = NULL",
            "UPDATE refunds SET succeeded_at_ms = NULL",
            "UPDATE refunds SET next_at_ms = 1",
            "UPDATE refunds SET transaction_id = 'another'",
            "INSERT INTO refund_ledger SELECT 99, merchant, refund, refund_version, order_id, order_no, out_trade_no,
               transaction_id, refund_no, 'another', amount_fen, currency, occurred_at_ms, recorded_at_ms
               FROM refund_ledger",
        ] {
            let written = service.store.db().execute("test", String::from(sql), []).await;
            assert!(written.is_err(), "{sql}");
        }
        assert_eq!(service.number("SELECT COUNT(*) FROM refund_ledger WHERE amount_fen = 60").await, 1);
        service.finish().await;
    }
}
