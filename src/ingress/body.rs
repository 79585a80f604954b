//! Reading a request's body within a size and a time.
//!
//! The time is for the whole body: one byte every nine seconds is not progress. Nothing is ever decompressed.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;

use super::error::Error;

/// Largest body of any route.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// Reads the whole body of at most [`MAX_BODY_BYTES`] within `timeout`.
pub async fn read(headers: &HeaderMap, body: Body, timeout: Duration) -> Result<Bytes, Error> {
    if headers.get_all(header::CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        return Err(Error::ContentEncoding);
    }
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if stated.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(Error::TooLarge(MAX_BODY_BYTES));
    }
    tokio::time::timeout(timeout, collect(body)).await.unwrap_or(Err(Error::BodyTimeout))
}

async fn collect(body: Body) -> Result<Bytes, Error> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::Malformed { detail: "the body ends before its stated end" })?;
        if whole.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(Error::TooLarge(MAX_BODY_BYTES));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Bytes::from(whole))
}
