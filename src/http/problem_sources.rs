//! From the errors of the database, the bus and the events to the problem a caller gets: a server-side error, and
//! whether it is transient.

use super::problem::Error;
use crate::telemetry::error_text;

impl From<crate::store::DbError> for Error {
    fn from(e: crate::store::DbError) -> Error {
        use crate::store::DbError;
        match e {
            DbError::Unavailable(_) => Error::Unavailable { internal: e.to_string() },
            DbError::Exists(_) | DbError::Defect(_) => Error::Internal { internal: error_text(&e) },
        }
    }
}

impl From<crate::bus::PublishError> for Error {
    fn from(e: crate::bus::PublishError) -> Error {
        use crate::bus::PublishError;
        let internal = e.to_string();
        match e {
            PublishError::Unavailable(_) | PublishError::Full | PublishError::Timeout => {
                Error::Unavailable { internal }
            }
            PublishError::TooLarge | PublishError::Misdirected(_) => Error::Internal { internal },
        }
    }
}

impl From<crate::bus::LagError> for Error {
    fn from(e: crate::bus::LagError) -> Error {
        Error::Unavailable { internal: e.to_string() }
    }
}

impl From<crate::event::envelope::EnvelopeError> for Error {
    fn from(e: crate::event::envelope::EnvelopeError) -> Error {
        Error::Internal { internal: e.to_string() }
    }
}

impl From<crate::ops::commands::CommandError> for Error {
    fn from(e: crate::ops::commands::CommandError) -> Error {
        use crate::ops::commands::CommandError;
        match e {
            CommandError::Publish(e) => e.into(),
            CommandError::Envelope(e) => e.into(),
            CommandError::Store(e) => e.into(),
        }
    }
}

impl From<crate::ops::money::AcceptError> for Error {
    fn from(e: crate::ops::money::AcceptError) -> Error {
        use crate::ops::money::AcceptError;
        match e {
            AcceptError::UsedUp => Error::ApprovalsUsedUp,
            AcceptError::Busy => Error::Unavailable { internal: e.to_string() },
            AcceptError::Confirm(e) => e.into(),
            AcceptError::Store(e) => e.into(),
        }
    }
}

impl From<crate::ops::money::RefundError> for Error {
    fn from(e: crate::ops::money::RefundError) -> Error {
        use crate::ops::money::{RefundError, RefundRefusal};
        match e {
            RefundError::Refused(refusal) => match refusal {
                RefundRefusal::NotConfigured => Error::RefundsNotConfigured,
                RefundRefusal::Exceeds { left } => Error::RefundExceeds { left },
                RefundRefusal::TooMany => Error::RefundsUsedUp,
                RefundRefusal::KeyReused => Error::KeyReused,
                RefundRefusal::Capped { left } => Error::RefundCap { left },
                RefundRefusal::Accepted => Error::PaymentAccepted,
                RefundRefusal::Matched => Error::PaymentMatched,
                RefundRefusal::Differs => Error::RefundDiffers,
                RefundRefusal::NotApproved => Error::NotApproved,
                RefundRefusal::ApprovalsUsedUp => Error::ApprovalsUsedUp,
                RefundRefusal::NotWaiting => Error::ApprovalEnded,
            },
            RefundError::Merchant(e) => Error::Internal { internal: e.to_string() },
            RefundError::Store(e) => e.into(),
        }
    }
}

impl From<crate::ops::money::NotConfirmed> for Error {
    fn from(e: crate::ops::money::NotConfirmed) -> Error {
        use crate::ops::money::NotConfirmed;
        match e {
            NotConfirmed::Differs => Error::PaymentDiffers,
            NotConfirmed::Unavailable(internal) => Error::Unavailable { internal },
        }
    }
}

impl From<crate::order::Refusal> for Error {
    /// Of a payment that should be accepted.
    fn from(refusal: crate::order::Refusal) -> Error {
        use crate::order::Refusal;
        match refusal {
            Refusal::GivenBack => Error::PaymentGivenBack,
            Refusal::ForeignPayment => Error::PaymentForeign,
            _ => Error::NotFound("payment of this order"),
        }
    }
}

impl From<crate::ops::money::ApproveError> for Error {
    fn from(e: crate::ops::money::ApproveError) -> Error {
        use crate::ops::money::ApproveError;
        match e {
            ApproveError::NotFound => Error::NotFound("approval"),
            ApproveError::Own => Error::ApprovalOwn,
            ApproveError::Ended => Error::ApprovalEnded,
            ApproveError::Confirm(e) => e.into(),
            ApproveError::Held(refusal) => refusal.into(),
            ApproveError::Accept(e) => e.into(),
            ApproveError::Refund(e) => e.into(),
            ApproveError::Store(e) => e.into(),
        }
    }
}
