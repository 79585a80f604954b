//! Why a page is not shown. The middleware of the routes makes a page of it, in the reader's language.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use crate::http::Error;
use crate::store::DbError;

/// Why a request is not answered as asked.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Without a session: to the login page and back to this path.
    Login { next: String },
    /// It does not exist, or the user may not see it.
    NotFound,
    /// The user lacks the right.
    Forbidden,
    /// The form does not come from a page of this session.
    ForeignForm,
    /// Plain http from another host.
    PlainHttp,
    /// What was entered cannot be used: in words, for the user.
    Unusable(String),
    /// Too many at once.
    Busy,
    /// The database is not available.
    Unavailable,
    /// A defect; the words are for the log.
    Internal(String),
}

impl Fault {
    pub fn status(&self) -> StatusCode {
        match self {
            Fault::Login { .. } => StatusCode::SEE_OTHER,
            Fault::NotFound => StatusCode::NOT_FOUND,
            Fault::Forbidden | Fault::ForeignForm | Fault::PlainHttp => StatusCode::FORBIDDEN,
            Fault::Unusable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Fault::Busy => StatusCode::TOO_MANY_REQUESTS,
            Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match &self {
            Fault::Login { next } => return Redirect::to(&super::links::login(next)).into_response(),
            Fault::Internal(words) => tracing::error!(error = words, "A page of the console failed"),
            _ => {}
        }
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<DbError> for Fault {
    fn from(e: DbError) -> Fault {
        match e {
            DbError::Unavailable(_) => {
                tracing::warn!(error = %e, "The console cannot read the database");
                Fault::Unavailable
            }
            DbError::Exists(_) | DbError::Defect(_) => Fault::Internal(e.to_string()),
        }
    }
}

impl From<Error> for Fault {
    fn from(e: Error) -> Fault {
        match e {
            Error::NotFound(_) | Error::NoRoute => Fault::NotFound,
            Error::Internal { internal } => Fault::Internal(internal),
            Error::Unavailable { .. } => Fault::Unavailable,
            other => Fault::Unusable(other.to_string()),
        }
    }
}

impl From<askama::Error> for Fault {
    fn from(e: askama::Error) -> Fault {
        Fault::Internal(e.to_string())
    }
}
