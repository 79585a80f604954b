//! The database: what is true on our side. Knows no WeChat, bus or web.

mod db;
mod dead_letters;
pub mod entity;
mod evidence;
mod far_times;
mod handle;
mod jobs;
mod leases;
mod logins;
mod notifications;
mod order;
mod outbox;
pub(crate) mod queue;
mod refund;
mod token_state;
mod tokens;
mod unmatched_notifications;
mod users;
mod wallet;
mod writer;

pub use db::{Db, DbError, DbHealth, DbKind};
pub use dead_letters::StoredMessage;
pub use evidence::{Evidence, EvidenceSource, NotificationKind, NotificationRecord, Verdict};
pub use handle::Store;
pub use jobs::{JobOutcome, JobReport, JobRun, JobView};
pub use leases::{Fenced, Lease};
pub use logins::{ClaimedCode, LOGIN_CODE_LIFE, LoginOutcome};
pub use order::commit::{OrderCommit, OrderDecision};
pub use order::history::History;
pub use order::record::{NewOrder, Recorded};
pub use order::rows::{AttemptParams, StoredOrder};
pub use outbox::{FEED_FIRST_EPOCH, FeedEnd, FeedEvent};
pub use refund::call_slot::{CallSlot, OpenCall};
pub use refund::commit::RefundCommit;
pub use refund::record::{PaidAttempt, Reserved};
pub use refund::rows::{NewRefund, RefundEvidence, RefundSource, StoredRefund};
pub use token_state::{
    Degraded, IssuedToken, StoredToken, TOKEN_SEAL, TokenFailure, TokenFetch, TokenKind, TokenReport, TokenState,
};
pub use tokens::TokenWrite;
pub use unmatched_notifications::WaitingNotification;
pub use users::{NewUser, User};
pub use writer::{Limits, Row, WriteTx, Writer, Writing};
