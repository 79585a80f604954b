//! What of a merchant's own setup WeChat refuses, for all processes; and the orders and refunds that wait for it.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::clock::Timestamp;
use crate::event::fact::WechatError;
use crate::ids::{AppId, MchId, MerchantKey, OutTradeNo};
use crate::store::Store;
use crate::store::db::{DbError, DbKind, placeholders};
use crate::store::order::rows::{AttemptParams, broken, unknown};
use crate::store::writer::WriteTx;

/// Which calls a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultScope {
    /// All calls: a query shows whether it is still there.
    Calls,
    /// Refunds, which alone show the certificate: only a refund shows whether it is still there.
    Refunds,
}

named!(FaultScope { Calls = "calls", Refunds = "refunds" });

/// What is known of the calls of an attempt's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// None was executed.
    NoneExecuted,
    /// One may have been executed.
    MayBeExecuted,
}

/// A fault of a merchant's setup. Its row is there for as long as the fault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFault {
    pub merchant: MerchantKey,
    /// The name of what WeChat refuses.
    pub fault: String,
    pub scope: FaultScope,
    /// A digest of the setup that was refused: with another one it is worth a probe at once.
    pub setup: String,
    /// WeChat's words.
    pub said: WechatError,
    /// How often it was probed in vain.
    pub probes: u32,
    pub next_probe_at: Timestamp,
}

impl Store {
    /// The faults that there are, of every merchant.
    pub async fn setup_faults(&self) -> Result<Vec<StoredFault>, DbError> {
        let sql = "SELECT merchant, fault, scope, code, message, setup, probes, next_probe_at_ms
                   FROM merchant_faults ORDER BY merchant, fault, scope";
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [])).await?;
        let fault = |row: sea_orm::QueryResult| {
            let (merchant, scope): (String, String) = (row.try_get("", "merchant")?, row.try_get("", "scope")?);
            let probes: i64 = row.try_get("", "probes")?;
            Ok(StoredFault {
                merchant: MerchantKey::parse(merchant).map_err(broken("merchant"))?,
                fault: row.try_get("", "fault")?,
                scope: FaultScope::parse(&scope).ok_or_else(|| unknown("scope", &scope))?,
                setup: row.try_get("", "setup")?,
                said: WechatError { code: row.try_get("", "code")?, message: row.try_get("", "message")? },
                probes: u32::try_from(probes).unwrap_or(u32::MAX),
                next_probe_at: Timestamp::from_ms(row.try_get("", "next_probe_at_ms")?),
            })
        };
        rows.into_iter().map(fault).collect()
    }

    /// Notes a fault; `true` where there was no such fault: one process sees it begin.
    pub async fn begin_setup_fault(&self, fault: &StoredFault, now: Timestamp) -> Result<bool, DbError> {
        // Mostly it is known, which is found without a writer.
        let sql = "SELECT 1 AS known FROM merchant_faults WHERE merchant = $1 AND fault = $2 AND scope = $3";
        let which = [fault.merchant.as_str().into(), fault.fault.as_str().into(), fault.scope.as_str().into()];
        if self.db.read().query_one_raw(self.db.statement(sql, which.clone())).await?.is_some() {
            return Ok(false);
        }
        let sql = "INSERT INTO merchant_faults
                     (merchant, fault, scope, code, message, setup, since_ms, probes, next_probe_at_ms)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8) ON CONFLICT DO NOTHING";
        let mut values = which.to_vec();
        values.extend([
            fault.said.code.as_str().into(),
            fault.said.message.as_str().into(),
            fault.setup.as_str().into(),
            now.as_ms().into(),
            fault.next_probe_at.as_ms().into(),
        ]);
        Ok(self.db.execute("merchant.fault_begins", sql, values).await? == 1)
    }

    /// A probe found the fault still there; WeChat's words of it may be others.
    pub async fn put_off_probe(&self, fault: &StoredFault) -> Result<(), DbError> {
        let sql = "UPDATE merchant_faults
                   SET setup = $4, probes = $5, next_probe_at_ms = $6, code = $7, message = $8
                   WHERE merchant = $1 AND fault = $2 AND scope = $3";
        let values = [
            fault.merchant.as_str().into(),
            fault.fault.as_str().into(),
            fault.scope.as_str().into(),
            fault.setup.as_str().into(),
            i64::from(fault.probes).into(),
            fault.next_probe_at.as_ms().into(),
            fault.said.code.as_str().into(),
            fault.said.message.as_str().into(),
        ];
        self.db.execute("merchant.fault_stays", sql, values).await?;
        Ok(())
    }

    /// The fault is gone; `true` for the one process that sees it end.
    pub async fn end_setup_fault(&self, fault: &StoredFault) -> Result<bool, DbError> {
        let sql = "DELETE FROM merchant_faults WHERE merchant = $1 AND fault = $2 AND scope = $3";
        let values = [fault.merchant.as_str().into(), fault.fault.as_str().into(), fault.scope.as_str().into()];
        Ok(self.db.execute("merchant.fault_ends", sql, values).await? == 1)
    }

    /// Replaces what an attempt without a prepay id will be sent, while this and its calls are as `before`; `false`
    /// where that is not so any more.
    pub async fn correct_attempt(
        &self,
        merchant: &MerchantKey,
        out_trade_no: &OutTradeNo,
        (before, calls): (&AttemptParams, Calls),
        (mch_id, appid, params): (&MchId, &AppId, &AttemptParams),
    ) -> Result<bool, DbError> {
        let mark = match calls {
            Calls::NoneExecuted => "IS NOT NULL",
            Calls::MayBeExecuted => "IS NULL",
        };
        let sql = format!(
            "UPDATE attempts SET mch_id = $4, appid = $5, params = $6
             WHERE merchant = $1 AND out_trade_no = $2 AND params = $3 AND state = 'unknown'
               AND setup_refusals {mark}"
        );
        let values = [
            merchant.as_str().into(),
            out_trade_no.as_str().into(),
            before.to_json()?.into(),
            mch_id.as_str().into(),
            appid.as_str().into(),
            params.to_json()?.into(),
        ];
        Ok(self.db.execute("order.correct_attempt", sql, values).await? == 1)
    }

    /// Makes up to `limit` orders that wait for the merchant's setup due before their time, one after each `pause`.
    pub async fn advance_waiting_orders(
        &self,
        merchant: &MerchantKey,
        now: Timestamp,
        pause: Duration,
        limit: u32,
    ) -> Result<u64, DbError> {
        let waiting = "SELECT o.id AS id FROM attempts AS a JOIN orders AS o ON o.id = a.order_id
                       WHERE a.merchant = $1 AND a.setup_refusals IS NOT NULL AND a.state = 'unknown'
                         AND o.next_query_at_ms > $2 ORDER BY o.id LIMIT $3";
        let rows = Waiting { waiting, lock: "o", table: "orders", due: "next_query_at_ms" };
        self.advance("merchant.advance_orders", (merchant, now, pause, limit), rows).await
    }

    /// As [`Store::advance_waiting_orders`] of refunds that WeChat does not take for what may be the setup. Of others
    /// it wants a pause.
    pub async fn advance_waiting_refunds(
        &self,
        merchant: &MerchantKey,
        now: Timestamp,
        pause: Duration,
        limit: u32,
    ) -> Result<u64, DbError> {
        let waiting = "SELECT r.id AS id FROM refunds AS r
                       WHERE r.merchant = $1 AND r.delayed AND r.state IN ('requested', 'unknown')
                         AND r.error_code IN ('FAIL', 'HTTP', 'SIGNERROR', 'CERT_ERROR', 'MCHID_NOT_EXIST',
                                              'APPID_NOT_EXIST', 'APPID_MCHID_NOT_MATCH', 'NOAUTH', 'NO_AUTH')
                         AND r.next_at_ms > $2 ORDER BY r.id LIMIT $3";
        let rows = Waiting { waiting, lock: "r", table: "refunds", due: "next_at_ms" };
        self.advance("merchant.advance_refunds", (merchant, now, pause, limit), rows).await
    }

    async fn advance(
        &self,
        name: &'static str,
        (merchant, now, pause, limit): (&MerchantKey, Timestamp, Duration, u32),
        rows: Waiting,
    ) -> Result<u64, DbError> {
        let write = (merchant.clone(), now, pause, limit, rows);
        self.db
            .write(name, write, |tx, (merchant, now, pause, limit, rows)| {
                Box::pin(advance(tx, merchant, *now, *pause, *limit, *rows))
            })
            .await
    }
}

/// Rows that wait, and the column of their due time.
#[derive(Clone, Copy)]
struct Waiting {
    waiting: &'static str,
    lock: &'static str,
    table: &'static str,
    due: &'static str,
}

/// Not a change of the order or the refund: its version stays, and a time that is earlier already stays, too.
async fn advance(
    tx: &WriteTx,
    merchant: &MerchantKey,
    now: Timestamp,
    pause: Duration,
    limit: u32,
    rows: Waiting,
) -> Result<u64, DbError> {
    let Waiting { waiting, lock, table, due } = rows;
    let lock = match tx.kind() {
        DbKind::Sqlite => String::new(),
        DbKind::Postgres => format!(" FOR UPDATE OF {lock} SKIP LOCKED"),
    };
    let values = [merchant.as_str().into(), now.as_ms().into(), i64::from(limit).into()];
    let found = tx.all(&format!("{waiting}{lock}"), values).await?;
    let ids = found.iter().map(|row| row.get("id")).collect::<Result<Vec<i64>, _>>()?;
    let due_at: Vec<(i64, Timestamp)> =
        (0_u32..).zip(&ids).map(|(n, id)| (*id, now.after(pause.saturating_mul(n)))).collect();
    let mut advanced = 0;
    for rows in due_at.chunks(tx.rows_per_statement()) {
        let sql = format!(
            "WITH v (id, due) AS (VALUES {}) UPDATE {table} SET {due} = v.due
             FROM v WHERE {table}.id = v.id AND {table}.{due} > v.due",
            placeholders(rows.len(), 2, 0)
        );
        advanced += tx.execute(&sql, rows.iter().flat_map(|(id, at)| [(*id).into(), at.as_ms().into()])).await?;
    }
    Ok(advanced)
}
