//! `wxpayd init` and `wxpayd config-example`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use wxpay_worker::config::{CHANGE_ME, DEFAULTS};
use wxpay_worker::ids::MchId;
use wxpay_worker::init::{Kind, example};
use wxpay_worker::sandbox::make_certificates;
use wxpay_worker::secret::sha256_hex;

/// What is left out beside a simulator.
const HOSTS: [&str; 4] = ["# pay_url = ", "# pay_backup_url = ", "# api_url = ", "# open_url = "];

fn wxpayd(arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxpayd"));
    command.env_clear().args(arguments).arg("--config").arg(file).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Writes a configuration; the API key.
fn init(kind: Kind, file: &Path) -> String {
    let output = wxpayd(&["init", kind.as_str()], file);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let key = text(&output.stdout);
    assert_eq!(key.lines().count(), 1, "the key is alone on standard output: {key}");
    assert!(!text(&output.stderr).contains(key.trim_end()), "the key is printed once");
    key.trim_end().to_owned()
}

/// Exit status and what is said of a file.
fn check(file: &Path) -> (bool, String) {
    let output = wxpayd(&["check-config", "--strict"], file);
    (output.status.success(), text(&output.stderr))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn every_kind_has_every_key_and_its_secrets_in_files_of_their_own() {
    for &kind in Kind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("etc/wxpay.toml");
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        let key = init(kind, &file);
        let written = std::fs::read_to_string(&file).unwrap();
        let hash = format!("hash = \"sha256:{}\"", sha256_hex(key.as_bytes()));
        assert!(written.contains(&hash) && !written.contains(&key), "{}", kind.as_str());
        assert_eq!(mode(&file), 0o600);
        let secrets = folder.path().join("etc/secrets");
        assert_eq!(mode(&secrets), 0o700);
        let mut count = 0;
        for entry in std::fs::read_dir(&secrets).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
            let secret = std::fs::read_to_string(&path).unwrap();
            assert!(secret == CHANGE_ME || !written.contains(secret.trim()), "{}", path.display());
            count += 1;
        }
        assert!(count >= 4, "{count} secrets");
        // Every key and every explanation of the defaults, in their order.
        let keys = |text: &str| -> Vec<String> {
            let lines = text
                .lines()
                .map(|line| HOSTS.iter().find(|host| line.starts_with(**host)).map_or(line, |_| &line[2..]));
            let keys = lines.filter(|line| !line.starts_with('#'));
            let keys = keys.filter_map(|line| Some(line.split_once(" = ")?.0.trim_end_matches("_file").to_owned()));
            keys.collect()
        };
        let (of_defaults, of_written) = (keys(DEFAULTS), keys(&written));
        assert_eq!(of_written[..of_defaults.len()], of_defaults, "{}", kind.as_str());
        let comments = DEFAULTS.split_once("\n\n").unwrap().1.lines().filter(|line| line.starts_with('#'));
        comments.for_each(|line| assert!(written.contains(line), "{} lacks: {line}", kind.as_str()));
        // The example is the same without secrets.
        let output =
            Command::new(env!("CARGO_BIN_EXE_wxpayd")).args(["config-example", kind.as_str()]).output().unwrap();
        assert_eq!(text(&output.stdout), example(kind));
        assert_eq!(example(kind).replace(&format!("hash = \"{CHANGE_ME}\""), &hash), written);
    }
}

#[test]
fn what_is_complete_passes_the_strict_check_as_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wxpay.toml");
    init(Kind::Sandbox, &file);
    assert_eq!(check(&file), (true, String::new()));
    for name in ["ca.pem", "apiclient_cert.pem", "apiclient_key.pem"] {
        assert_eq!(mode(&folder.path().join("sandbox").join(name)), 0o600);
    }
}

#[test]
fn what_only_the_merchant_knows_is_named_and_the_rest_passes_the_strict_check() {
    const MCH_ID: &str = "1900000109";
    for kind in [Kind::Wechat, Kind::NatsPostgres] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wxpay.toml");
        init(kind, &file);
        let (passed, said) = check(&file);
        assert!(!passed);
        let named: Vec<&str> = said.lines().map(|line| line.trim_start_matches("wxpayd: ")).collect();
        let expected = [
            "server.public_url",
            "apps[0].app_id",
            "apps[0].secret_file",
            "merchants[0].mch_id",
            "merchants[0].v2_key_file",
            "merchants[0].client_cert_file",
            "merchants[0].client_key_file",
        ];
        assert_eq!(named.len(), expected.len(), "{said}");
        for (line, key) in named.iter().zip(expected) {
            assert!(line.starts_with(&format!("{key}: ")) && line.contains(CHANGE_ME), "{line}");
        }

        let mut filled = std::fs::read_to_string(&file).unwrap();
        for (key, value) in
            [("public_url", "https://pay.shop.cn"), ("app_id", "wx2421b1c4370ec43b"), ("mch_id", MCH_ID)]
        {
            filled = filled.replace(&format!("\n{key} = \"{CHANGE_ME}\""), &format!("\n{key} = \"{value}\""));
        }
        std::fs::write(&file, filled).unwrap();
        let secrets = folder.path().join("secrets");
        std::fs::write(secrets.join("main.v2key"), "Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA\n").unwrap();
        std::fs::write(secrets.join("shop.secret"), "8f3c1e7a5b9d2046f8e1c3a7b5d90246\n").unwrap();
        let platform = folder.path().join("platform");
        make_certificates(&platform, &[MchId::parse(MCH_ID).unwrap()]).unwrap();
        for name in ["apiclient_cert.pem", "apiclient_key.pem"] {
            std::fs::copy(platform.join(name), secrets.join(name)).unwrap();
        }
        assert_eq!(check(&file), (true, String::new()), "{}", kind.as_str());
    }
}

#[test]
fn a_file_that_is_there_is_never_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wxpay.toml");
    init(Kind::Wechat, &file);
    let key_file = folder.path().join("secrets/main.v2key");
    std::fs::write(&key_file, "the merchant's own key").unwrap();
    std::fs::remove_file(&file).unwrap();

    let refused = wxpayd(&["init", "sandbox"], &file);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && refused.stdout.is_empty());
    assert!(said.contains("already there") && said.contains("main.v2key") && said.contains("--force"), "{said}");
    assert!(!file.exists(), "nothing was written");
    assert_eq!(std::fs::read_to_string(&key_file).unwrap(), "the merchant's own key");

    let forced = wxpayd(&["init", "sandbox", "--force"], &file);
    assert!(forced.status.success(), "{}", text(&forced.stderr));
    assert!(check(&file).0);
    let kept: Vec<String> = std::fs::read_dir(folder.path().join("secrets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("main.v2key."))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(kept, ["the merchant's own key"]);
}
