//! All refunds that WeChat has of a payment, page by page.

use std::collections::HashSet;
use std::time::Duration;

use crate::config::Merchant;
use crate::ids::{AppId, OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::wechat::v2::refund_query::{Refund, RefundStatus, Refunds, RefundsAsked, Which};
use crate::wechat::v2::reply::RawReply;
use crate::worker::core::context::Context;
use crate::worker::pay::calls;

/// When an order is polled again whose refunds could not all be learnt.
pub const AGAIN: Duration = Duration::from_secs(60);

/// What WeChat answered.
#[derive(Debug, Default)]
pub struct Listing {
    /// The pages of its answer; none where it knows no refund.
    pub pages: Vec<(Refunds, RawReply)>,
    /// Whether it answered at all.
    pub is_answered: bool,
    /// Whether every page was answered and every record could be read.
    pub is_whole: bool,
}

impl Listing {
    /// The refund of a number.
    pub fn find(&self, refund_no: &OutRefundNo) -> Option<(&Refunds, &Refund, &RawReply)> {
        let refunds = self.pages.iter().flat_map(|(found, raw)| found.refunds.iter().map(move |r| (found, r, raw)));
        refunds.into_iter().find(|(_, refund, _)| refund.out_refund_no == *refund_no)
    }

    /// What went back or is on its way: all but what WeChat closed.
    pub fn refunded(&self) -> Fen {
        let mut seen = HashSet::new();
        let refunds = self.pages.iter().flat_map(|(found, _)| &found.refunds);
        let live = refunds.filter(|r| r.status != RefundStatus::Closed && seen.insert(&r.out_refund_no));
        Fen::from_i64(live.fold(0, |sum, r| r.refund_fee.as_i64().saturating_add(sum)))
    }
}

/// Asks for the refunds of a payment, until WeChat has no further page.
pub async fn list(ctx: &Context, merchant: &Merchant, appid: &AppId, transaction_id: &TransactionId) -> Listing {
    let mut listing = Listing { is_whole: true, ..Listing::default() };
    let mut numbers = HashSet::new();
    let mut offset = 0;
    loop {
        let which = Which::Payment(transaction_id.clone(), offset);
        let asked = calls::ask_refunds(ctx, merchant, appid, &which).await;
        crate::failpoint::point("refund.listed");
        let (found, raw) = match asked {
            RefundsAsked::Found(found, raw) => (found, raw),
            RefundsAsked::NotFound => {
                listing.is_answered = true;
                break;
            }
            // Behind the last one there is none.
            RefundsAsked::Refused(error) if offset > 0 && error.code == "PARAM_ERROR" => break,
            other => {
                let why = match other {
                    RefundsAsked::Refused(error) => format!("{}: {}", error.code, error.message),
                    RefundsAsked::Unknown { why, .. } => why,
                    RefundsAsked::Found(..) | RefundsAsked::NotFound => String::new(),
                };
                tracing::info!(%transaction_id, offset, why, "the refunds of a payment could not be listed");
                listing.is_whole = false;
                break;
            }
        };
        listing.is_answered = true;
        for (n, incomplete) in &found.unreadable {
            tracing::warn!(%transaction_id, record = offset + n, why = %incomplete, "a listed refund cannot be read");
            listing.is_whole = false;
        }
        let known = numbers.len();
        numbers.extend(found.refunds.iter().map(|refund| refund.out_refund_no.clone()));
        // A page without anything new is not followed by others: the offset was not heeded.
        let next = found.next_page(offset).filter(|_| numbers.len() > known || !found.unreadable.is_empty());
        listing.pages.push((found, raw));
        match next {
            Some(next) => offset = next,
            None => break,
        }
    }
    listing
}
