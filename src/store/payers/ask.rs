//! Asking for an erasure.
//!
//! What must stay true: only a payer who is known under the app is erased, and what was asked for last counts: a
//! request beside one that has not ended begins it anew, with the later time.

use std::time::Duration;

use tokio::time::Instant;

use super::orders;
use super::scan::Payer;
use super::types::{COLUMNS, Erasure, ErasureState, Place, Scope, erasure};
use crate::clock::Timestamp;
use crate::ids::{AppKey, OpenId};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::users::END_SESSIONS;
use crate::store::writer::WriteTx;

/// WeChat repeats a notification for 24 hours and 4 minutes: what is of before the request may come until then.
const LATE: Duration = Duration::from_secs(25 * 3600);
/// How long orders are searched for a payer who is in no other table. One who was not found by then may be there.
const SEARCH: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Clone)]
struct Asked {
    app: AppKey,
    openid: OpenId,
    payer: String,
    scope: String,
    audit: AuditEntry,
}

impl Store {
    /// The name that stands for a payer where the openid must not.
    pub async fn payer_name(&self, openid: &OpenId) -> Result<String, DbError> {
        Ok(self.payers().await?.name(openid.as_str()))
    }

    /// How many keys made names that this process does not know: payers who have such a name are not found.
    pub async fn missing_payer_keys(&self) -> Result<i64, DbError> {
        let known = self.payers().await?.prints();
        let rows = self.db.reader().rows("SELECT print FROM payer_key_prints", []).await?;
        let mut missing = 0;
        for row in &rows {
            missing += i64::from(!known.contains(&row.get::<String>("print")?));
        }
        Ok(missing)
    }

    /// Asks for the erasure of a payer, whose sessions end at once and whose user is gone at once, and records who
    /// asked. One that has not ended yet begins anew. None where no such payer is known under the app.
    pub async fn ask_erasure(
        &self,
        (app, openid): (&AppKey, &OpenId),
        scope: &Scope,
        audit: &AuditEntry,
    ) -> Result<Option<Erasure>, DbError> {
        if !self.is_payer_known(app, openid, scope, audit.at).await? {
            return Ok(None);
        }
        let payer = self.payers().await?.name(openid.as_str());
        let scope = serde_json::to_string(scope).map_err(|e| DbError::Defect(e.to_string()))?;
        let asked = Asked { app: app.clone(), openid: openid.clone(), payer, scope, audit: audit.clone() };
        self.db.write("erasure.ask", asked, |tx, asked| Box::pin(ask(tx, asked))).await.map(Some)
    }

    /// Whether anything is kept of a payer under the app; also yes where that takes too long to say.
    pub async fn is_payer_known(
        &self,
        app: &AppKey,
        openid: &OpenId,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<bool, DbError> {
        let payers = self.payers().await?.clone();
        let names = payers.names(openid.as_str());
        let kind = self.db.kind();
        let all = names.iter().map(String::as_str).chain([openid.as_str()]);
        let values = [app.as_str().into(), kind.texts(all)];
        let [by_openid, by_payer] = [kind.among_texts("openid", 2), kind.among_texts("payer", 2)];
        let sql = format!(
            "SELECT 1 AS found FROM users WHERE app = $1 AND {by_openid}
             UNION ALL SELECT 1 FROM ended_sessions WHERE app = $1 AND {by_openid}
             UNION ALL SELECT 1 FROM wallet_orders WHERE app = $1 AND {by_openid}
             UNION ALL SELECT 1 FROM erasures WHERE app = $1 AND {by_payer}"
        );
        if !self.db.reader().rows(&sql, values).await?.is_empty() {
            return Ok(true);
        }
        let name = payers.name(openid.as_str());
        let payer = Payer { app, scope, openid: openid.as_str(), name: &name, names, until: now.as_ms() };
        let begun = Instant::now();
        for is_evidence in [false, true] {
            let mut next = Some(String::new());
            while let Some(key) = next {
                let page = match is_evidence {
                    false => orders::orders(self, &payer, &key).await?,
                    true => orders::evidence(self, &payer, &key).await?,
                };
                if page.is_of_payer || begun.elapsed() > SEARCH {
                    return Ok(true);
                }
                next = page.next;
            }
        }
        Ok(false)
    }
}

const ASK: &str = "INSERT INTO erasures (app, payer, openid, scope, reason, asked_by, asked_by_id, remote_addr,
                                         asked_at_ms, last_pass_from_ms, state, next_at_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'running', $9)
    ON CONFLICT (app, payer) WHERE state <> 'done' DO UPDATE SET
      next_at_ms = excluded.next_at_ms, state = 'running', scope = excluded.scope, tries = 0, error = NULL,
      asked_at_ms = CASE WHEN erasures.asked_at_ms > excluded.asked_at_ms THEN erasures.asked_at_ms
                         ELSE excluded.asked_at_ms END,
      last_pass_from_ms = CASE WHEN erasures.last_pass_from_ms > excluded.last_pass_from_ms
                               THEN erasures.last_pass_from_ms ELSE excluded.last_pass_from_ms END,
      pass = erasures.pass + 1, part = $11, place = '', dirty = TRUE, found = '{}'";

/// What is gone at once: a login beside it makes a new user and finds nothing of the old one but orders that can still
/// be paid, which the wallet goes on to offer: a second one beside them could be paid, too.
const AT_ONCE: [&str; 2] = [
    "DELETE FROM login_codes WHERE user_id IN (SELECT id FROM users WHERE app = $1 AND openid = $2)",
    "DELETE FROM users WHERE app = $1 AND openid = $2",
];

async fn ask(tx: &WriteTx, asked: &Asked) -> Result<Erasure, DbError> {
    let Asked { app, openid, payer, scope, audit } = asked;
    let (app, openid) = (app.as_str(), openid.as_str());
    let values = [
        app.into(),
        payer.as_str().into(),
        openid.into(),
        scope.as_str().into(),
        audit.reason.clone().into(),
        audit.actor.clone().into(),
        audit.actor_id.clone().unwrap_or_default().into(),
        audit.remote_addr.clone().into(),
        audit.at.as_ms().into(),
        audit.at.after(LATE).as_ms().into(),
        Place::begin(1).part.as_str().into(),
    ];
    tx.execute(ASK, values).await?;
    tx.execute(END_SESSIONS, [app.into(), openid.into(), audit.at.as_ms().into()]).await?;
    let mut removed: i64 = 0;
    for sql in AT_ONCE {
        removed += i64::try_from(tx.execute(sql, [app.into(), openid.into()]).await?).unwrap_or(i64::MAX);
    }
    let counted = "UPDATE erasures SET removed = removed + $1 WHERE app = $2 AND payer = $3 AND state <> $4";
    let done = ErasureState::Done.as_str();
    tx.execute(counted, [removed.into(), app.into(), payer.as_str().into(), done.into()]).await?;
    write_audit(tx, audit).await?;
    let sql = format!("SELECT {COLUMNS} FROM erasures WHERE app = $1 AND payer = $2 AND state <> 'done'");
    let row = tx.one(&sql, [app.into(), payer.as_str().into()]).await?;
    erasure(&row.ok_or_else(|| DbError::Defect("an erasure that was asked for is not there".into()))?)
}
