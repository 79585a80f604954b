//! Processes that are stopped and go on.

use std::process::Command;

use super::process::Process;

/// Sends a signal, by its name for `kill`.
pub fn signal(process: &Process, name: &str) {
    let status = Command::new("kill").args([name, &process.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Whether a process is stopped, by the state the kernel shows.
pub fn is_stopped(process: &Process) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
}
