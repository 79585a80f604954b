//! Every crash point, in a scenario that passes it. A point of the source that is in no table fails the test.

mod mortal;
mod plays;
mod points;

use std::collections::BTreeSet;

use crate::faults::{intake_log, nats};
use crate::harness::size;
use points::{Case, Rigged, Scenario, run};

const ALL: &str = "ingress,worker,relay,scheduler";
const BEHIND: &str = "worker,relay,scheduler";

/// `name:n` dies at the n-th passing: the first is the order's placement, the second its payment. Where all roles are
/// in one process, the order does not go by the bus.
const SITES: &[(Scenario, &[&str])] = &[
    (
        Scenario::Payment,
        &[
            "ingress.order_parsed",
            "ingress.order_recorded",
            "ingress.order_ready",
            "ingress.verified",
            "ingress.published",
            "worker.order_claimed",
            "worker.order_answered",
            "worker.order_placed",
            "worker.verified",
            "worker.committed",
            "worker.committed:2",
            "worker.handled",
            "bus.stored",
            "bus.delivered",
            "bus.acked",
            "relay.placed",
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
    // The second change is the request, the third the old number's end, the fourth the new one's prepay.
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
    // No event for the second: it is the same payment's.
    (
        Scenario::Orphaned,
        &[
            "scheduler.orphan_found",
            "scheduler.orphan_published",
            "scheduler.orphan_noted",
            "worker.orphan_reported",
            "worker.orphan_reported:2",
        ],
    ),
    (Scenario::RefundFound, &["refund.listed", "refund.adopted", "refund.committed"]),
    (Scenario::RefundRefused, &["refund.gave_way"]),
];

/// Those with an ingress and workers in processes of their own.
const APART: &[(&str, &str, Scenario, &str)] = &[
    ("ingress", BEHIND, Scenario::NoWorker, "ingress.order_recorded"),
    ("ingress", BEHIND, Scenario::Payment, "ingress.order_recorded"),
    ("ingress", BEHIND, Scenario::Payment, "ingress.order_published"),
    ("ingress", BEHIND, Scenario::Payment, "ingress.published"),
    (BEHIND, "ingress", Scenario::Payment, "worker.order_parsed"),
    (BEHIND, "ingress", Scenario::Payment, "worker.order_claimed"),
    (BEHIND, "ingress", Scenario::Payment, "worker.order_answered"),
    (BEHIND, "ingress", Scenario::Payment, "worker.handled"),
    (BEHIND, "ingress", Scenario::Payment, "worker.handled:2"),
    (BEHIND, "ingress", Scenario::Payment, "bus.delivered"),
    (BEHIND, "ingress", Scenario::Payment, "bus.delivered:2"),
    (BEHIND, "ingress", Scenario::Payment, "bus.acked"),
    (BEHIND, "ingress", Scenario::Payment, "bus.acked:2"),
    (BEHIND, "ingress", Scenario::Payment, "worker.committed:2"),
    (BEHIND, "ingress", Scenario::Switch, "worker.committed:3"),
    ("ingress", BEHIND, Scenario::Refund, "refund.recorded"),
    (BEHIND, "ingress", Scenario::Refund, "refund.answered"),
];

/// Whether the combination passes the site: on SQLite a commit gives the positions itself, as on PostgreSQL once a
/// relay has given the first, and the embedded bus has no subscribers for whom an event is published: there only that
/// first one is marked by the relay.
fn is_passed(rig: Rigged, site: &str) -> bool {
    let point = site.split(':').next().unwrap_or(site);
    match point {
        "relay.placed" => matches!(rig, Rigged::NatsPostgres | Rigged::EmbeddedPostgres),
        // A server of its own stores, and hands nothing over inside this process.
        "bus.stored" => matches!(rig, Rigged::EmbeddedSqlite | Rigged::EmbeddedPostgres),
        "relay.marked" if site == "relay.marked" && rig == Rigged::EmbeddedPostgres => true,
        "relay.selected" | "relay.published" | "relay.marked" => {
            matches!(rig, Rigged::NatsPostgres | Rigged::NatsSqlite)
        }
        _ => true,
    }
}

/// Every site of both tables that one combination passes.
fn everywhere(rig: Rigged) -> Vec<Case> {
    all_sites(rig).into_iter().filter(|case| is_passed(rig, case.site)).collect()
}

fn all_sites(rig: Rigged) -> Vec<Case> {
    let together = SITES.iter().flat_map(|(scenario, sites)| sites.iter().map(|site| (*scenario, *site)));
    let together = together.map(|(scenario, site)| Case { rig, roles: ALL, other_roles: None, scenario, site });
    let apart = APART.iter().map(|(roles, others, scenario, site)| Case {
        rig,
        roles,
        other_roles: Some(others),
        scenario: *scenario,
        site,
    });
    together.chain(apart).collect()
}

const RIGS: [Rigged; 4] = [Rigged::EmbeddedSqlite, Rigged::NatsPostgres, Rigged::EmbeddedPostgres, Rigged::NatsSqlite];

/// Each point once, at the latest of its passings that is listed: the payment's rather than the order's. The
/// combinations rotate, so that each has a quarter of the points.
fn each_point_once() -> Vec<Case> {
    let point = |case: &Case| case.site.split(':').next().unwrap_or(case.site);
    let mut chosen: Vec<Case> = Vec::new();
    for case in all_sites(RIGS[0]) {
        match chosen.iter_mut().find(|other| point(other) == point(&case)) {
            // The same scenario at a later passing.
            Some(other) if other.scenario == case.scenario && other.roles == case.roles => *other = case,
            Some(_) => {}
            None => chosen.push(case),
        }
    }
    for (n, case) in chosen.iter_mut().enumerate() {
        let mut rigs = RIGS.into_iter().cycle().skip(n);
        case.rig = rigs.find(|rig| is_passed(*rig, case.site)).unwrap_or(RIGS[1]);
    }
    chosen
}

/// Small: every crash point once, each on one of the four combinations of bus and database. It shows that every point
/// is passed and survived. Long: every site of the tables on every combination, which shows that it does not depend on
/// the combination, the passing or which processes there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_at_every_crash_point() {
    let mut cases = size(each_point_once as fn() -> Vec<Case>, || RIGS.into_iter().flat_map(everywhere).collect())();
    // Those that wait longest first.
    cases.reverse();
    run(cases).await;
}

#[test]
fn the_small_instance_has_every_point_and_every_combination() {
    let chosen = each_point_once();
    let point = |case: &Case| case.site.split(':').next().unwrap().to_owned();
    let points: BTreeSet<String> = chosen.iter().map(point).collect();
    assert_eq!(points, all_sites(RIGS[0]).iter().map(point).collect());
    assert_eq!(points.len(), chosen.len(), "a point twice");
    for rig in RIGS {
        assert!(chosen.iter().filter(|case| case.rig == rig).count() >= 10, "{rig:?}");
    }
}

#[test]
fn every_crash_point_of_the_source_is_in_the_tables() {
    let mut points = BTreeSet::new();
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&entry).unwrap();
                points
                    .extend(text.split("failpoint::point(\"").skip(1).map(|t| t.split('"').next().unwrap().to_owned()));
            }
        }
    }
    // Handed on as an argument.
    points.extend(["bus.deferred".to_owned(), "bus.parked".to_owned()]);
    let tried = SITES.iter().flat_map(|(_, sites)| sites.iter()).chain(APART.iter().map(|(.., site)| site));
    let mut tried: BTreeSet<String> = tried.map(|site| site.split(':').next().unwrap().to_owned()).collect();
    // In a test of their own: they need a log and several deaths.
    tried.extend(intake_log::POINTS.map(str::to_owned));
    // Notifications that come at once, and a log before NATS.
    tried.extend(nats::bundles::POINTS.map(str::to_owned));
    tried.extend(nats::spool::POINTS.map(str::to_owned));
    // No payment is under way there: `payers::killed`.
    tried.insert("erasure.stepped".to_owned());
    // Nothing runs there: `first_hour::written`.
    tried.insert("init.renamed".to_owned());
    assert_eq!(tried, points);
}
