//! The address that WeChat posts to. From here it can be resolved and connected to; whether WeChat reaches it, only a
//! notification shows.

use std::net::IpAddr;

use tokio::net::{TcpStream, lookup_host};

use super::finding::{Finding, Status};
use crate::config::{Config, is_public_address};

const CHECK: &str = "notify_url";
const ABOUT: &str = "server.public_url";
const PUBLISH: &str = "publish the service under a name of the internet, with https, and set it as server.public_url";

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let finding = |status, found: String| Finding::new(CHECK, status, found).about(ABOUT);
    let Some((host, port)) = config.server.public_host() else {
        return vec![finding(Status::Problem, "names no host".to_owned()).mend(PUBLISH)];
    };
    let real = config.wechat.hosts().iter().any(|host| host.is_wechats);
    let mut findings = Vec::new();
    if config.server.public_url.starts_with("http://") && real {
        findings.push(finding(Status::Warning, "notifications come unencrypted: it is http".to_owned()).mend(PUBLISH));
    }
    let addresses: Vec<_> = match lookup_host((host.as_str(), port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            let found = format!("{host} cannot be resolved from this host: {error}");
            findings.push(finding(Status::Problem, found).mend("correct the name, or its entry in DNS"));
            return findings;
        }
    };
    let inside: Vec<IpAddr> =
        addresses.iter().map(std::net::SocketAddr::ip).filter(|ip| !is_public_address(*ip)).collect();
    if let Some(ip) = inside.first().filter(|_| real) {
        let found =
            format!("{host} is {ip} here, which WeChat cannot reach; in the internet it may be another address");
        findings.push(finding(Status::Problem, found).mend(PUBLISH));
    }
    findings.push(match TcpStream::connect(&addresses[..]).await {
        Ok(_) if real => {
            let found = "takes connections from this host; whether WeChat reaches it cannot be seen from here";
            finding(Status::Ok, found.to_owned()).mend("the first paid order shows it: `wxpayctl notifications list`")
        }
        Ok(_) => finding(Status::Ok, "takes connections from this host".to_owned()),
        Err(error) => finding(Status::Warning, format!("takes no connection from this host: {error}"))
            .mend("start the service and its proxy; some networks do not route to their own public address"),
    });
    findings
}
