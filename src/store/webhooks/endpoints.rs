//! The endpoints: made, changed, deleted, each with its audit row.

use sea_orm::Value;

use super::types::{DisabledReason, EndpointChange, EndpointFormat, EndpointState, WebhookEndpoint};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::ops::filter::Conditions;
use crate::store::order::rows::unreadable;
use crate::store::outbox::LAST_POSITION;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::{Row, WriteTx};

const COLUMNS: &str = "id, merchant, url, description, event_types, secret, old_secret, old_secret_until_ms, state,
                       disabled_reason, disabled_at_ms, position, failing_since_ms, created_at_ms, created_by,
                       updated_at_ms, format, next_message_at_ms, replay_first_until_ms";

/// Of endpoints alone: the closing of a day holds another one for as long as it sums. Beside a process of a version
/// that took that one here, two endpoints may both be the last.
const ENDPOINTS_LOCK: i64 = 7_722_020;

impl Store {
    /// Stores an endpoint, which gets what is emitted from now on; `false` where its merchant has `most` already.
    pub async fn create_webhook(
        &self,
        endpoint: &WebhookEndpoint,
        most: u32,
        audit: &AuditEntry,
    ) -> Result<bool, DbError> {
        let write = (endpoint.clone(), most, audit.clone());
        self.db
            .write("webhook.create", write, |tx, (endpoint, most, audit)| Box::pin(create(tx, endpoint, *most, audit)))
            .await
    }

    /// The endpoint, unless it was deleted.
    pub async fn webhook(&self, id: &str) -> Result<Option<WebhookEndpoint>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM webhook_endpoints WHERE id = $1 AND state <> 'deleted'");
        self.db.reader().rows(&sql, [id.into()]).await?.first().map(endpoint).transpose()
    }

    /// Up to `limit` endpoints of these merchants (all where none are given), newest first, older than `before`.
    pub async fn webhooks(
        &self,
        merchants: Option<&[MerchantKey]>,
        before: Option<&str>,
        limit: u64,
    ) -> Result<Vec<WebhookEndpoint>, DbError> {
        let mut only = Conditions::default();
        only.plain("state <> 'deleted'");
        only.merchants("merchant", merchants);
        only.add_option("id < {}", before);
        let sql =
            format!("SELECT {COLUMNS} FROM webhook_endpoints WHERE {} ORDER BY id DESC LIMIT {limit}", only.text());
        self.db.reader().rows(&sql, only.values()).await?.iter().map(endpoint).collect()
    }

    /// Up to `limit` endpoints of these merchants (all where none are given) that are disabled, or have not succeeded
    /// since `since` or before: the newest first.
    pub async fn failing_webhooks(
        &self,
        merchants: Option<&[MerchantKey]>,
        since: Timestamp,
        limit: u64,
    ) -> Result<Vec<WebhookEndpoint>, DbError> {
        let mut only = Conditions::default();
        only.merchants("merchant", merchants);
        only.add("(state = 'disabled' OR (state = 'enabled' AND failing_since_ms <= {}))", since.as_ms());
        let sql =
            format!("SELECT {COLUMNS} FROM webhook_endpoints WHERE {} ORDER BY id DESC LIMIT {limit}", only.text());
        self.db.reader().rows(&sql, only.values()).await?.iter().map(endpoint).collect()
    }

    /// All endpoints that are called. One that cannot be read is logged and left out: it must not keep the others.
    pub async fn enabled_webhooks(&self) -> Result<Vec<WebhookEndpoint>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM webhook_endpoints WHERE state = 'enabled' ORDER BY id");
        let rows = self.db.reader().rows(&sql, []).await?;
        let readable = rows.iter().filter_map(|row| {
            let id = row.get::<String>("id").unwrap_or_default();
            endpoint(row).inspect_err(|e| tracing::error!(id, error = %e, "a webhook endpoint is unreadable")).ok()
        });
        Ok(readable.collect())
    }

    /// Changes an endpoint; `false` where there is none. One that is enabled tries at once what waits for it.
    pub async fn change_webhook(&self, change: &EndpointChange) -> Result<bool, DbError> {
        self.db.write("webhook.change", change.clone(), |tx, change| Box::pin(apply(tx, change))).await
    }

    /// Puts another sealed secret in the place of the one in use, which signs beside it until then.
    pub async fn rotate_webhook(
        &self,
        id: &str,
        sealed: &str,
        old_until: Timestamp,
        audit: &AuditEntry,
    ) -> Result<bool, DbError> {
        let write = (id.to_owned(), sealed.to_owned(), old_until, audit.clone());
        self.db.write("webhook.rotate", write, |tx, write| Box::pin(rotate(tx, write))).await
    }

    /// Deletes an endpoint with its secrets; what waits for it is cancelled.
    pub async fn delete_webhook(&self, id: &str, audit: &AuditEntry) -> Result<bool, DbError> {
        let write = (id.to_owned(), audit.clone());
        self.db.write("webhook.delete", write, |tx, (id, audit)| Box::pin(delete(tx, id, audit))).await
    }
}

async fn create(tx: &WriteTx, new: &WebhookEndpoint, most: u32, audit: &AuditEntry) -> Result<bool, DbError> {
    if tx.kind() == DbKind::Postgres {
        // Two that are made at once must not both be the last one.
        tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({ENDPOINTS_LOCK})")).await?;
    }
    let sql = format!(
        "INSERT INTO webhook_endpoints (id, merchant, url, description, event_types, secret, state, position,
                                        created_at_ms, created_by, updated_at_ms, format)
         SELECT $1, $2, $3, $4, $5, $6, 'enabled', COALESCE(({LAST_POSITION}), 0), $7, $8, $7, $10
         WHERE (SELECT COUNT(*) FROM webhook_endpoints WHERE merchant = $2 AND state <> 'deleted') < $9"
    );
    let values: [Value; 10] = [
        new.id.as_str().into(),
        new.merchant.as_str().into(),
        new.url.as_str().into(),
        new.description.as_str().into(),
        types_json(&new.event_types)?.into(),
        new.secret.as_str().into(),
        new.created_at.as_ms().into(),
        new.created_by.as_str().into(),
        i64::from(most).into(),
        new.format.stored().into(),
    ];
    let is_made = tx.execute(&sql, values).await? > 0;
    let result = if is_made { "done" } else { "webhooks-used-up" };
    write_audit(tx, &AuditEntry { result: result.to_owned(), ..audit.clone() }).await?;
    Ok(is_made)
}

async fn apply(tx: &WriteTx, change: &EndpointChange) -> Result<bool, DbError> {
    let at_ms = change.audit.at.as_ms();
    let sql = "UPDATE webhook_endpoints SET url = COALESCE($2, url), description = COALESCE($3, description),
                 event_types = COALESCE($4, event_types), updated_at_ms = $5,
                 secret = COALESCE($6, secret)
               WHERE id = $1 AND state <> 'deleted'";
    let values: [Value; 6] = [
        change.id.as_str().into(),
        change.url.clone().into(),
        change.description.clone().into(),
        change.event_types.as_deref().map(types_json).transpose()?.into(),
        at_ms.into(),
        change.secret.clone().into(),
    ];
    if tx.execute(sql, values).await? == 0 {
        return Ok(false);
    }
    match change.is_enabled {
        Some(true) => enable(tx, &change.id, at_ms).await?,
        Some(false) => {
            let sql = "UPDATE webhook_endpoints SET state = 'disabled', disabled_reason = 'operator',
                         disabled_at_ms = $2 WHERE id = $1 AND state = 'enabled'";
            tx.execute(sql, [change.id.as_str().into(), at_ms.into()]).await?;
        }
        None => {}
    }
    write_audit(tx, &change.audit).await?;
    Ok(true)
}

async fn enable(tx: &WriteTx, id: &str, at_ms: i64) -> Result<(), DbError> {
    let sql = "UPDATE webhook_endpoints SET state = 'enabled', disabled_reason = NULL, disabled_at_ms = NULL,
                 failing_since_ms = NULL WHERE id = $1 AND state = 'disabled'";
    if tx.execute(sql, [id.into()]).await? > 0 {
        let sql = "UPDATE webhook_deliveries SET due_at_ms = $2, tries = 0, first_attempt_at_ms = NULL
                   WHERE endpoint_id = $1 AND state = 'pending'";
        tx.execute(sql, [id.into(), at_ms.into()]).await?;
    }
    Ok(())
}

async fn rotate(
    tx: &WriteTx,
    (id, sealed, old_until, audit): &(String, String, Timestamp, AuditEntry),
) -> Result<bool, DbError> {
    let sql = "UPDATE webhook_endpoints SET old_secret = secret, old_secret_until_ms = $3, secret = $2,
                 updated_at_ms = $4 WHERE id = $1 AND state <> 'deleted'";
    let values = [id.as_str().into(), sealed.as_str().into(), old_until.as_ms().into(), audit.at.as_ms().into()];
    if tx.execute(sql, values).await? == 0 {
        return Ok(false);
    }
    write_audit(tx, audit).await?;
    Ok(true)
}

async fn delete(tx: &WriteTx, id: &str, audit: &AuditEntry) -> Result<bool, DbError> {
    let sql = "UPDATE webhook_endpoints SET state = 'deleted', disabled_reason = NULL, disabled_at_ms = $2,
                 secret = '', old_secret = NULL, old_secret_until_ms = NULL, updated_at_ms = $2
               WHERE id = $1 AND state <> 'deleted'";
    if tx.execute(sql, [id.into(), audit.at.as_ms().into()]).await? == 0 {
        return Ok(false);
    }
    let sql = "UPDATE webhook_deliveries SET state = 'cancelled', ended_at_ms = $2, claim = NULL,
                 claimed_until_ms = NULL WHERE endpoint_id = $1 AND state = 'pending'";
    tx.execute(sql, [id.into(), audit.at.as_ms().into()]).await?;
    write_audit(tx, audit).await?;
    Ok(true)
}

fn types_json(types: &[String]) -> Result<String, DbError> {
    serde_json::to_string(types).map_err(|e| unreadable("event_types", &e))
}

fn endpoint(row: &Row) -> Result<WebhookEndpoint, DbError> {
    let unknown = |column: &str| DbError::Defect(format!("{column} of a webhook endpoint is not known"));
    let time = |column: &str| -> Result<Option<Timestamp>, DbError> {
        Ok(row.get::<Option<i64>>(column)?.map(Timestamp::from_ms))
    };
    let types: String = row.get("event_types")?;
    let reason: Option<String> = row.get("disabled_reason")?;
    let old_secret: Option<String> = row.get("old_secret")?;
    let url: String = row.get("url")?;
    Ok(WebhookEndpoint {
        id: row.get("id")?,
        merchant: MerchantKey::parse(row.get::<String>("merchant")?).map_err(|_| unknown("merchant"))?,
        format: EndpointFormat::of_stored(&row.get::<String>("format")?, &url).ok_or_else(|| unknown("format"))?,
        url,
        description: row.get("description")?,
        event_types: serde_json::from_str(&types).map_err(|e| unreadable("event_types", &e))?,
        secret: row.get("secret")?,
        old_secret: old_secret.zip(time("old_secret_until_ms")?),
        state: EndpointState::parse(&row.get::<String>("state")?).ok_or_else(|| unknown("state"))?,
        // Of a later version: it is disabled all the same.
        disabled_reason: reason.map(|reason| DisabledReason::parse(&reason).unwrap_or(DisabledReason::Operator)),
        disabled_at: time("disabled_at_ms")?,
        position: row.get("position")?,
        failing_since: time("failing_since_ms")?,
        next_message_at: time("next_message_at_ms")?,
        replay_first_until: time("replay_first_until_ms")?,
        created_at: time("created_at_ms")?.ok_or_else(|| unknown("created_at_ms"))?,
        created_by: row.get("created_by")?,
        updated_at: time("updated_at_ms")?.ok_or_else(|| unknown("updated_at_ms"))?,
    })
}
