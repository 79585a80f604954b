//! Files, beside the threads of the runtime.

/// Runs what reads or writes files where it holds up no other task.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    }
}
