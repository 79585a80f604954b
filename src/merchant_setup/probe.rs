//! The probe: a query that belongs to no order.

use crate::config::{Config, Merchant};
use crate::event::fact::WechatError;
use crate::ids::{AppId, OutTradeNo};
use crate::secret::sha256_hex;
use crate::wechat::setup_fault::SetupFault;
use crate::wechat::transport::Client;
use crate::wechat::v2::query;
use crate::wechat::v2::query::Asked;

/// The number that probes ask about. It is no order's: what WeChat says of it does not matter, only that it answers.
const PROBED: &str = "wxpay-probe";
/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// WeChat accepts the merchant's key, numbers and address.
    Passed,
    /// It refuses them.
    Refused(SetupFault, WechatError),
    /// It gave no answer that tells.
    Unclear,
}

/// Asks WeChat about a fixed number through the merchant's first app.
pub async fn probe(client: &Client, config: &Config, merchant: &Merchant) -> Probe {
    match config.app_ids(merchant).into_iter().next() {
        Some(appid) => probe_app(client, merchant, &appid).await,
        None => Probe::Unclear,
    }
}

/// Asks WeChat about a fixed number through one app.
pub async fn probe_app(client: &Client, merchant: &Merchant, appid: &AppId) -> Probe {
    let Ok(number) = OutTradeNo::parse(PROBED.to_owned()) else { return Probe::Unclear };
    match query::ask(client, merchant, appid, &number).await {
        Asked::Fact(..) => Probe::Passed,
        Asked::Refused(error) => match SetupFault::of(&error) {
            Some(fault) => Probe::Refused(fault, error),
            // A refusal of the question is an answer to a caller that is known.
            None if !error.is_unsigned() => Probe::Passed,
            None => Probe::Unclear,
        },
        Asked::Unknown { .. } => Probe::Unclear,
    }
}

/// A digest of what the probe depends on: with another one the fault may be gone. Not of the certificate, which a query
/// does not show and whose path each host has its own of.
pub fn digest(config: &Config, merchant: &Merchant) -> String {
    let apps = config.app_ids(merchant).iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let key = merchant.v2_key.fingerprint();
    // The end is what a process of before writes of a merchant without a certificate.
    let setup = format!("{}\n{apps}\n{key}\n{}\n", merchant.mch_id, merchant.sign_type.as_str());
    sha256_hex(setup.as_bytes())[..16].to_owned()
}
