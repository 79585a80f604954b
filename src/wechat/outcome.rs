//! The one table that says what an answer allows: (API × transport × HTTP × `return_code` × `result_code` ×
//! `err_code`).
//!
//! It classifies by what the caller may do next, and decides nothing about an order. Three rules shape it: a code
//! not listed is *unknown*, never refused; a broken call is *unknown*, because WeChat may have executed it before
//! the answer was lost; a refusal needs an explicit answer of WeChat. Every code is listed by name in every API's
//! match, so a code added to [`ErrCode`] does not compile before it is classified.

use super::setup_fault;
use super::setup_fault::SetupFault;
use super::transport::TransportError;
use super::unsigned_words;
use super::v2::xml::Fields;
use crate::event::fact::WechatError;

/// Whether WeChat says that it is called too often.
pub fn is_throttled(error: &WechatError) -> bool {
    let unsigned = error.code == WechatError::FAIL && unsigned_words::say_too_often(&error.message);
    unsigned || matches!(ErrCode::parse(&error.code), ErrCode::FrequencyLimited | ErrCode::InvalidReqTooMuch)
}

/// A call of API v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `unifiedorder`: registers an order number for payment.
    UnifiedOrder,
    /// `orderquery`: the state of a number at WeChat.
    OrderQuery,
    /// `closeorder`: closes a number for payment.
    CloseOrder,
    /// `refund`: refunds a payment; needs the client certificate.
    Refund,
    /// `refundquery`: the state of refunds.
    RefundQuery,
}

impl Api {
    /// Its path below the pay host.
    pub const fn path(self) -> &'static str {
        match self {
            Api::UnifiedOrder => "/pay/unifiedorder",
            Api::OrderQuery => "/pay/orderquery",
            Api::CloseOrder => "/pay/closeorder",
            Api::Refund => "/secapi/pay/refund",
            Api::RefundQuery => "/pay/refundquery",
        }
    }

    /// Its name, as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Api::UnifiedOrder => "unifiedorder",
            Api::OrderQuery => "orderquery",
            Api::CloseOrder => "closeorder",
            Api::Refund => "refund",
            Api::RefundQuery => "refundquery",
        }
    }
}

/// What the caller may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Success.
    Done,
    /// Refused for good: parameters, permissions. The same call would be refused again.
    Refused,
    /// Refused before any business, because of the merchant's key, number, app, certificate or address: not executed.
    /// The same number and parameters again once that is corrected.
    Setup,
    /// Not known whether it was executed: the same number and parameters again, then query.
    Unknown,
    /// WeChat's state of the number differs from ours: query before anything else.
    Ask,
    /// Inconclusive: unsigned, or contradicting what is proven here. Query; if WeChat does not know the number, the
    /// same number and parameters again, a minute later at the earliest.
    Doubt,
    /// The number can no longer be paid: a new number is needed.
    Closed,
    /// WeChat does not know the number.
    NotFound,
    /// Not executed, and not wrong either: the same number and parameters again, a minute later at the earliest.
    Later,
    /// Perhaps executed (WeChat's documentation says both), and too often: the same number and parameters again, a
    /// minute later at the earliest.
    TooFrequent,
}

/// An answer after everything about it was checked, one variant per [`Class`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// See [`Class::Done`]; the verified elements of the reply.
    Done(Fields),
    /// See [`Class::Refused`].
    Refused(WechatError),
    /// See [`Class::Setup`].
    Setup(WechatError),
    /// See [`Class::Unknown`].
    Unknown {
        /// Description for logs.
        why: String,
        /// What WeChat answered; none where no answer arrived.
        said: Option<WechatError>,
    },
    /// See [`Class::Ask`].
    Ask(WechatError),
    /// See [`Class::Doubt`].
    Doubt(WechatError),
    /// See [`Class::Closed`].
    Closed(WechatError),
    /// See [`Class::NotFound`].
    NotFound(WechatError),
    /// See [`Class::Later`].
    Later(WechatError),
    /// See [`Class::TooFrequent`].
    TooFrequent(WechatError),
}

macro_rules! err_codes {
    ($($name:ident = $text:literal,)*) => {
        /// `err_code` of API v2, every documented one by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrCode {
            $(#[doc = concat!("`", $text, "`")] $name,)*
            /// A code the documentation does not list.
            Other,
        }

        impl ErrCode {
            /// Every documented code.
            pub const LISTED: &[ErrCode] = &[$(ErrCode::$name,)*];

            /// Parses the element's text. Never fails: any other code is [`ErrCode::Other`].
            pub fn parse(text: &str) -> ErrCode {
                match text {
                    $($text => ErrCode::$name,)*
                    _ => ErrCode::Other,
                }
            }

            /// WeChat's spelling; nothing for [`ErrCode::Other`].
            pub const fn as_str(self) -> Option<&'static str> {
                match self {
                    $(ErrCode::$name => Some($text),)*
                    ErrCode::Other => None,
                }
            }
        }
    };
}

err_codes! {
    SystemError = "SYSTEMERROR",
    BankError = "BANKERROR",
    BizerrNeedRetry = "BIZERR_NEED_RETRY",
    FrequencyLimited = "FREQUENCY_LIMITED",
    InvalidReqTooMuch = "INVALID_REQ_TOO_MUCH",
    InvalidRequest = "INVALID_REQUEST",
    ParamError = "PARAM_ERROR",
    NoAuth = "NOAUTH",
    NotEnough = "NOTENOUGH",
    OrderPaid = "ORDERPAID",
    OrderClosed = "ORDERCLOSED",
    OrderReversed = "ORDERREVERSED",
    OrderNotExist = "ORDERNOTEXIST",
    OutTradeNoUsed = "OUT_TRADE_NO_USED",
    AppidNotExist = "APPID_NOT_EXIST",
    MchidNotExist = "MCHID_NOT_EXIST",
    AppidMchidNotMatch = "APPID_MCHID_NOT_MATCH",
    LackParams = "LACK_PARAMS",
    SignError = "SIGNERROR",
    XmlFormatError = "XML_FORMAT_ERROR",
    RequirePostMethod = "REQUIRE_POST_METHOD",
    PostDataEmpty = "POST_DATA_EMPTY",
    NotUtf8 = "NOT_UTF8",
    CertError = "CERT_ERROR",
    TradeStateError = "TRADE_STATE_ERROR",
    TradeError = "TRADE_ERROR",
    OrderNotReady = "ORDER_NOT_READY",
    TradeOverdue = "TRADE_OVERDUE",
    UserAccountAbnormal = "USER_ACCOUNT_ABNORMAL",
    Error = "ERROR",
    RefundFeeMismatch = "REFUND_FEE_MISMATCH",
    RefundNotExist = "REFUNDNOTEXIST",
    InvalidTransactionId = "INVALID_TRANSACTIONID",
    NoBillExist = "NO_BILL_EXIST",
    BillCreating = "BILL_CREATING",
    UserPaying = "USERPAYING",
    AuthCodeExpire = "AUTHCODEEXPIRE",
    AuthCodeError = "AUTH_CODE_ERROR",
    AuthCodeInvalid = "AUTH_CODE_INVALID",
    NotSupportCard = "NOTSUPORTCARD",
    BuyerMismatch = "BUYER_MISMATCH",
    ReverseExpire = "REVERSE_EXPIRE",
}

/// Codes that say our request is wrong, whatever the API.
macro_rules! our_request {
    () => {
        ErrCode::ParamError
            | ErrCode::LackParams
            | ErrCode::XmlFormatError
            | ErrCode::RequirePostMethod
            | ErrCode::PostDataEmpty
            | ErrCode::NotUtf8
    };
}

/// Codes that say our numbers, keys or certificate are wrong, whatever the API: once an operator has corrected them,
/// the same request succeeds.
macro_rules! our_setup {
    () => {
        ErrCode::AppidNotExist
            | ErrCode::MchidNotExist
            | ErrCode::AppidMchidNotMatch
            | ErrCode::SignError
            | ErrCode::CertError
    };
}

/// Codes that say WeChat itself failed: it may have executed the call. Those of rate limits are listed per API.
macro_rules! their_trouble {
    () => {
        ErrCode::SystemError | ErrCode::BankError | ErrCode::BizerrNeedRetry
    };
}

/// Codes that no [`Api`] answers with: of bills (`v2/bill`), and of payment codes, which are not called. From an `Api`
/// they mean nothing.
macro_rules! of_other_apis {
    () => {
        ErrCode::NoBillExist
            | ErrCode::BillCreating
            | ErrCode::UserPaying
            | ErrCode::AuthCodeExpire
            | ErrCode::AuthCodeError
            | ErrCode::AuthCodeInvalid
            | ErrCode::NotSupportCard
            | ErrCode::BuyerMismatch
            | ErrCode::ReverseExpire
            | ErrCode::TradeError
            | ErrCode::Other
    };
}

/// The class of a signed `result_code=FAIL` with its words: an address that is not listed has the code of a permission.
pub fn of_business_fail(api: Api, error: &WechatError) -> Class {
    match SetupFault::of(error) {
        Some(SetupFault::Ip) => Class::Setup,
        Some(SetupFault::Signature | SetupFault::MchId | SetupFault::AppId | SetupFault::Certificate) | None => {
            of_err_code(api, ErrCode::parse(&error.code))
        }
    }
}

/// The class of a signed `result_code=FAIL` with this code.
pub fn of_err_code(api: Api, code: ErrCode) -> Class {
    match api {
        Api::UnifiedOrder => of_unified_order(code),
        Api::OrderQuery => of_order_query(code),
        Api::CloseOrder => of_close_order(code),
        Api::Refund => of_refund(code),
        Api::RefundQuery => of_refund_query(code),
    }
}

fn of_unified_order(code: ErrCode) -> Class {
    use ErrCode::*;
    match code {
        our_setup!() => Class::Setup,
        our_request!() | NoAuth | NotEnough => Class::Refused,
        // INVALID_REQUEST is a bad parameter on a fresh number and "other parameters than before" on a used one;
        // only a query tells which.
        OrderPaid | OutTradeNoUsed | InvalidRequest => Class::Ask,
        OrderClosed => Class::Closed,
        their_trouble!() | FrequencyLimited | of_other_apis!() => Class::Unknown,
        InvalidReqTooMuch | OrderReversed | OrderNotExist | TradeStateError | OrderNotReady => Class::Unknown,
        TradeOverdue | UserAccountAbnormal | Error | RefundFeeMismatch | RefundNotExist | InvalidTransactionId => {
            Class::Unknown
        }
    }
}

fn of_order_query(code: ErrCode) -> Class {
    use ErrCode::*;
    match code {
        OrderNotExist => Class::NotFound,
        our_setup!() => Class::Setup,
        our_request!() | NoAuth | InvalidRequest | InvalidTransactionId => Class::Refused,
        their_trouble!() | FrequencyLimited | of_other_apis!() => Class::Unknown,
        InvalidReqTooMuch | NotEnough | OrderPaid | OrderClosed | OrderReversed | OutTradeNoUsed => Class::Unknown,
        TradeStateError | OrderNotReady | TradeOverdue | UserAccountAbnormal | Error => Class::Unknown,
        RefundFeeMismatch | RefundNotExist => Class::Unknown,
    }
}

fn of_close_order(code: ErrCode) -> Class {
    use ErrCode::*;
    match code {
        // Closing is idempotent: already closed is success.
        OrderClosed => Class::Done,
        OrderPaid => Class::Ask,
        OrderNotExist => Class::NotFound,
        our_setup!() => Class::Setup,
        our_request!() | NoAuth | InvalidRequest => Class::Refused,
        // "This state forbids closing" does not say which state it is; the query after an unknown will.
        TradeStateError => Class::Unknown,
        their_trouble!() | FrequencyLimited | of_other_apis!() => Class::Unknown,
        InvalidReqTooMuch | NotEnough | OrderReversed | OutTradeNoUsed | OrderNotReady | TradeOverdue => Class::Unknown,
        UserAccountAbnormal | Error | RefundFeeMismatch | RefundNotExist | InvalidTransactionId => Class::Unknown,
    }
}

fn of_refund(code: ErrCode) -> Class {
    use ErrCode::*;
    match code {
        our_request!() | TradeOverdue | UserAccountAbnormal | Error => Class::Refused,
        // The merchant's funds are too low, the payment is not settled yet, too many bad requests before this one, a
        // setup or a permission that must be corrected: the refund itself is valid, and a new number would be a second
        // refund.
        our_setup!() => Class::Setup,
        NoAuth | NotEnough | OrderNotReady | InvalidReqTooMuch => Class::Later,
        RefundFeeMismatch | InvalidRequest => Class::Ask,
        // Our ledger has WeChat's proof of the payment: a replica at WeChat lags behind.
        InvalidTransactionId | OrderNotExist => Class::Doubt,
        // One generation of the documentation says "not accepted", the other "may be in progress".
        FrequencyLimited => Class::TooFrequent,
        their_trouble!() | of_other_apis!() => Class::Unknown,
        OrderPaid | OrderClosed | OrderReversed | OutTradeNoUsed | TradeStateError | RefundNotExist => Class::Unknown,
    }
}

fn of_refund_query(code: ErrCode) -> Class {
    use ErrCode::*;
    match code {
        RefundNotExist => Class::NotFound,
        our_setup!() => Class::Setup,
        our_request!() | NoAuth | InvalidRequest | InvalidTransactionId => Class::Refused,
        their_trouble!() | FrequencyLimited | of_other_apis!() => Class::Unknown,
        InvalidReqTooMuch | NotEnough | OrderPaid | OrderClosed | OrderReversed | OrderNotExist => Class::Unknown,
        OutTradeNoUsed | TradeStateError | OrderNotReady | TradeOverdue | UserAccountAbnormal => Class::Unknown,
        Error | RefundFeeMismatch => Class::Unknown,
    }
}

/// The class of an unsigned `return_code=FAIL` with these words. The request did not reach the business layer, unless
/// WeChat itself failed. The texts are not stable, so only those known to mean a wrong request refuse; any other is
/// unknown. A refund is never refused by an unsigned reply: it may be in progress, and its amount would be refunded
/// twice.
pub fn of_return_fail(api: Api, words: &str) -> Class {
    let open = words.trim().is_empty() || unsigned_words::say_busy(words);
    let wrong = unsigned_words::say_wrong_request(words);
    match api {
        _ if open => Class::Unknown,
        Api::Refund => Class::Doubt,
        _ if setup_fault::of_words(words).is_some() => Class::Setup,
        Api::UnifiedOrder | Api::OrderQuery | Api::CloseOrder | Api::RefundQuery if wrong => Class::Refused,
        Api::UnifiedOrder | Api::OrderQuery | Api::CloseOrder | Api::RefundQuery => Class::Unknown,
    }
}

/// The class of a call that brought no readable answer.
pub fn of_transport(api: Api, error: &TransportError) -> Class {
    match (api, error) {
        // Without a valid client certificate WeChat's front end answers a bare 400 before any business happens: the
        // refund itself is valid, and continues once an operator has renewed the certificate.
        (Api::Refund, TransportError::Status { status: 400 }) => Class::Later,
        (
            Api::UnifiedOrder | Api::OrderQuery | Api::CloseOrder | Api::Refund | Api::RefundQuery,
            TransportError::NotSent { .. }
            | TransportError::NoAnswer { .. }
            | TransportError::Status { .. }
            | TransportError::TooLarge,
        ) => Class::Unknown,
    }
}
