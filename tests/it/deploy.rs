//! What is handed to operators: the compose files, the NATS configurations, the image recipe, the secrets script. No
//! container engine is needed: each file is read by the program it is made for, or by a reader of its format. It is not
//! a test of the service. Nothing that an operator copies may listen beyond loopback, float to another version, or
//! acknowledge before fsync.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use wxpay_worker::config::Config;
use wxpay_worker::ids::MchId;
use wxpay_worker::sandbox::make_certificates;
use wxpay_worker::wechat::certificate;

const COMPOSE_FILES: [&str; 2] = ["docker-compose.yml", "nats/cluster/docker-compose.yml"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub fn tool(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set: run the tests by tests/run.sh")).into()
}

/// A YAML file as JSON, through a YAML reader that is not ours.
pub fn yaml(path: &str) -> Value {
    let program = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let done = Command::new(tool("WXPAY_TEST_PYTHON")).args(["-c", program]).arg(root().join(path)).output().unwrap();
    assert!(done.status.success(), "{path}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

pub fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"].as_object().unwrap().iter()
}

pub fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// The files of the NATS containers, laid out as compose mounts them, with every address on loopback.
pub struct Mounts(pub tempfile::TempDir);

impl Mounts {
    pub fn new() -> Mounts {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc/nats");
        std::fs::create_dir_all(etc.join("cluster")).unwrap();
        for file in ["nats-server.conf", "jetstream.conf", "permissions.conf", "cluster/node.conf"] {
            let data = dir.path().join("data").display().to_string();
            let text = read(&format!("nats/{file}")).replace("0.0.0.0", "127.0.0.1").replace("/data", &data);
            std::fs::write(etc.join(file), text).unwrap();
        }
        make_secrets(&dir.path().join("run/secrets"));
        Mounts(dir)
    }

    /// Makes the user of one more subscriber.
    pub fn add_subscriber(&self, name: &str) -> std::process::Output {
        let mut command = Command::new("bash");
        command.arg(root().join("deploy/make-secrets.sh")).args(["--subscriber", name]);
        command.arg(self.0.path().join("run/secrets")).output().unwrap()
    }

    pub fn secret(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join("run/secrets").join(name)).unwrap()
    }

    fn server(&self, program: &Path, file: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--config").arg(self.0.path().join("etc/nats").join(file)).env("NATS_NODE", "nats-2");
        command
    }
}

fn make_secrets(dir: &Path) -> std::process::Output {
    Command::new("bash").arg(root().join("deploy/make-secrets.sh")).arg(dir).output().unwrap()
}

/// A running NATS server, ended with its owner.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the one-node configuration on free ports; answers its client and monitoring addresses.
fn start(mounts: &Mounts, program: &Path) -> (Server, String, String) {
    let mut command = mounts.server(program, "nats-server.conf");
    let (server, client, monitor) = until_ready(command.args(["--port", "-1", "--http_port", "-1"]));
    (server, client, monitor.unwrap())
}

/// Runs nats-server until it says that it is ready; answers the addresses it printed: clients', monitoring's.
pub fn until_ready(command: &mut Command) -> (Server, String, Option<String>) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let server = Server(child);
    let (mut seen, mut client, mut monitor) = (Vec::new(), None, None);
    for line in log.by_ref() {
        let line = line.unwrap();
        if let Some((_, address)) = line.split_once("Starting http monitor on ") {
            monitor = Some(address.to_owned());
        }
        if let Some((_, address)) = line.split_once("Listening for client connections on ") {
            client = Some(address.to_owned());
        }
        if line.contains("Server is ready") {
            std::thread::spawn(move || log.for_each(drop));
            return (server, client.unwrap(), monitor);
        }
        seen.push(line);
    }
    panic!("nats-server did not start:\n{}", seen.join("\n"));
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn get_json(address: &str, path: &str) -> Value {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// What the server says to a client that introduces itself with these words: `PONG`, or why not.
fn introduce(address: &str, words: &Value) -> String {
    let mut stream = connect(address);
    write!(stream, "CONNECT {words}\r\nPING\r\n").unwrap();
    let lines = BufReader::new(stream).lines();
    lines.map(Result::unwrap).find(|line| !line.starts_with("INFO") && line != "+OK").unwrap_or_default()
}

#[test]
fn every_published_port_is_on_the_loopback_address() {
    let mut published = 0;
    for file in COMPOSE_FILES {
        for (name, service) in services(&yaml(file)) {
            for port in names(&service["ports"]) {
                let host = port.split(':').next().unwrap();
                let loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
                assert!(loopback && port.split(':').count() == 3, "{file}: {name} publishes {port}");
                published += 1;
            }
            assert_ne!(service["network_mode"], "host", "{file}: {name} would listen on the host's addresses");
        }
    }
    assert_eq!(published, 3, "the API, notifications, and health with metrics");
}

#[test]
fn every_image_names_an_exact_version() {
    let exact = |image: &str| {
        // deploy/pin-images.sh adds a digest.
        let version = image.split('@').next().unwrap();
        let (_, tag) = version.rsplit_once(':').unwrap_or((version, ""));
        let numbers = tag.split('-').next().unwrap();
        numbers.split('.').count() >= 2
            && numbers.split('.').all(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    for file in COMPOSE_FILES {
        for (name, service) in services(&yaml(file)) {
            if let Some(image) = service["image"].as_str() {
                assert!(exact(image), "{file}: {name} uses {image}");
            }
        }
    }
    let recipe = read("deploy/Dockerfile");
    let bases: Vec<&str> = recipe.lines().filter_map(|l| l.strip_prefix("FROM ")).collect();
    assert_eq!(bases.len(), 2, "one stage builds, one runs");
    for base in bases {
        assert!(exact(base.split(' ').next().unwrap()), "deploy/Dockerfile: {base}");
    }
}

#[test]
fn the_deployed_nats_server_is_the_one_the_tests_run() {
    let done = Command::new(tool("WXPAY_TEST_NATS_SERVER")).arg("--version").output().unwrap();
    let printed = String::from_utf8(done.stdout).unwrap();
    let version = printed.trim().rsplit_once('v').unwrap().1.to_owned();
    for file in COMPOSE_FILES {
        let compose = yaml(file);
        let images = services(&compose).filter_map(|(_, s)| s["image"].as_str()).filter(|i| i.starts_with("nats:"));
        let images: Vec<&str> = images.collect();
        assert!(!images.is_empty(), "{file} deploys NATS");
        assert!(
            images.iter().all(|i| i.split('@').next() == Some(&*format!("nats:{version}-alpine"))),
            "{file}: {images:?}, tested is {version}"
        );
    }
}

#[test]
fn both_nats_versions_accept_every_nats_configuration() {
    let mounts = Mounts::new();
    for program in ["WXPAY_TEST_NATS_SERVER", "WXPAY_TEST_NATS_SERVER_OLD"] {
        for file in ["nats-server.conf", "cluster/node.conf"] {
            let done = mounts.server(&tool(program), file).arg("-t").output().unwrap();
            assert!(done.status.success(), "{program} {file}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}

#[test]
fn the_nats_server_acknowledges_only_after_fsync_and_within_its_volume() {
    let mounts = Mounts::new();
    let (_server, _, monitor) = start(&mounts, &tool("WXPAY_TEST_NATS_SERVER"));
    let jetstream = &get_json(&monitor, "/varz")["jetstream"]["config"];
    assert_eq!(jetstream["sync_always"], true, "{jetstream}");
    assert_eq!(jetstream["max_storage"], 8_u64 << 30, "{jetstream}");
    let store = jetstream["store_dir"].as_str().unwrap();
    assert!(store.starts_with(mounts.0.path().join("data").to_str().unwrap()), "kept on the mounted volume: {store}");
}

#[test]
fn the_nats_server_takes_only_the_password_of_the_secrets_script() {
    let mounts = Mounts::new();
    let (_server, client, _) = start(&mounts, &tool("WXPAY_TEST_NATS_SERVER"));
    let url = mounts.secret("bus_url");
    let (user, pass) = url.strip_prefix("nats://").unwrap().split_once('@').unwrap().0.split_once(':').unwrap();
    let words = |user: &str, pass: &str| serde_json::json!({"verbose": false, "user": user, "pass": pass});
    assert_eq!(introduce(&client, &words(user, pass)), "PONG");
    assert!(introduce(&client, &words(user, "guess")).contains("Authorization Violation"));
    assert!(introduce(&client, &serde_json::json!({"verbose": false})).contains("Authorization Violation"));
}

#[test]
fn the_cluster_names_as_many_servers_as_compose_starts() {
    let mut compose = yaml(COMPOSE_FILES[1]);
    let mounts = Mounts::new();
    let nodes: BTreeSet<String> = services(&compose).map(|(n, _)| n.clone()).filter(|n| n != "wxpayd").collect();
    assert_eq!(nodes.len(), 3);
    for node in &nodes {
        let service = &compose["services"][node];
        assert_eq!(service["environment"]["NATS_NODE"], node.as_str(), "each node has a name of its own");
        assert_eq!(service["command"][1], "/etc/nats/cluster/node.conf");
    }
    let hosts = |secret: &str, port: &str| -> BTreeSet<String> {
        let text = mounts.secret(secret);
        let after_at = text.split('@').skip(1);
        after_at.map(|rest| rest.split_once(port).unwrap().0.to_owned()).collect()
    };
    assert_eq!(hosts("nats_routes", ":6222"), nodes);
    assert_eq!(hosts("bus_cluster_url", ":4222"), nodes);
    let environment = compose["services"]["wxpayd"]["environment"].take();
    assert_eq!(environment["WXPAY__BUS__REPLICAS"], "3");
    let asked = environment["WXPAY__BUS__MONITORING_URLS"].as_str().unwrap();
    let asked: BTreeSet<String> = asked.split(',').map(|u| u[7..].strip_suffix(":8222").unwrap().to_owned()).collect();
    assert_eq!(asked, nodes, "every node's fsync setting is read");
}

#[test]
fn secrets_come_from_files_and_the_script_makes_each_that_is_ours() {
    let dir = tempfile::tempdir().unwrap();
    let first = make_secrets(dir.path());
    assert_eq!(first.status.code(), Some(1), "WeChat's own secrets are still missing");
    let asked = String::from_utf8(first.stderr).unwrap();
    for file in COMPOSE_FILES {
        let compose = yaml(file);
        for (name, secret) in compose["secrets"].as_object().unwrap() {
            assert_eq!(secret["file"], format!("./deploy/secrets/{name}"), "{file}");
            let made = dir.path().join(name).metadata().is_ok_and(|m| m.len() >= 64);
            assert!(made || asked.contains(&format!("/{name} (")), "{file}: nothing makes {name}");
        }
        for (name, service) in services(&compose) {
            for (key, value) in service["environment"].as_object().into_iter().flatten() {
                let secretive = ["PASSWORD", "SECRET", "KEY", "URL"].iter().any(|w| key.ends_with(w));
                assert!(
                    !secretive,
                    "{file}: {name} has {key}={value} in the environment, where `docker inspect` shows it"
                );
            }
        }
    }
    let content = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let made = ["postgres_password", "session_key", "nats_auth", "store_url", "nats_routes"].map(content);
    let distinct: BTreeSet<&String> = made.iter().collect();
    assert_eq!(distinct.len(), made.len());
    for name in ["v2_key_main", "app_secret_shop"] {
        std::fs::write(dir.path().join(name), "0123456789abcdef0123456789abcdef").unwrap();
    }
    let second = make_secrets(dir.path());
    assert!(second.status.success(), "complete now: {}", String::from_utf8_lossy(&second.stderr));
    assert_eq!(
        made,
        ["postgres_password", "session_key", "nats_auth", "store_url", "nats_routes"].map(content),
        "kept"
    );
}

/// The service's file with the secrets where the test put them, read as the container would read it.
pub fn load_service_file(
    change: impl Fn(String) -> String,
    environment: &[(String, String)],
) -> Result<Config, String> {
    let secrets = tempfile::tempdir().unwrap();
    make_secrets(secrets.path());
    for name in ["v2_key_main", "app_secret_shop"] {
        std::fs::write(secrets.path().join(name), "8f3c1e7a5b9d2046f8e1c3a7b5d90246\n").unwrap();
    }
    make_certificates(secrets.path(), &[MchId::parse("10000100").unwrap()]).unwrap();
    for name in ["apiclient_cert", "apiclient_key"] {
        std::fs::rename(secrets.path().join(format!("{name}.pem")), secrets.path().join(name)).unwrap();
    }
    let mounted = |text: &str| text.replace("/run/secrets", secrets.path().to_str().unwrap());
    let file = secrets.path().join("wxpay.toml");
    std::fs::write(&file, change(mounted(&read("deploy/config/wxpay.toml")))).unwrap();
    let environment: Vec<_> = environment.iter().map(|(k, v)| (k.clone(), mounted(v))).collect();
    Config::load(Some(&file), environment.into_iter(), certificate::check).map_err(|problems| problems.to_string())
}

#[test]
fn the_service_accepts_its_file_and_compose_mounts_each_secret_it_names() {
    let compose = yaml(COMPOSE_FILES[0]);
    let config = load_service_file(|text| text, &[]).unwrap();
    assert_eq!(config.server.listen.port(), 8080);
    assert!(config.bus.require_fsync);
    assert_eq!(config.bus.monitoring_urls, ["http://nats:8222"]);
    let room = 8_i64 << 30;
    assert!(config.bus.max_bytes * 2 < room, "two full streams leave the server room");
    let grace = compose["services"]["wxpayd"]["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap();
    assert!(Duration::from_secs(grace.parse().unwrap()) > config.server.shutdown_timeout);
    let text = read("deploy/config/wxpay.toml");
    let text: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let named: BTreeSet<String> =
        text.split("/run/secrets/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(named, names(&compose["services"]["wxpayd"]["secrets"]));
    let misspelt = load_service_file(|text| text.replace("trusted_proxies", "trusted_proxy"), &[]);
    assert!(misspelt.unwrap_err().contains("trusted_proxy"), "the file is really read");
}

#[test]
fn the_service_accepts_what_the_cluster_changes() {
    let compose = yaml(COMPOSE_FILES[1]);
    let environment = compose["services"]["wxpayd"]["environment"].as_object().unwrap();
    let environment: Vec<_> = environment.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect();
    let config = load_service_file(|text| text, &environment).unwrap();
    assert_eq!(config.bus.replicas, 3);
    assert_eq!(config.bus.monitoring_urls.len(), 3);
    assert_eq!(config.bus.url.expose().matches("nats://").count(), 3);
}

#[test]
fn the_service_runs_without_rights() {
    let recipe = read("deploy/Dockerfile");
    let last = recipe.rsplit("FROM ").next().unwrap();
    let user = last.lines().find_map(|l| l.strip_prefix("USER ")).expect("the last stage names a user");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id >= 1000)), "{user}");
    assert!(!last.contains("RUN "), "nothing is executed in the image that runs");
    let entry = last.lines().find_map(|l| l.strip_prefix("ENTRYPOINT ")).unwrap();
    let entry: Vec<String> = serde_json::from_str(entry).expect("the exec form: signals reach the program itself");
    assert_eq!(entry, ["/usr/local/bin/wxpayd"]);
    let compose = yaml(COMPOSE_FILES[0]);
    let service = &compose["services"]["wxpayd"];
    assert_eq!(service["read_only"], true);
    // Where bills are sorted and sheets made, unless the configuration names another place.
    assert!(last.contains("WORKDIR /tmp\n"), "{last}");
    assert!(names(&service["tmpfs"]).iter().any(|place| place.starts_with("/tmp:")), "{service}");
    assert_eq!(names(&service["cap_drop"]), BTreeSet::from(["ALL".to_owned()]));
    for (name, service) in services(&compose).filter(|(name, _)| *name != "wxpayd") {
        assert_eq!(names(&service["networks"]), BTreeSet::from(["inside".to_owned()]), "{name}");
        let awaited = compose["services"]["wxpayd"]["depends_on"][name]["condition"].as_str().unwrap();
        let ready = if name == "migrate" { "service_completed_successfully" } else { "service_healthy" };
        assert_eq!(awaited, ready);
        assert!(name == "migrate" || service["healthcheck"]["test"].is_array(), "{name} says when it is ready");
    }
    assert_eq!(compose["networks"]["inside"]["internal"], true, "no way out for the database and the queue");
}
