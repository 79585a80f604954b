//! What other processes commit is noticed by one probe, and what would poll for it rests until then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wxpay_worker::bus::Bus;
use wxpay_worker::clock::Clock;
use wxpay_worker::config;
use wxpay_worker::config::Config;
use wxpay_worker::relay;
use wxpay_worker::scheduler::{Next, Rests};
use wxpay_worker::secret::Secret;
use wxpay_worker::store::{Polls, Probe, Store};

use super::store::jobs::closed;
use super::store::orders::NOW;
use crate::harness::bus::bus_settings;
use crate::harness::db::{TestDb, connected};
use crate::harness::postgres::PostgresServer;
use crate::harness::store::TestStore;
use crate::harness::{TEST_TIMEOUT, within_timeout};

/// More than a relay that is woken by nothing but its safety net marks one by one before a test's limit of time.
const EVENTS: u32 = 15;

async fn another_process(stage: &TestStore) -> Store {
    Store::new(stage.db.open().await)
}

/// A poll that finds nothing.
fn poll(polls: &mut Polls) {
    polls.begin();
    polls.idle(Duration::ZERO, None);
}

/// Probes until three in a row wake nothing: a server may have work of its own to commit.
async fn until_quiet(store: &Store, probe: &mut Probe, polls: &mut Polls) {
    within_timeout("three probes without a commit", async {
        loop {
            poll(polls);
            let mut is_noticed = false;
            for _ in 0..3 {
                is_noticed |= store.notice(probe).await.unwrap();
            }
            if !is_noticed && !polls.is_due() {
                break;
            }
        }
    })
    .await;
}

async fn a_commit_of_another_process_wakes_what_rests(stage: &TestStore) {
    let (store, other) = (&stage.store, another_process(stage).await);
    let (mut probe, mut polls) = (store.db().probe(), store.db().polls());
    for n in 1..=3 {
        until_quiet(store, &mut probe, &mut polls).await;
        let commits = store.commits();
        other.emit(closed(n), NOW).await.unwrap();
        assert!(store.notice(&mut probe).await.unwrap());
        assert!(commits.has_changed().unwrap());
        assert!(polls.is_due());
        within_timeout("the next poll", polls.next()).await;
    }
}

async fn a_poll_that_is_given_up_stays_due(stage: &TestStore) {
    let store = &stage.store;
    let (mut probe, mut polls) = (store.db().probe(), store.db().polls());
    until_quiet(store, &mut probe, &mut polls).await;
    another_process(stage).await.emit(closed(4), NOW).await.unwrap();
    assert!(store.notice(&mut probe).await.unwrap());
    polls.begin();
    assert!(polls.is_due());
    // As does what is due by time.
    polls.begin();
    polls.idle(Duration::ZERO, Some(Duration::ZERO));
    assert!(polls.is_due());
}

/// As without a probe: a task polls at its own interval.
async fn a_server_may_refuse_the_probe(stage: &TestStore) {
    let refuse = "CREATE ROLE limited LOGIN; REVOKE EXECUTE ON FUNCTION pg_current_snapshot() FROM PUBLIC";
    stage.execute(refuse).await.unwrap();
    let url = stage.db.url().replace("postgres://postgres@", "postgres://limited@");
    let store = Store::new(connected(&config::Store { url: Secret::new(url), ..stage.db.settings() }).await);
    let (mut probe, mut polls) = (store.db().probe(), store.db().polls());
    for _ in 0..3 {
        store.notice(&mut probe).await.unwrap_err();
        poll(&mut polls);
        assert!(polls.is_due());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_commits_are_noticed_on_sqlite() {
    let stage = TestStore::open(TestDb::sqlite()).await;
    a_commit_of_another_process_wakes_what_rests(&stage).await;
    a_poll_that_is_given_up_stays_due(&stage).await;
}

/// On a server of its own: any commit on it is noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_commits_are_noticed_on_postgres_and_only_if_the_server_permits_it() {
    let server = PostgresServer::start();
    let stage = TestStore::open(TestDb::postgres_on(server.url()).await).await;
    a_commit_of_another_process_wakes_what_rests(&stage).await;
    a_poll_that_is_given_up_stays_due(&stage).await;
    a_server_may_refuse_the_probe(&stage).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_rests_while_nothing_is_committed_and_nothing_becomes_due() {
    let stage = TestStore::open(TestDb::sqlite()).await;
    let (store, other) = (&stage.store, another_process(&stage).await);
    let (mut probe, mut rests) = (store.db().probe(), Rests::new(store.db().polls()));
    let config = Arc::new(Config::from_toml_str("").unwrap());
    assert_eq!(rests.next(&config, NOW), Next::Now);
    rests.begin(Arc::clone(&config), NOW);
    assert_eq!(rests.next(&config, NOW), Next::Now, "no probe runs");
    assert!(store.notice(&mut probe).await.unwrap());
    assert_eq!(rests.next(&config, NOW), Next::Now, "what was committed before is not known");
    let Next::Within(ahead) = rests.next(&config, NOW) else { panic!("nothing was committed") };
    rests.begin(Arc::clone(&config), NOW);
    assert_eq!(rests.next(&config, NOW), Next::Nothing);
    let last = NOW.after(ahead).before(Duration::from_secs(1));
    assert_eq!(rests.next(&config, last), Next::Within(ahead), "what becomes due then was not checked");
    assert_eq!(rests.next(&config, NOW.before(Duration::from_millis(1))), Next::Within(ahead), "the clock was set");
    assert_eq!(rests.next(&Arc::new((*config).clone()), NOW), Next::Within(ahead), "the configuration is another");
    other.emit(closed(1), NOW).await.unwrap();
    assert!(store.notice(&mut probe).await.unwrap());
    assert_eq!(rests.next(&config, NOW), Next::Now);
    assert_eq!(rests.next(&config, NOW), Next::Within(ahead), "a commit ends the rest, not one call of it");
}

/// The runtime is not woken ten times a second for it: here it cannot run meanwhile.
#[tokio::test]
async fn a_file_is_probed_beside_the_runtime() {
    let stage = TestStore::open(TestDb::sqlite()).await;
    let (mut commits, mut polls) = (stage.store.commits(), stage.store.db().polls());
    let cancel = CancellationToken::new();
    let watching = tokio::spawn(stage.store.clone().watch(cancel.clone()));
    within_timeout("the first probe", commits.changed()).await.unwrap();
    poll(&mut polls);
    assert!(!polls.is_due());
    let other = rusqlite::Connection::open(stage.db.url().trim_start_matches("sqlite://")).unwrap();
    other.execute_batch("INSERT INTO leases (name, holder, term, expires_at_ms) VALUES ('a', 'b', 1, 0)").unwrap();
    let committed = Instant::now();
    while !commits.has_changed().unwrap() || !polls.is_due() {
        assert!(committed.elapsed() < TEST_TIMEOUT, "the commit is not noticed");
        std::thread::sleep(Duration::from_millis(5));
    }
    cancel.cancel();
    within_timeout("the end of the probe", watching).await.unwrap();
}

on_both_databases! {
    async fn where_no_probe_runs_each_polls_at_its_own_interval(stage) {
        let store = &stage.store;
        let (mut commits, mut polls) = (store.commits(), store.db().polls());
        poll(&mut polls);
        assert!(polls.is_due(), "before the first probe");
        let cancel = CancellationToken::new();
        let watching = tokio::spawn(store.clone().watch(cancel.clone()));
        within_timeout("the first probe", commits.changed()).await.unwrap();
        poll(&mut polls);
        cancel.cancel();
        within_timeout("the end of the probe", watching).await.unwrap();
        assert!(polls.is_due(), "the rest ends with the probe");
        poll(&mut polls);
        assert!(polls.is_due(), "after the last probe");
    }

    async fn a_relay_that_rests_marks_what_another_process_committed(stage) {
        let (store, other) = (&stage.store, another_process(&stage).await);
        let settings = bus_settings("embedded:", Vec::new(), 64 << 20);
        let (bus, _) = Bus::connect(&settings, Some(store.db().clone())).await.unwrap();
        let (cancel, lease_for) = (CancellationToken::new(), Duration::from_secs(60));
        let watching = tokio::spawn(store.clone().watch(cancel.clone()));
        let work = relay::run(store.clone(), bus, Clock::manual(NOW), lease_for, "one".to_owned(), cancel.clone());
        let relaying = tokio::spawn(work);
        within_timeout("every event is placed and marked", async {
            for n in 1..=EVENTS {
                other.emit(closed(n), NOW).await.unwrap();
                while other.outbox_pending().await.unwrap() > 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        })
        .await;
        let events = other.events_after(0, &[], None, 100).await.unwrap();
        assert_eq!(events.len(), usize::try_from(EVENTS).unwrap());
        cancel.cancel();
        relaying.await.unwrap();
        watching.await.unwrap();
    }
}
