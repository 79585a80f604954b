//! A service and the program.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use crate::harness::TEST_TIMEOUT;
use crate::harness::process::Process;
use crate::harness::service::{API_KEY, Processes, TestService};

/// The exit code where the service is not ready.
const DOWN: i32 = 5;

pub struct Operator {
    pub service: Processes,
    pub process: Process,
    key_file: PathBuf,
}

impl Operator {
    pub async fn new() -> Operator {
        Operator::with_roles("ingress,worker,relay,scheduler").await
    }

    /// Only these roles run.
    pub async fn with_roles(roles: &str) -> Operator {
        let service = TestService::embedded_sqlite().await.processes().await;
        let process = service.run_roles(roles).await;
        let key_file = service.config_file().with_file_name("api-key");
        std::fs::write(&key_file, format!("{API_KEY}\n")).unwrap();
        Operator { service, process, key_file }
    }

    /// Runs the program with the key. The service is ready; on a busy machine a check of that may take longer than it
    /// may, and is made again.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let started = Instant::now();
        loop {
            let ran = self.run_command(wxpayctl(arguments)).await;
            let is_late = ran.code == DOWN && arguments.first() == Some(&"health");
            if !is_late || started.elapsed() >= TEST_TIMEOUT {
                return ran;
            }
        }
    }

    /// Runs a command that knows the service and the key.
    pub async fn run_command(&self, mut command: Command) -> Ran {
        command.env("WXPAYCTL_URL", &self.process.base).env("WXPAYCTL_KEY_FILE", &self.key_file);
        run(command).await
    }

    pub async fn finish(self) {
        self.service.finish().await;
        assert!(self.process.terminate().await.success());
    }
}

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.err))
    }
}

pub fn wxpayctl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxpayctl"));
    command.args(arguments).env_remove("WXPAYCTL_URL").env_remove("WXPAYCTL_KEY_FILE").env_remove("NO_COLOR");
    command
}

pub async fn run(mut command: Command) -> Ran {
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
}
