//! The database: what is true on our side. Knows no WeChat, bus or web.

pub(crate) mod bus_rows;
mod commit;
mod db;
mod dead_letters;
pub mod entity;
mod far_times;
mod handle;
mod history;
mod job_reports;
mod leases;
mod login_codes;
mod notifications;
mod orders;
mod orphans;
mod outbox;
mod proof;
mod queries;
mod refund_commit;
mod refund_rows;
mod refund_turns;
mod refunds;
mod rows;
mod token_state;
mod tokens;
mod users;
mod wallet_orders;
mod writer;

pub use commit::OrderCommit;
pub use db::{Db, DbError, DbKind, Look};
pub use dead_letters::StoredMessage;
pub use handle::Store;
pub use history::History;
pub use job_reports::{JobOutcome, JobReport, JobRun, JobView};
pub use leases::{Fenced, Lease};
pub use login_codes::{ClaimedCode, LOGIN_CODE_LIFE, LoginOutcome};
pub use orders::{NewOrder, Recorded};
pub use orphans::WaitingNotification;
pub use outbox::FeedEvent;
pub use proof::{Evidence, EvidenceSource, NotificationKind, NotificationRecord, Verdict};
pub use refund_commit::RefundCommit;
pub use refund_rows::{NewRefund, RefundEvidence, RefundSource, StoredRefund};
pub use refund_turns::{OpenCall, Turn};
pub use refunds::{PaidAttempt, Reserved};
pub use rows::{AttemptParams, StoredOrder};
pub use token_state::{
    Degraded, IssuedToken, StoredToken, TOKEN_SEAL, TokenFailure, TokenFetch, TokenKind, TokenReport, TokenState,
};
pub use tokens::TokenWrite;
pub use users::{NewUser, User};
pub use writer::{Limits, Row, WriteTx, Writer, Writing};
