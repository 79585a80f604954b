//! `deploy/grafana/dashboard.json`: metrics and labels that exist, and no panel over another.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::alerts::ALERTS;
use super::promql::read;

const DASHBOARD: &str = include_str!("../../../deploy/grafana/dashboard.json");
/// Of Grafana's grid.
const COLUMNS: u64 = 24;

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// What Grafana puts in the place of its variables.
fn filled(expression: &str) -> String {
    expression.replace("$__rate_interval", "5m").replace("$merchant", ".*")
}

fn metrics() -> BTreeSet<&'static str> {
    let mut all = BTreeSet::new();
    for panel in panels().iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let expression = filled(target["expr"].as_str().unwrap());
            assert!(!expression.contains('$'), "{expression}: another variable");
            let used = read(&expression).unwrap_or_else(|why| panic!("{}: {why}", panel["title"]));
            all.extend(used.metrics);
            // What tells the lines of a panel apart is kept by its expression.
            for label in target["legendFormat"].as_str().unwrap().split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                assert!(expression.contains("by (") && expression.contains(label), "{label}: {expression}");
            }
        }
    }
    all
}

#[test]
fn every_expression_uses_metrics_and_labels_that_exist() {
    assert!(metrics().len() > 30);
}

#[test]
fn what_an_alert_goes_by_is_on_the_dashboard() {
    let shown = metrics();
    for expression in ALERTS.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        for metric in read(expression).unwrap().metrics {
            assert!(shown.contains(metric), "{metric} has an alert and no panel");
        }
    }
}

#[test]
fn panels_have_a_place_and_a_number_of_their_own() {
    let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    for panel in panels() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(titles.insert(panel["title"].as_str().unwrap().to_owned()), "{panel}");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(at("x") + at("w") <= COLUMNS, "{panel}");
        for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(taken.insert((x, y)), "{} lies over another one", panel["title"]);
        }
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!((&panel["type"], &panel["datasource"]), (&json!("timeseries"), &source));
        let units = ["s", "short", "reqps", "percentunit"];
        assert!(units.contains(&panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap()), "{panel}");
        let letters: BTreeSet<&str> =
            panel["targets"].as_array().unwrap().iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(letters.len(), panel["targets"].as_array().unwrap().len(), "{panel}");
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let variables: Vec<&str> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|of| of["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource", "merchant"]);
}
