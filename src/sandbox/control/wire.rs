//! JSON in and out; refusals are `{"error": "<stable word>", "message": "<for people>"}` with a 4xx status.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::sandbox::ledger::account::PayRefused;

/// An answer of the control API.
pub(in crate::sandbox) type Answer = Result<Json<Value>, Problem>;

/// Extractor: a JSON body, whatever it calls itself.
pub(in crate::sandbox) struct Read<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Read<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Read<T>, Problem> {
        let body = Bytes::from_request(request, state).await.map_err(|e| Problem::bad_request(e.body_text()))?;
        serde_json::from_slice(&body).map(Read).map_err(|e| Problem::bad_request(e.to_string()))
    }
}

/// Why the control API refuses.
pub(in crate::sandbox) struct Problem {
    pub status: StatusCode,
    pub error: &'static str,
    pub message: String,
}

impl Problem {
    pub fn bad_request(message: impl Into<String>) -> Problem {
        Problem { status: StatusCode::BAD_REQUEST, error: "bad_request", message: message.into() }
    }

    pub fn not_found(message: impl Into<String>) -> Problem {
        Problem { status: StatusCode::NOT_FOUND, error: "not_found", message: message.into() }
    }

    pub fn conflict(error: &'static str, message: impl Into<String>) -> Problem {
        Problem { status: StatusCode::CONFLICT, error, message: message.into() }
    }

    pub fn internal(message: impl Into<String>) -> Problem {
        Problem { status: StatusCode::INTERNAL_SERVER_ERROR, error: "system", message: message.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.error, "message": self.message}))).into_response()
    }
}

impl From<PayRefused> for Problem {
    fn from(refused: PayRefused) -> Problem {
        let (status, error) = match refused {
            PayRefused::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            PayRefused::SessionExpired => (StatusCode::GONE, "session_expired"),
            PayRefused::Closed => (StatusCode::CONFLICT, "closed"),
            PayRefused::AlreadyPaid => (StatusCode::CONFLICT, "already_paid"),
            PayRefused::PayerDiffers => (StatusCode::CONFLICT, "payer_differs"),
            PayRefused::Coupon => (StatusCode::BAD_REQUEST, "bad_request"),
            PayRefused::System => (StatusCode::INTERNAL_SERVER_ERROR, "system"),
        };
        Problem { status, error, message: refused.to_string() }
    }
}
