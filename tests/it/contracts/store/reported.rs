//! Payments of no order that a process of the version before reported: they get rows of their own, each once.

use wxpay_worker::ids::EventId;
use wxpay_worker::order::PaymentClass;

use super::orders::{NOW, merchant};
use super::payments::payment;
use crate::harness::db::TestDb;
use crate::harness::store::TestStore;

impl TestStore {
    /// As the version before writes it: without a mark.
    async fn reported_before(&self, id: EventId, transaction: u32) {
        let transaction_id = payment(1, transaction, 100).transaction_id;
        let notification = format!(
            "INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms,
                                        processed_at_ms, verdict, reason)
             VALUES ('{id}', 'main', 'pay', '', '[]', '', 1, {transaction}, 'parked', 'unknown_order')"
        );
        let reported = format!(
            "INSERT INTO orphaned_payments (merchant, transaction_id, notification_id, told_at_ms)
             VALUES ('main', '{transaction_id}', '{id}', {transaction})"
        );
        for sql in [notification, reported] {
            self.store.db().execute("test", sql, []).await.unwrap();
        }
    }

    async fn without_payment(&self) -> Vec<EventId> {
        self.store.reported_without_payment(10).await.unwrap().into_iter().map(|reported| reported.id).collect()
    }
}

on_both_databases! {
    async fn each_is_found_until_it_is_entered_and_the_oldest_first(stage) {
        let ids = [EventId::new(), EventId::new()];
        for (id, transaction) in ids.iter().zip([2, 1]) {
            stage.reported_before(*id, transaction).await;
        }
        assert_eq!(stage.without_payment().await, [ids[1], ids[0]]);
        // Entered by a question about it meanwhile, and once more by the job.
        for _ in 0..2 {
            stage.store.enter_unmatched(&merchant(), &payment(1, 1, 100), ids[1], NOW).await.unwrap();
            assert_eq!(stage.without_payment().await, [ids[0]]);
        }
        stage.store.enter_unmatched(&merchant(), &payment(1, 2, 100), ids[0], NOW).await.unwrap();
        assert_eq!(stage.without_payment().await, [] as [EventId; 0]);
        for transaction in [1, 2] {
            let id = payment(1, transaction, 100).transaction_id;
            let stored = stage.store.payment(&merchant(), &id).await.unwrap().unwrap();
            assert_eq!(stored.class, PaymentClass::Unmatched);
        }
    }
}
