//! The id of a request, for its answer and its log lines.

tokio::task_local! {
    static REQUEST_ID: String;
}

/// The id of the request that is being answered; empty outside of one.
pub fn request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}

/// Answers a request under this id.
pub async fn under<F: Future>(id: String, answering: F) -> F::Output {
    REQUEST_ID.scope(id, answering).await
}
