//! The words of replays, and their rows as the program sees them.

use crate::clock::Timestamp;
use crate::ids::MerchantKey;

/// What is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayKind {
    /// Notifications, those that were refused included.
    Notification,
    /// Messages that could not be processed.
    DeadLetter,
    /// Rows of the outbox.
    Event,
    /// Deliveries to webhooks.
    Webhook,
}

named!(ReplayKind {
    Notification = "notification",
    DeadLetter = "dead_letter",
    Event = "event",
    Webhook = "webhook",
});

/// How far a replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    Planned,
    Running,
    Paused,
    Done,
    Cancelled,
}

named!(ReplayState {
    Planned = "planned",
    Running = "running",
    Paused = "paused",
    Done = "done",
    Cancelled = "cancelled",
});

/// The table that an item is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplaySource {
    /// Of a notification that was taken.
    Notification,
    /// Of a refused body that names an attempt of ours.
    Refused,
    /// Of the sample of refused bodies.
    Sample,
    DeadLetter,
    /// The outbox.
    Event,
    Webhook,
}

named!(ReplaySource {
    Notification = "notification",
    Refused = "refused",
    Sample = "sample",
    DeadLetter = "dead_letter",
    Event = "event",
    Webhook = "webhook",
});

/// What is to be expected of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Predicted {
    WouldSettle,
    NoOp,
    StillFails,
}

named!(Predicted { WouldSettle = "would_settle", NoOp = "no_op", StillFails = "still_fails" });

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayResult {
    Settled,
    NoOp,
    Failed,
}

named!(ReplayResult { Settled = "settled", NoOp = "no_op", Failed = "failed" });

/// What an operator selects; what is not set does not restrict.
#[derive(Debug, Clone)]
pub struct ReplaySelect {
    pub kind: ReplayKind,
    /// Row ids; where there are any, rows in every state are selected.
    pub ids: Vec<String>,
    /// Notifications that did not verify when they came, instead of those that were taken.
    pub refused: bool,
    pub merchants: Option<Vec<MerchantKey>>,
    /// Class of the reason of a refusal or a dead letter.
    pub reason_class: Option<String>,
    pub order_no: Option<String>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// A row that is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub source: ReplaySource,
    pub source_id: String,
    /// Empty where the row's is none.
    pub merchant: String,
    /// When it came.
    pub at: Timestamp,
}

/// A selected row with its prediction.
#[derive(Debug, Clone)]
pub struct PlannedItem {
    pub candidate: Candidate,
    pub out_trade_no: Option<String>,
    pub predicted: Predicted,
    /// Why there is nothing to do, or why it fails still.
    pub reason: Option<String>,
}

/// A replay to be planned.
#[derive(Debug, Clone)]
pub struct NewReplay {
    pub id: String,
    pub kind: ReplayKind,
    /// What was selected, as JSON.
    pub selection: String,
    /// The merchants that it is limited to; none where it is not.
    pub merchants: Option<Vec<MerchantKey>>,
    pub reason: String,
    pub rate_per_second: u32,
    pub planned_by: String,
}

/// A replay.
#[derive(Debug, Clone)]
pub struct Replay {
    pub id: String,
    pub kind: ReplayKind,
    pub selection: String,
    pub merchants: Option<Vec<MerchantKey>>,
    pub reason: String,
    pub rate_per_second: u32,
    pub total: u64,
    pub state: ReplayState,
    pub planned_by: String,
    pub started_by: Option<String>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// An item of a replay.
#[derive(Debug, Clone)]
pub struct ReplayItem {
    /// Its place, from 1.
    pub n: i64,
    pub source: ReplaySource,
    pub source_id: String,
    pub merchant: String,
    pub out_trade_no: Option<String>,
    pub predicted: Predicted,
    pub predicted_reason: Option<String>,
    pub result: Option<ReplayResult>,
    pub result_reason: Option<String>,
    /// The error's text of one that failed.
    pub error: Option<String>,
    pub done_at: Option<Timestamp>,
}

/// The item that a handler works on in a replay: its result is written with its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayMark {
    pub replay_id: String,
    pub n: i64,
    pub source: ReplaySource,
    pub source_id: String,
    /// Who started the replay.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// An item's result.
#[derive(Debug, Clone)]
pub struct ItemResult {
    pub result: ReplayResult,
    /// Why nothing was to be done, or the class of the failure.
    pub reason: Option<String>,
    /// The failure's text.
    pub error: Option<String>,
}
