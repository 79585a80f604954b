//! A process dies between two effects, is started again, and nothing is lost, done twice or forgotten.

use std::sync::Arc;

use serde_json::{Value, json};
use wxpay_worker::store::Db;

use super::mortal::Mortal;
use super::plays::{closes, ends, forgotten, orphaned, refund_is_due, refunded, refused, switches};
use crate::faults::audit::{self, Orders};
use crate::faults::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, signed};
use crate::harness::service::{KEY, MCH_ID, Process, Processes, TestService, jsapi};

/// What is going on when the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Order, payment, notification, event.
    Payment,
    /// The order is asked for while no worker runs: the ingress records it.
    NoWorker,
    /// The notification never comes; a query finds the payment.
    Query,
    /// The notification comes long before its order.
    Early,
    /// Copies of a notification of no order waited, and the bus has forgotten them.
    Orphaned,
    /// A notification of another amount is parked; then the true one comes.
    WrongAmount,
    /// The paid order is refunded, and WeChat tells of it.
    Refund,
    /// The same, and the notification never comes.
    RefundAsked,
    /// Paid and refunded in the merchant platform, without a notification of either.
    RefundFound,
    /// Refunded in the merchant platform without a notification, so that one of the shop's is refused.
    RefundRefused,
    /// The business closes an old order that is unpaid.
    Close,
    /// The business has an old order paid in another way.
    Switch,
}

/// Plays `scenario` while a process with `roles` dies at `site`; a second process has the `other_roles`.
pub async fn dies_at(mut rig: Processes, roles: &str, other_roles: Option<&str>, scenario: Scenario, site: &str) {
    if scenario == Scenario::Orphaned {
        forgotten(&mut rig).await;
        rig.expect_dead_letters(&["unknown_order"; 3]);
    }
    let mut mortal = Mortal::start(&rig, roles, site).await;
    let _other = play(&mut mortal, other_roles, scenario, site).await;
    rig.finish().await;
}

/// Returns the second process.
async fn play(mortal: &mut Mortal<'_>, other_roles: Option<&str>, scenario: Scenario, site: &str) -> Option<Process> {
    let rig = mortal.rig;
    let db = rig.open_db().await;
    let mut other = None;
    if scenario != Scenario::NoWorker
        && let Some(roles) = other_roles
    {
        other = Some(rig.run_roles(roles).await);
    }
    let base = &mortal.process.base.clone();
    match scenario {
        Scenario::Payment | Scenario::Refund | Scenario::Close | Scenario::Switch => {}
        Scenario::Orphaned => {
            orphaned(mortal, &db, base, site).await;
            return other;
        }
        Scenario::RefundAsked | Scenario::RefundRefused => {
            rig.faults(json!([{"on": "refund_notify", "kind": "drop", "times": null}])).await
        }
        Scenario::RefundFound => {
            let all = json!([{"on": "notify", "kind": "drop"}, {"on": "refund_notify", "kind": "drop"}]);
            rig.faults(all).await;
        }
        Scenario::NoWorker => {
            mortal.until("the order's record", |_| accepted(rig, base)).await;
            other = Some(rig.run_roles(other_roles.unwrap()).await);
        }
        Scenario::Query => rig.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await,
        Scenario::Early => {
            mortal.until("SUCCESS", |_| notified(rig, base, signed(&[], KEY))).await;
            let waits = "SELECT COUNT(*) FROM deferred";
            mortal
                .until("deferral or death", |deaths| {
                    let db = &db;
                    async move { (deaths > 0 || rig.number(db, waits).await > 0).then_some(()) }
                })
                .await;
        }
        Scenario::WrongAmount => {
            mortal.until("pay parameters", |_| payable(rig, base)).await;
            mortal.until("SUCCESS", |_| notified(rig, base, signed(&[("total_fee", "99")], KEY))).await;
            let parked = "SELECT COUNT(*) FROM dead_letters";
            mortal.until("a dead letter", |_| async { (rig.number(&db, parked).await > 0).then_some(()) }).await;
        }
    }
    mortal.until("pay parameters", |_| payable(rig, base)).await;
    match scenario {
        Scenario::Close => {
            closes(mortal, &db, base, site).await;
            return other;
        }
        Scenario::Switch => {
            switches(mortal, &db, base, site).await;
            return other;
        }
        _ => {}
    }
    if scenario == Scenario::Payment {
        // The events of the payment then pass the relay's points for the second time.
        let waiting = "SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NULL";
        mortal.until("a relayed event", |_| async { (rig.number(&db, waiting).await == 0).then_some(()) }).await;
    }
    if scenario != Scenario::Early {
        rig.pay("A700001").await;
    }
    if scenario == Scenario::RefundFound {
        let body = json!({"mch_id": MCH_ID, "out_trade_no": "A700001", "refund_fee": 60});
        let (status, refund) = rig.post(&rig.wechat_url, "/_sandbox/refunds/console", &body).await;
        assert_eq!(status, 200, "{refund}");
        ends(rig, refund["out_refund_no"].as_str().unwrap()).await;
    }
    if matches!(scenario, Scenario::Query | Scenario::RefundFound) {
        make_due(&db).await;
    }
    mortal
        .until("the payment", |_| async {
            if matches!(
                scenario,
                Scenario::Payment | Scenario::Refund | Scenario::RefundAsked | Scenario::RefundRefused
            ) {
                repeat_unless_taken(rig).await;
            }
            let (status, order) = rig.try_get(base, "/v1/orders/A700001?merchant=main").await.ok()?;
            (status == 200 && order["state"] == "paid").then_some(())
        })
        .await;
    match scenario {
        Scenario::Refund | Scenario::RefundAsked => refunded(rig, base, &db, mortal).await,
        Scenario::RefundRefused => refused(rig, base, &db, mortal).await,
        Scenario::RefundFound => {
            let found = "SELECT COUNT(*) FROM refund_ledger";
            mortal
                .until("the refund that was found", |_| async {
                    refund_is_due(&db).await;
                    (rig.number(&db, found).await == 1).then_some(())
                })
                .await;
        }
        _ => {}
    }
    mortal.until_dead_and_drained(&db, site).await;
    judge(rig, &db, base, scenario).await;
    other
}

async fn judge(rig: &Processes, db: &Db, base: &str, scenario: Scenario) {
    let dead_letters = if scenario == Scenario::WrongAmount {
        // One of each copy that was taken: a process may have taken the first one and died before it said SUCCESS.
        let copies = rig.number(db, "SELECT COUNT(*) FROM notifications WHERE verdict = 'parked'").await;
        assert!(copies >= 1, "nothing was parked");
        for _ in 0..copies {
            rig.expect_dead_letters(&["amount_differs"]);
        }
        copies
    } else {
        0
    };
    let orders = Orders::from([("A700001".to_owned(), 100)]);
    if scenario == Scenario::Early {
        rig.leave_books_open(SIGNED_BY_THE_TEST);
        // WeChat's simulator knows nothing of a payment the test made up: the rows alone are held against each other.
        for (table, rows) in [
            ("ledger", 1),
            ("orders WHERE state = 'paid'", 1),
            ("outbox WHERE event_type = 'wxpay.order.paid.v1'", 1),
            ("notifications WHERE verdict = 'settled'", 1),
            ("dead_letters", 0),
        ] {
            assert_eq!(rig.number(db, &format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
        }
    } else {
        audit::all_paid_once(rig, base, &orders).await;
    }
    match scenario {
        Scenario::Refund | Scenario::RefundAsked | Scenario::RefundFound => {
            audit::refunded_once(rig, base, "A700001", 60).await;
        }
        Scenario::RefundRefused => {
            for (what, rows) in [
                ("refund_ledger", 1),
                ("refunds WHERE state = 'failed' AND origin = 'api'", 1),
                ("refunds WHERE state = 'succeeded' AND origin = 'console'", 1),
                ("refund_totals WHERE reserved_fen = 60 AND refunded_fen = 60", 1),
                ("orders WHERE refunded_fen = 60", 1),
            ] {
                assert_eq!(rig.number(db, &format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
            }
            for fact in ["refund.failed", "refund.succeeded"] {
                assert_eq!(rig.events(base, &format!("wxpay.{fact}.v1")).await.len(), 1, "{fact}");
            }
        }
        _ => {}
    }
    audit::published_once(rig, db, "order.paid", 1).await;
    if scenario == Scenario::Query {
        assert_eq!(rig.events(base, "wxpay.order.paid.v1").await[0]["data"]["learnt_by"], "query");
    }
    let parked = rig.events(base, "wxpay.dead_letter.parked.v1").await;
    assert_eq!(parked.len(), usize::try_from(dead_letters).unwrap(), "one event for each dead letter");
}

/// The order as the shop sees it once it can be paid; the shop repeats its request until then.
async fn payable(rig: &Processes, base: &str) -> Option<Value> {
    let (status, order) = rig.try_post(base, "/v1/orders", &jsapi("A700001", 100)).await.ok()?;
    assert!([200, 202, 503].contains(&status), "{order}");
    (status == 200).then_some(order)
}

async fn accepted(rig: &Processes, base: &str) -> Option<()> {
    let (status, _) = rig.try_post(base, "/v1/orders", &jsapi("A700001", 100)).await.ok()?;
    (status == 202).then_some(())
}

/// Posts a notification as WeChat does.
async fn notified(rig: &Processes, base: &str, body: String) -> Option<()> {
    let request = rig.http.post(format!("{base}/notify/main/pay")).header("content-type", "text/xml").body(body);
    let text = request.send().await.ok()?.text().await.ok()?;
    text.contains("SUCCESS").then_some(())
}

/// WeChat repeats after 15 s what was not acknowledged; here it repeats at once. What was acknowledged is never
/// repeated: it must not need to be.
async fn repeat_unless_taken(rig: &Processes) {
    let truth = rig.wechat_ledger("A700001").await;
    let deliveries = truth["deliveries"].as_array().unwrap();
    if !deliveries.is_empty() && deliveries.iter().all(|d| d["outcome"] != "acknowledged") {
        let body = json!({"mch_id": MCH_ID, "out_trade_no": "A700001"});
        rig.post(&rig.wechat_url, "/_sandbox/notify", &body).await;
    }
}

/// Half a minute has passed, as far as the order's next question is concerned.
async fn make_due(db: &Db) {
    let sql = "UPDATE orders SET next_query_at_ms = 1 WHERE next_query_at_ms IS NOT NULL";
    until("the order's question", || async {
        let done = db.execute("test", String::from(sql), []).await.ok()?;
        (done == 1).then_some(())
    })
    .await;
}

/// A case: its name, its rig, its roles, its site.
pub struct Case {
    pub rig: Rigged,
    pub roles: &'static str,
    pub other_roles: Option<&'static str>,
    pub scenario: Scenario,
    pub site: &'static str,
}

/// Which combination of queue and database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rigged {
    EmbeddedSqlite,
    EmbeddedPostgres,
    NatsSqlite,
    NatsPostgres,
}

/// How many cases run at once: much of their time goes into waiting for leases to end.
const AT_ONCE: usize = 6;

/// Runs all cases, or those at the sites that `WXPAY_TEST_SITES` lists; names every one that failed.
pub async fn run(mut cases: Vec<Case>) {
    if let Ok(only) = std::env::var("WXPAY_TEST_SITES") {
        cases.retain(|case| only.split(',').any(|site| site == case.site));
    }
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut running = tokio::task::JoinSet::new();
    for case in cases {
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let Case { rig, roles, other_roles, scenario, site } = case;
            let name = format!("{rig:?}, {scenario:?}, {roles} dies at {site}");
            let played = tokio::spawn(async move {
                let rig = match rig {
                    // The points of the log have a test of their own.
                    Rigged::EmbeddedSqlite => TestService::embedded_sqlite().await.direct(),
                    Rigged::EmbeddedPostgres => TestService::embedded_postgres().await,
                    Rigged::NatsSqlite => TestService::nats_sqlite().await,
                    Rigged::NatsPostgres => TestService::nats_postgres().await,
                };
                let rig = match scenario {
                    Scenario::Refund | Scenario::RefundAsked | Scenario::RefundFound | Scenario::RefundRefused => {
                        rig.refunds()
                    }
                    _ => rig,
                };
                let rig = rig.processes().await;
                dies_at(rig, roles, other_roles, scenario, site).await;
            });
            played.await.err().map(|e| {
                let panic = e.into_panic();
                let words = panic.downcast_ref::<String>().cloned();
                let words = words.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                format!("{name}: {}", words.unwrap_or_default())
            })
        });
    }
    let failed: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}
