//! One process of the service: its start, its log, its end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{TEST_TIMEOUT, is_late, within_timeout};

/// One `wxpayd run`; killed when dropped.
pub struct Process {
    child: Child,
    pub base: String,
}

impl Process {
    /// Spawns a command that is or becomes `wxpayd run`, listening on this port, and awaits that it runs. What it logs
    /// goes to a file of its own in this folder.
    pub async fn spawn(mut command: Command, logs: &Path, port: u16) -> Process {
        let started = Instant::now();
        loop {
            match Process::started(&mut command, logs, port).await {
                Ok(process) => return process,
                Err(said) if started.elapsed() < TEST_TIMEOUT && is_late(&said) => {}
                Err(said) => panic!("wxpayd did not start:\n{said}"),
            }
        }
    }

    /// Nothing but what it said where it ended.
    async fn started(command: &mut Command, logs: &Path, port: u16) -> Result<Process, String> {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let file = std::fs::File::create(logs.join(format!("{}.log", child.id()))).unwrap();
        std::thread::spawn(move || {
            use std::io::Write;
            let (mut ready, mut said, mut file) = (Some(ready), Vec::new(), file);
            for line in log.lines().map_while(Result::ok) {
                let _ = writeln!(file, "{line}");
                if line.contains("\"message\":\"running\"")
                    && let Some(ready) = ready.take()
                {
                    let _ = ready.send(Ok(()));
                }
                said.push(line);
            }
            if let Some(ready) = ready.take() {
                let _ = ready.send(Err(said.join("\n")));
            }
        });
        let process = Process { child, base: format!("http://127.0.0.1:{port}") };
        within_timeout("the start of wxpayd", is_ready).await.unwrap().map(|()| process)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Awaits that it ends by itself, as at an armed crash point.
    pub async fn until_dead(&mut self) {
        within_timeout("the end of the process", async {
            while self.child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// How it ended, once it did.
    #[cfg(debug_assertions)]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGTERM, then its exit status.
    pub async fn terminate(mut self) -> ExitStatus {
        let _ = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
        self.until_dead().await;
        self.child.wait().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs still.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
