//! Endpoints: made, changed, tested, deleted.
//!
//! What must stay true: a secret is shown once, when it is made; an endpoint of a merchant that the operator may not
//! see is as if it did not exist; no address is stored that could not be called.

use crate::clock::Timestamp;
use crate::ids::{EventId, MerchantKey};
use crate::ops::operator::{Operator, Page};
use crate::store::{
    AuditEntry, DbError, EndpointChange, EndpointFormat, EndpointHealth, EndpointState, Store, WebhookEndpoint,
};
use crate::webhooks::address::AddressError;
use crate::webhooks::{Answer, AttemptError, KeyError, Maker, OLD_SECRET_LIFE, Robot, SigningSecret, parse_mailto};

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("there is no such webhook endpoint")]
    NotFound,
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("the merchant has as many endpoints as it may")]
    UsedUp,
    #[error("another message was sent to this endpoint a moment ago")]
    TooOften,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("{0}")]
    Defect(String),
    #[error(transparent)]
    Store(#[from] DbError),
}

/// An endpoint to make.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    pub merchant: MerchantKey,
    pub format: EndpointFormat,
    /// Of a robot: with its key.
    pub url: String,
    pub description: String,
    /// Whole types; all where there are none.
    pub event_types: Vec<String>,
    pub reason: String,
}

/// What changes; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub url: Option<String>,
    pub description: Option<String>,
    pub event_types: Option<Vec<String>>,
    pub is_enabled: Option<bool>,
    pub reason: String,
}

/// An endpoint and how it is doing.
#[derive(Debug, Clone)]
pub struct View {
    pub endpoint: WebhookEndpoint,
    pub health: EndpointHealth,
}

/// An endpoint with a secret that was made for it.
#[derive(Debug)]
pub struct Made {
    pub view: View,
    /// None of a robot, whose key is known, and of mails.
    pub secret: Option<SigningSecret>,
}

/// Makes an endpoint: it gets what is emitted from now on.
pub async fn create(maker: &Maker, operator: &Operator, new: NewEndpoint) -> Result<Made, WebhookError> {
    let now = maker.clock.now();
    let id = EventId::new().to_string();
    let audit = entry(operator, ("webhook.create", new.reason.clone()), &id, &new.merchant, now);
    let (url, robot) = match addressed(maker, new.format, &new.url).await {
        Ok(addressed) => addressed,
        Err(refused) => return address_refused(maker, refused, audit).await,
    };
    let (secret, sealed) = match &robot {
        Some(robot) => (None, maker.sender.seal_robot(&id, robot)?),
        // The mail server's password is in the configuration.
        None if new.format == EndpointFormat::Mail => (None, String::new()),
        None => {
            let secret = SigningSecret::random();
            let sealed = maker.sender.seal(&id, &secret)?;
            (Some(secret), sealed)
        }
    };
    let endpoint = WebhookEndpoint {
        secret: sealed,
        id,
        merchant: new.merchant,
        format: new.format,
        url,
        description: new.description,
        event_types: new.event_types,
        old_secret: None,
        state: EndpointState::Enabled,
        disabled_reason: None,
        disabled_at: None,
        position: 0,
        failing_since: None,
        next_message_at: None,
        replay_first_until: None,
        created_at: now,
        created_by: operator.name.clone(),
        updated_at: now,
    };
    let most = maker.sender.settings().webhooks.endpoints_per_merchant;
    if !maker.store.create_webhook(&endpoint, most, &audit).await? {
        return Err(WebhookError::UsedUp);
    }
    let view = get(&maker.store, operator, &endpoint.id).await?;
    Ok(Made { view, secret })
}

/// The address without a robot's key, and the robot. It may be called.
async fn addressed(maker: &Maker, format: EndpointFormat, url: &str) -> Result<(String, Option<Robot>), AddressError> {
    let (url, robot) = match format {
        EndpointFormat::Events if Robot::is_robots(url) => return Err(AddressError::Robot),
        EndpointFormat::Events => (url.to_owned(), None),
        EndpointFormat::Wecom => {
            let robot = Robot::parse(url)?;
            (robot.address.clone(), Some(robot))
        }
        EndpointFormat::Mail => {
            let settings = maker.sender.settings();
            let smtp = settings.webhooks.smtp.as_ref().ok_or(AddressError::NoMailServer)?;
            return Ok((parse_mailto(url, smtp)?, None));
        }
    };
    maker.sender.check(&url).await?;
    Ok((url, robot))
}

async fn address_refused<T>(maker: &Maker, refused: AddressError, audit: AuditEntry) -> Result<T, WebhookError> {
    maker.store.record_audit(&AuditEntry { result: "address-refused".to_owned(), ..audit }).await?;
    Err(refused.into())
}

/// Up to `limit` endpoints of these merchants (all that the operator sees where none are given), newest first.
pub async fn list(
    store: &Store,
    operator: &Operator,
    merchants: Option<&[MerchantKey]>,
    (before, limit): (Option<&str>, u64),
) -> Result<Page<View, String>, DbError> {
    let merchants = merchants.or(operator.merchants.as_deref());
    let mut rows = Vec::new();
    for endpoint in store.webhooks(merchants, before, limit).await? {
        let health = store.webhook_health(&endpoint.id).await?;
        rows.push(View { endpoint, health });
    }
    let next = rows.last().filter(|_| rows.len() as u64 >= limit).map(|view| view.endpoint.id.clone());
    Ok(Page { rows, next })
}

/// An endpoint that the operator may see.
pub async fn get(store: &Store, operator: &Operator, id: &str) -> Result<View, WebhookError> {
    let endpoint = visible(store, operator, id).await?;
    let health = store.webhook_health(&endpoint.id).await?;
    Ok(View { endpoint, health })
}

/// Changes an endpoint. One that is enabled again goes on where it stopped.
pub async fn update(maker: &Maker, operator: &Operator, id: &str, change: Change) -> Result<View, WebhookError> {
    let endpoint = visible(&maker.store, operator, id).await?;
    let action = match change.is_enabled {
        Some(true) => "webhook.enable",
        Some(false) => "webhook.disable",
        None => "webhook.change",
    };
    let audit = entry(operator, (action, change.reason), id, &endpoint.merchant, maker.clock.now());
    let Change { url, description, event_types, is_enabled, .. } = change;
    // A robot's address without its key, as it is shown, changes nothing of it.
    let url = url.filter(|url| *url != endpoint.url);
    let addressed = match &url {
        Some(url) => addressed(maker, endpoint.format, url).await.map(Some),
        None => Ok(None),
    };
    let (url, robot) = match addressed {
        Ok(addressed) => addressed.unzip(),
        Err(refused) => return address_refused(maker, refused, audit).await,
    };
    let secret = robot.flatten().map(|robot| maker.sender.seal_robot(id, &robot)).transpose()?;
    let change = EndpointChange { id: id.to_owned(), url, secret, description, event_types, is_enabled, audit };
    if !maker.store.change_webhook(&change).await? {
        return Err(WebhookError::NotFound);
    }
    get(&maker.store, operator, id).await
}

/// Makes another secret; a robot's key is changed with its address. The one in use signs beside it for
/// [`OLD_SECRET_LIFE`]; an older one ends.
pub async fn rotate(maker: &Maker, operator: &Operator, id: &str, reason: String) -> Result<Made, WebhookError> {
    let endpoint = visible(&maker.store, operator, id).await?;
    match endpoint.format {
        EndpointFormat::Events => {}
        EndpointFormat::Wecom => return Err(AddressError::NoKey.into()),
        EndpointFormat::Mail => return Err(AddressError::NoSecret.into()),
    }
    let now = maker.clock.now();
    let secret = SigningSecret::random();
    let sealed = maker.sender.seal(id, &secret)?;
    let audit = entry(operator, ("webhook.rotate", reason), id, &endpoint.merchant, now);
    if !maker.store.rotate_webhook(id, &sealed, now.after(OLD_SECRET_LIFE), &audit).await? {
        return Err(WebhookError::NotFound);
    }
    Ok(Made { view: get(&maker.store, operator, id).await?, secret: Some(secret) })
}

/// Deletes an endpoint; what waits for it is cancelled.
pub async fn delete(maker: &Maker, operator: &Operator, id: &str, reason: String) -> Result<(), WebhookError> {
    let endpoint = visible(&maker.store, operator, id).await?;
    let audit = entry(operator, ("webhook.delete", reason), id, &endpoint.merchant, maker.clock.now());
    if maker.store.delete_webhook(id, &audit).await? { Ok(()) } else { Err(WebhookError::NotFound) }
}

/// Sends an event of no order to the endpoint and answers what came of it. Robots and mailboxes get it as one of the
/// messages between which lies a pause.
pub async fn test(maker: &Maker, operator: &Operator, id: &str) -> Result<Answer, WebhookError> {
    let endpoint = visible(&maker.store, operator, id).await?;
    let audit = entry(operator, ("webhook.test", String::new()), id, &endpoint.merchant, maker.clock.now());
    maker.store.record_audit(&audit).await?;
    maker.test(&endpoint).await.map_err(|e| match e {
        AttemptError::Store(e) => WebhookError::Store(e),
        AttemptError::Rests(_) => WebhookError::TooOften,
        other => WebhookError::Defect(other.to_string()),
    })
}

pub(super) async fn visible(store: &Store, operator: &Operator, id: &str) -> Result<WebhookEndpoint, WebhookError> {
    let found = store.webhook(id).await?;
    found.filter(|endpoint| operator.sees(&endpoint.merchant)).ok_or(WebhookError::NotFound)
}

pub(super) fn entry(
    operator: &Operator,
    (action, reason): (&'static str, String),
    id: &str,
    merchant: &MerchantKey,
    now: Timestamp,
) -> AuditEntry {
    let subject = Some(format!("webhook:{id}"));
    AuditEntry { merchant: Some(merchant.clone()), subject, ..operator.audit(action, reason, now) }
}
