//! Evidence of the version before has openids: an erasure waits until the owner of the tables has replaced them.

use serde_json::json;

use super::{holders, run};
use crate::harness::service::{OPENID, TestService};
use crate::harness::sql::texts;
use crate::settling::on_both;

on_both! {
    async fn an_erasure_waits_for_evidence_of_before_and_the_table_refuses_changes_afterwards(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("ERB00001").await;
        service.until_idle().await;
        let db = service.store.db().clone();
        // As the version before wrote it.
        let fact = json!({"fact": "paid", "openid": OPENID, "transaction_id": "4200001"}).to_string();
        let raw = format!("<xml><openid><![CDATA[{OPENID}]]></openid><sign>S</sign></xml>");
        let old = "INSERT INTO evidence (order_id, version, out_trade_no, source, source_id, fact, raw, received_at_ms,
                                         recorded_at_ms)
                   SELECT id, (SELECT MIN(version) - 1 FROM evidence), 'ERB00001', 'query', 'OLD', $1, $2, 1, 1
                   FROM orders";
        run(&db, old, [fact.into(), raw.into()]).await;
        let count = service.number("SELECT COUNT(*) FROM evidence").await;
        let asked = service.asks_erasure().await;
        service.until_erasure_is("waiting").await;
        let waits = service.erasure(&asked).await;
        assert_eq!(waits["waits_for"], json!({"evidence": 1}), "{waits}");

        let hidden = service.store.hide_payers(0).await.unwrap();
        assert_eq!((hidden.changed, hidden.next), (1, None), "{hidden:?}");
        assert_eq!(service.store.hide_payers(0).await.unwrap().changed, 0, "a name was replaced");
        service.asks_erasure().await;
        service.until_erased().await;
        assert!(holders(&db, OPENID).await.is_empty());
        let payer = service.erasure(&asked).await["payer"].as_str().unwrap().to_owned();
        let old = texts(&db, "SELECT fact || raw FROM evidence WHERE source_id = 'OLD'").await;
        let expected = [
            json!({"fact": "paid", "openid": payer, "transaction_id": "4200001"}).to_string(),
            format!("<xml><openid><![CDATA[{payer}]]></openid><sign>S</sign></xml>"),
        ];
        assert_eq!(old, [expected.concat()]);
        for sql in ["UPDATE evidence SET fact = fact", "DELETE FROM evidence"] {
            let refused = db.execute("test", sql, []).await.unwrap_err().to_string();
            assert!(refused.contains("append-only"), "{sql}: {refused}");
        }
        assert_eq!(service.number("SELECT COUNT(*) FROM evidence").await, count);
        service.finish().await;
    }
}
