//! WeChat's answer to one question per merchant: whether it accepts the key, and what time it is there.

use std::time::Duration;

use futures_util::future::join_all;

use super::clock::between;
use super::finding::{Finding, Status};
use crate::clock::Clock;
use crate::config::{Config, Merchant};
use crate::merchant_setup::{Probe, probe};
use crate::wechat::transport::Client;

const CHECK: &str = "merchant";

pub(super) async fn check(config: &Config, clock: &Clock, limit: Duration) -> Vec<Finding> {
    let client = match Client::new(&config.wechat) {
        Ok(client) => client,
        Err(error) => return vec![Finding::new(CHECK, Status::Problem, error.to_string()).about("wechat")],
    };
    let probes = config.merchants.iter().map(async |merchant| {
        let asked = tokio::time::timeout(limit, probe(&client, config, merchant)).await;
        of_probe(merchant, asked.unwrap_or(Probe::Unclear))
    });
    let mut findings = join_all(probes).await;
    findings.push(match client.clock_difference(clock) {
        Some(difference) => between("WeChat", difference),
        None => Finding::new("clock", Status::NotChecked, "WeChat gave no time").about("WeChat"),
    });
    findings
}

fn of_probe(merchant: &Merchant, probe: Probe) -> Finding {
    let key = merchant.v2_key.fingerprint();
    let finding = match probe {
        Probe::Passed => Finding::new(CHECK, Status::Ok, format!("WeChat accepts mch_id, app_id and v2_key ({key})")),
        Probe::Refused(fault, said) => {
            let found = format!(
                "WeChat refuses the merchant's {} (v2_key {key}): {} {}",
                fault.as_str(),
                said.code,
                said.message
            );
            Finding::new(CHECK, Status::Problem, found).mend(format!(
                "compare {} with the merchant platform, correct it and reload the service",
                fault.check()
            ))
        }
        Probe::Unclear => Finding::new(CHECK, Status::Down, "WeChat gives no answer")
            .mend("check name resolution and the route from this host to the hosts of [wechat]"),
    };
    finding.about(merchant.key.to_string())
}
