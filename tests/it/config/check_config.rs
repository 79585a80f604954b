//! `wxpayd check-config`: everything that a start would say, without a start.

use std::process::Command;

use tempfile::TempDir;

use super::support::*;

/// Exit status, what it prints, what it says on stderr.
fn check(text: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let dir = TempDir::new().unwrap();
    let file = write(dir.path(), "wxpay.toml", text);
    let output = Command::new(env!("CARGO_BIN_EXE_wxpayd"))
        .env_clear()
        .args(["check-config", "--config", &file])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn warnings_are_printed_and_strict_takes_none() {
    let (code, shown, said) = check(&good(), &["--strict"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(shown.contains("public_url = \"https://pay.shop.cn\""), "{shown}");
    let weak = good_but(&[("trusted_proxies = [\"10.9.0.0/16\"]", "listen = \"10.0.0.1:8080\"")]);
    let warning = "warning: server.trusted_proxies: is empty";
    let (code, shown, said) = check(&weak, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(warning) && shown.contains("[server]"), "{said}");
    let (code, _, said) = check(&weak, &["--strict"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with(warning) && said.contains("1 warnings, and --strict takes none"), "{said}");
    assert_silent_about_secrets(&said);
}

#[test]
fn what_stops_a_start_fails_the_check() {
    let published = good_but(&[(V2_KEY, "192006250b4c09247ec02edce69f6a2d")]);
    let (code, _, said) = check(&published, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("merchants.v2_key: main has the key of WeChat's published example"), "{said}");
    assert!(!said.contains("192006250b4c09247ec02edce69f6a2d"), "{said}");
}

#[test]
fn inner_listeners_on_the_internet_and_a_period_that_does_nothing_are_warned_of() {
    let server = "trusted_proxies = [\"10.9.0.0/16\"]";
    for (line, key) in [
        ("admin_listen = \"8.8.8.8:9090\"", "server.admin_listen: is an address of the internet"),
        ("notify_listen = \"[2001:db8::1]:8081\"", "server.notify_listen: is an address of the internet"),
    ] {
        let said = check(&good_but(&[(server, &format!("{server}\n{line}"))]), &[]).2;
        assert!(said.starts_with(&format!("warning: {key}")) && said.lines().count() == 1, "{said}");
    }
    for line in ["admin_listen = \"127.0.0.1:9090\"", "notify_listen = \"10.0.0.5:8081\""] {
        assert_eq!(check(&good_but(&[(server, &format!("{server}\n{line}"))]), &[]).2, "");
    }
    let audit = |text: String| text.replace("[store]", "[retention]\naudit_days = 400\n[store]");
    let said = check(&audit(good()), &[]).2;
    assert!(said.starts_with("warning: retention.audit_days: does nothing"), "{said}");
    // With one role it counts.
    let one = good_but(&[(&format!("migrate_url = \"{OWNER_URL}\"\n"), "migrate_on_start = false\n")]);
    assert_eq!(check(&audit(one), &[]).2, "");
}
