//! The store contract, notifications: the same tests on SQLite and on PostgreSQL.

use wxpay_worker::event::domain::{DomainData, DomainEvent, OrderEnded};
use wxpay_worker::event::fact::Fact;
use wxpay_worker::ids::AppKey;
use wxpay_worker::money::Fen;
use wxpay_worker::store::{NotificationRecord, ReplayMark, ReplaySource, Verdict};

use super::store::orders::{NOW, change, merchant, notification, order_no, payment, posted};
use crate::harness::db::TestDb;
use crate::harness::store::{TestStore, commit};

on_both_databases! {
    async fn a_notification_is_recorded_once_and_waiting_may_end(stage) {
        let waiting = notification(Verdict::Waiting);
        stage.store.record_notification(&waiting, None, NOW).await.unwrap();
        let parked = NotificationRecord { verdict: Verdict::Parked("unknown_order".into()), ..waiting.clone() };
        let news = || {
            let data = OrderEnded {
                order_no: order_no(1),
                app: AppKey::parse("shop").unwrap(),
                amount_fen: Fen::from_i64(1),
                currency: "CNY",
                wechat: None,
            };
            DomainEvent { merchant: merchant(), order_no: None, data: DomainData::OrderClosed(data) }
        };
        for _ in 0..3 {
            stage.store.record_notification(&parked, Some(news()), NOW).await.unwrap();
        }
        stage.store.record_notification(&waiting, Some(news()), NOW).await.unwrap();
        assert_eq!(stage.count("notifications WHERE verdict = 'parked'").await, 1);
        assert_eq!(stage.count("notifications").await, 1);
        assert_eq!(stage.count("outbox").await, 1, "one event");
    }

    async fn notifications_of_one_write_are_new_stay_or_come_to_their_end(stage) {
        let stored = stage.recorded(1).await;
        let refused = || Verdict::Rejected("bad_sign".into());
        let known = [Verdict::Waiting, Verdict::Settled, refused(), refused()].map(notification);
        for record in &known {
            stage.store.record_notification(record, None, NOW).await.unwrap();
        }
        let order_id = Some(stored.order.id);
        let again = known.clone().map(|record| NotificationRecord {
            verdict: Verdict::Duplicate,
            order_id,
            verified_by: Some("MD5 key x".into()),
            posted: posted("<xml><again/></xml>"),
            ..record
        });
        let [waiting, settled, rejected, replayed] = again;
        let (replay_id, by, reason) = ("none".into(), String::new(), String::new());
        let source_id = replayed.id.to_string();
        let mark = ReplayMark { replay_id, n: 1, source: ReplaySource::Notification, source_id, by, reason };
        let replayed = NotificationRecord { replay: Some(mark), ..replayed };
        let new = notification(Verdict::NoPayment);
        let copy = NotificationRecord { order_id, ..new.clone() };
        let mut paid = change(&stored, 1, Fact::Paid(payment(1, 1)));
        paid.notifications = vec![new.clone(), waiting, settled, rejected, replayed, copy];
        commit(&stage.store, &[paid], NOW).await.unwrap();
        let [of_order, of_none] = ["order_id IS NOT NULL", "order_id IS NULL"];
        let [verified, not_verified] = ["verified_by IS NOT NULL", "verified_by IS NULL"];
        for (record, verdict, order, by) in [
            (&new, "no_payment", of_none, not_verified),
            (&known[0], "duplicate", of_order, not_verified),
            (&known[1], "settled", of_none, not_verified),
            (&known[2], "rejected", of_none, not_verified),
            (&known[3], "duplicate", of_order, verified),
        ] {
            let is_it = format!("event_id = '{}' AND verdict = '{verdict}' AND {order} AND {by}", record.id);
            let rows = stage.count(&format!("notifications WHERE {is_it} AND LENGTH(body) = 6")).await;
            assert_eq!(rows, 1, "{is_it}");
        }
        assert_eq!(stage.count("notifications").await, 5);
    }
}
