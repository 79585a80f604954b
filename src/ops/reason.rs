//! Why messages are parked and notifications refused: one class per reason, what it means, and what mends it.
//!
//! What must stay true: a class keeps its name, which stands in rows, events and metrics; a row of another version may
//! have a name that is not here, and is shown under it.

/// The class of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasonClass {
    Exhausted,
    Alien,
    Malformed,
    UnknownSubject,
    UnknownMerchant,
    UnknownOrder,
    UnknownAttempt,
    UnknownRefund,
    InvalidOrder,
    NumberTaken,
    Defect,
    Xml,
    ReturnCode,
    Unsigned,
    Signature,
    Decrypt,
    Foreign,
    Incomplete,
    NeedsV3Key,
    AmountDiffers,
    CurrencyDiffers,
    RecipientDiffers,
    ClosedAfterPaid,
    TransactionElsewhere,
    UnknownPayment,
    GivenBack,
    ForeignPayment,
    RefundDiffers,
    AnotherPayment,
    RefundIdDiffers,
    UndoneAfterSuccess,
    AliveAfterFailure,
    QueryDiffers,
    RefundExceeds,
}

named!(ReasonClass {
    Exhausted = "exhausted",
    Alien = "alien",
    Malformed = "malformed",
    UnknownSubject = "unknown_subject",
    UnknownMerchant = "unknown_merchant",
    UnknownOrder = "unknown_order",
    UnknownAttempt = "unknown_attempt",
    UnknownRefund = "unknown_refund",
    InvalidOrder = "invalid_order",
    NumberTaken = "number_taken",
    Defect = "defect",
    Xml = "xml",
    ReturnCode = "return_code",
    Unsigned = "unsigned",
    Signature = "signature",
    Decrypt = "decrypt",
    Foreign = "foreign",
    Incomplete = "incomplete",
    NeedsV3Key = "needs_v3_key",
    AmountDiffers = "amount_differs",
    CurrencyDiffers = "currency_differs",
    RecipientDiffers = "recipient_differs",
    ClosedAfterPaid = "closed_after_paid",
    TransactionElsewhere = "transaction_elsewhere",
    UnknownPayment = "unknown_payment",
    GivenBack = "given_back",
    ForeignPayment = "foreign_payment",
    RefundDiffers = "refund_differs",
    AnotherPayment = "another_payment",
    RefundIdDiffers = "refund_id_differs",
    UndoneAfterSuccess = "undone_after_success",
    AliveAfterFailure = "alive_after_failure",
    QueryDiffers = "query_differs",
    RefundExceeds = "refund_exceeds",
});

impl ReasonClass {
    /// What it means, in one sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            ReasonClass::Exhausted => "Every attempt at the message failed.",
            ReasonClass::Alien => "A message on the service's subjects that the service did not publish.",
            ReasonClass::Malformed => "The message cannot be parsed.",
            ReasonClass::UnknownSubject => "No handler of this version serves the subject.",
            ReasonClass::UnknownMerchant => "No such merchant or app is configured here.",
            ReasonClass::UnknownOrder => "No order of this service has the number that WeChat reports.",
            ReasonClass::UnknownAttempt => "The order has no such attempt.",
            ReasonClass::UnknownRefund => "Neither this service nor WeChat's answer knows the refund.",
            ReasonClass::InvalidOrder => "The order in the message breaks a rule of WeChat.",
            ReasonClass::NumberTaken => "The number belongs to another order's attempt.",
            ReasonClass::Defect => "A defect of this service.",
            ReasonClass::Xml => "The notification is not XML as WeChat writes it.",
            ReasonClass::ReturnCode => "The notification reports that WeChat failed to make it.",
            ReasonClass::Unsigned => "The notification carries no signature.",
            ReasonClass::Signature => "No key of the merchant verifies the signature.",
            ReasonClass::Decrypt => "No key of the merchant opens the refund notification.",
            ReasonClass::Foreign => "The notification is for another merchant or app.",
            ReasonClass::Incomplete => "A verified notification lacks a required element.",
            ReasonClass::NeedsV3Key => "A notification of API v3, whose key is not configured.",
            ReasonClass::AmountDiffers => "Another amount was paid than the order's.",
            ReasonClass::CurrencyDiffers => "The payment is not in CNY.",
            ReasonClass::RecipientDiffers => "The payment went to another merchant or app than the order's.",
            ReasonClass::ClosedAfterPaid => "WeChat reports an order as closed that it had reported as paid.",
            ReasonClass::TransactionElsewhere => "The transaction_id belongs to another order.",
            ReasonClass::UnknownPayment => "The order has no such payment.",
            ReasonClass::GivenBack => "The payment goes back to the payer or went back.",
            ReasonClass::ForeignPayment => "The payment can only be given back.",
            ReasonClass::RefundDiffers => "WeChat names another amount than the refund's.",
            ReasonClass::AnotherPayment => "WeChat knows the number as a refund of another payment.",
            ReasonClass::RefundIdDiffers => "WeChat knows the number under another refund_id.",
            ReasonClass::UndoneAfterSuccess => "WeChat reports a refund that had succeeded as not succeeded.",
            ReasonClass::AliveAfterFailure => "WeChat reports a refund that had failed as alive.",
            ReasonClass::QueryDiffers => "WeChat's answer to the query contradicts its notification.",
            ReasonClass::RefundExceeds => "WeChat reports a refund of more than is left of the payment.",
        }
    }

    /// What to do about it.
    pub const fn mend(self) -> &'static str {
        match self {
            ReasonClass::Exhausted => "Read the errors of its attempts; mend their cause and replay it.",
            ReasonClass::Alien => "Find out which client may publish there and take the permission away; discard it.",
            ReasonClass::Malformed => {
                "If a newer version published it, finish the rollout and replay it; otherwise find out by its subject \
                 what it asked for, have that done, and discard it."
            }
            ReasonClass::UnknownSubject => "Finish the rollout and replay it, or discard it.",
            ReasonClass::UnknownMerchant => "Configure the merchant or app again and replay it.",
            ReasonClass::UnknownOrder => {
                "Find out whose the number is. Of another system at the same merchant: discard it. If the order \
                 appeared since (a restore): replay it. Give back only money that has no owner."
            }
            ReasonClass::UnknownAttempt => {
                "Compare the number with the merchant platform; replay it, or give back money that has no owner."
            }
            ReasonClass::UnknownRefund => {
                "Compare the number with the merchant platform; replay it once WeChat's query lists the refund."
            }
            ReasonClass::InvalidOrder => "Correct the client and place the order again under a new number; discard it.",
            ReasonClass::NumberTaken => "Place the order again under another number; discard it.",
            ReasonClass::Defect => "Report it with the errors of its attempts; replay it with the corrected version.",
            ReasonClass::Xml => "Discard it; if WeChat sent it, report it.",
            ReasonClass::ReturnCode => "Nothing was paid by it: discard it.",
            ReasonClass::Unsigned => "It is forged: discard it.",
            ReasonClass::Signature => {
                "Compare v2_key with the merchant platform: if it differs, correct it and replay; if not, it is forged."
            }
            ReasonClass::Decrypt => "Compare v2_key with the merchant platform, correct it and replay.",
            ReasonClass::Foreign => "Compare mch_id, the merchant's apps and its notify_url, correct them and replay.",
            ReasonClass::Incomplete => {
                "Report it; the payment is learnt by query. Replay it with a version that reads it."
            }
            ReasonClass::NeedsV3Key => "Set the merchant's notifications to API v2 at the merchant platform.",
            ReasonClass::AmountDiffers => "Accept the payment or give it back; then discard it.",
            ReasonClass::CurrencyDiffers => "Give the payment back; then discard it.",
            ReasonClass::RecipientDiffers => {
                "Compare the apps of the merchant; give the payment back; then discard it."
            }
            ReasonClass::ClosedAfterPaid => "Compare the order with the merchant platform; discard it once they agree.",
            ReasonClass::TransactionElsewhere => {
                "Compare both orders with the merchant platform; discard it once they agree."
            }
            ReasonClass::UnknownPayment => "Refresh the order from WeChat and replay it.",
            ReasonClass::GivenBack => "Discard it.",
            ReasonClass::ForeignPayment => "Give the payment back; then discard it.",
            ReasonClass::RefundDiffers => "Compare the refund with the merchant platform; discard it once they agree.",
            ReasonClass::AnotherPayment => {
                "Compare the refund with the merchant platform; request it again under another number."
            }
            ReasonClass::RefundIdDiffers => {
                "Compare the refund with the merchant platform; discard it once they agree."
            }
            ReasonClass::UndoneAfterSuccess => "Ask WeChat's support about the refund; discard it once they agree.",
            ReasonClass::AliveAfterFailure => {
                "Compare the refund with the merchant platform; discard it once they agree."
            }
            ReasonClass::QueryDiffers => "Refresh the refund later; replay it once they agree.",
            ReasonClass::RefundExceeds => {
                "Compare the refunds with the merchant platform; replay it once the others have ended."
            }
        }
    }
}
