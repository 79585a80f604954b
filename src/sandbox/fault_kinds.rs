//! Which calls can go wrong, and how.

use serde::de::value::StrDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::platform::Api;

/// Where a rule applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", remote = "Self")]
pub(super) enum On {
    UnifiedOrder,
    OrderQuery,
    CloseOrder,
    /// A payment notification on its way to the merchant.
    Notify,
    Refund,
    RefundQuery,
    DownloadBill,
    DownloadFundFlow,
    /// A refund notification on its way to the merchant.
    #[serde(rename = "refund_notify")]
    RefundNotify,
    /// A call of the platform API, by the names there.
    #[serde(skip)]
    Platform(Api),
}

impl Serialize for On {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            On::Platform(api) => api.serialize(serializer),
            on => On::serialize(on, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for On {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<On, D::Error> {
        let name = String::deserialize(deserializer)?;
        // An untagged variant would do, but says of a wrong name only that nothing matched.
        match Api::deserialize(StrDeserializer::<D::Error>::new(&name)) {
            Ok(api) => Ok(On::Platform(api)),
            Err(_) => On::deserialize(StrDeserializer::new(&name)),
        }
    }
}

impl On {
    /// Whether it goes to the merchant instead of coming from it.
    pub fn is_notification(self) -> bool {
        matches!(self, On::Notify | On::RefundNotify)
    }

    /// Whether the answer is a file, which has neither elements nor a signature.
    pub fn is_bill(self) -> bool {
        matches!(self, On::DownloadBill | On::DownloadFundFlow)
    }
}

/// What goes wrong. On an API call the call is executed unless the text says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Executed twice (a request that the network repeated); notifications: `copies` at once.
    Duplicate,
    /// Begins `delay_ms` later.
    Delay,
    /// Waits until a later one went through, at most `delay_ms`.
    Reorder,
    /// One field is changed after signing.
    Tamper,
    /// Never executed and the connection ends; notifications: never sent.
    Drop,
    /// The connection ends without an answer; notifications: the merchant's answer is thrown away.
    AnswerLost,
    /// No answer until the caller gives up.
    Hang,
    /// The connection is reset without an answer.
    Reset,
    /// The answer's (or the notification's) second half is missing.
    HalfBody,
    /// `SYSTEMERROR`, on the platform -1; executed or not as the dice fall, or as `executed` says.
    SystemError,
    /// An HTML page with status 500; executed or not as the dice fall, or as `executed` says.
    #[serde(rename = "http_500")]
    Http500,
    /// The answer comes `delay_ms` late.
    Slow,
    /// `FREQUENCY_LIMITED`, on the platform 45011; not executed.
    RateLimit,
    /// The signature is made with another key.
    WrongSign,
    /// Validly signed, one fen too much.
    ForgeAmount,
    /// Names, and is validly signed by, another merchant.
    CrossMerchant,
    /// The platform's `errcode` of this rule; not executed unless `executed` says so.
    Errcode,
    /// The answer is these bytes, with status 200 and no signature; not executed unless `executed` says so.
    Raw,
    /// Elements of the answer are other ones, or missing; a pay API signs what is left.
    Rewrite,
    /// A notification goes to another address, as where the merchant platform has one for both kinds.
    Misdirect,
    /// `req_info` is broken into lines.
    Wrap,
    /// The address of the caller is not on the merchant's list: an unsigned refusal; not executed.
    ForeignAddress,
    /// The merchant's certificate has expired: an unsigned refusal of a refund; not executed.
    CertificateExpired,
    /// A refund is refused with `err_code`; executed only if `executed` says so, which fits BIZERR_NEED_RETRY.
    Refuse,
}

/// What a refund can be refused with on demand: refusals that depend on the payer, the bank or WeChat's day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum RefundCode {
    BizerrNeedRetry,
    FrequencyLimited,
    InvalidReqTooMuch,
    OrderNotReady,
    #[serde(rename = "NOTENOUGH")]
    NotEnough,
    UserAccountAbnormal,
    Error,
    #[serde(rename = "NOAUTH")]
    NoAuth,
    CertError,
    ParamError,
    #[serde(rename = "ORDERNOTEXIST")]
    OrderNotExist,
    #[serde(rename = "INVALID_TRANSACTIONID")]
    InvalidTransactionId,
    /// No code at all: `return_code` FAIL, which is unsigned.
    Fail,
}

impl Kind {
    /// Whether this can go wrong there.
    pub fn possible(self, on: On) -> bool {
        match self {
            Kind::Duplicate | Kind::Delay | Kind::Reorder | Kind::Drop | Kind::AnswerLost | Kind::HalfBody => true,
            // The platform's answers and bills carry no signature that a change could break.
            Kind::Tamper | Kind::WrongSign | Kind::CrossMerchant => !matches!(on, On::Platform(_)) && !on.is_bill(),
            Kind::Hang | Kind::Reset | Kind::SystemError | Kind::Http500 | Kind::Slow => !on.is_notification(),
            Kind::RateLimit | Kind::Raw => !on.is_notification(),
            Kind::Rewrite => !on.is_notification() && !on.is_bill(),
            Kind::ForeignAddress => !on.is_notification() && !matches!(on, On::Platform(_)),
            Kind::CertificateExpired => matches!(on, On::Refund | On::DownloadFundFlow),
            Kind::Misdirect => on.is_notification(),
            Kind::Wrap => on == On::RefundNotify,
            Kind::ForgeAmount => matches!(on, On::OrderQuery | On::Notify | On::RefundQuery | On::RefundNotify),
            Kind::Refuse => on == On::Refund,
            Kind::Errcode => matches!(on, On::Platform(_)),
        }
    }
}
