//! Every crash point, in a scenario that passes it. A point of the source that is in no table fails the test.

use std::collections::BTreeSet;

use super::crash_points::{Case, Rigged, Scenario, run};

const ALL: &str = "ingress,worker,relay,scheduler";
const BEHIND: &str = "worker,relay,scheduler";

/// `name:n` dies at the n-th passing: the first is the order's placement, the second its payment.
const SITES: &[(Scenario, &[&str])] = &[
    (
        Scenario::Payment,
        &[
            "ingress.order_parsed",
            "ingress.order_published",
            "ingress.order_ready",
            "ingress.verified",
            "ingress.published",
            "worker.order_parsed",
            "worker.order_recorded",
            "worker.order_answered",
            "worker.verified",
            "worker.decided",
            "worker.decided:2",
            "worker.committed",
            "worker.committed:2",
            "worker.handled",
            "worker.handled:2",
            "bus.delivered",
            "bus.delivered:2",
            "bus.acked",
            "bus.acked:2",
            "relay.placed",
            "relay.placed:2",
            "relay.selected",
            "relay.selected:2",
            "relay.published",
            "relay.published:2",
            "relay.marked",
            "relay.marked:2",
        ],
    ),
    (
        Scenario::Query,
        &[
            "scheduler.query_due",
            "scheduler.query_taken",
            "scheduler.query_published",
            "worker.query_begun",
            "worker.query_answered",
        ],
    ),
    (
        Scenario::Early,
        &[
            "bus.put_off",
            "bus.deferred",
            "scheduler.deferred_due",
            "scheduler.deferred_published",
            "scheduler.deferred_forgotten",
        ],
    ),
    (Scenario::Close, &["worker.close_begun", "worker.close_answered"]),
    // The second change is the wish, the third the old number's end, the fourth the new one's prepay.
    (
        Scenario::Switch,
        &[
            "worker.committed:2",
            "worker.close_begun",
            "worker.close_answered",
            "worker.committed:3",
            "worker.order_answered:2",
            "worker.committed:4",
        ],
    ),
    (Scenario::WrongAmount, &["worker.committed:2", "bus.parked"]),
    (
        Scenario::Refund,
        &[
            "refund.recorded",
            "refund.published",
            "refund.called",
            "refund.answered",
            "refund.committed",
            "refund.notified",
            "refund.committed:2",
        ],
    ),
    (
        Scenario::RefundAsked,
        &["scheduler.refund_taken", "scheduler.refund_published", "refund.asked", "refund.committed:2"],
    ),
    // The second is told by nobody any more: it is the same payment's.
    (
        Scenario::Orphaned,
        &[
            "scheduler.orphan_found",
            "scheduler.orphan_published",
            "scheduler.orphan_noted",
            "worker.orphan_told",
            "worker.orphan_told:2",
        ],
    ),
    (Scenario::RefundFound, &["refund.listed", "refund.adopted", "refund.committed"]),
];

/// Those with an ingress and workers in processes of their own.
const APART: &[(&str, &str, Scenario, &str)] = &[
    ("ingress", BEHIND, Scenario::NoWorker, "ingress.order_recorded"),
    ("ingress", BEHIND, Scenario::Payment, "ingress.order_published"),
    ("ingress", BEHIND, Scenario::Payment, "ingress.published"),
    (BEHIND, "ingress", Scenario::Payment, "worker.order_answered"),
    (BEHIND, "ingress", Scenario::Payment, "worker.committed:2"),
    (BEHIND, "ingress", Scenario::Switch, "worker.committed:3"),
    ("ingress", BEHIND, Scenario::Refund, "refund.recorded"),
    (BEHIND, "ingress", Scenario::Refund, "refund.answered"),
];

/// Where it matters which queue and which database work together.
const CROSSED: &[&str] =
    &["ingress.published", "worker.order_answered", "worker.committed:2", "bus.acked:2", "relay.published:2"];

fn everywhere(rig: Rigged) -> Vec<Case> {
    let together = SITES.iter().flat_map(|(scenario, sites)| sites.iter().map(|site| (*scenario, *site)));
    let together = together.map(|(scenario, site)| Case { rig, roles: ALL, other_roles: None, scenario, site });
    let apart = APART.iter().map(|(roles, others, scenario, site)| Case {
        rig,
        roles,
        other_roles: Some(others),
        scenario: *scenario,
        site,
    });
    // Those that wait longest first.
    let mut cases: Vec<Case> = together.chain(apart).collect();
    cases.reverse();
    cases
}

fn crossed(rig: Rigged) -> impl Iterator<Item = Case> {
    let scenario = Scenario::Payment;
    CROSSED.iter().map(move |site| Case { rig, roles: ALL, other_roles: None, scenario, site })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_anywhere_on_embedded_and_sqlite() {
    run(everywhere(Rigged::EmbeddedSqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_anywhere_on_nats_and_postgres() {
    run(everywhere(Rigged::NatsPostgres)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_between_effects_on_the_other_two_combinations() {
    run(crossed(Rigged::EmbeddedPostgres).chain(crossed(Rigged::NatsSqlite)).collect()).await;
}

#[test]
fn every_crash_point_of_the_source_is_in_the_tables() {
    let mut points = BTreeSet::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let text = std::fs::read_to_string(&entry).unwrap();
                points.extend(text.split("crash::point(\"").skip(1).map(|t| t.split('"').next().unwrap().to_owned()));
            }
        }
    }
    // Handed on as an argument.
    points.extend(["bus.deferred".to_owned(), "bus.parked".to_owned()]);
    let tried = SITES.iter().flat_map(|(_, sites)| sites.iter()).chain(APART.iter().map(|(.., site)| site));
    let tried: BTreeSet<String> = tried.map(|site| site.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(tried, points);
}
