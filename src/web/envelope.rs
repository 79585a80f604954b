//! Error answers to a page or mini program: the envelope `{"code","data","message"}` of its own
//! family.
//!
//! `message` is for payers, in Chinese, and never says that a payment failed while that is not known. Programs read
//! `reason`, whose words and `code`s are stable; `docs/browser.md` lists them, and a test holds the two together. What
//! must stay true: an internal message goes to the log and never into an answer.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::extract::body::BodyError;
use crate::http::extract::request_id::request_id;
use crate::http::problem::Error;
use crate::ids::OrderNo;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:ident, $code:literal, $message:literal;)*) => {
        /// Why not; one per thing that a page can do about it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $variant),* }

        impl Reason {
            /// All of them, for the documentation and its test.
            pub const ALL: &[Reason] = &[$(Reason::$variant),*];

            /// The stable word for programs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $name),* }
            }

            pub const fn status(self) -> StatusCode {
                match self { $(Reason::$variant => StatusCode::$status),* }
            }

            /// The envelope's `code`: the status and two digits.
            pub const fn code(self) -> u32 {
                match self { $(Reason::$variant => $code),* }
            }

            /// The words for payers.
            pub const fn message(self) -> &'static str {
                match self { $(Reason::$variant => $message),* }
            }
        }
    };
}

reasons! {
    /// WeChat has not answered yet: ask for the state, or call again.
    Pending = "pending", OK, 20001, "正在创建订单…";
    /// A parameter or body breaks its rules.
    BadParameter = "bad_parameter", BAD_REQUEST, 40001, "支付参数异常，请联系客服";
    /// No session, or one that is over: log in.
    NotLoggedIn = "not_logged_in", UNAUTHORIZED, 40101, "页面已过期，请重新进入";
    /// A mini program's code is used up or too old: `wx.login` (or the phone button) again.
    BadCode = "bad_code", UNAUTHORIZED, 40102, "登录已失效，请重试";
    /// The session belongs to the virtual user of a snapshot page.
    SnapshotUser = "snapshot_user", FORBIDDEN, 40301, "请点击“使用完整服务”后再支付";
    /// The page or address is of an origin that is not on the allow-list.
    BadOrigin = "bad_origin", FORBIDDEN, 40302, "页面来源不被允许";
    /// The login was not begun in this browser, or is over, or its state was used with another code.
    BadState = "bad_state", FORBIDDEN, 40303, "页面已过期，请重新进入";
    /// WeChat holds the user for a risk.
    RiskUser = "risk_user", FORBIDDEN, 40304, "当前账号存在风险，暂时无法登录";
    /// The payer said no to the login.
    LoginRefused = "login_refused", FORBIDDEN, 40305, "您已取消授权，请重新进入";
    /// The browser side, or the named app, is not configured.
    NotOpen = "not_open", NOT_FOUND, 40401, "服务未开通";
    /// The session has no such order.
    NotFound = "not_found", NOT_FOUND, 40402, "订单不存在";
    /// No route has this path.
    NoRoute = "no_route", NOT_FOUND, 40403, "页面不存在";
    /// The path has no such method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, 40501, "请求方式不正确";
    /// The body did not arrive in time.
    BodyTimeout = "body_timeout", REQUEST_TIMEOUT, 40801, "网络超时，请重试";
    /// The order's time is over.
    OrderClosed = "order_closed", CONFLICT, 40901, "订单已超时关闭";
    /// The order is paid already.
    OrderPaid = "order_paid", CONFLICT, 40902, "该订单已支付，请勿重复付款";
    /// The body is too large.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, 41301, "请求内容过大";
    /// The body is not JSON.
    MediaType = "media_type", UNSUPPORTED_MEDIA_TYPE, 41501, "请求格式不正确";
    /// WeChat refused the order for good.
    OrderFailed = "order_failed", UNPROCESSABLE_ENTITY, 42201, "支付参数异常，请联系客服";
    /// This client asks too often.
    TooMany = "too_many", TOO_MANY_REQUESTS, 42901, "操作过于频繁，请稍后再试";
    /// A defect of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, 50001, "系统异常，请联系客服";
    /// WeChat does not let this app log users in, or its answer makes no sense.
    LoginFailed = "login_failed", BAD_GATEWAY, 50201, "微信登录失败，请稍后再试";
    /// The third login of one browser within a minute: its page does not see that it is logged in.
    LoginLoop = "login_loop", LOOP_DETECTED, 50801, "登录状态未能保持，请稍后再试";
    /// Something does not answer; nothing was paid, and the same request may succeed later.
    Busy = "busy", SERVICE_UNAVAILABLE, 50301, "系统繁忙，请稍后再试（未扣款）";
    /// There is no valid token or ticket at the moment.
    TokenUnavailable = "token_unavailable", SERVICE_UNAVAILABLE, 50302, "系统繁忙，请稍后再试（未扣款）";
}

/// A refusal with what belongs to it.
#[derive(Debug)]
pub struct Failure {
    pub reason: Reason,
    /// The envelope's `data`.
    data: Value,
    /// After how many seconds the same request may succeed.
    retry_after: Option<u32>,
    /// For the log alone.
    internal: Option<String>,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Failure {
        let retry_after = match reason {
            Reason::Pending | Reason::Busy => Some(1),
            Reason::TokenUnavailable => Some(5),
            Reason::TooMany => Some(60),
            Reason::BadParameter
            | Reason::NotLoggedIn
            | Reason::BadCode
            | Reason::SnapshotUser
            | Reason::BadOrigin
            | Reason::BadState
            | Reason::RiskUser
            | Reason::LoginRefused
            | Reason::NotOpen
            | Reason::NotFound
            | Reason::NoRoute
            | Reason::MethodNotAllowed
            | Reason::BodyTimeout
            | Reason::OrderClosed
            | Reason::OrderPaid
            | Reason::TooLarge
            | Reason::MediaType
            | Reason::OrderFailed
            | Reason::Internal
            | Reason::LoginFailed
            | Reason::LoginLoop => None,
        };
        Failure { reason, data: Value::Null, retry_after, internal: None }
    }
}

impl Failure {
    /// A parameter (or member of the body) and the rule it breaks, in words for developers.
    pub fn bad_parameter(name: &str, rule: impl Into<String>) -> Failure {
        let data = json!({"parameter": name, "rule": rule.into()});
        Failure { data, ..Reason::BadParameter.into() }
    }

    /// About this order.
    pub fn about(reason: Reason, order_no: &OrderNo, state: &str) -> Failure {
        Failure { data: json!({"order_no": order_no, "state": state}), ..reason.into() }
    }

    /// This client may come again after so many seconds.
    pub fn too_many(seconds: u32) -> Failure {
        Failure { retry_after: Some(seconds), ..Reason::TooMany.into() }
    }

    /// The same request may succeed after so many seconds.
    pub fn retry_after(self, seconds: u32) -> Failure {
        Failure { retry_after: Some(seconds), ..self }
    }

    /// With words for the log.
    pub fn because(reason: Reason, internal: impl Into<String>) -> Failure {
        Failure { internal: Some(internal.into()), ..reason.into() }
    }

    /// Writes its log line, where it has one.
    pub fn log(&self) {
        if let Some(error) = &self.internal {
            let (request_id, reason) = (request_id(), self.reason.as_str());
            tracing::error!(request_id, reason, error, "A request of the browser side was refused or failed");
        }
    }

    /// Adds the headers that go with it.
    pub fn headers(&self, response: &mut Response) {
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        // The rest of a body that was not read must not be taken for the next request.
        if matches!(self.reason, Reason::TooLarge | Reason::BodyTimeout) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.log();
        let envelope = json!({
            "code": self.reason.code(),
            "data": self.data,
            "message": self.reason.message(),
            "reason": self.reason.as_str(),
            "request_id": request_id(),
        });
        let mut response = (self.reason.status(), axum::Json(envelope)).into_response();
        // For the middleware around the routes.
        response.extensions_mut().insert(self.reason);
        self.headers(&mut response);
        response
    }
}

/// The envelope of a yes.
pub fn success(data: Value) -> Response {
    axum::Json(json!({"code": 0, "data": data, "message": ""})).into_response()
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        match e {
            Error::Unavailable { internal } => Failure::because(Reason::Busy, internal),
            Error::Internal { internal } => Failure::because(Reason::Internal, internal),
            Error::NotReady => Reason::Pending.into(),
            Error::OrderFailed { order_no, .. } => Failure::about(Reason::OrderFailed, &order_no, "failed"),
            Error::OrderExpired | Error::OrderClosing | Error::OrderHeld => Reason::OrderClosed.into(),
            Error::NotFound(_) => Reason::NotFound.into(),
            Error::BodyTimeout => Reason::BodyTimeout.into(),
            Error::TooLarge(_) => Reason::TooLarge.into(),
            Error::MediaType | Error::ContentEncoding => Reason::MediaType.into(),
            Error::Malformed { detail } => Failure::bad_parameter("body", detail),
            e @ Error::NotJson { .. } => Failure::bad_parameter("body", e.to_string()),
            Error::Invalid(problems) => Failure { data: json!({"errors": problems}), ..Reason::BadParameter.into() },
            // Nothing here authenticates by API key, chooses a number that exists, switches attempts, opens a stream,
            // reads the feed, gives money back, discards messages or makes webhooks.
            e @ (Error::Unauthorized
            | Error::UnknownKey
            | Error::Forbidden(_)
            | Error::NoRoute
            | Error::MethodNotAllowed
            | Error::UriTooLong
            | Error::OrderDiffers
            | Error::NotOfAllMerchants
            | Error::OrderEnded(_)
            | Error::AttemptOpen { .. }
            | Error::AttemptsUsedUp
            | Error::NumberTaken
            | Error::CursorExpired
            | Error::CursorForeign
            | Error::DeadLetterEnded
            | Error::LineNotOpen
            | Error::BillNotKept { .. }
            | Error::BillKept { .. }
            | Error::DayNotOpen
            | Error::NoBill { .. }
            | Error::KeyReused
            | Error::TooManyStreams
            | Error::OrderNotPaid
            | Error::PaymentGivenBack
            | Error::PaymentForeign
            | Error::PaymentAccepted
            | Error::RefundsNotConfigured
            | Error::RefundExceeds { .. }
            | Error::RefundsUsedUp
            | Error::RefundCap { .. }
            | Error::RefundDiffers
            | Error::RefundFailed { .. }
            | Error::PaymentMatched
            | Error::NotApproved
            | Error::ApprovalOwn
            | Error::ApprovalEnded
            | Error::ApprovalsUsedUp
            | Error::PaymentDiffers
            | Error::ReplayState(_)
            | Error::PeriodNotOver
            | Error::PeriodOpenDays(_)
            | Error::PeriodOutOfOrder { .. }
            | Error::GrantExceeds(_)
            | Error::KeyNameTaken
            | Error::Overloaded
            | Error::RateLimited
            | Error::WebhooksUsedUp
            | Error::WebhooksNotConfigured) => Failure::because(Reason::Internal, e.to_string()),
        }
    }
}

impl From<crate::store::DbError> for Failure {
    fn from(e: crate::store::DbError) -> Failure {
        Error::from(e).into()
    }
}

impl From<BodyError> for Failure {
    fn from(e: BodyError) -> Failure {
        Error::from(e).into()
    }
}
