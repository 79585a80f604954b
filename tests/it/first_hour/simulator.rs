//! The simulator for someone who meets it first: its page, whom it answers, what it refuses.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tokio::net::TcpListener;
use wxpay_worker::sandbox::{Options, Running, Sandbox, Settings};

const DOCS: &str = include_str!("../../../docs/sandbox.md");
const EVIL: &str = "http://evil.example.com";

struct Caller {
    sandbox: Running,
    http: reqwest::Client,
}

impl Caller {
    async fn new() -> Caller {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = Options { tls_names: vec!["wechat.shop.cn".into()], ..Options::default() };
        let sandbox = Sandbox::start_with(listener, Settings::example(), options).await.unwrap();
        let http = crate::harness::requests::plain_http().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Caller { sandbox, http }
    }

    /// Status and body.
    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let url = format!("{}{path}", self.sandbox.base_url());
        let mut request = self.http.request(method.parse().unwrap(), url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// Calls of the page: methods and path, example of a body.
fn entries(page: &str) -> Vec<(String, String)> {
    let plain = |text: &str| {
        text.replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&#39;", "'")
            .replace("&amp;", "&")
    };
    let rows = page.split("<tr><td><code>").skip(1);
    let cells = rows.filter_map(|row| {
        let (call, rest) = row.split_once("</code></td><td><code>")?;
        Some((plain(call), plain(rest.split_once("</code>")?.0)))
    });
    cells.collect()
}

#[tokio::test]
async fn the_page_lists_every_path_of_the_control_api_with_bodies_that_are_understood() {
    let caller = Caller::new().await;
    let (status, page) = caller.call("GET", "/_sandbox/", &[], "").await;
    assert_eq!(status, 200);
    let entries = entries(&page);
    for (call, body) in &entries {
        let (method, path) = call.split_once(' ').unwrap();
        // The script's own have no example.
        if method == "POST" && body.is_empty() {
            continue;
        }
        let (status, answer) = caller.call(method, path, &[], body).await;
        assert!(status < 500 && ![400, 405].contains(&status), "{call} {body}: {status} {answer}");
        assert!(!answer.contains("has no such path"), "{call}: {answer}");
    }
    // Both ways: the page and the routes, the page and the document.
    let listed: Vec<&str> = entries.iter().map(|(call, _)| path_of(call)).collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sandbox");
    let mut routes = 0;
    for path in routes_of(&source) {
        routes += 1;
        let prefix = path.split("/{").next().unwrap();
        assert!(listed.iter().any(|known| known.starts_with(prefix)), "{path} is not on the page");
    }
    assert!(routes > 20, "{routes} routes");
    for (call, body) in &entries {
        let (method, _) = call.split_once(' ').unwrap();
        let line = DOCS.lines().find(|line| line.contains(&format!(" {}", path_of(call))) && line.contains(method));
        let line = line.unwrap_or_else(|| panic!("docs/sandbox.md lacks {call}"));
        assert!(line.contains(body.as_str()), "{call}: {body}");
    }
}

fn path_of(call: &str) -> &str {
    call.split(' ').nth(1).unwrap().split('?').next().unwrap()
}

/// What is routed below `/_sandbox/`, but for the page itself.
fn routes_of(folder: &Path) -> Vec<String> {
    let mut routes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            routes.extend(routes_of(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let found = text.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
            routes.extend(
                found
                    .filter(|path| path.len() > "/_sandbox/".len() && path.starts_with("/_sandbox/"))
                    .map(str::to_owned),
            );
        }
    }
    routes
}

#[tokio::test]
async fn a_page_of_another_origin_and_a_name_that_is_not_its_own_are_refused() {
    let caller = Caller::new().await;
    let pay = ("/_sandbox/pay", r#"{"out_trade_no": "A100001"}"#);
    let own = caller.sandbox.base_url();
    // Unharmed: programs, its own pages, names of the inside and its own.
    for headers in [
        vec![],
        vec![("origin", own.as_str())],
        vec![("host", "localhost:19001")],
        vec![("host", "sandbox:19001")],
        vec![("host", "wechat.shop.cn")],
        vec![("host", "[::1]:19001")],
        vec![("host", "wechat.internal"), ("origin", "http://wechat.internal")],
    ] {
        let (status, answer) = caller.call("POST", pay.0, &headers, pay.1).await;
        assert_eq!((status, answer.contains("not_found")), (404, true), "{headers:?}: {answer}");
    }
    for (headers, error) in [
        (vec![("origin", EVIL)], "bad_origin"),
        (vec![("origin", "null")], "bad_origin"),
        (vec![("host", "evil.example.com")], "bad_host"),
        (vec![("host", "evil.example.com"), ("origin", EVIL)], "bad_host"),
        (vec![("host", "127.0.0.1.example.com:19001")], "bad_host"),
    ] {
        for (method, path) in
            [("POST", pay.0), ("GET", "/_sandbox/certificates/10000100"), ("DELETE", "/_sandbox/faults")]
        {
            let (status, answer) = caller.call(method, path, &headers, pay.1).await;
            assert_eq!(status, 403, "{headers:?}: {answer}");
            assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["error"], error);
        }
    }
    // The script of WeChat's browser runs in the shop's pages, and its answers are for those on loopback.
    let shop = [("origin", "http://127.0.0.1:8080")];
    let (status, _) = caller.call("OPTIONS", "/_sandbox/bridge/config", &shop, "").await;
    assert_eq!(status, 204);
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_wechats_form() {
    let caller = Caller::new().await;
    for path in ["/", "/v3/pay/transactions/jsapi", "/pay/nothing", "/wp-login.php"] {
        let (status, answer) = caller.call("POST", path, &[], "<xml></xml>").await;
        assert_eq!(status, 200);
        assert!(answer.contains("<return_code><![CDATA[FAIL]]>") && answer.contains("接口不存在"), "{path}: {answer}");
    }
    let (status, answer) = caller.call("POST", "/_sandbox/pya", &[], "{}").await;
    assert_eq!((status, answer.contains("/_sandbox/ lists them")), (404, true), "{answer}");
}

/// The program while it serves; ended when dropped.
struct Started(Child);

impl Started {
    fn new(config: &Path) -> Started {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wxpay-sandbox"));
        command.args(["--listen", "127.0.0.1:0", "--config"]).arg(config).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening on"), "{line}");
        Started(child)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A configuration for the simulator that names certificates which are not there yet, and what it then says.
#[tokio::test]
async fn it_makes_the_certificates_that_its_configuration_names_and_refuses_one_of_production() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wxpay.toml");
    let write = |wechat: &str| {
        let text = format!(
            "[server]\npublic_url = \"https://pay.shop.cn\"\n[wechat]\n{wechat}\n[[apps]]\nkey = \"shop\"\n\
             app_id = \"wxd930ea5d5a258f4f\"\nkind = \"mobile\"\n[[merchants]]\nkey = \"main\"\nmch_id = \"10000100\"\n\
             apps = [\"shop\"]\nv2_key = \"Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA\"\n\
             client_cert_file = \"sandbox/apiclient_cert.pem\"\n\
             client_key_file = \"sandbox/apiclient_key.pem\"\n"
        );
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("sandbox_url = \"http://127.0.0.1:19001\"");
    let first = Started::new(&file);
    let cert = std::fs::read(folder.path().join("sandbox/apiclient_cert.pem")).unwrap();
    drop(first);
    // A second start keeps them: a service may be reading them.
    let second = Started::new(&file);
    assert_eq!(std::fs::read(folder.path().join("sandbox/apiclient_cert.pem")).unwrap(), cert);
    assert!(folder.path().join("sandbox/wechat.jsonl").exists());
    drop(second);

    write("");
    let refused = Command::new(env!("CARGO_BIN_EXE_wxpay-sandbox")).arg("--config").arg(&file).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("calls WeChat itself"), "{said}");
    assert!(said.contains("wechat.pay_url") && said.contains("wxpayd init sandbox"), "{said}");
}
