//! The configuration alone: nothing is asked.

use super::finding::{Finding, Status};
use crate::clock::Clock;
use crate::config::{Config, Merchant, Problems};
use crate::wechat::certificate::{MerchantCertificate, Validity};

const CHECK: &str = "configuration";
/// Reported with its date by [`certificate`], not as the warning that it is, too.
const CERTIFICATE_KEY: &str = ".client_cert_file";
/// The warning about a key that WeChat's documentation prints.
const PUBLISHED_KEY: &str = "merchants.v2_key";

/// A configuration that the service would not start with. Each text says what to do.
pub(super) fn refused(problems: &Problems) -> Vec<Finding> {
    let problem = |p: &crate::config::Problem| Finding::new(CHECK, Status::Problem, &p.text).about(&p.key);
    problems.iter().map(problem).collect()
}

/// What a configuration that could be read leaves to be mended.
pub fn check(config: &Config, clock: &Clock) -> Vec<Finding> {
    let mut findings = match config.check_runnable() {
        Ok(()) => vec![Finding::new(CHECK, Status::Ok, format!("can be read; its hash is {}", config.hash()))],
        Err(problems) => refused(&problems),
    };
    for warning in config.warnings.iter().filter(|warning| !warning.key.ends_with(CERTIFICATE_KEY)) {
        findings.push(if warning.key == PUBLISHED_KEY {
            Finding::new("v2_key", Status::Problem, &warning.text)
                .about(&warning.key)
                .mend("set a key of your own in the merchant platform, then in v2_key_file, and reload the service")
        } else {
            Finding::new(CHECK, Status::Warning, &warning.text).about(&warning.key)
        });
    }
    findings.extend(mixture(config));
    findings.extend(config.merchants.iter().filter_map(|merchant| certificate(merchant, clock)));
    findings
}

/// Hosts of WeChat beside those of a simulator: some calls would be real and others not.
fn mixture(config: &Config) -> Option<Finding> {
    let hosts = config.wechat.hosts();
    let names = |real: bool| {
        let named = hosts.iter().filter(|host| host.is_wechats == real);
        named.map(|host| format!("wechat.{}", host.key)).collect::<Vec<_>>()
    };
    let (real, others) = (names(true), names(false));
    (!real.is_empty() && !others.is_empty()).then(|| {
        let found =
            format!("{} is WeChat, {} is not: the sandbox is half configured", real.join(", "), others.join(", "));
        Finding::new("sandbox", Status::Problem, found)
            .about("wechat")
            .mend("set all addresses of [wechat] to the sandbox, or none of them")
    })
}

/// Until when the merchant's certificate is valid. That it belongs to the merchant, loading has checked.
fn certificate(merchant: &Merchant, clock: &Clock) -> Option<Finding> {
    const NAME: &str = "certificate";
    let file = merchant.client_cert_file.as_deref()?;
    let about = merchant.key.to_string();
    let read = MerchantCertificate::read(file, merchant.client_key_file.as_deref(), &merchant.mch_id);
    let certificate = match read {
        Ok(certificate) => certificate,
        Err(error) => return Some(Finding::new(NAME, Status::Problem, error.to_string()).about(about)),
    };
    let download = "download a new one in the merchant platform, replace the files and reload the service";
    let finding = match certificate.validity(clock.now()) {
        Validity::Good => Finding::new(NAME, Status::Ok, format!("valid until {}", certificate.not_after())),
        Validity::EndsSoon(at) => {
            Finding::new(NAME, Status::Warning, format!("expires at {at}, and then refunds stop")).mend(download)
        }
        Validity::Expired(at) => {
            Finding::new(NAME, Status::Problem, format!("expired at {at}: WeChat takes no refund")).mend(download)
        }
        Validity::NotYet(at) => Finding::new(NAME, Status::Problem, format!("not valid before {at}"))
            .mend("compare this host's clock with the time of day"),
    };
    Some(finding.about(about))
}
