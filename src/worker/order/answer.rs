//! What follows from WeChat's answer about an order, for every handler that queries.

use crate::bus::Verdict;
use crate::config::Merchant;
use crate::order::Refusal;
use crate::store::EvidenceSource;
use crate::wechat::v2::reply::RawReply;

/// A contradiction becomes a dead letter once; after that the order's flag stands for it.
pub(in crate::worker) fn refused(refusal: &Refusal, first: bool) -> Verdict {
    if first { Verdict::Park { reason: refusal.reason(), why: refusal.to_string() } } else { Verdict::Done }
}

/// A query's answer as evidence.
pub(in crate::worker) fn source(merchant: &Merchant, raw: &RawReply) -> EvidenceSource {
    EvidenceSource::Query {
        raw: raw.as_str().to_owned(),
        verified_by: format!("reply signed with key {}", merchant.v2_key.fingerprint()),
    }
}
