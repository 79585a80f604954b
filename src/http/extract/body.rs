//! Reading a request's body within a size and a time.
//!
//! The time is for the whole body: one byte every nine seconds is not progress. Nothing is ever decompressed.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;

use crate::http::problem::Error;

/// Largest body of any route.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Why there is no whole body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It is compressed.
    Encoded,
    /// It is larger than [`MAX_BODY_BYTES`].
    TooLarge,
    /// It did not arrive in time.
    Slow,
    /// It ends before its stated end, or is not framed as it says.
    CutOff,
}

impl From<BodyError> for Error {
    fn from(e: BodyError) -> Error {
        match e {
            BodyError::Encoded => Error::ContentEncoding,
            BodyError::TooLarge => Error::TooLarge(MAX_BODY_BYTES),
            BodyError::Slow => Error::BodyTimeout,
            BodyError::CutOff => Error::Malformed { detail: "the body ends before its stated end" },
        }
    }
}

/// Reads the whole body of at most [`MAX_BODY_BYTES`] within `timeout`.
pub async fn read(headers: &HeaderMap, body: Body, timeout: Duration) -> Result<Bytes, BodyError> {
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(BodyError::Encoded);
    }
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if stated.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(BodyError::TooLarge);
    }
    tokio::time::timeout(timeout, collect(body)).await.unwrap_or(Err(BodyError::Slow))
}

async fn collect(body: Body) -> Result<Bytes, BodyError> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::CutOff)?;
        if whole.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(BodyError::TooLarge);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Bytes::from(whole))
}
