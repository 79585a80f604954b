//! The service as processes that the test starts, kills and ends.

use std::net::TcpStream;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wxpay_worker::store::Db;

use super::accounts::{API_KEY, KEY, OPENID, OTHER_KEY, jsapi};
use super::environment::Environment;
use crate::harness::ports::free_port;
use crate::harness::process::Process;
use crate::harness::sql::number;
use crate::harness::within_timeout;

const ALL_ROLES: &str = "ingress,worker,relay,scheduler";

pub struct Processes {
    environment: Environment,
    folder: TempDir,
}

impl Deref for Processes {
    type Target = Environment;

    fn deref(&self) -> &Environment {
        &self.environment
    }
}

impl DerefMut for Processes {
    fn deref_mut(&mut self) -> &mut Environment {
        &mut self.environment
    }
}

impl Processes {
    pub(super) fn new(environment: Environment, config: &str) -> Processes {
        let processes = Processes { environment, folder: TempDir::new().unwrap() };
        std::fs::write(processes.config_file(), config).unwrap();
        processes
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("wxpay.toml")
    }

    /// Starts all roles in one process on the address WeChat posts to.
    pub async fn run_all(&self) -> Process {
        self.run(ALL_ROLES, self.port, &[]).await
    }

    /// Starts these roles; an ingress listens on the address WeChat posts to.
    pub async fn run_roles(&self, roles: &str) -> Process {
        self.run(roles, self.port, &[]).await
    }

    /// Starts one more ingress on a port of its own.
    pub async fn run_another_ingress(&self) -> Process {
        self.run("ingress", free_port(), &[]).await
    }

    /// Starts these roles with variables, such as an armed crash point.
    pub async fn run_with(&self, roles: &str, env: &[(&str, &str)]) -> Process {
        self.run(roles, self.port, env).await
    }

    /// Starts all roles with variables on the address WeChat posts to.
    pub async fn run_all_with(&self, env: &[(&str, &str)]) -> Process {
        self.run(ALL_ROLES, self.port, env).await
    }

    /// Starts these roles with variables on a port of their own.
    pub async fn run_beside(&self, roles: &str, env: &[(&str, &str)]) -> Process {
        self.run(roles, free_port(), env).await
    }

    async fn run(&self, roles: &str, port: u16, env: &[(&str, &str)]) -> Process {
        // Another build may be named: the long storms kill the optimised program.
        let named = std::env::var_os("WXPAY_TEST_WXPAYD").map(|path| std::path::absolute(path).unwrap());
        let mut command = Command::new(named.unwrap_or_else(|| env!("CARGO_BIN_EXE_wxpayd").into()));
        command.args(["run", "--only", roles, "--config"]).arg(self.config_file());
        command.env("WXPAY__SERVER__LISTEN", format!("127.0.0.1:{port}"));
        command.envs(env.iter().copied());
        self.spawn(command, port).await
    }

    /// As [`Process::spawn`], with its log among the others.
    pub async fn spawn(&self, command: Command, port: u16) -> Process {
        Process::spawn(command, self.folder.path(), port).await
    }

    /// The address WeChat posts to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The logs of all processes.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.folder.path()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|e| e == "log") {
                all.push_str(&std::fs::read_to_string(entry.path()).unwrap());
            }
        }
        all
    }

    /// What a process says of a metric.
    pub async fn metric<T: FromStr>(&self, process: &Process, name: &str) -> Option<T> {
        let text = self.http.get(format!("{}/metrics", process.base)).send().await.unwrap().text().await.unwrap();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }

    /// One number from the service's database.
    pub async fn number(&self, db: &Db, sql: &str) -> i64 {
        number(db, sql).await
    }

    /// Places an order for the first merchant and awaits its pay parameters.
    pub async fn place(&self, base: &str, order_no: &str, amount_fen: i64) -> Value {
        let body = jsapi(order_no, amount_fen);
        within_timeout(&format!("pay parameters of {order_no}"), async {
            loop {
                // On a busy machine the first answer may be that it takes longer, or that it was not taken.
                match self.post(base, "/v1/orders", &body).await {
                    (200, order) => return order,
                    (202, _) => {}
                    (status, problem) => assert_eq!((status, &problem["retryable"]), (503, &json!(true)), "{problem}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// Awaits an order's state.
    pub async fn until_state(&self, base: &str, order_no: &str, state: &str) -> Value {
        within_timeout(&format!("{order_no} {state}"), async {
            loop {
                let (status, order) = self.get(base, &format!("/v1/orders/{order_no}?merchant=main")).await;
                if status == 200 && order["state"] == state {
                    return order;
                }
                // The service signals a change on its stream; polling also survives its restart.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }

    /// All events of a type so far, in feed order; those that were written and have no position yet are awaited.
    pub async fn events(&self, base: &str, event_type: &str) -> Vec<Value> {
        let db = self.open_db().await;
        within_timeout("the positions of all events", async {
            while number(&db, "SELECT COUNT(*) FROM outbox WHERE position IS NULL").await > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let after = if cursor.is_empty() { String::new() } else { format!("&after={cursor}") };
            let path = format!("/v1/events?limit=1000&types={event_type}{after}");
            let (status, page) = self.get(base, &path).await;
            assert_eq!(status, 200, "{page}");
            let events = page["events"].as_array().unwrap().clone();
            cursor = page["next"].as_str().unwrap().to_owned();
            if events.is_empty() {
                return all;
            }
            all.extend(events);
        }
    }

    /// Whether an ingress listens.
    fn is_running(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// Asserts that nothing is left to do, that the books agree and that no log line holds a secret. The processes
    /// may still run.
    pub async fn finish(&self) {
        let db = self.open_db().await;
        let bus = match self.expected().unfinished {
            None => Some(self.open_bus(&db).await),
            Some(_) => None,
        };
        // What a process published just before it was terminated waits for the next one.
        let next = match &bus {
            Some(bus) if !self.is_running() && !self.is_drained(&db, bus).await => Some(self.run_all().await),
            Some(_) | None => None,
        };
        self.assert_finished(&db, bus.as_ref()).await;
        if let Some(next) = next {
            next.terminate().await;
        }
        let logs = self.logs();
        for secret in [KEY, OTHER_KEY, OPENID, API_KEY, "prepay_id="] {
            assert!(!logs.contains(secret), "a log line holds a secret");
        }
        self.is_finished();
    }
}
