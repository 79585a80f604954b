//! Planning a replay, and changing its state.

use serde_json::json;

use super::predict::Predictor;
use super::read::{get, visible};
use super::types::{Action, Changed, MAX_ITEMS, ReplayError, Request, Tools, View};
use crate::clock::{Clock, Timestamp};
use crate::ids::EventId;
use crate::ops::Operator;
use crate::store::{
    AuditEntry, Candidate, NewReplay, PlannedItem, ReplayChange, ReplayItem, ReplaySelect, ReplayState, Store,
};

/// Items that `start` lists as predicted otherwise by now.
const MAX_CHANGED: usize = 1000;

/// Selects, predicts and writes a plan.
pub async fn plan(tools: Tools<'_>, operator: &Operator, request: Request) -> Result<View, ReplayError> {
    let Request { select, reason, rate_per_second } = request;
    let candidates = tools.store.replay_candidates(&select, MAX_ITEMS + 1).await?;
    if candidates.len() > MAX_ITEMS {
        return Err(ReplayError::TooMany);
    }
    let predictions = Predictor::new(tools).all(&candidates).await?;
    let items: Vec<PlannedItem> = candidates
        .into_iter()
        .zip(predictions)
        .map(|(candidate, p)| PlannedItem {
            candidate,
            out_trade_no: p.out_trade_no,
            predicted: p.predicted,
            reason: p.reason,
        })
        .collect();
    let new = NewReplay {
        id: EventId::new().to_string(),
        kind: select.kind,
        selection: selection(&select),
        merchants: select.merchants,
        reason,
        rate_per_second,
        planned_by: operator.name.clone(),
    };
    tools.store.plan_items(&new.id, &items).await?;
    tools.store.plan_replay(&new, items.len(), tools.clock.now()).await?;
    get(tools.store, operator, &new.id).await
}

/// Starts a plan; the items that are predicted otherwise by now. One that runs already stays as it is.
pub async fn start(tools: Tools<'_>, operator: &Operator, id: &str) -> Result<(View, Vec<Changed>), ReplayError> {
    let replay = visible(tools.store, operator, id).await?;
    let changed = match replay.state {
        ReplayState::Planned => changed(tools, id).await?,
        _ => Vec::new(),
    };
    Ok((act(tools.store, tools.clock, operator, id, Action::Start).await?, changed))
}

/// Changes the state of a replay. One that is as asked already stays as it is.
pub async fn act(
    store: &Store,
    clock: &Clock,
    operator: &Operator,
    id: &str,
    action: Action,
) -> Result<View, ReplayError> {
    let replay = visible(store, operator, id).await?;
    let (name, from, to) = action.rule();
    let one = replay.merchants.as_deref().and_then(|merchants| match merchants {
        [one] => Some(one.clone()),
        _ => None,
    });
    let audit = AuditEntry {
        merchant: one,
        subject: Some(format!("replay:{id}")),
        ..operator.audit(name, replay.reason, clock.now())
    };
    let change = ReplayChange { id: id.to_owned(), from, to, audit: audit.clone() };
    let is_changed = store.change_replay(&change).await?;
    let view = get(store, operator, id).await?;
    if is_changed || view.replay.state == to {
        return Ok(view);
    }
    store.record_audit(&AuditEntry { result: "replay-state".to_owned(), ..audit }).await?;
    Err(ReplayError::State(view.replay.state))
}

/// Predicts a plan's items anew.
async fn changed(tools: Tools<'_>, id: &str) -> Result<Vec<Changed>, ReplayError> {
    let items = tools.store.replay_items(id, 0, None, MAX_ITEMS as u64).await?;
    let candidates: Vec<_> = items.iter().map(candidate).collect();
    let now = Predictor::new(tools).all(&candidates).await?;
    let text = |predicted: &str, reason: Option<&str>| match reason {
        Some(reason) => format!("{predicted}: {reason}"),
        None => predicted.to_owned(),
    };
    let changed = items
        .iter()
        .zip(&now)
        .filter(|(was, now)| (was.predicted, &was.predicted_reason) != (now.predicted, &now.reason));
    let changed = changed.map(|(was, now)| Changed {
        n: was.n,
        was: text(was.predicted.as_str(), was.predicted_reason.as_deref()),
        now: text(now.predicted.as_str(), now.reason.as_deref()),
    });
    Ok(changed.take(MAX_CHANGED).collect())
}

fn selection(select: &ReplaySelect) -> String {
    json!({
        "kind": select.kind.as_str(),
        "ids": select.ids,
        "refused": select.refused,
        "merchants": select.merchants,
        "reason_class": select.reason_class,
        "order_no": select.order_no,
        "from": select.from,
        "to": select.to,
    })
    .to_string()
}

/// The row that an item was planned from.
fn candidate(item: &ReplayItem) -> Candidate {
    Candidate {
        source: item.source,
        source_id: item.source_id.clone(),
        merchant: item.merchant.clone(),
        at: Timestamp::from_ms(0),
    }
}
