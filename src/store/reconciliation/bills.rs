//! Which bills were fetched.

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;

/// The bills of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BillKind {
    Trades,
    /// Of the basic account.
    Funds,
}

named!(BillKind { Trades = "trades", Funds = "funds" });

/// How a bill stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BillState {
    /// WeChat does not have it yet.
    Waiting,
    Held,
    /// WeChat has none of this day.
    Empty,
    /// It cannot be fetched or read.
    Failed,
}

named!(BillState { Waiting = "waiting", Held = "held", Empty = "empty", Failed = "failed" });

/// What asking for a bill came to.
#[derive(Debug, Clone)]
pub struct BillNote {
    pub merchant: MerchantKey,
    pub kind: BillKind,
    pub day: String,
    pub state: BillState,
    /// SHA-256 and length of the bill.
    pub content: Option<(String, u64)>,
    pub error: Option<String>,
    pub at: Timestamp,
}

impl Store {
    /// Notes what asking for a bill came to. A bill that was held stays noted with its content.
    pub async fn note_bill(&self, note: &BillNote) -> Result<(), DbError> {
        let sql =
            "INSERT INTO bills (merchant, kind, day, state, content_hash, bytes, error, asked_at_ms, fetched_at_ms)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                   ON CONFLICT (merchant, kind, day) DO UPDATE SET state = excluded.state, error = excluded.error,
                     content_hash = COALESCE(excluded.content_hash, bills.content_hash),
                     bytes = COALESCE(excluded.bytes, bills.bytes), asked_at_ms = excluded.asked_at_ms,
                     fetched_at_ms = COALESCE(excluded.fetched_at_ms, bills.fetched_at_ms)";
        let (hash, bytes) = note.content.clone().unzip();
        let fetched = matches!(note.state, BillState::Held | BillState::Empty).then_some(note.at.as_ms());
        let values = [
            note.merchant.as_str().into(),
            note.kind.as_str().into(),
            note.day.as_str().into(),
            note.state.as_str().into(),
            hash.into(),
            bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)).into(),
            note.error.clone().into(),
            note.at.as_ms().into(),
            fetched.into(),
        ];
        self.db.execute("bill.note", sql, values).await?;
        Ok(())
    }

    /// How many trade bills of days from `from` up to `to` are missing, by merchant: asked for and not there.
    pub async fn missing_bills(&self, (from, to): (&str, &str)) -> Result<Vec<(String, i64)>, DbError> {
        let sql = "SELECT merchant, COUNT(*) AS n FROM bills
                   WHERE kind = 'trades' AND state IN ('waiting', 'failed') AND day >= $1 AND day <= $2
                   GROUP BY merchant";
        let rows = self.db.reader().rows(sql, [from.into(), to.into()]).await?;
        rows.iter().map(|row| Ok((row.get("merchant")?, row.get("n")?))).collect()
    }
}
