//! The first page: computed once for all who ask, with money per minute, tokens, database and queue.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::console::fault::Fault;
use wxpay_worker::console::overview::shared::Computed;
use wxpay_worker::store::Role;

use super::service;
use super::user::User;

/// A computation that waits for the gate, and counts.
struct Work {
    begun: &'static AtomicU32,
    gate: watch::Receiver<bool>,
}

impl Work {
    fn run(&self) -> impl Future<Output = Result<u32, Fault>> + Send + use<> {
        let (begun, mut gate) = (self.begun, self.gate.clone());
        async move {
            let n = begun.fetch_add(1, Ordering::Relaxed) + 1;
            gate.wait_for(|open| *open).await.map_err(|_| Fault::Unavailable)?;
            if n == 1 { Err(Fault::Busy) } else { Ok(n) }
        }
    }
}

#[tokio::test]
async fn all_who_ask_at_once_await_one_computation_and_a_failed_one_is_not_kept() {
    static BEGUN: AtomicU32 = AtomicU32::new(0);
    let (open, gate) = watch::channel(false);
    let (work, computed) = (Work { begun: &BEGUN, gate }, Computed::<u8, u32>::new(Duration::from_secs(5)));
    let at = |ms: i64| Timestamp::from_ms(1_000_000 + ms);
    let ask = |key: u8, ms: i64| {
        let (work, computed) = (&work, &computed);
        async move { computed.get(&key, at(ms), || work.run()).await.ok().map(|value| *value) }
    };
    let all = join_all((0..8).map(|_| ask(1, 0)));
    let (failed, ()) = tokio::join!(all, async { open.send(true).unwrap() });
    assert_eq!((failed, BEGUN.load(Ordering::Relaxed)), (vec![None; 8], 1), "one failed for all of them");
    open.send(false).unwrap();
    let again = join_all((0..8).map(|_| ask(1, 10)));
    let (done, ()) = tokio::join!(again, async { open.send(true).unwrap() });
    assert_eq!((done, BEGUN.load(Ordering::Relaxed)), (vec![Some(2); 8], 2), "the next ones compute it anew");
    assert_eq!((ask(1, 5_009).await, ask(1, 5_010).await), (Some(2), Some(3)), "for five seconds from its begin");
    assert_eq!(ask(1, 5_000).await, Some(4), "a clock that was put back keeps nothing");
    assert_eq!((ask(2, 5_000).await, ask(1, 5_001).await), (Some(5), Some(4)), "each key has its own");
    // One that no caller awaits any more ends, and is begun again.
    open.send(false).unwrap();
    assert!(tokio::time::timeout(Duration::ZERO, ask(3, 5_001)).await.is_err());
    open.send(true).unwrap();
    assert_eq!(ask(3, 5_001).await, Some(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_money_per_minute_tokens_database_and_queue_as_of_five_seconds_ago() {
    let service = service().in_process().await;
    let user = User::log_in(&service, Role::Viewer, None).await;
    let quiet = user.page("/console").await;
    for text in ["SQLite: takes writes", "embedded in the database: answers", "Last hour ¥0.00 count 0"] {
        quiet.shows(text);
    }
    service.place("M100001").await;
    service.pay("M100001").await;
    service.until_state("M100001", "paid").await;
    service.skip(5);
    let paid = user.page("/console").await;
    paid.shows("Last hour ¥1.00 count 1 Highest minute ¥1.00");
    assert_eq!(paid.text.matches("<rect x=").count(), 1, "{}", paid.text);
    let sql = "INSERT INTO platform_tokens (app, kind, report_refreshes, failures, next_try_at_ms, degraded_since_ms,
                                            degraded_reason, degraded_code)
               VALUES ('shop', 'access_token', 0, 3, 0, 1, 'refused', 40125)";
    service.store.db().execute("test", sql, []).await.unwrap();
    user.page("/console").await.hides("token cannot be kept fresh");
    service.skip(5);
    let degraded = user.page("/console").await;
    degraded.shows("token cannot be kept fresh: refused 40125");
    degraded.hides("Nothing needs a person.");
    user.get_in_chinese("/console").await.shows("无法更新应用的凭证");
    let stranger = User::log_in(&service, Role::Viewer, Some(&["other"])).await;
    let nothing = stranger.page("/console").await;
    nothing.hides("token cannot be kept fresh");
    nothing.hides("Last hour");
    service.finish().await;
}
