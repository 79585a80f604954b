//! From the errors of the database, the bus and the events to the problem a caller gets: a server-side error, and
//! whether it is transient.

use super::problem::Error;

impl From<crate::store::DbError> for Error {
    fn from(e: crate::store::DbError) -> Error {
        use crate::store::DbError;
        match e {
            DbError::Unavailable(_) => Error::Unavailable { internal: e.to_string() },
            DbError::Exists(_) | DbError::Defect(_) => Error::Internal { internal: source_text(&e) },
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

fn source_text(e: &dyn std::error::Error) -> String {
    e.source().map_or_else(|| e.to_string(), |source| format!("{e}: {source}"))
}
