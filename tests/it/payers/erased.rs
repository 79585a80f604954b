//! Nothing of an erased payer is left in any table, and everything else is as it was.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wxpay_worker::ids::{AppKey, OpenId};
use wxpay_worker::store::{DbKind, PackedTable};

use super::{ADDRESS, LONGER, NAME, OTHER, has_word, holders, run};
use crate::harness::service::{InProcess, MCH_ID, OPENID, TestService, jsapi};
use crate::harness::sql::texts;
use crate::settling::on_both;

/// Orders in which the payer stands: by its openid, by what WeChat said alone, and one that is open. And another
/// payer's.
async fn orders(service: &InProcess) {
    let mut own = jsapi("ERA00001", 100);
    own["client_ip"] = json!(ADDRESS);
    own["metadata"] = json!({"member": NAME});
    service.place_as(&own).await;
    service.pay("ERA00001").await;
    let mut code = jsapi("ERA00002", 100);
    code.as_object_mut().unwrap().remove("openid");
    code["trade_type"] = json!("NATIVE");
    code["product_id"] = json!("tea");
    code["client_ip"] = json!(ADDRESS);
    service.place_as(&code).await;
    let payer = json!({"out_trade_no": "ERA00002", "mch_id": MCH_ID, "openid": OPENID});
    service.wechat_control("pay", payer).await;
    let mut other = jsapi("ERA00003", 100);
    other["openid"] = json!(OTHER);
    service.place_as(&other).await;
    service.pay("ERA00003").await;
    for order_no in ["ERA00001", "ERA00002", "ERA00003"] {
        service.until_state(order_no, "paid").await;
    }
    service.place("ERA00004").await;
    service.until_idle().await;
}

/// Rows of the other tables that hold a payer.
async fn planted(service: &InProcess) {
    let db = service.store.db();
    let now = service.clock.now().as_ms();
    let user = "INSERT INTO users (app, openid, unionid, nickname, is_snapshot, created_at_ms, updated_at_ms)
                VALUES ('shop', $1, $2, $2, FALSE, $3, $3)";
    run(db, user, [OPENID.into(), NAME.into(), now.into()]).await;
    run(db, user, [LONGER.into(), "Han Meimei".into(), now.into()]).await;
    let code = "INSERT INTO login_codes (code_hash, app, state_hash, claimed_at_ms, outcome, user_id, is_snapshot,
                                         finished_at_ms)
                SELECT 'c', 'shop', 's', 1, 'logged_in', id, FALSE, 2 FROM users WHERE openid = $1";
    run(db, code, [OPENID.into()]).await;
    run(db, "INSERT INTO wallet_orders VALUES ('shop', $1, 5, 'ERA00001', $2)", [OPENID.into(), now.into()]).await;
    // This one can still be paid: a click after a new login must find it, or there are two that can.
    run(db, "INSERT INTO wallet_orders VALUES ('shop', $1, 6, 'ERA00004', $2)", [OPENID.into(), now.into()]).await;
    let body = format!("<xml><openid><![CDATA[{OPENID}]]></openid></xml>");
    let quarantine = "INSERT INTO quarantine (merchant, reason, remote_addr, received_at_ms, body)
                      VALUES ('main', 'r', '', $1, $2)";
    run(db, quarantine, [now.into(), body.clone().into_bytes().into()]).await;
    let refused = "INSERT INTO refused_notifications (id, merchant, kind, reason, hash, headers, remote_addr,
                     received_at_ms, last_received_at_ms, copies, out_trade_no, order_id, state)
                   SELECT 'r1', 'main', 'pay', 'signature', 'h1', '[]', '', $1, $1, 1, 'ERA00001', id, 'refused'
                   FROM orders WHERE order_no = 'ERA00001'";
    run(db, refused, [now.into()]).await;
    let kept = "INSERT INTO refused_bodies VALUES ('main', 'h1', $1, $2)";
    run(db, kept, [body.clone().into_bytes().into(), now.into()]).await;
    let message = json!({"data": {"body": STANDARD.encode(&body)}}).to_string();
    let letter = "INSERT INTO dead_letters (event_id, consumer, subject, headers, payload, reason, first_error,
                    last_error, attempts, parked_at_ms, state, ended_at_ms)
                  VALUES ('d1', 'c', 'pay.in.main.notify.received', '[]', $1, 'r', 'e', 'e', 1, $2, 'discarded', $2)";
    run(db, letter, [message.into_bytes().into(), now.into()]).await;
}

/// What all rows say that may be packed.
async fn packed_texts(service: &InProcess) -> Vec<String> {
    let mut all = Vec::new();
    for (table, key) in [
        (PackedTable::Orders, "id"),
        (PackedTable::Evidence, "id"),
        (PackedTable::RefundEvidence, "id"),
        (PackedTable::Notifications, "event_id"),
    ] {
        let ids = format!("SELECT CAST({key} AS TEXT) FROM {}", table.as_str());
        for id in texts(service.store.db(), &ids).await {
            let text = service.store.stored_text(table, &id).await.unwrap().unwrap();
            all.push(String::from_utf8(text).unwrap());
        }
    }
    all
}

/// Asks, awaits what is open, ends that, and awaits the end.
async fn erased(service: &InProcess) -> serde_json::Value {
    service.asks_erasure().await;
    service.until_erasure_is("waiting").await;
    let asked = service.asks_erasure().await;
    let waits = service.erasure(&asked).await;
    assert_eq!(waits["waits_for"], json!({"orders": 1}), "{waits}");
    service.until_erasure_is("waiting").await;
    let left = ["attempts.params", "erasures.openid", "orders.content", "wallet_orders.openid"].map(str::to_owned);
    if service.number("SELECT COUNT(*) FROM orders WHERE packed IS NOT NULL").await == 0 {
        assert_eq!(holders(service.store.db(), OPENID).await, BTreeSet::from(left));
        assert_eq!(texts(service.store.db(), "SELECT order_no FROM wallet_orders").await, ["ERA00004"]);
    }
    // It may still be paid, by its payer.
    service.pay("ERA00004").await;
    service.until_state("ERA00004", "paid").await;
    service.until_idle().await;
    assert_eq!(service.asks_erasure().await["id"], asked["id"]);
    service.until_erased().await;
    service.erasure(&asked).await
}

on_both! {
    async fn no_byte_of_the_openid_is_left_and_money_goes_back_as_before(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        orders(&service).await;
        planted(&service).await;
        let db = service.store.db().clone();
        let before = holders(&db, OPENID).await;
        for column in [
            "orders.content", "attempts.params", "notifications.body", "users.openid", "wallet_orders.openid",
            "quarantine.body", "refused_bodies.body",
        ] {
            assert!(before.contains(column), "{column} of {before:?}");
        }
        assert!(!before.iter().any(|column| column.starts_with("evidence.")), "{before:?}");
        let money = "SELECT merchant || ' ' || entry || ' ' || transaction_id || ' ' || amount_fen FROM ledger
                     ORDER BY id";
        let ledger = texts(&db, money).await;

        let done = erased(&service).await;
        assert_eq!((&done["state"], &done["waits_for"]), (&json!("done"), &json!({})), "{done}");
        for gone in [OPENID, ADDRESS, NAME] {
            let mut left = holders(&db, gone).await;
            // Events keep what the business wrote into its own members, for as long as they are kept.
            left.remove("outbox.payload");
            assert_eq!(left, BTreeSet::new(), "{gone}");
        }
        assert!(!holders(&db, OPENID).await.contains("outbox.payload"));
        for (table, rows) in [
            ("users", 1), ("login_codes", 0), ("wallet_orders", 0), ("quarantine", 0), ("refused_bodies", 0),
            ("refused_notifications", 0), ("dead_letters", 0), ("orders", 4), ("notifications", 4),
        ] {
            assert_eq!(service.number(&format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
        }
        // The payer is recognised by whom the key is known to, and the other one is untouched.
        let payer = done["payer"].as_str().unwrap();
        let named = holders(&db, payer).await;
        for column in ["orders.content", "evidence.fact", "notifications.body", "ended_sessions.openid"] {
            assert!(named.contains(column), "{column} of {named:?}");
        }
        assert!(holders(&db, OTHER).await.contains("orders.content"));
        assert_eq!(holders(&db, LONGER).await, BTreeSet::from(["users.openid".to_owned()]));
        let (app, openid) = (AppKey::parse("shop").unwrap(), OpenId::parse(OPENID).unwrap());
        assert!(service.store.sessions_ended_at(&app, &openid).await.unwrap().is_some(), "sessions count again");
        let asked = "SELECT action || ' ' || reason FROM audit WHERE action LIKE 'payer.%' ORDER BY id";
        let asked = texts(&db, asked).await;
        assert_eq!(asked.first().unwrap(), "payer.erase the payer asked for it");
        assert_eq!(asked.last().unwrap(), "payer.erased the payer asked for it");

        // A repeated request is the same order; its money goes back.
        let mut own = jsapi("ERA00001", 100);
        own["client_ip"] = json!(ADDRESS);
        own["metadata"] = json!({"member": NAME});
        let (status, order) = service.post("/v1/orders", &own).await;
        assert_eq!((status, &order["state"]), (200, &json!("paid")), "{order}");
        assert_eq!(&texts(&db, money).await[..ledger.len()], ledger);
        service.refunding("ERA00001", "era1", 60).await;
        service.ends("era1", "SUCCESS").await;
        service.until_refunded("era1", "succeeded").await;
        if db.kind() == DbKind::Sqlite {
            let folder = tempfile::TempDir::new().unwrap();
            let copy = folder.path().join("copy.db");
            let file = texts(&db, "SELECT file FROM pragma_database_list WHERE name = 'main'").await.remove(0);
            let open = rusqlite::Connection::open(file).unwrap();
            open.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
            let bytes = std::fs::read(copy).unwrap();
            let is_there = |word: &str| bytes.windows(word.len()).any(|found| found == word.as_bytes());
            assert!(is_there(payer), "the copy is no copy");
            let longer = bytes.windows(LONGER.len()).filter(|found| *found == LONGER.as_bytes()).count();
            let all = bytes.windows(OPENID.len()).filter(|found| *found == OPENID.as_bytes()).count();
            assert!(longer > 0);
            assert_eq!(all, longer, "the openid is in the file");
        }
        service.finish().await;
    }

    async fn packed_rows_lose_the_payer_and_are_readable(db: TestDb) {
        let compact = "[store]\ncompact = true\n";
        let service = TestService::new().on(db).refunds().config(compact).in_process().await;
        orders(&service).await;
        let before = packed_texts(&service).await;
        assert!(before.iter().any(|text| has_word(text, OPENID)), "nothing to erase");
        let done = erased(&service).await;
        let payer = done["payer"].as_str().unwrap();
        let after = packed_texts(&service).await;
        assert_eq!(after.iter().filter(|text| has_word(text, OPENID)).count(), 0);
        assert!(after.iter().filter(|text| has_word(text, payer)).count() >= 6);
        assert!(service.number("SELECT COUNT(*) FROM orders WHERE packed IS NOT NULL").await >= 4);
        for table in PackedTable::ALL {
            assert_eq!(service.store.unreadable_rows(*table).await.unwrap(), []);
        }
        service.finish().await;
    }

    async fn what_came_after_the_request_stays_and_others_may_not_ask(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.knows(OPENID).await;
        service.asks_erasure().await;
        service.skip(5);
        service.place("ERA00005").await;
        service.until_erased().await;
        assert!(holders(service.store.db(), OPENID).await.contains("orders.content"));
        for (body, status) in [
            (json!({"app": "shop", "openid": OPENID}), 400),
            (json!({"app": "shop", "openid": "no openid", "reason": "x"}), 400),
            (json!({"app": "other", "openid": OPENID, "reason": "x"}), 404),
        ] {
            assert_eq!(service.post("/v1/ops/erasures", &body).await.0, status, "{body}");
        }
        assert_eq!(service.get("/v1/ops/erasures/4711").await.0, 404);
        assert_eq!(service.number("SELECT COUNT(*) FROM erasures").await, 1);
        service.pay("ERA00005").await;
        service.until_state("ERA00005", "paid").await;
        service.finish().await;
    }
}
