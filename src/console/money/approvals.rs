//! `/console/approvals`: what waits for a second person, with its decision.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::words::MoneyWords;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::money::Money;
use crate::console::ui::reason;
use crate::console::ui::status::Status;
use crate::console::viewer::Viewer;
use crate::http::Error;
use crate::ops::money::{ApprovalFilter, ApproveError, approvals, approve, refuse};
use crate::store::{Approval, ApprovalKind, ApprovalState, Right};

const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/approvals.html")]
struct ApprovalsPage {
    frame: Frame,
    t: &'static MoneyWords,
    query: Filters,
    merchants: Vec<String>,
    rows: Vec<Approval>,
    /// Whose requests the viewer does not decide: its own.
    viewer_id: String,
    older: Option<String>,
}

/// Those that wait, or with `?state=all` all, newest first.
pub async fn get(app: Console, viewer: Viewer, query: Filters) -> Result<Response, Fault> {
    let t = MoneyWords::of(app.lang);
    let filter = ApprovalFilter {
        merchants: viewer.among(query.get("merchant"))?,
        waiting_at: (!query.is("state", "all")).then(|| app.clock.now()),
        before: query.get("before").and_then(|id| id.parse().ok()),
    };
    let found = approvals(&app.store, &filter, LIMIT).await?;
    let older = found.next.map(|id| query.with(links::APPROVALS, "before", &id.to_string()));
    let frame = Frame::new(&app, &viewer, Place::Approvals, t.approvals_title);
    let (merchants, viewer_id) = (viewer.merchant_names(&app.config), viewer.operator().id);
    page(&ApprovalsPage { frame, t, query, merchants, rows: found.rows, viewer_id, older })
}

/// `POST /console/approvals/{id}`: `decision` is `approve` or `refuse`, or `withdraw` of one's own.
pub async fn decide(app: Console, Path(id): Path<i64>, Posted { viewer, fields }: Posted) -> Result<Response, Fault> {
    let t = MoneyWords::of(app.lang);
    let known = app.store.approval(id).await?.filter(|approval| viewer.sees(&approval.merchant));
    let known = known.ok_or(Fault::NotFound)?;
    viewer.require(right(&known))?;
    let reason = match reason::check(fields.get("reason"), app.lang) {
        Ok(reason) => reason,
        Err(problem) => return Ok(flash::redirect(app.shared.jar, links::APPROVALS, problem)),
    };
    let (operator, tools) = (viewer.operator(), app.tools());
    let (done, says) = match fields.get("decision") {
        Some("approve") => (approve(tools, &operator, id, &reason).await, t.approved),
        Some("refuse") => (refuse(tools, &operator, id, &reason).await, t.refused),
        // The page offers it to who asked alone.
        Some("withdraw") if operator.id == known.asked_by_id => {
            (refuse(tools, &operator, id, &reason).await, t.withdrawn)
        }
        _ => return Err(Fault::NotFound),
    };
    let says = match done {
        Ok(_) => says,
        Err(ApproveError::Own) => t.own,
        Err(ApproveError::Ended) => t.ended,
        Err(other) => match Error::from(other) {
            Error::PaymentDiffers | Error::PaymentGivenBack | Error::RefundExceeds { .. } => t.changed,
            Error::RefundCap { .. } => t.capped,
            Error::PaymentAccepted | Error::PaymentMatched | Error::RefundDiffers => t.changed,
            other => return Err(other.into()),
        },
    };
    Ok(flash::redirect(app.shared.jar, links::APPROVALS, says))
}

/// About a request decides who might have made it.
fn right(approval: &Approval) -> Right {
    match approval.kind {
        ApprovalKind::Accept => Right::Accept,
        ApprovalKind::Refund => Right::Refund,
    }
}

impl ApprovalsPage {
    fn path(&self) -> &'static str {
        links::APPROVALS
    }

    fn kind(&self, row: &Approval) -> &'static str {
        match row.kind {
            ApprovalKind::Accept => self.t.kind_accept,
            ApprovalKind::Refund => self.t.kind_refund,
        }
    }

    fn status(&self, row: &Approval) -> Status {
        row.state_at(self.frame.now).into()
    }

    fn amount(&self, row: &Approval) -> Money {
        self.frame.sum(row.amount, &row.currency)
    }

    /// Of a payment to accept: what its order is for.
    fn order_amount(&self, row: &Approval) -> Option<Money> {
        row.order_amount.map(|amount| self.frame.sum(amount, &row.currency))
    }

    /// Of a refund: what its payment was when it was asked for.
    fn class(&self, row: &Approval) -> &'static str {
        row.class.as_ref().map_or("", |class| self.frame.class(class).word(self.frame.lang))
    }

    fn link(&self, row: &Approval) -> String {
        row.order_no.as_ref().map(|order_no| links::order(&row.merchant, order_no)).unwrap_or_default()
    }

    fn may_decide(&self, row: &Approval) -> bool {
        let waits = row.state_at(self.frame.now) == ApprovalState::Waiting;
        waits && row.asked_by_id != self.viewer_id && self.frame.may(right(row))
    }

    fn may_withdraw(&self, row: &Approval) -> bool {
        let waits = row.state_at(self.frame.now) == ApprovalState::Waiting;
        waits && row.asked_by_id == self.viewer_id && self.frame.may(right(row))
    }

    fn action(&self, row: &Approval) -> String {
        format!("{}/{}", links::APPROVALS, row.id)
    }
}
