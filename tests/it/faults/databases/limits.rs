//! How long the files of a process may become, which is as if its disk were full.

use std::process::Command;

use crate::harness::service::{Process, Processes};

/// A write beyond a limit is an error to it and not a signal, as when it is the disk that has no more room.
pub async fn run_without_signal(rig: &Processes) -> Process {
    run_roles_without_signal(rig, "ingress,worker,relay,scheduler", rig.port()).await
}

/// As [`run_without_signal`], with these roles on a port.
pub async fn run_roles_without_signal(rig: &Processes, roles: &str, port: u16) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#, env!("CARGO_BIN_EXE_wxpayd"), "run"]);
    command.args(["--only", roles, "--config"]).arg(rig.config_file());
    command.env("WXPAY__SERVER__LISTEN", format!("127.0.0.1:{port}"));
    rig.spawn(command, port).await
}

/// How long the files of a process may become; nothing: as long as they like. A small file system of its own would need
/// the right to mount one.
pub fn limit_files(process: &Process, bytes: Option<u64>) {
    let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let [whose, limit] = [format!("--pid={}", process.id()), format!("--fsize={limit}:")];
    assert!(Command::new("prlimit").args([whose, limit]).status().unwrap().success());
}
