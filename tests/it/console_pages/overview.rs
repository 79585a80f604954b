//! The first page: computed once for all who ask, with money per minute, tokens, database and queue.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use tokio::sync::watch;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::console::fault::Fault;
use wxpay_worker::console::overview::chart::Chart;
use wxpay_worker::console::overview::shared::Computed;
use wxpay_worker::console::words::Lang;
use wxpay_worker::money::Fen;
use wxpay_worker::ops::overview::Minutes;
use wxpay_worker::store::{Role, Sum};

use super::service;
use super::user::User;
use crate::harness::db::TestDb;

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
        async move { computed.get(&key, at(ms), |_| work.run()).await.ok().map(|value| *value) }
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

#[tokio::test]
async fn who_still_awaits_an_old_computation_keeps_no_later_one_from_being_begun() {
    static BEGUN: AtomicU32 = AtomicU32::new(1);
    let (open, gate) = watch::channel(false);
    let (work, computed) = (Work { begun: &BEGUN, gate }, Computed::<u8, u32>::new(Duration::from_secs(5)));
    let at = |ms: i64| Timestamp::from_ms(1_000_000 + ms);
    let ask = |ms: i64| {
        let (work, computed) = (&work, &computed);
        async move { computed.get(&1, at(ms), |_| work.run()).await.ok().map(|value| *value) }
    };
    // One that has joined and is not polled any more, as of a client that reads nothing.
    let mut slow = Box::pin(ask(0));
    assert!(tokio::time::timeout(Duration::ZERO, slow.as_mut()).await.is_err());
    open.send(true).unwrap();
    assert_eq!(ask(10).await, Some(2), "the one that was begun");
    assert_eq!(ask(5_000).await, Some(3), "five seconds later another one");
    assert_eq!(slow.await, Some(2));
    assert_eq!(ask(5_001).await, Some(3), "what came late replaces nothing");
}

#[tokio::test]
async fn a_value_is_computed_from_the_one_before_for_an_hour() {
    let computed = Computed::<u8, u32>::new(Duration::from_secs(5));
    let ask = async |seconds: i64| {
        let next = |before: Option<std::sync::Arc<u32>>| async move { Ok(before.map_or(1, |n| *n + 1)) };
        *computed.get(&1, Timestamp::from_ms(seconds * 1000), next).await.unwrap()
    };
    assert_eq!((ask(10).await, ask(15).await, ask(3_614).await), (1, 2, 3));
    assert_eq!(ask(7_214).await, 1, "an hour later it is forgotten");
}

#[test]
fn minutes_that_lack_payments_say_so() {
    let chart = |is_cut| {
        let sums = vec![Sum { count: 50_000, amount: Fen::from_i64(5_000_000) }];
        let minutes = Minutes { from: Timestamp::from_ms(0), sums, is_cut };
        [Lang::En, Lang::Zh].map(|lang| Chart::new(&minutes, lang).to_string())
    };
    let ([en, zh], [whole, _]) = (chart(true), chart(false));
    assert!(en.contains("at least 50000 payments") && en.contains("the first minutes lack some"), "{en}");
    assert!(zh.contains("至少 50000") && zh.contains("不完整"), "{zh}");
    assert!(whole.contains("50000 payments") && !whole.contains("at least"), "{whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_money_per_minute_tokens_database_and_queue_as_of_five_seconds_ago() {
    let service = service().in_process().await;
    let user = User::log_in(&service, Role::Viewer, None).await;
    let quiet = user.whole_overview(&service).await;
    for text in ["SQLite: takes writes", "embedded in the database: answers", "Last hour ¥0.00 0 payments"] {
        quiet.shows(text);
    }
    service.place("M100001").await;
    service.pay("M100001").await;
    service.until_state("M100001", "paid").await;
    service.skip(5);
    let paid = user.whole_overview(&service).await;
    paid.shows("Last hour ¥1.00 1 payment Highest minute ¥1.00");
    assert_eq!(paid.text.matches("<rect x=").count(), 1, "{}", paid.text);
    let sql = "INSERT INTO platform_tokens (app, kind, report_refreshes, failures, next_try_at_ms, degraded_since_ms,
                                            degraded_reason, degraded_code)
               VALUES ('shop', 'access_token', 0, 3, 0, 1, 'refused', 40125)";
    service.store.db().execute("test", sql, []).await.unwrap();
    user.page("/console").await.hides("token cannot be kept fresh");
    service.skip(5);
    let degraded = user.whole_overview(&service).await;
    degraded.shows("token cannot be kept fresh: refused 40125");
    degraded.hides("Nothing needs a person.");
    user.get_in_chinese("/console").await.shows("无法更新应用的凭证");
    let stranger = User::log_in(&service, Role::Viewer, Some(&["other"])).await;
    let nothing = stranger.whole_overview(&service).await;
    nothing.hides("token cannot be kept fresh");
    nothing.hides("Last hour");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_now_is_as_it_was_and_the_rest_is_there() {
    let service = service().in_process().await;
    let user = User::log_in(&service, Role::Viewer, None).await;
    service.place("M200001").await;
    service.pay("M200001").await;
    service.until_state("M200001", "paid").await;
    service.skip(6);
    user.whole_overview(&service).await.shows("Last hour ¥1.00 1 payment");
    // The days and the minutes are read from it, the database and the jobs are not.
    service.alter("ALTER TABLE payments RENAME TO payments_away").await;
    service.skip(6);
    let texts = ["SQLite: takes writes", "Last hour ¥1.00 1 payment", "Not read just now: as of 20", "s ago)"];
    user.overview_with(&service, &texts).await;
    // The user that has not seen them yet.
    let other = User::log_in(&service, Role::Viewer, Some(&["main"])).await;
    let page = other.page("/console").await;
    page.shows("Not known: the database does not answer.");
    page.hides("Nothing needs a person.");
    service.alter("ALTER TABLE payments_away RENAME TO payments").await;
    service.skip(6);
    for user in [&user, &other] {
        let page = user.whole_overview(&service).await;
        page.shows("Last hour ¥1.00 1 payment");
        page.hides("Not read just now");
        page.hides("Not known");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_another_holds_keeps_no_page_waiting() {
    let service = service().on(TestDb::postgres().await).in_process().await;
    let user = User::log_in(&service, Role::Viewer, None).await;
    let holder = Database::connect(service.db.url()).await.unwrap();
    let lock = holder.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE platform_tokens IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let texts = ["PostgreSQL: takes writes", "Not known: the database does not answer."];
    user.overview_with(&service, &texts).await;
    lock.rollback().await.unwrap();
    service.finish().await;
}
