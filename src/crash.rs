//! Places where a test may stop the process, one before and after each effect.
//!
//! Without the feature `crash-points` (every release build) a point is nothing at all. With it, a process started with
//! `WXPAY_CRASH_AT=name` (or `name:n` for its n-th passing) kills itself there with SIGKILL: no destructor runs, no
//! buffer is flushed, exactly as when the power of the process goes.

/// Does nothing.
#[cfg(not(feature = "crash-points"))]
pub const fn point(_name: &'static str) {}

/// Kills the process if it is armed for this point.
#[cfg(feature = "crash-points")]
pub fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ARMED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("WXPAY_CRASH_AT").ok()?;
        match text.rsplit_once(':') {
            Some((name, n)) => Some((name.to_owned(), n.parse().ok()?)),
            None => Some((text, 1)),
        }
    });
    let Some((at, n)) = armed else { return };
    if at == name && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *n {
        // A system call and not the program `kill`: while that starts, the other threads would go on for milliseconds.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // This thread must not get past the point, whatever the signal does.
        loop {
            std::thread::park();
        }
    }
}
