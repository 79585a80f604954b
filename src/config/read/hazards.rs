//! What endangers money where WeChat itself is called.

use crate::config::address;
use crate::config::reader::Reader;

pub(super) fn plain_http(r: &mut Reader<'_>, key: &str, urls: &[String]) {
    if urls.iter().any(|url| address::is_open_to_eavesdroppers(url)) {
        r.hazard(key, "goes over the internet unencrypted: use https");
    }
}
