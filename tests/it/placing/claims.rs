//! The claim on placing an order, on both databases.

use std::time::Duration;

use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::{Fact, Prepay};
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::store::{NewOrder, PlacingClaim, StoredOrder, ToPlace};

use crate::contracts::{change, new_order, order_no};
use crate::harness::store::{TestStore, commit};
use crate::settling::on_both;

const LEASE: Duration = Duration::from_secs(10);

fn merchant() -> MerchantKey {
    MerchantKey::parse("main").unwrap()
}

/// When the order of the test was made.
fn now() -> Timestamp {
    new_order(1, 100).created_at
}

async fn read(stage: &TestStore) -> StoredOrder {
    stage.store.order(&merchant(), &order_no(1)).await.unwrap().unwrap()
}

/// Claims the order as it is now.
async fn claim(stage: &TestStore, at: Timestamp) -> bool {
    let requested_by = read(stage).await.requested_by;
    let wanted = ToPlace { merchant: merchant(), order_no: order_no(1), requested_by, lease: LEASE };
    let claims = stage.store.claim_to_place(vec![wanted], at).await.unwrap();
    matches!(claims.as_slice(), [PlacingClaim::Taken(_)])
}

on_both! {
    async fn of_many_claims_at_once_one_holds_until_it_ends(db: TestDb) {
        let stage = TestStore::open(db).await;
        stage.recorded(1).await;
        let at_once = futures_util::future::join_all((0..8).map(|_| claim(&stage, now()))).await;
        assert_eq!(at_once.iter().filter(|is_taken| **is_taken).count(), 1, "{at_once:?}");
        let stored = read(&stage).await;
        assert!(stored.is_being_placed(now()));
        // What its process leaves, if it crashes, is polled when the claim ends.
        assert_eq!(stored.order.queries.next_at, Some(now().after(LEASE)));
        assert!(!claim(&stage, now().after(LEASE / 2)).await, "it has not ended");
        let of = (stored.order.id, stored.order.version);
        assert!(!stage.store.claim_placing(of, now().after(LEASE / 2), now().after(2 * LEASE)).await.unwrap());
        assert!(claim(&stage, now().after(LEASE)).await, "it has ended");
    }

    async fn an_order_can_be_recorded_under_a_claim(db: TestDb) {
        let stage = TestStore::open(db).await;
        let until = now().after(LEASE);
        let new = NewOrder { placing_until: Some(until), ..new_order(1, 100) };
        stage.store.record_orders(&[new]).await.unwrap();
        let stored = read(&stage).await;
        assert!(stored.is_being_placed(now()));
        assert_eq!(stored.order.queries.next_at, Some(until));
        // A worker of the version before takes it for one that WeChat may have been called for.
        assert!(stored.order.queries.answered_at.is_some());
        assert!(!claim(&stage, now()).await);
        assert!(claim(&stage, until).await);
    }

    async fn who_lost_a_claim_cannot_renew_it(db: TestDb) {
        let stage = TestStore::open(db).await;
        stage.recorded(1).await;
        let (until, later) = (now().after(LEASE), now().after(2 * LEASE));
        assert!(claim(&stage, now()).await);
        let (merchant, order_no) = (merchant(), order_no(1));
        assert!(stage.store.renew_placing(&merchant, &order_no, until, later).await.unwrap());
        assert_eq!(read(&stage).await.order.queries.next_at, Some(later), "it is not polled before");
        assert!(!claim(&stage, until).await, "it was renewed");
        assert!(claim(&stage, later).await);
        assert!(!stage.store.renew_placing(&merchant, &order_no, later, later.after(LEASE)).await.unwrap());
        // Nor give the other's up.
        stage.store.give_up_placing(&merchant, &order_no, later).await.unwrap();
        assert!(!claim(&stage, later).await);
        stage.store.give_up_placing(&merchant, &order_no, later.after(LEASE)).await.unwrap();
        assert!(claim(&stage, later).await, "it was given up");
    }

    async fn a_change_of_the_order_ends_its_claim(db: TestDb) {
        let stage = TestStore::open(db).await;
        let stored = stage.recorded(1).await;
        assert!(claim(&stage, now()).await);
        let prepay = Prepay { prepay_id: "wx1".into(), code_url: None, mweb_url: None, issued_at: now() };
        let change = change(&stored, 1, Fact::PrepayIssued(prepay));
        assert!(commit(&stage.store, &[change], now()).await.unwrap().is_empty());
        let changed = read(&stage).await;
        assert!(!changed.is_being_placed(now()));
        let until = now().after(LEASE);
        assert!(!stage.store.renew_placing(&merchant(), &order_no(1), until, until.after(LEASE)).await.unwrap());
        // One that can be paid is placed already.
        assert!(!claim(&stage, until).await);
        let of = (stored.order.id, stored.order.version);
        assert!(!stage.store.claim_placing(of, now(), until).await.unwrap(), "it was read before the change");
    }
}
