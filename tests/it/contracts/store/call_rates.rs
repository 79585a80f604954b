//! Permits to call WeChat: what two processes take together keeps to the rate, and a pause is one for both.

use std::time::{Duration, Instant};

use wxpay_worker::store::{Permits, Store};

use super::orders::merchant;
use crate::harness::db::TestDb;
use crate::harness::sql::number;
use crate::harness::store::TestStore;

const API: &str = "unifiedorder";
/// Long, so that nothing depends on how fast the test is: it does not wait for its permits.
const INTERVAL: Duration = Duration::from_secs(5);
/// Permits are given for two minutes ahead at most.
const LONG: Duration = Duration::from_secs(115);

/// Takes one permit; when it may be used.
async fn one(store: &Store) -> Instant {
    match store.take_permits(&merchant(), API, (1, INTERVAL), LONG).await.unwrap() {
        Permits::After(after) => Instant::now() + after,
        Permits::NotWithin(after) => panic!("none within {after:?}"),
    }
}

/// WeChat said that it is called too often, to a call that began so long ago.
async fn backed_off(store: &Store, began_ms: u64) -> u64 {
    let pause = store.back_off(&merchant(), API, Duration::from_millis(began_ms)).await.unwrap();
    u64::try_from(pause.as_millis()).unwrap()
}

impl TestStore {
    /// The pause ended so long ago.
    async fn pause_ended(&self, ago_ms: i64) {
        let left = self.store.calls_pause(&merchant(), API).await.unwrap().as_millis();
        let sql = format!("UPDATE call_rates SET resume_at_ms = resume_at_ms - {left} - {ago_ms}");
        self.execute(&sql).await.unwrap();
    }
}

on_both_databases! {
    async fn two_processes_together_keep_to_the_rate(stage) {
        let other = Store::open(&stage.db.settings()).await.unwrap();
        let take = async |store: &Store| {
            let mut at = Vec::new();
            for _ in 0..10 {
                at.push(one(store).await);
            }
            at
        };
        let (mut all, others) = tokio::join!(take(&stage.store), take(&other));
        all.extend(others);
        all.sort();
        let span = all[19].duration_since(all[0]);
        // Each moment is known a little later than the database gave it, and on a busy machine by seconds.
        assert!(span >= INTERVAL * 19 - INTERVAL * 3, "20 permits within {span:?}");
        for window in all.windows(11) {
            let span = window[10].duration_since(window[0]);
            assert!(span >= INTERVAL * 7, "11 permits within {span:?}");
        }
    }

    async fn what_would_wait_too_long_takes_nothing(stage) {
        let take = async |longest| stage.store.take_permits(&merchant(), API, (20, INTERVAL), longest).await.unwrap();
        assert_eq!(take(Duration::ZERO).await, Permits::After(Duration::ZERO));
        for _ in 0..3 {
            let Permits::NotWithin(after) = take(Duration::from_millis(500)).await else { panic!("within 500 ms") };
            assert!(after > Duration::from_millis(500) && after <= INTERVAL * 20, "{after:?}");
        }
        let Permits::After(after) = take(LONG).await else { panic!("not within {LONG:?}") };
        assert!(after <= INTERVAL * 20, "{after:?}: the refused ones took time");
        // Another API has a rate of its own.
        let other = stage.store.take_permits(&merchant(), "orderquery", (1, INTERVAL), Duration::ZERO).await.unwrap();
        assert_eq!(other, Permits::After(Duration::ZERO));
    }

    async fn a_pause_holds_for_all_and_doubles_while_wechat_is_called_too_often(stage) {
        let other = Store::open(&stage.db.settings()).await.unwrap();
        let begun = Instant::now();
        assert_eq!(backed_off(&stage.store, 5).await, 1_000);
        let at = one(&other).await;
        assert!(at.duration_since(begun) >= Duration::from_millis(995), "another process calls in the pause");
        let refused = other.take_permits(&merchant(), API, (1, INTERVAL), Duration::ZERO).await.unwrap();
        assert!(matches!(refused, Permits::NotWithin(_)), "{refused:?}");
        // Answers to calls from before the pause are no further sign.
        assert!(backed_off(&other, 60_000).await <= 1_000);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            stage.pause_ended(300).await;
            pauses.push(backed_off(&other, 100).await);
        }
        assert_eq!(pauses, [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        // Long ago is forgotten, and there was no pause without an answer that asked for one.
        stage.pause_ended(75_000).await;
        assert_eq!(stage.store.calls_pause(&merchant(), API).await.unwrap(), Duration::ZERO);
        assert_eq!(backed_off(&stage.store, 5).await, 1_000);
    }

    async fn moments_of_a_database_whose_clock_was_a_day_ahead_stop_no_call(stage) {
        one(&stage.store).await;
        backed_off(&stage.store, 0).await;
        let sql = "UPDATE call_rates SET resume_at_ms = resume_at_ms + 86400000,
                     reserved_until_us = reserved_until_us + 86400000000";
        stage.execute(sql).await.unwrap();
        assert_eq!(stage.store.calls_pause(&merchant(), API).await.unwrap(), Duration::ZERO);
        let free = stage.store.take_permits(&merchant(), API, (1, INTERVAL), Duration::ZERO).await.unwrap();
        assert_eq!(free, Permits::After(Duration::ZERO));
        assert!(backed_off(&stage.store, 0).await >= 1_000);
        assert!(number(stage.store.db(), "SELECT resume_at_ms FROM call_rates").await > 0);
    }
}
