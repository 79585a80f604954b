//! `GET /v1/refunds/{refund_no}`, and waiting for a refund to change.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::view::RefundJson;
use crate::event::command::RefundDue;
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::http::extract::auth::{Authorized, Refunds};
use crate::http::extract::path::RefundPath;
use crate::http::extract::query::{RefreshQuery, StrictQuery};
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ids::{MerchantKey, OutRefundNo};
use crate::ops::money::RefundContent;
use crate::refund::RefundState;
use crate::store::StoredRefund;

/// How long `?refresh=1` waits for WeChat's answer.
const REFRESH_WAIT: Duration = Duration::from_secs(3);
/// Poll interval for a refund that a caller waits for: the first, growing to the second.
pub(super) const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));

/// `GET /v1/refunds/{refund_no}`
pub async fn get(
    app: HttpState,
    caller: Authorized<Refunds>,
    StrictQuery(query): StrictQuery<RefreshQuery>,
    RefundPath(refund_no): RefundPath,
) -> Result<Response, Error> {
    let named = query.merchant.as_deref();
    let merchant = caller.merchant(&app.config, named, |rule| FieldProblem::parameter("merchant", rule))?;
    let Some(mut stored) = app.store.refund(&merchant.key, &refund_no).await? else {
        let asked = app.store.approval_of_refund(&merchant.key, &refund_no).await?;
        let approval = asked.ok_or(Error::NotFound("refund"))?;
        let content = RefundContent::of(&approval)?;
        return Ok(axum::Json(RefundJson::awaiting(&approval, &content, app.clock.now())).into_response());
    };
    if query.refresh {
        stored = app.refresh_refund(stored).await?;
    }
    Ok(axum::Json(RefundJson::new(&stored)).into_response())
}

impl HttpState {
    /// Publishes a command about a refund.
    pub(super) async fn publish_refund(
        &self,
        merchant: &MerchantKey,
        subject: String,
        refund_no: &OutRefundNo,
        only_ask: bool,
    ) -> Result<(), Error> {
        let due = RefundDue { refund_no: refund_no.clone(), only_ask };
        self.publish(subject, Envelope::new(merchant, RefundDue::TYPE, None, self.clock.now(), due)).await
    }

    async fn refresh_refund(&self, stored: StoredRefund) -> Result<StoredRefund, Error> {
        let (merchant, refund_no) = (stored.refund.merchant.clone(), stored.refund.refund_no.clone());
        let askable = match stored.refund.state {
            RefundState::Unknown | RefundState::Processing | RefundState::Abnormal => true,
            RefundState::Requested | RefundState::Succeeded | RefundState::Failed => false,
        };
        if !askable || !self.may_ask_of_refund(&merchant, &refund_no) {
            return Ok(stored);
        }
        self.publish_refund(&merchant, subject::refund_due(&merchant), &refund_no, true).await?;
        let (version, queries) = (stored.refund.version, stored.refund.queries);
        let answered = |s: &StoredRefund| s.refund.version != version || s.refund.queries != queries;
        self.watch_refund(stored, Instant::now() + REFRESH_WAIT, answered).await
    }

    /// Polls a refund until it is `enough`, at most until `deadline` or until the process ends.
    pub(super) async fn watch_refund(
        &self,
        mut stored: StoredRefund,
        deadline: Instant,
        enough: impl Fn(&StoredRefund) -> bool,
    ) -> Result<StoredRefund, Error> {
        let (mut pause, longest) = POLL;
        while !enough(&stored) && Instant::now() < deadline && !self.shutdown.is_cancelled() {
            let next = tokio::time::sleep_until((Instant::now() + pause).min(deadline));
            if self.shutdown.run_until_cancelled(next).await.is_none() {
                break;
            }
            pause = (pause * 3 / 2).min(longest);
            let (merchant, refund_no) = (&stored.refund.merchant, &stored.refund.refund_no);
            stored = self.store.refund(merchant, refund_no).await?.ok_or(Error::NotFound("refund"))?;
        }
        Ok(stored)
    }
}
