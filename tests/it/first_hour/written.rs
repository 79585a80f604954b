//! `wxpayd init` and `wxpayd config-example`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wxpay_worker::clock::Timestamp;
use wxpay_worker::config::{CHANGE_ME, DEFAULTS};
use wxpay_worker::ids::MchId;
use wxpay_worker::init::{Kind, example, write};
use wxpay_worker::sandbox::make_certificates;
use wxpay_worker::secret::sha256_hex;

/// What is left out beside a simulator.
const HOSTS: [&str; 4] = ["# pay_url = ", "# pay_backup_url = ", "# api_url = ", "# open_url = "];

fn wxpayd(arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxpayd"));
    command.env_clear().args(arguments).arg("--config").arg(file).output().unwrap()
}

/// All files below a folder with what they hold.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
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

/// A disk that is full when the last file is written, as a limit of its size; and a process that is killed there.
#[test]
fn a_write_that_fails_leaves_the_configuration_before_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wxpay.toml");
    init(Kind::Sandbox, &file);
    // The simulator's authority is written anew from the key that is there.
    let kept = |path: &Path| !path.ends_with("sandbox/ca.pem");
    let before = contents(folder.path());
    for (signal, is_killed) in [("trap '' XFSZ; ", false), ("", true)] {
        let script = format!("{signal}ulimit -f 8; exec \"$0\" init sandbox --force --config \"$1\"");
        let mut command = Command::new("bash");
        command.env_clear().args(["-c", &script, env!("CARGO_BIN_EXE_wxpayd")]).arg(&file);
        let failed = command.output().unwrap();
        let said = text(&failed.stderr);
        assert!(!failed.status.success() && failed.stdout.is_empty(), "{said}");
        assert_eq!(failed.status.code().is_none(), is_killed, "{said}");
        let after = contents(folder.path());
        for (path, content) in before.iter().filter(|(path, _)| kept(path)) {
            assert!(after.get(path) == Some(content), "{} was changed", path.display());
        }
        if !is_killed {
            assert!(said.contains("wxpay.toml"), "{said}");
            assert_eq!(after.len(), before.len(), "nothing half-written is left: {:?}", after.keys());
        }
    }
    assert!(check(&file).0);
    let forced = wxpayd(&["init", "sandbox", "--force"], &file);
    assert!(forced.status.success(), "{}", text(&forced.stderr));
}

/// The last of the old files cannot be renamed: the name that it would be kept under is taken.
#[test]
fn when_one_file_cannot_be_renamed_all_are_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wxpay.toml");
    init(Kind::Wechat, &file);
    let now = Timestamp::parse_rfc3339("2026-11-29T12:00:00Z").unwrap();
    let taken = folder.path().join(format!("wxpay.toml.{}", now.to_beijing()));
    std::fs::write(&taken, "of another one").unwrap();
    let before = contents(folder.path());
    let refused = write(Kind::Wechat, &file, true, now).unwrap_err();
    assert!(refused.to_string().contains(taken.to_str().unwrap()), "{refused}");
    assert!(contents(folder.path()) == before, "something was changed");
    std::fs::remove_file(&taken).unwrap();
    let written = write(Kind::Wechat, &file, true, now).unwrap();
    // The authority of the simulator is none of them, and the key of names stays.
    assert_eq!(written.kept.len(), before.len() - 2);
    let names = folder.path().join("secrets/payers.key");
    assert_eq!(std::fs::read(&names).unwrap(), before[&names]);
    for (path, kept) in &written.kept {
        assert_eq!(std::fs::read(kept).unwrap(), before[path], "{}", path.display());
    }
}

/// Killed after some of the files are in their place: each is the old one or the new one, and the next run says so.
#[cfg(debug_assertions)]
#[test]
fn a_run_that_is_killed_between_two_files_leaves_each_whole_and_the_next_one_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wxpay.toml");
    init(Kind::Wechat, &file);
    let before = contents(folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxpayd"));
    command.env_clear().env("WXPAY_CRASH_AT", "init.renamed:3");
    let killed = command.args(["init", "wechat", "--force", "--config"]).arg(&file).output().unwrap();
    assert!(killed.status.code().is_none(), "{}", text(&killed.stderr));
    let after = contents(folder.path());
    let is_of = |path: &Path, name: &str| path.file_name().unwrap().to_str().unwrap().contains(name);
    let staged: Vec<&PathBuf> = after.keys().filter(|path| is_of(path, ".new-")).collect();
    assert_eq!(staged.len(), before.len() - 4, "{staged:?}");
    let mut changed = 0;
    for (path, content) in before.iter().filter(|(path, _)| !is_of(path, "payers.key")) {
        let now = after.get(path).unwrap_or_else(|| panic!("{} is gone", path.display()));
        assert!(!now.is_empty(), "{} is empty", path.display());
        changed += usize::from(now != content);
        // The old one has a second name, with the time.
        let mut begin = path.file_name().unwrap().to_os_string();
        begin.push(".2");
        let second = after.iter().find(|(kept, _)| is_of(kept, begin.to_str().unwrap()));
        assert!(second.is_some_and(|(_, kept)| kept == content), "{} is lost", path.display());
    }
    // Of those that are not the same in every configuration.
    assert!((1..=3).contains(&changed), "{changed}");
    let refused = wxpayd(&["init", "wechat"], &file);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("interrupted") && said.contains(".new-"), "{said}");
    let later = Timestamp::parse_rfc3339("2099-11-29T12:00:00Z").unwrap();
    let written = write(Kind::Wechat, &file, true, later).unwrap();
    assert_eq!(written.left.len(), before.len() - 4, "{:?}", written.left);
    assert!(!contents(folder.path()).keys().any(|path| is_of(path, ".new-")));
}
