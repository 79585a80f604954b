//! Places where a test may stop the process, one before and after each effect.
//!
//! In a release build a point is nothing at all. With debug assertions, a process started with
//! `WXPAY_CRASH_AT=name` (or `name:n` for its n-th passing) kills itself there with SIGKILL: no destructor runs, no
//! buffer is flushed, exactly as when the power of the process goes. `WXPAY_PAUSE_AT` stops it there instead, as a
//! machine that hangs for a while. `WXPAY_PANIC_AT` unwinds the thread that passes it, as a defect does.
//! `WXPAY_FAIL_AT` has what follows a point of [`fails`] end with an error of the disk.

/// Does nothing.
#[cfg(not(debug_assertions))]
pub const fn point(_name: &'static str) {}

/// Kills the process if it is armed for this point, or stops it (SIGSTOP) until it is resumed.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    use rustix::process::{Signal, getpid, kill_process};

    static CRASH: Armed = Armed::new("WXPAY_CRASH_AT");
    static PAUSE: Armed = Armed::new("WXPAY_PAUSE_AT");
    static PANIC: Armed = Armed::new("WXPAY_PANIC_AT");

    if PANIC.is_for(name) {
        std::panic::resume_unwind(Box::new("armed to panic here"));
    }
    if PAUSE.is_for(name) {
        // Lets the other threads finish their writes: a process stopped while it holds SQLite's only writer blocks
        // every process, which is a different fault. Only this thread is at the point.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let _ = kill_process(getpid(), Signal::STOP);
        // Another thread may take the signal, and this one would go on for an instant: it stays here until all are
        // stopped, and is past its time when they go on.
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    if CRASH.is_for(name) {
        // A system call and not the program `kill`: while that starts, the other threads would go on for milliseconds.
        let _ = kill_process(getpid(), Signal::KILL);
        // This thread must not get past the point, whatever the signal does.
        loop {
            std::thread::park();
        }
    }
}

/// Succeeds.
#[cfg(not(debug_assertions))]
pub const fn fails(_name: &'static str) -> std::io::Result<()> {
    Ok(())
}

/// An error of the disk where the process is armed for this point.
#[cfg(debug_assertions)]
pub fn fails(name: &'static str) -> std::io::Result<()> {
    static FAIL: Armed = Armed::new("WXPAY_FAIL_AT");
    if FAIL.is_for(name) { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
}

/// A variable that names a point and which of its passings is meant.
#[cfg(debug_assertions)]
struct Armed {
    variable: &'static str,
    point: std::sync::OnceLock<Option<(String, u64)>>,
    passed: std::sync::atomic::AtomicU64,
}

#[cfg(debug_assertions)]
impl Armed {
    const fn new(variable: &'static str) -> Armed {
        let passed = std::sync::atomic::AtomicU64::new(0);
        Armed { variable, point: std::sync::OnceLock::new(), passed }
    }

    fn is_for(&self, name: &str) -> bool {
        let armed = self.point.get_or_init(|| {
            let text = std::env::var(self.variable).ok()?;
            match text.rsplit_once(':') {
                Some((name, n)) => Some((name.to_owned(), n.parse().ok()?)),
                None => Some((text, 1)),
            }
        });
        let Some((at, n)) = armed else { return false };
        at == name && self.passed.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1 == *n
    }
}
