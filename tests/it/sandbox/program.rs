//! `wxpay-sandbox` as a process: its arguments, its journal after SIGKILL and on a full disk.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use wxpay_worker::clock::Clock;
use wxpay_worker::ids::MchId;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::certificate::MerchantCertificate;
use wxpay_worker::wechat::v2::sign::{seal, verify};
use wxpay_worker::wechat::v2::xml;

use super::parts::{APPID, MCH_ID, OTHER_APPID, OTHER_MCH_ID, SECRET, Shop, good, order, other_key, with};

/// Killed without a chance to tidy up.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_wxpay-sandbox"))
}

fn start(mut command: Command) -> Shop<Process> {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let base = line.trim_end().split_once("listening on ").expect("no address").1.to_owned();
    Shop::at(base, Process(child), Clock::system())
}

fn with_state(state: &Path) -> Command {
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--time-scale", "1", "--state"]).arg(state);
    command
}

#[tokio::test]
async fn a_killed_process_remembers_every_payment_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.jsonl");
    let shop = start(with_state(&state));
    let mut transactions = Vec::new();
    for n in 0..20 {
        let prepay_id = shop.prepay(order(&format!("KILLED-{n:02}"))).await;
        transactions.push(shop.pay(&prepay_id).await["transaction_id"].clone());
    }
    drop(shop);
    let shop = start(with_state(&state));
    for (n, transaction_id) in transactions.iter().enumerate() {
        let answer = shop.query(&format!("KILLED-{n:02}")).await;
        assert_eq!(answer["trade_state"], "SUCCESS");
        assert_eq!(json!(answer["transaction_id"]), *transaction_id);
    }
}

#[tokio::test]
async fn what_cannot_be_written_down_does_not_happen() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.jsonl");
    let mut full = Command::new("sh");
    // The file may grow to a few kilobytes; the write beyond is an error instead of a signal.
    full.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_wxpay-sandbox"));
    full.args(["--listen", "127.0.0.1:0", "--state"]).arg(&state);
    let shop = start(full);
    let mut written = 0;
    let refused = loop {
        let answer = shop.place(order(&format!("FULL-{written:03}"))).await;
        if answer["result_code"] == "FAIL" {
            break answer;
        }
        written += 1;
        assert!(written < 100, "the limit does not hold");
    };
    assert!(written > 0);
    assert_eq!(refused["err_code"], "SYSTEMERROR");
    let number = format!("FULL-{written:03}");
    assert_eq!(shop.query(&number).await["err_code"], "ORDERNOTEXIST");
    drop(shop);
    // What was written before the end of the file is whole.
    let shop = start(with_state(&state));
    assert_eq!(shop.ledger().await["orders"].as_array().unwrap().len(), written);
    assert_eq!(shop.place(order(&number)).await["result_code"], "SUCCESS");
}

#[tokio::test]
async fn a_folder_of_certificates_is_what_a_service_needs_and_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certificates");
    let with_certificates = || {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--tls-name", "sandbox.internal", "--certificates"]).arg(&dir);
        command
    };
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let refund = |base: String, cert: String, key: String, ca: String| async move {
        let http = reqwest::Client::builder()
            .no_proxy()
            .identity(reqwest::Identity::from_pem(format!("{cert}{key}").as_bytes()).unwrap())
            .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()]);
        // The name of the host counts, not only its address.
        let port = base.rsplit_once(':').unwrap().1.parse().unwrap();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let http = http.resolve("sandbox.internal", address).build().unwrap();
        let url = format!("https://sandbox.internal:{port}/secapi/pay/refund");
        http.post(url).send().await.unwrap().text().await.unwrap()
    };
    let shop = start(with_certificates());
    let before = shop.files(MCH_ID).await;
    for name in ["apiclient_cert.pem", "apiclient_key.pem", "ca.pem"] {
        assert_eq!(read(name), before[name].as_str().unwrap());
        assert_eq!(std::fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o077, 0, "{name}");
    }
    let (cert, key, ca) = (read("apiclient_cert.pem"), read("apiclient_key.pem"), read("ca.pem"));
    let own = MchId::parse(MCH_ID).unwrap();
    MerchantCertificate::read(&dir.join("apiclient_cert.p12"), None, &own).unwrap();
    MerchantCertificate::read(&dir.join("apiclient_cert.pem"), Some(&dir.join("apiclient_key.pem")), &own).unwrap();
    drop(shop);

    // Who holds the files of before is still known, and still knows the simulator.
    let shop = start(with_certificates());
    let base = shop.files(MCH_ID).await["refund_base_url"].as_str().unwrap().to_owned();
    let answer = refund(base, cert, key, ca).await;
    assert!(answer.contains("post数据为空"), "past the certificate: {answer}");
}

#[tokio::test]
async fn a_merchant_can_be_given_by_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("key");
    std::fs::write(&key_file, format!("{}\n", other_key().expose())).unwrap();
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--mch-id", OTHER_MCH_ID, "--appid", OTHER_APPID, "--v2-key-file"]);
    command.arg(&key_file);
    serves_the_other_merchant(command).await;
}

#[tokio::test]
async fn merchants_can_be_those_of_the_services_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("wxpay.toml");
    let text = format!(
        r#"
[server]
public_url = "https://pay.shop.cn"
[[apps]]
key = "shop"
app_id = "{OTHER_APPID}"
kind = "mini_program"
[[merchants]]
key = "main"
mch_id = "{OTHER_MCH_ID}"
apps = ["shop"]
v2_key = "{}"
[wechat]
sandbox_url = "http://127.0.0.1:19001"
"#,
        other_key().expose()
    );
    std::fs::write(&config, text).unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--config"]).arg(&config);
    serves_the_other_merchant(command).await;
}

/// Everything the program says when it starts, up to its last app.
fn greeting(mut command: Command, apps: usize) -> (String, Process) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while said.matches("  app ").count() < apps {
        said.push_str(&lines.next().expect("it says no more").unwrap());
        said.push('\n');
    }
    (said, Process(child))
}

#[tokio::test]
async fn apps_of_the_configuration_get_tokens_and_only_the_examples_secrets_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("wxpay.toml");
    let text = format!(
        r#"
[server]
public_url = "https://pay.shop.cn"
[[apps]]
key = "shop"
app_id = "{APPID}"
kind = "official_account"
secret = "{SECRET}"
[[apps]]
key = "mobile"
app_id = "{OTHER_APPID}"
kind = "mobile"
[[merchants]]
key = "main"
mch_id = "{OTHER_MCH_ID}"
apps = ["shop", "mobile"]
v2_key = "{}"
[wechat]
sandbox_url = "http://127.0.0.1:19001"
"#,
        other_key().expose()
    );
    std::fs::write(&config, text).unwrap();
    std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--config"]).arg(&config);
    let (said, process) = greeting(command, 1);
    assert!(said.contains(&format!("official account {APPID}\n")) && !said.contains(SECRET), "{said}");
    let base = said.lines().next().unwrap().split_once("listening on ").unwrap().1.to_owned();
    let shop = Shop::at(base, process, Clock::system());
    good(&shop.stable().await, "access_token");

    let mut command = program();
    command.args(["--listen", "127.0.0.1:0"]);
    let (said, _process) = greeting(command, 2);
    assert!(said.contains("mini program") && said.matches("(secret ").count() == 2, "{said}");
}

async fn serves_the_other_merchant(command: Command) {
    let shop = start(command);
    let fields = with(order("A100001"), &[("mch_id", OTHER_MCH_ID), ("appid", OTHER_APPID), ("nonce_str", "n")]);
    let body = xml::write(&seal(fields, &other_key(), SignType::Md5)).into_bytes();
    let answer = shop.post("/pay/unifiedorder", body).await.unwrap().bytes().await.unwrap();
    let answer = xml::parse(&answer).unwrap();
    assert_eq!(answer["result_code"], "SUCCESS");
    assert_eq!(verify(&answer, &other_key()), Ok(SignType::Md5));
}

#[test]
fn wrong_arguments_are_refused_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let weak = folder.path().join("weak");
    std::fs::write(&weak, "short").unwrap();
    let weak = weak.to_str().unwrap();
    for (arguments, reason) in [
        (vec!["--mch-id", "10000100"], "--appid"),
        (vec!["--time-scale", "0"], "time-scale"),
        (vec!["--mch-id", "10000100", "--appid", "wx1", "--v2-key-file", weak], "exactly 32"),
        (vec!["--listen", "127.0.0.1:0", "--state", "/nowhere/state"], "state file"),
    ] {
        let mut child = program().args(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(!child.wait().unwrap().success(), "{arguments:?}");
        assert!(text.contains(reason), "{arguments:?}: {text}");
    }
}
