//! Two processes die at random moments while orders are placed and paid: two workers, or a worker and the process that
//! accepts the notifications, with an intake log, a spool or neither.
//!
//! Small: forty orders and at least four kills, on NATS with PostgreSQL and on the embedded bus. Long: ten minutes of
//! kills with orders all the while; the rarer moments of a crash show there. `WXPAY_TEST_SEED` repeats a storm.

use std::io::Write;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::audit::{self, Orders};
use super::nats::spool::with_spool;
use super::until;
use crate::harness::service::{Process, Processes, TestService, jsapi};
use crate::harness::size;

/// A xorshift generator: a seed gives one storm.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn seed() -> u64 {
    let given = std::env::var("WXPAY_TEST_SEED").ok().map(|text| text.parse().expect("WXPAY_TEST_SEED is a number"));
    given.unwrap_or_else(|| wxpay_worker::clock::Clock::system().now().as_ms().unsigned_abs())
}

/// The amount of an order of this number.
fn order(n: usize) -> (String, i64) {
    (format!("A{n:06}"), 100 + i64::try_from(n).unwrap())
}

/// What runs in a storm: these roles in a process that stays, and those of the two that die.
struct Cast {
    stays: &'static str,
    die: [&'static str; 2],
    intake: Intake,
}

/// Where those that accept store a notification first.
enum Intake {
    Queue,
    Log,
    Spool,
}

const WORKERS: Cast = Cast { stays: "ingress,relay,scheduler", die: ["worker", "worker"], intake: Intake::Queue };

/// The process that accepts dies, too.
fn accepting(intake: Intake) -> Cast {
    Cast { stays: "relay,scheduler", die: ["ingress,worker", "worker"], intake }
}

/// Kills one of two processes every 0.3 to 1 s and starts another.
async fn storm(rig: &Processes, (processes, cast): (&mut [Process; 2], &Cast), dice: &mut Dice) {
    let (lasts, least_kills) = size((Duration::from_secs(4), 4), (Duration::from_secs(600), 100));
    let started = Instant::now();
    let mut kills = 0;
    while started.elapsed() < lasts || kills < least_kills {
        tokio::time::sleep(Duration::from_millis(300 + dice.roll(700))).await;
        let n = usize::try_from(dice.roll(2)).unwrap();
        processes[n].kill();
        processes[n] = rig.run_roles(cast.die[n]).await;
        kills += 1;
    }
    let _ = writeln!(std::io::stderr(), "{kills} kills");
}

async fn survives_a_storm(storming: Processes, cast: Cast) {
    let seed = seed();
    // Past the test program's capture: a hang must leave it, too.
    let _ = writeln!(std::io::stderr(), "WXPAY_TEST_SEED={seed}");
    let rig = &storming;
    let mut dice = Dice(seed | 1);
    let _stays = rig.run_roles(cast.stays).await;
    let mut mortal = [rig.run_roles(cast.die[0]).await, rig.run_roles(cast.die[1]).await];
    let base = &format!("http://127.0.0.1:{}", rig.port());
    let over = &CancellationToken::new();
    let (least, most) = size((40, 40), (200, 500_000));
    let numbers = stream::iter(0..most).take_while(|n| std::future::ready(*n < least || !over.is_cancelled()));
    let paying = numbers.map(|n| async move {
        let (order_no, amount_fen) = order(n);
        until(&format!("pay parameters of {order_no}"), || async {
            let (status, answer) = rig.try_post(base, "/v1/orders", &jsapi(&order_no, amount_fen)).await.ok()?;
            assert!([200, 202, 503].contains(&status), "{status} {answer}");
            (status == 200).then_some(())
        })
        .await;
        rig.pay(&order_no).await;
        (order_no, amount_fen)
    });
    // In the small instance few at a time, so that the load lasts as long as the storm.
    let load = paying.buffer_unordered(size(8, 32)).collect::<Vec<_>>();
    let kills = async {
        storm(rig, (&mut mortal, &cast), &mut dice).await;
        over.cancel();
    };
    let orders: Orders = tokio::join!(kills, load).1.into_iter().collect();
    let _ = writeln!(std::io::stderr(), "{} orders", orders.len());
    for order_no in orders.keys() {
        until(&format!("{order_no} paid (seed {seed})"), || async {
            let (_, order) = rig.try_get(base, &format!("/v1/orders/{order_no}?merchant=main")).await.ok()?;
            (order["state"] == "paid").then_some(())
        })
        .await;
    }
    let db = rig.open_db().await;
    let bus = rig.open_bus(&db).await;
    until(&format!("an empty queue (seed {seed})"), || async { rig.is_drained(&db, &bus).await.then_some(()) }).await;
    audit::all_paid_once(rig, base, &orders).await;
    audit::published_once(rig, &db, "order.paid", orders.len()).await;
    match cast.intake {
        Intake::Queue => {}
        Intake::Log => the_log_is_used(rig, base).await,
        Intake::Spool => the_spool_is_used(rig, &mortal[0]).await,
    }
    storming.finish().await;
}

/// Every process that accepted was one like that which lives now: it settles from its log.
async fn the_log_is_used(rig: &Processes, base: &str) {
    let db = rig.open_db().await;
    let settled = "SELECT COALESCE(SUM(position), 0) FROM intake_logs";
    let before = rig.number(&db, settled).await;
    rig.place(base, "A900000", 100).await;
    rig.pay("A900000").await;
    rig.until_state(base, "A900000", "paid").await;
    assert!(rig.number(&db, settled).await > before, "the cursor moved");
    rig.until_drained().await;
}

/// The process that lives now stores what it accepts in its own files first.
async fn the_spool_is_used(rig: &Processes, accepting: &Process) {
    rig.place(&accepting.base, "A900000", 100).await;
    rig.pay("A900000").await;
    rig.until_state(&accepting.base, "A900000", "paid").await;
    let syncs = rig.metric::<u64>(accepting, "wxpay_intake_syncs_total").await;
    assert!(syncs.is_some_and(|syncs| syncs > 0), "{syncs:?} syncs of the spool");
    rig.until_drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_paid_once_while_processes_die_at_random_on_nats_and_postgres() {
    survives_a_storm(TestService::nats_postgres().await.processes().await, accepting(Intake::Queue)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_paid_once_while_processes_with_a_spool_die_at_random() {
    let (processes, _folder) = with_spool().await;
    survives_a_storm(processes, accepting(Intake::Spool)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_paid_once_while_workers_die_at_random_on_embedded_and_postgres() {
    survives_a_storm(TestService::embedded_postgres().await.processes().await, WORKERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_paid_once_while_processes_with_an_intake_log_die_at_random() {
    survives_a_storm(TestService::embedded_sqlite().await.processes().await, accepting(Intake::Log)).await;
}
