//! Calls to WeChat: which, when, how long each took and what WeChat said.
//!
//! A call whose answer changed its order is in that change's evidence. The others have rows here, written in the
//! transaction of the decision where there is one. They explain an order and decide nothing: what a process has not
//! written yet when it crashes is lost.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::event::fact::WechatError;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::writer::{Holds, Row, Rowwise, WriteTx};

/// How much of WeChat's words is kept, in characters.
const WORDS: usize = 160;

/// A call that was made.
#[derive(Debug, Clone)]
pub struct CallRecord {
    pub merchant: MerchantKey,
    pub about: CallAbout,
    /// WeChat's name of the API.
    pub api: &'static str,
    /// When it began.
    pub at: Timestamp,
    pub took: Duration,
    pub outcome: CallOutcome,
    /// WeChat's words, or what was seen in their place.
    pub said: Option<WechatError>,
}

/// The number that a call names.
#[derive(Debug, Clone)]
pub enum CallAbout {
    /// An attempt's.
    Attempt(String),
    /// A refund's.
    Refund(String),
    /// WeChat's of a payment.
    Payment(String),
}

impl CallAbout {
    fn number(&self) -> &str {
        match self {
            CallAbout::Attempt(number) | CallAbout::Refund(number) | CallAbout::Payment(number) => number,
        }
    }

    /// Where the order is found by the number.
    const fn table_and_column(&self) -> (&'static str, &'static str) {
        match self {
            CallAbout::Attempt(_) => ("attempts", "out_trade_no"),
            CallAbout::Refund(_) => ("refunds", "refund_no"),
            CallAbout::Payment(_) => ("payments", "transaction_id"),
        }
    }
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome {
    /// WeChat did or said what was asked for.
    Done,
    /// WeChat refused.
    Refused,
    /// There was no answer to build on.
    Unknown,
}

named!(CallOutcome { Done = "done", Refused = "refused", Unknown = "unknown" });

impl Store {
    /// Records calls that led to no decision on an order. Those of no order known here are left out.
    pub async fn record_calls(&self, calls: Vec<CallRecord>) -> Result<(), DbError> {
        self.db
            .write("order.calls", calls, |tx, calls| {
                Box::pin(async move {
                    for call in calls {
                        let (table, column) = call.about.table_and_column();
                        let sql = format!(
                            "{INSERT} SELECT order_id, CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT),
                                             CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS BIGINT), CAST($7 AS BIGINT)
                             FROM {table} WHERE merchant = $8 AND {column} = $1 AND order_id IS NOT NULL"
                        );
                        tx.execute(&sql, values(call).into_iter().chain([call.merchant.as_str().into()])).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

impl Store {
    /// What WeChat said last of the calls about an order that began at this time or later and came to nothing.
    pub async fn last_refusal(&self, order_id: i64, since: Timestamp) -> Result<Option<WechatError>, DbError> {
        let sql = "SELECT code, message FROM calls
                   WHERE order_id = $1 AND at_ms >= $2 AND outcome <> 'done' AND code IS NOT NULL
                   ORDER BY id DESC LIMIT 1";
        let rows = self.db.reader().rows(sql, [order_id.into(), since.as_ms().into()]).await?;
        let said = |row: &Row| {
            let message: Option<String> = row.get("message")?;
            Ok(WechatError { code: row.get("code")?, message: message.unwrap_or_default() })
        };
        rows.first().map(said).transpose()
    }
}

const INSERT: &str = "INSERT INTO calls (order_id, number, api, outcome, code, message, at_ms, took_ms)";

/// Records calls of orders, each with its order's number, in the transaction of their decision.
pub(super) fn write_calls<'a>(tx: &WriteTx, calls: impl Iterator<Item = (i64, &'a CallRecord)>) -> Result<(), DbError> {
    static INSERT_CALLS: Rowwise = Rowwise::new(
        &[
            ("number", Holds::Text),
            ("api", Holds::Text),
            ("outcome", Holds::Text),
            ("code", Holds::Text),
            ("message", Holds::Text),
            ("at_ms", Holds::Integer),
            ("took_ms", Holds::Integer),
            ("order_id", Holds::Integer),
        ],
        "INSERT INTO calls (order_id, number, api, outcome, code, message, at_ms, took_ms)
         SELECT v.order_id, v.number, v.api, v.outcome, v.code, v.message, v.at_ms, v.took_ms {from} WHERE TRUE",
    );
    let row = |(order_id, call): (i64, &CallRecord)| values(call).into_iter().chain([order_id.into()]).collect();
    tx.over_later(&INSERT_CALLS, &calls.map(row).collect::<Vec<Vec<sea_orm::Value>>>())
}

fn values(call: &CallRecord) -> [sea_orm::Value; 7] {
    let message = call.said.as_ref().map(|said| said.message.chars().take(WORDS).collect::<String>());
    [
        call.about.number().into(),
        call.api.into(),
        call.outcome.as_str().into(),
        call.said.as_ref().map(|said| said.code.clone()).into(),
        message.filter(|words| !words.is_empty()).into(),
        call.at.as_ms().into(),
        millis(call.took).into(),
    ]
}

/// As it is stored.
pub(in crate::store) fn millis(took: Duration) -> i64 {
    i64::try_from(took.as_millis()).unwrap_or(i64::MAX)
}
