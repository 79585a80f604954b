//! Error answers: RFC 9457 problems, one variant per thing a caller can do about it.
//!
//! `docs/problems.md` describes every slug; a test holds the two together. What must stay true: an internal message (a
//! database's words, a path) goes to the log and never into an answer; what a caller sent comes back only as JSON text.

use axum::http::StatusCode;
use serde::Serialize;

use crate::config::Scope;
use crate::event::fact::WechatError;
use crate::ids::{OrderNo, OutRefundNo};
use crate::money::Fen;
use crate::ops::reports::DayState;
use crate::order::OrderState;
use crate::store::ReplayState;

/// Where the slugs of problem types are described.
pub const PROBLEM_BASE: &str = "https://wxpay-worker.dev/problems/";

/// Which part of a request is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// A member of the body, as a JSON pointer.
    Pointer(String),
    /// A part of the path or the query string.
    Parameter(String),
    Header(String),
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    #[serde(flatten)]
    pub at: At,
    /// The rule it breaks, in words.
    pub message: String,
}

impl FieldProblem {
    /// About the member `name` of the body.
    pub fn member(name: &str, message: impl Into<String>) -> FieldProblem {
        // RFC 6901 escapes; an unknown name may be of any length.
        let name: String = name.replace('~', "~0").replace('/', "~1").chars().take(64).collect();
        FieldProblem { at: At::Pointer(format!("/{name}")), message: message.into() }
    }

    /// About a part of the path or the query string.
    pub fn parameter(name: &str, message: impl Into<String>) -> FieldProblem {
        FieldProblem { at: At::Parameter(name.chars().take(64).collect()), message: message.into() }
    }

    /// Whether it is about the member `name` of the body.
    pub fn is_about(&self, name: &str) -> bool {
        matches!(&self.at, At::Pointer(pointer) if pointer.strip_prefix('/') == Some(name))
    }

    /// About a header.
    pub fn header(name: &str, message: impl Into<String>) -> FieldProblem {
        FieldProblem { at: At::Header(name.to_owned()), message: message.into() }
    }
}

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request as a whole is not what it should be.
    #[error("{detail}")]
    Malformed {
        /// For the caller.
        detail: &'static str,
    },
    /// Fields break their rules: all of them, at once.
    #[error("the request has fields that break their rules")]
    Invalid(Vec<FieldProblem>),
    /// A body that is no JSON object.
    #[error("the body is not a JSON object with distinct members: line {line}, column {column}: {why}")]
    NotJson {
        /// Of the first mistake, from 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// What was expected. Quotes nothing of the body.
        why: &'static str,
    },
    #[error("an API key is needed: Authorization: Bearer <key>")]
    Unauthorized,
    /// An API key that does not count.
    #[error("the API key is not one of this service, has expired or was revoked")]
    UnknownKey,
    /// The API key may not do this.
    #[error("the API key lacks the scope {}", .0.as_str())]
    Forbidden(Scope),
    /// What was asked for tells of all merchants.
    #[error("the API key sees only some of the merchants, and this tells of all of them")]
    NotOfAllMerchants,
    /// A key cannot make one that may do more.
    #[error("an API key grants no more than it has itself: {0}")]
    GrantExceeds(&'static str),
    /// The API key asks for more in this second than it may.
    #[error("the API key's rate_limit_per_second is reached")]
    RateLimited,
    /// All that this process does at once is under way, or the caller's network has its share of it.
    #[error("too much is under way at the moment")]
    Overloaded,
    /// It does not exist, or the caller may not see it.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("nothing is here")]
    NoRoute,
    #[error("this path does not take this method")]
    MethodNotAllowed,
    #[error("the body did not arrive in time")]
    BodyTimeout,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the request target is too long")]
    UriTooLong,
    #[error("the body must be application/json")]
    MediaType,
    #[error("the body must not be encoded")]
    ContentEncoding,
    /// The number belongs to an order with other content.
    #[error("order_no belongs to an order with other content")]
    OrderDiffers,
    /// The order cannot be paid any more.
    #[error("{}", ended(*.0))]
    OrderEnded(OrderState),
    /// The order's time is over, though WeChat has not closed it yet.
    #[error("the order has expired")]
    OrderExpired,
    /// Another attempt is open, and WeChat does not let it be closed yet.
    #[error("an attempt is open that WeChat does not allow to be closed for another {closable_in_s} s")]
    AttemptOpen {
        /// After how many seconds it can be closed.
        closable_in_s: u32,
    },
    /// The order is being closed.
    #[error("the order is being closed")]
    OrderClosing,
    /// Money was reported that does not fit the order: no more is to be paid on it.
    #[error("the order holds a payment that does not fit it: accept it or give it back")]
    OrderHeld,
    /// To accept: the payment goes back.
    #[error("the payment is on its way back to the payer, or went back")]
    PaymentGivenBack,
    /// To accept: the payment is in another currency, or went to another merchant or app.
    #[error("the payment is in another currency, or went to another merchant or app: it can only be given back")]
    PaymentForeign,
    /// To give back: the payment was accepted meanwhile.
    #[error("the payment was accepted while this was asked for")]
    PaymentAccepted,
    /// To give back: the payment had no order, and its order appeared meanwhile.
    #[error("the order of this payment appeared while its refund was asked for")]
    PaymentMatched,
    /// To give back: WeChat does not hold what it reported.
    #[error("WeChat does not hold this payment as it was reported")]
    PaymentDiffers,
    /// It was refused.
    #[error("a second person refused this: it is not done under this number")]
    NotApproved,
    /// To decide: who asked does not.
    #[error("another person decides this: neither who asked for it, nor a key of the same maker")]
    ApprovalOwn,
    /// To decide: it was decided otherwise, or its time is over.
    #[error("the request was decided otherwise, or its time is over")]
    ApprovalEnded,
    #[error("as many requests of this client as may be wait for a second person")]
    ApprovalsUsedUp,
    /// The order has had as many attempts as it may.
    #[error("the order has reached its limit of attempts; create a new order")]
    AttemptsUsedUp,
    /// The number is one of another order's attempts.
    #[error("order_no is the number of another order's attempt at WeChat; use another number")]
    NumberTaken,
    /// The idempotency key was used for something else.
    #[error("this Idempotency-Key was used with other content")]
    KeyReused,
    /// WeChat refused the order.
    #[error("WeChat refused the order")]
    OrderFailed {
        order_no: OrderNo,
        /// WeChat's error code and text.
        wechat: WechatError,
    },
    /// Nothing was paid that could go back.
    #[error("the order is not paid: there is nothing to refund")]
    OrderNotPaid,
    /// The merchant has no certificate, without which WeChat takes no refund.
    #[error("refunds are not configured for this merchant: its client_cert_file is missing")]
    RefundsNotConfigured,
    /// More than is left of the payment.
    #[error("{left} fen are left of the payment to refund")]
    RefundExceeds { left: Fen },
    /// The payment has had as many refunds as WeChat allows.
    #[error("the payment has had as many refunds as WeChat allows")]
    RefundsUsedUp,
    /// The API key has asked for as much today as it may.
    #[error("the API key's refunds of this day would be more than its refund_cap_fen_per_day")]
    RefundCap { left: Fen },
    #[error("refund_no belongs to a refund with other content")]
    RefundDiffers,
    /// WeChat refused the refund, or closed it without moving money.
    #[error("the refund failed, no money moved, and its number cannot be used again{}", of_others(*.elsewhere))]
    RefundFailed {
        refund_no: OutRefundNo,
        /// WeChat's error code and text.
        wechat: WechatError,
        /// What WeChat had refunded of the payment otherwise.
        elsewhere: Option<Fen>,
    },
    /// Events behind the cursor were removed.
    #[error("events behind this cursor were removed; begin again without after, and drop known ids")]
    CursorExpired,
    /// The cursor's place is not in this feed.
    #[error("this cursor is not of the feed as it is now; begin again without after, and drop known ids")]
    CursorForeign,
    /// Another key that counts has the name.
    #[error("another API key has this name")]
    KeyNameTaken,
    #[error("the dead letter was replayed: there is nothing to discard")]
    DeadLetterEnded,
    #[error("the line is not open, or the day has been compared again: read its lines")]
    LineNotOpen,
    #[error("WeChat keeps bills for three months: it has those of {oldest} and later days. The result stays as it is")]
    BillNotKept { oldest: String },
    #[error("WeChat has the bills of {oldest} and later days: the day is compared with its bill")]
    BillKept { oldest: String },
    #[error("the day is balanced or explained, is being compared, or has open lines: explain these one by one")]
    DayNotOpen,
    #[error("{why}")]
    NoBill { why: String },
    /// The replay's state does not allow it.
    #[error("the replay is {}", .0.as_str())]
    ReplayState(ReplayState),
    #[error("the merchant has as many webhook endpoints as webhooks.endpoints_per_merchant allows")]
    WebhooksUsedUp,
    #[error("webhooks are not configured: webhooks.key_file or web.session_key_file is needed to keep their secrets")]
    WebhooksNotConfigured,
    /// The month is not over, or was recorded a short while ago.
    #[error("the month is not over: it can be closed ten minutes after its end at the earliest")]
    PeriodNotOver,
    /// Days of the month are neither balanced nor explained.
    #[error("{} days of the month are neither balanced nor explained", .0.len())]
    PeriodOpenDays(Vec<(String, DayState)>),
    /// Months are closed in their order, and reopened in the other.
    #[error("months are closed in their order and reopened in the other: the last one that is closed is {last}")]
    PeriodOutOfOrder { last: String },
    /// WeChat has not answered yet.
    #[error("the payment parameters are not there yet")]
    NotReady,
    /// Too many streams are open.
    #[error("too many streams are open")]
    TooManyStreams,
    /// The bus or the database does not answer; the same request may succeed later.
    #[error("the service cannot take this now; the same request may be repeated")]
    Unavailable {
        /// For the log alone.
        internal: String,
    },
    /// A defect of ours.
    #[error("an internal error happened")]
    Internal {
        /// For the log alone.
        internal: String,
    },
}

/// What is fixed about a kind of problem.
pub(super) struct Kind {
    pub status: StatusCode,
    pub slug: &'static str,
    pub title: &'static str,
    /// After how many seconds the same request may succeed.
    pub retry_after: Option<u32>,
    /// Whether the connection must end: its next bytes may belong to this request.
    pub close: bool,
}

/// The table of problems: variant, status, slug, title; `retry` after so many seconds, `close` the connection.
macro_rules! problems {
    ($(
        $error:pat => $status:ident $slug:literal $title:literal $(, retry $seconds:expr)? $(, close $close:literal)?;
    )*) => {
        impl Error {
            /// The slugs of all problem types, for the documentation and its test.
            pub const SLUGS: &[&str] = &[$($slug),*];
            /// Each with its status.
            pub const TYPES: &[(&str, u16)] = &[$(($slug, StatusCode::$status.as_u16())),*];

            /// Those with which there is `Retry-After`.
            pub const RETRIED: &[&str] = &[$($(($slug, stringify!($seconds)).0,)?)*];

            pub(super) fn kind(&self) -> Kind {
                match self {
                    $($error => Kind {
                        status: StatusCode::$status,
                        slug: $slug,
                        title: $title,
                        retry_after: None$(.or(Some($seconds)))?,
                        close: false$( | $close)?,
                    },)*
                }
            }
        }
    };
}

problems! {
    Error::Malformed { .. } | Error::NotJson { .. } => BAD_REQUEST "malformed" "Malformed request";
    Error::Invalid(_) => BAD_REQUEST "invalid" "Invalid fields";
    Error::Unauthorized | Error::UnknownKey => UNAUTHORIZED "unauthorized" "Not authenticated";
    Error::Forbidden(_) | Error::NotOfAllMerchants => FORBIDDEN "forbidden" "Not allowed";
    Error::GrantExceeds(_) => FORBIDDEN "grant-exceeds" "More than the key has";
    Error::RateLimited => TOO_MANY_REQUESTS "rate-limited" "Too many requests", retry 1;
    Error::Overloaded => SERVICE_UNAVAILABLE "overloaded" "Too much at once", retry 1, close true;
    Error::NotFound(_) => NOT_FOUND "not-found" "Not found";
    Error::NoRoute => NOT_FOUND "no-route" "No such path";
    Error::MethodNotAllowed => METHOD_NOT_ALLOWED "method-not-allowed" "Method not allowed";
    Error::BodyTimeout => REQUEST_TIMEOUT "body-timeout" "Body too slow", close true;
    Error::TooLarge(_) => PAYLOAD_TOO_LARGE "too-large" "Body too large", close true;
    Error::UriTooLong => URI_TOO_LONG "uri-too-long" "Request target too long", close true;
    Error::MediaType => UNSUPPORTED_MEDIA_TYPE "media-type" "Unsupported media type";
    Error::ContentEncoding => UNSUPPORTED_MEDIA_TYPE "content-encoding" "Unsupported content encoding";
    Error::OrderDiffers => CONFLICT "order-differs" "Order number in use";
    Error::OrderEnded(_) => CONFLICT "order-ended" "Order ended";
    Error::OrderExpired => CONFLICT "order-expired" "Order expired";
    Error::AttemptOpen { closable_in_s } => CONFLICT "attempt-open" "Another attempt is open", retry *closable_in_s;
    Error::OrderClosing => CONFLICT "order-closing" "Order is being closed";
    Error::OrderHeld => CONFLICT "order-held" "Order holds a payment";
    Error::PaymentGivenBack => CONFLICT "payment-given-back" "Payment given back";
    Error::PaymentForeign => CONFLICT "payment-foreign" "Payment can only be given back";
    Error::PaymentAccepted => CONFLICT "payment-accepted" "Payment accepted";
    Error::PaymentMatched => CONFLICT "payment-matched" "Payment's order appeared";
    Error::PaymentDiffers => CONFLICT "payment-differs" "Payment differs at WeChat";
    Error::NotApproved => CONFLICT "not-approved" "Refused by a second person";
    Error::ApprovalOwn => FORBIDDEN "approval-own" "Another person decides";
    Error::ApprovalEnded => CONFLICT "approval-ended" "Request ended";
    Error::ApprovalsUsedUp => CONFLICT "approvals-used-up" "Too much waits for a second person";
    Error::AttemptsUsedUp => CONFLICT "attempts-used-up" "No more attempts";
    Error::NumberTaken => CONFLICT "number-taken" "Number in use";
    Error::KeyReused => UNPROCESSABLE_ENTITY "key-reused" "Idempotency key reused";
    Error::OrderFailed { .. } => UNPROCESSABLE_ENTITY "order-failed" "Refused by WeChat";
    Error::OrderNotPaid => CONFLICT "order-not-paid" "Order not paid";
    Error::RefundsNotConfigured => CONFLICT "refunds-not-configured" "Refunds not configured";
    Error::RefundExceeds { .. } => CONFLICT "refund-exceeds" "More than is left to refund";
    Error::RefundsUsedUp => CONFLICT "refunds-used-up" "No more refunds";
    Error::RefundCap { .. } => CONFLICT "refund-cap" "Refund cap of the day";
    Error::RefundDiffers => CONFLICT "refund-differs" "Refund number in use";
    Error::RefundFailed { .. } => UNPROCESSABLE_ENTITY "refund-failed" "Refund failed";
    Error::CursorExpired => GONE "cursor-expired" "Cursor expired";
    Error::CursorForeign => GONE "cursor-foreign" "Cursor of another feed";
    Error::KeyNameTaken => CONFLICT "key-name-taken" "Name in use";
    Error::DeadLetterEnded => CONFLICT "dead-letter-ended" "Dead letter ended";
    Error::LineNotOpen => CONFLICT "line-not-open" "Line not open";
    Error::NoBill { .. } => CONFLICT "no-bill" "WeChat gave no bill";
    Error::BillNotKept { .. } => CONFLICT "bill-not-kept" "WeChat has no such bill any more";
    Error::BillKept { .. } => CONFLICT "bill-kept" "WeChat has the bill";
    Error::DayNotOpen => CONFLICT "day-not-open" "Day not open";
    Error::ReplayState(_) => CONFLICT "replay-state" "Replay's state does not allow it";
    Error::WebhooksUsedUp => CONFLICT "webhooks-used-up" "No more webhook endpoints";
    Error::WebhooksNotConfigured => CONFLICT "webhooks-not-configured" "Webhooks not configured";
    Error::PeriodNotOver => CONFLICT "period-not-over" "Month not over";
    Error::PeriodOpenDays(_) => CONFLICT "period-open-days" "Days are open";
    Error::PeriodOutOfOrder { .. } => CONFLICT "period-out-of-order" "Another month first";
    Error::NotReady => SERVICE_UNAVAILABLE "not-ready" "Not ready yet", retry 1;
    Error::TooManyStreams => SERVICE_UNAVAILABLE "too-many-streams" "Too many streams", retry 5;
    Error::Unavailable { .. } => SERVICE_UNAVAILABLE "unavailable" "Not available", retry 1;
    Error::Internal { .. } => INTERNAL_SERVER_ERROR "internal" "Internal error";
}

impl Error {
    /// The words for the log, where there are any.
    pub(super) fn internal(&self) -> Option<&str> {
        match self {
            Error::Unavailable { internal } | Error::Internal { internal } => Some(internal),
            _ => None,
        }
    }

    /// What a log line may say about it: the internal words where there are any.
    pub fn for_log(&self) -> String {
        self.internal().map_or_else(|| self.to_string(), str::to_owned)
    }
}

/// What is said of an order that ended, whatever was asked of it.
fn ended(state: OrderState) -> String {
    match state {
        OrderState::Paid => "the order is paid: it can be neither closed nor paid again".to_owned(),
        OrderState::Requested | OrderState::Payable | OrderState::Closed | OrderState::Failed => {
            format!("the order is {} and cannot be paid", state.as_str())
        }
    }
}

/// What is said where other refunds of the payment are the reason.
pub fn of_others(sum: Option<Fen>) -> String {
    sum.map(|sum| format!("; WeChat has refunded {sum} fen of the payment by other refunds")).unwrap_or_default()
}
