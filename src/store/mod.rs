//! The database: what is true on our side. Knows no WeChat, bus or web.

mod api_keys;
mod approvals;
mod backup;
mod books;
mod console;
mod db;
mod dead_letters;
pub mod entity;
mod evidence;
mod far_times;
mod handle;
mod jobs;
mod leases;
mod logins;
mod merchant;
mod notifications;
mod ops;
mod order;
mod outbox;
mod packed;
mod payers;
mod payment;
pub(crate) mod queue;
mod reconciliation;
mod refund;
mod replay;
mod retention;
mod token_state;
mod tokens;
mod unmatched_notifications;
mod users;
mod wallet;
mod webhooks;
mod writer;

pub use api_keys::change::Revocation;
pub use api_keys::read::{ApiKeyCounts, RevokedApiKey, StoredApiKey};
pub use approvals::types::{Approval, ApprovalKind, ApprovalState, Decided, NewApproval};
pub use backup::{Backup, BackupError, backup};
pub use books::checks::BookCheck;
pub use books::closings::Balances;
pub use books::days::{ClosedRange, DaySums, LateRow};
pub use books::detail::{DetailPlace, DetailRow};
pub use books::events::{FeedFault, Positions};
pub use books::facts::{LedgerFacts, NotEntered, OrderFacts, PaymentFacts, RefundFacts};
pub use books::lines::ClassSum;
pub use books::periods::{ClosedMonth, NewClosing, PeriodChange, PeriodClosing};
pub use books::reader::{BooksReader, open_books};
pub use books::rows::{BookKey, BookRange, BookRow, BookSum, book_page_statement};
pub use console::attempts::{Attempt, FORGOTTEN_AFTER};
pub use console::sessions::NewSession;
pub use console::types::{Access, ConsoleSession, ConsoleUser, Right, Role, UserChange};
pub use console::users::{ConsoleLogin, NewInvitation};
pub use db::{
    Db, DbError, DbFindings, DbHealth, DbKind, IntakeFindings, Polls, Probe, inspect_database, inspect_intake,
};
pub use dead_letters::StoredMessage;
pub use entity::ledger::Model as LedgerRow;
pub use evidence::{Evidence, EvidenceSource, NotificationKind, NotificationRecord, Posted, Verdict};
pub use far_times::due_statements;
pub use handle::Store;
pub use jobs::{JobOutcome, JobReport, JobRun, JobView, RegisteredJob, RunNow, job_waits};
pub use leases::{Fenced, Lease, Permits};
pub use logins::{ClaimedCode, LOGIN_CODE_LIFE, LoginOutcome};
pub use merchant::health::{Again, Degradation, Part, ProbeClaim};
pub use merchant::setup_faults::{Calls, FaultScope, StoredFault};
pub use ops::audit::{AuditFilter, AuditRow};
pub use ops::dead_letters::{
    AttemptRow, DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterRow, DeadLetterSpread, DeadLetterState,
    Discarded,
};
pub use ops::filter::Scanned;
pub use ops::notifications::{ArchiveCursor, ArchiveFilter, Archived, ArchivedChange, ArchivedRow};
pub use ops::overview::{Arrival, COUNTED_MAX, Sum};
pub use ops::refused::{Displaced, KeptBody, RefusedNotification, UnpaidAttempt};
pub use ops::statements::list_statements;
pub use order::calls::{CallAbout, CallOutcome, CallRecord};
pub use order::commit::{OrderCommit, OrderDecision};
pub use order::history::History;
pub use order::list::{OrderFilter, OrderFlag, OrderKey, OrderPage, order_list_statements};
pub use order::money::OrderMoney;
pub use order::placing::{PlacingClaim, ToPlace};
pub use order::read::{OrderMark, keyed_statements};
pub use order::record::{NewOrder, Recorded, RecordedRow};
pub use order::rows::{AttemptParams, StoredOrder};
pub use order::search::{Hits, search_statements};
pub use order::trail::trail_statements;
pub use order::trail_row::{Trail, TrailBooking, TrailNotification, TrailRow};
pub use outbox::{FEED_FIRST_EPOCH, FEED_LOCK, FeedEnd, FeedEvent, FeedRange};
pub use packed::{PackedTable, Unreadable, UnreadableRow, pack, unpack};
pub use payers::erase::Stepped;
pub use payers::evidence::Hidden;
pub use payers::types::{Counts, Erasure, ErasureState, Scope};
pub use payment::audit::AuditEntry;
pub use payment::commit::Reclassed;
pub use payment::read::{OPEN_CLASSES, PaymentFilter, StoredPayment};
pub use queue::{IntakeLog, IntakeStep};
pub use reconciliation::accepted::BilledRefund;
pub use reconciliation::accounts::{DayPlace, DayRange};
pub use reconciliation::asks::{DueDay, FailedRun};
pub use reconciliation::bills::{BillKind, BillNote, BillState};
pub use reconciliation::explain::{DayNote, ExplainedDay};
pub use reconciliation::finish::FinishedRun;
pub use reconciliation::lines::RunKey;
pub use reconciliation::missing::MissingBills;
pub use reconciliation::read::DayFilter;
pub use reconciliation::repairs::{DayRepair, RepairState};
pub use reconciliation::resolve::LineChange;
pub use reconciliation::types::{Line, Reconciliation, Work};
pub use reconciliation::waiting::{AskedLine, AskedLines};
pub use refund::call_slot::{CallSlot, OpenCall};
pub use refund::cap::RefundCap;
pub use refund::commit::RefundCommit;
pub use refund::record::{PaidAttempt, Reserved};
pub use refund::rows::{NewRefund, RefundEvidence, RefundSource, StoredRefund};
pub use replay::content::{ReplayContent, StoredNotification};
pub use replay::items::ReplayCounts;
pub use replay::payments::KnownPayment;
pub use replay::state::ReplayChange;
pub use replay::types::{
    Candidate, ItemResult, NewReplay, PlannedItem, Predicted, Replay, ReplayItem, ReplayKind, ReplayMark, ReplayResult,
    ReplaySelect, ReplaySource, ReplayState,
};
pub use retention::{Kept, Mark, Removal};
pub use token_state::{Degraded, StoredToken, TOKEN_SEAL, TokenFetch, TokenKind, TokenReport, TokenState};
pub use tokens::TokenChange;
pub use unmatched_notifications::WaitingNotification;
pub use users::{NewUser, User};
pub use webhooks::messages::LONGEST_PAUSE;
pub use webhooks::types::{
    Cause, DeliveryState, DeliveryStep, DisabledReason, Disabling, EndpointChange, EndpointFormat, EndpointHealth,
    EndpointState, MAILTO, NewAttempt, OfDelivery, WebhookAttempt, WebhookDelivery, WebhookEndpoint,
};
pub use writer::{Limits, ReadPool, Row, WriteTx, Writer, Writing};
