//! The configuration alone: nothing is asked.

use super::finding::{Finding, Status};
use crate::clock::Clock;
use crate::config::{Config, Merchant, Problems};
use crate::wechat::certificate::{MerchantCertificate, Validity};

const CHECK: &str = "configuration";
/// Reported with its date by [`certificate`], not as the warning that it is, too.
const CERTIFICATE_KEY: &str = ".client_cert_file";

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
        findings.push(Finding::new(CHECK, Status::Warning, &warning.text).about(&warning.key));
    }
    findings.extend(config.merchants.iter().filter_map(|merchant| certificate(merchant, clock)));
    findings
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
