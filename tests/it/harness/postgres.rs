//! A PostgreSQL server of a test's own, that can be thrown over and started again on the same port.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::ports::free_port;
use super::setting;

/// A running server; stopped when dropped.
pub struct PostgresServer {
    folder: TempDir,
    port: u16,
}

impl PostgresServer {
    fn nowhere() -> PostgresServer {
        let folder = TempDir::new().unwrap();
        if is_root() {
            let status = Command::new("chown").arg("postgres:").arg(folder.path()).status().unwrap();
            assert!(status.success(), "PostgreSQL cannot run as root and there is no user postgres");
        }
        PostgresServer { folder, port: free_port() }
    }

    pub fn start() -> PostgresServer {
        let server = PostgresServer::nowhere();
        let initdb = "--no-sync --auth=trust --username=postgres --encoding=UTF8 --locale=C.UTF-8";
        server.run("initdb", &initdb.split(' ').collect::<Vec<_>>());
        // In the file, so that a restart has them too.
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nmax_connections = 60\n\
             shared_buffers = 16MB\nfsync = on\nsynchronous_commit = on\ntimezone = 'UTC'\n",
            server.port
        );
        std::fs::write(server.data().join("postgresql.auto.conf"), settings).unwrap();
        server.control(&["start"]);
        server
    }

    /// A standby that follows this server.
    pub fn attach_standby(&self) -> PostgresServer {
        let standby = PostgresServer::nowhere();
        let from = format!("--host=127.0.0.1 --port={} --username=postgres", self.port);
        let copy = format!("{from} --checkpoint=fast --no-sync --write-recovery-conf");
        standby.run("pg_basebackup", &copy.split(' ').collect::<Vec<_>>());
        let file = standby.data().join("postgresql.auto.conf");
        let settings = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, format!("{settings}port = {}\n", standby.port)).unwrap();
        standby.control(&["start"]);
        standby
    }

    /// The server, with its own administrative database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// `pg_ctl stop -m immediate`: every process of it is killed where it stands.
    pub fn stop_immediately(&self) {
        self.control(&["stop", "-m", "immediate"]);
    }

    /// Starts it again; it recovers from its log first.
    pub fn start_again(&self) {
        self.control(&["start"]);
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn control(&self, what: &[&str]) {
        let log = format!("--log={}", self.folder.path().join("log").display());
        // Its own limit is a minute, which a busy machine may need.
        self.run("pg_ctl", &[&[log.as_str(), "--wait", "--timeout=300", "--silent"], what].concat());
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = Path::new(&setting("WXPAY_TEST_POSTGRES_BIN")).join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        let data = format!("--pgdata={}", self.data().display());
        // Not into pipes of ours: the server keeps them for as long as it lives.
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.arg(data).args(arguments).status().unwrap();
        assert!(status.success(), "{} {arguments:?}: {status}", program.display());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.data().join("postmaster.pid").exists() {
            self.stop_immediately();
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
