//! A nats-server as a child process, with a store of its own, that can be killed and started again on the same ports.

pub mod cluster;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;
use wxpay_worker::bus::{Bus, Report, Topology};
use wxpay_worker::config;
use wxpay_worker::store::Db;

use crate::deploy::Mounts;
use crate::harness::ports::free_port;
use crate::harness::{TEST_TIMEOUT, is_late, setting};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// With atomic batches.
    New,
    /// 2.10: single publishes.
    Old,
}

/// A running server; killed when dropped.
pub struct NatsServer {
    version: Version,
    /// Its configuration.
    settings: String,
    /// User and password of its address.
    login: String,
    /// Where its system calls are written down.
    trace: Option<PathBuf>,
    folder: TempDir,
    child: Child,
    port: u16,
    monitoring_port: u16,
}

impl NatsServer {
    /// Starts a server that syncs before it acknowledges.
    pub fn start(version: Version) -> NatsServer {
        NatsServer::start_with(version, "always")
    }

    /// Starts a server with this `sync_interval`.
    pub fn start_with(version: Version, sync_interval: &'static str) -> NatsServer {
        NatsServer::start_as(version, sync_interval, None, TempDir::new().unwrap())
    }

    /// Starts a server on a store that is there already.
    pub fn start_on(version: Version, store: TempDir) -> NatsServer {
        NatsServer::start_as(version, "always", None, store)
    }

    /// Starts a server whose system calls are written to `trace`.
    pub fn start_traced(sync_interval: &'static str, trace: PathBuf) -> NatsServer {
        NatsServer::start_as(Version::New, sync_interval, Some(trace), TempDir::new().unwrap())
    }

    /// Starts a server that lets in who these lines of its configuration name.
    pub fn start_guarded(authorization: &str) -> NatsServer {
        let folder = TempDir::new().unwrap();
        NatsServer::start_on_ports(Version::New, "always", None, folder, authorization.to_owned())
    }

    fn start_as(version: Version, sync_interval: &'static str, trace: Option<PathBuf>, folder: TempDir) -> NatsServer {
        NatsServer::start_on_ports(version, sync_interval, trace, folder, String::new())
    }

    fn start_on_ports(
        version: Version,
        sync_interval: &'static str,
        trace: Option<PathBuf>,
        folder: TempDir,
        authorization: String,
    ) -> NatsServer {
        let (port, monitoring_port) = (free_port(), free_port());
        let settings = settings(folder.path(), sync_interval, port, monitoring_port) + &authorization;
        let child = spawn(version, folder.path(), &settings, trace.as_deref());
        let login = String::new();
        NatsServer { version, settings, login, trace, folder, child, port, monitoring_port }
    }

    /// Starts the server of the shipped configuration; its address is that of the service.
    pub fn start_shipped(Mounts(folder): Mounts) -> NatsServer {
        let (port, monitoring_port) = (free_port(), free_port());
        let file = folder.path().join("etc/nats/nats-server.conf");
        let text = std::fs::read_to_string(&file).unwrap();
        let ports = [(":4222", port), (":8222", monitoring_port)];
        let moved = |text: String, (port, free): &(&str, u16)| text.replace(port, &format!(":{free}"));
        let text = ports.iter().fold(text, moved);
        std::fs::write(&file, text).unwrap();
        let settings = "include \"etc/nats/nats-server.conf\"\n".to_owned();
        let child = spawn(Version::New, folder.path(), &settings, None);
        let bus_url = std::fs::read_to_string(folder.path().join("run/secrets/bus_url")).unwrap();
        let (user, _) = bus_url.trim_start_matches("nats://").split_once('@').unwrap();
        let login = format!("{user}@");
        NatsServer { version: Version::New, settings, login, trace: None, folder, child, port, monitoring_port }
    }

    /// A secret of the shipped configuration; an address is that of this server.
    pub fn secret(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("run/secrets").join(name)).unwrap();
        text.replace("@nats:4222", &format!("@127.0.0.1:{}", self.port))
    }

    pub fn url(&self) -> String {
        format!("nats://{}127.0.0.1:{}", self.login, self.port)
    }

    pub fn monitoring_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitoring_port)
    }

    /// SIGKILL: nothing is flushed or said.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after [`NatsServer::kill`], on the same ports and store.
    pub fn start_again(&mut self) {
        self.child = spawn(self.version, self.folder.path(), &self.settings, self.trace.as_deref());
    }

    /// As [`NatsServer::start_again`] with another `sync_interval` than "always".
    pub fn start_again_with(&mut self, sync_interval: &str) {
        let settings = self.settings.replace("sync_interval: always", &format!("sync_interval: {sync_interval}"));
        self.child = spawn(self.version, self.folder.path(), &settings, self.trace.as_deref());
    }

    /// Cuts this many bytes off the end of a stream's newest block, as a disk that lied would. Only while it is down.
    pub fn cut_tail(&self, stream: &str, bytes: u64) {
        let blocks = self.folder.path().join("jetstream/$G/streams").join(stream).join("msgs");
        let number = |path: &Path| path.file_stem()?.to_str()?.parse::<u64>().ok();
        let newest = std::fs::read_dir(blocks)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "blk"))
            .max_by_key(|path| number(path))
            .unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&newest).unwrap();
        let length = file.metadata().unwrap().len();
        assert!(length > bytes, "{} has {length} bytes", newest.display());
        file.set_len(length - bytes).unwrap();
    }

    /// Removes everything it ever stored. Only while it is down.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(self.folder.path().join("jetstream")).unwrap();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects a bus; a server of a busy machine may not answer at first.
pub async fn connected(settings: &config::Bus, db: Option<Db>, topology: Topology) -> (Bus, Report) {
    let started = Instant::now();
    loop {
        match Bus::connect_with(settings, db.clone(), topology.clone()).await {
            Ok(connected) => return connected,
            Err(error) if started.elapsed() < TEST_TIMEOUT && is_late(&error.to_string()) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A command whose system calls on files and sockets are written to `trace`. The process started is the program itself,
/// strace is beside it.
pub fn traced(program: &str, trace: &Path) -> Command {
    let mut command = Command::new(setting("WXPAY_TEST_STRACE"));
    command.args(["-D", "-f", "-y", "-s", "4200", "-o"]).arg(trace).args(["-e", SYSCALLS, program]);
    command
}

const SYSCALLS: &str =
    "trace=openat,fsync,fdatasync,sync_file_range,pwrite64,pwritev,write,writev,sendto,sendmsg,recvfrom,recvmsg,read";

/// The configuration of a server by itself, which keeps everything in `folder`.
pub fn settings(folder: &Path, sync_interval: &str, port: u16, monitoring: u16) -> String {
    let shown = folder.display();
    format!(
        "host: 127.0.0.1\nport: {port}\nhttp: \"127.0.0.1:{monitoring}\"\n\
         jetstream {{ store_dir: \"{shown}\", sync_interval: {sync_interval} }}\n"
    )
}

pub fn spawn(version: Version, folder: &Path, settings: &str, trace: Option<&Path>) -> Child {
    let binary = match version {
        Version::New => setting("WXPAY_TEST_NATS_SERVER"),
        Version::Old => setting("WXPAY_TEST_NATS_SERVER_OLD"),
    };
    let file = folder.join("nats.conf");
    std::fs::write(&file, settings).unwrap();
    let mut command = match trace {
        Some(trace) => traced(&binary, trace),
        None => Command::new(&binary),
    };
    let mut child = command
        .arg("-c")
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{binary} does not start: {e}"));
    // Its log says when it is ready; afterwards the log has to be read on, or the pipe fills up.
    let (ready, is_ready) = std::sync::mpsc::channel();
    let log = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        let mut said = Vec::new();
        for line in log.lines().map_while(Result::ok) {
            if line.contains("Server is ready") {
                let _ = ready.send(Ok(()));
            }
            said.push(line);
        }
        let _ = ready.send(Err(said.join("\n")));
    });
    if let Err(log) = is_ready.recv_timeout(TEST_TIMEOUT).expect("nats-server says nothing") {
        panic!("nats-server ended:\n{log}");
    }
    child
}
