//! Limits of the whole process, under a crowd of connections: files that it may open, memory.

use std::net::SocketAddr;
use std::process::Command;

use tokio::io::AsyncWriteExt;

use super::connections::connect;
use crate::harness::service::{Processes, TestService};

const NO_CLOCKS: &str = "[server]\nheader_timeout_ms = 60000\nidle_timeout_ms = 600000\n";

fn address(service: &Processes) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], service.port()))
}

/// The service may open 320 files, 150 of which are idle connections' if they are let.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_leave_the_workers_enough_files() {
    wxpay_worker::http::raise_limit();
    let service = TestService::embedded_sqlite().await.config(NO_CLOCKS).processes().await;
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 64; ulimit -H -n 320; exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_wxpayd"));
    command.args(["run", "--config"]).arg(service.config_file());
    command.env("WXPAY__SERVER__LISTEN", address(&service).to_string());
    let process = service.spawn(command, service.port()).await;
    let mut crowd = Vec::new();
    for n in 0..400 {
        crowd.push(connect(2 + u8::try_from(n % 200).unwrap(), address(&service)).await);
    }
    service.place(&process.base, "L100001", 100).await;
    let files = std::fs::read_dir(format!("/proc/{}/fd", process.id())).unwrap().count();
    assert!(files < 320, "{files} files are open");
    assert!(service.logs().contains("LimitNOFILE"), "the smaller number of connections is logged");
    drop(crowd);
    service.finish().await;
}

fn resident_kib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A thousand connections, each with as much of a head as is kept: ten thousand of them stay below the gibibyte that
/// the unit allows, with all bodies (64 MiB) and the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_heads_fit_into_the_units_memory() {
    const CONNECTIONS: usize = 1000;
    wxpay_worker::http::raise_limit();
    let service = TestService::embedded_sqlite().await.config(NO_CLOCKS).processes().await;
    let process = service.run_all().await;
    service.place(&process.base, "L100001", 100).await;
    let before = resident_kib(process.id());
    let head = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nA: {}", "b".repeat(15 * 1024));
    let mut crowd = Vec::new();
    for n in 0..CONNECTIONS {
        let mut socket = connect(2 + u8::try_from(n % 200).unwrap(), address(&service)).await;
        socket.write_all(head.as_bytes()).await.unwrap();
        crowd.push(socket);
    }
    // Ends the heads of some: what came before was read.
    for socket in crowd.iter_mut().rev().take(50) {
        socket.write_all(b"\r\n\r\n").await.unwrap();
        socket.readable().await.unwrap();
    }
    let each = (resident_kib(process.id()) - before).div_ceil(CONNECTIONS);
    let all = before + 10_000 * each + 64 * 1024;
    assert!(all < 1024 * 1024, "{each} KiB a connection, {all} KiB in all");
    drop(crowd);
    service.finish().await;
}
