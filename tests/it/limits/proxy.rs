//! The reference configuration of deploy/proxy in a real nginx: what belongs outside passes, all else does not.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use reqwest::{Certificate, Client, Response};
use tempfile::TempDir;
use tokio::net::TcpStream;
use wxpay_worker::secret::sha256_hex;

use crate::flows::notifications::signed;
use crate::harness::ports::free_port;
use crate::harness::service::{API_KEY, KEY, OTHER_KEY, TestService};
use crate::harness::sql::texts;
use crate::harness::{setting, within_timeout};

const NAME: &str = "pay.example.com";

/// A running nginx; killed when dropped.
struct Nginx {
    child: Child,
    base: String,
    http: Client,
    folder: TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// With the reference configuration, in which addresses and files are the test's.
    async fn before(service: &str, notifications: SocketAddr) -> Nginx {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(file("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/proxy/nginx.conf");
        let mut text = std::fs::read_to_string(reference).unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {};\n", file(name)))
            .concat();
        for (reference, here) in [
            ("server 10.0.0.5:8080;", &format!("server {};", service.trim_start_matches("http://"))),
            ("server 10.0.0.5:8080 backup;", &format!("server {} backup;", service.trim_start_matches("http://"))),
            ("10.0.0.5:8081", &notifications.to_string()),
            ("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl")),
            ("/etc/nginx/tls/pay.example.com.pem", &file("cert.pem")),
            ("/etc/nginx/tls/pay.example.com.key", &file("key.pem")),
            ("/var/log/nginx/wxpay.log", &file("access.log")),
            ("http {\n", &format!("http {{\n{temporary}")),
        ] {
            assert_eq!(text.matches(reference).count(), 1, "{reference}");
            text = text.replace(reference, here);
        }
        std::fs::write(file("nginx.conf"), text).unwrap();
        let alone = format!("daemon off; master_process off; pid {};", file("pid"));
        let mut command = Command::new(setting("WXPAY_TEST_NGINX"));
        command.args(["-e", &file("error.log"), "-g", &alone, "-c", &file("nginx.conf")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let http = Client::builder()
            .no_proxy()
            .tls_certs_only([Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()])
            .resolve(NAME, address)
            .build()
            .unwrap();
        let nginx = Nginx { child, base: format!("https://{NAME}:{port}"), http, folder };
        within_timeout("nginx listens", async {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        nginx
    }

    async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(API_KEY).send().await.unwrap()
    }

    async fn notify(&self, body: String) -> Response {
        let request = self.http.post(format!("{}/notify/main/pay", self.base)).header("x-forwarded-for", "203.0.113.9");
        request.header("forwarded", "for=203.0.113.9").body(body).send().await.unwrap()
    }

    fn access_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("access.log")).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_proxy_passes_what_belongs_outside_and_nothing_else() {
    let proxies = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\nnotify_listen = \"127.0.0.1:0\"\n";
    let service = TestService::new().config(proxies).in_process().await;
    let nginx = Nginx::before(&service.base, service.notify.unwrap()).await;
    let token = service.place("P100001").await["order_token"].as_str().unwrap().to_owned();

    for path in
        ["/v1/orders", "/v1/events", "/v1/ops/jobs", "/healthz", "/readyz", "/metrics", "/console", "/demo", "/"]
    {
        let answer = nginx.get(path).await;
        assert_eq!((answer.status().as_u16(), answer.headers().get("x-request-id")), (404, None), "{path}");
    }
    let answer = nginx.get("/api/wechat/jssdk").await;
    assert!(answer.headers().contains_key("x-request-id"), "answered by the service: {answer:?}");
    assert_eq!(nginx.get("/notify/main/pay").await.status(), 403, "GET");

    // A stream passes as it comes: the payment is made while it is open.
    let path = format!("{}/v1/orders/P100001/stream", nginx.base);
    let mut stream = nginx.http.get(path).bearer_auth(&token).send().await.unwrap();
    let mut said = String::new();
    let mut until = async |word: &str| {
        within_timeout("an event of the stream", async {
            while !said.contains(word) {
                said.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
            }
        })
        .await;
    };
    until("\"payable\"").await;
    let settled = signed(&[("out_trade_no", "P100001")], KEY);
    assert!(nginx.notify(settled).await.text().await.unwrap().contains("SUCCESS"));
    until("\"paid\"").await;

    // Who sent it is who connected, whatever the headers say.
    service.place("P100002").await;
    let refused = signed(&[("out_trade_no", "P100002")], OTHER_KEY);
    let hash = sha256_hex(refused.as_bytes());
    assert!(nginx.notify(refused).await.text().await.unwrap().contains("FAIL"));
    let kept = format!("SELECT COUNT(*) FROM refused_notifications WHERE hash = '{hash}'");
    service.until_number("the refused one", &kept, |n| n == 1).await;
    let from = "SELECT remote_addr FROM refused_notifications";
    assert_eq!(texts(service.store.db(), from).await, ["127.0.0.1"]);
    assert_eq!(nginx.notify("x".repeat(65 * 1024)).await.status(), 413);

    // Notifications go to their own address; where nothing listens there, to the other one.
    let closed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    for (public, notify) in [(format!("http://{closed}"), service.notify.unwrap()), (service.base.clone(), closed)] {
        let nginx = Nginx::before(&public, notify).await;
        for path in ["/notify/main/pay", "/notify/main/refund", "/api/wechat/pay/callback"] {
            let answer = nginx.http.post(format!("{}{path}", nginx.base)).body("<xml/>").send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            assert!(answer.text().await.unwrap().contains("FAIL"), "{path}");
        }
    }

    nginx.get("/api/wechat/getOpenId?code=SECRETCODE&state=x").await;
    // Its line is written after the answer.
    within_timeout("the line of the request", async {
        while !nginx.access_log().contains("/api/wechat/getOpenId") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let log = nginx.access_log();
    assert!(!log.contains("SECRETCODE"), "{log}");
    service.leave_books_open(crate::flows::notifications::SIGNED_BY_THE_TEST);
    service.finish().await;
}
