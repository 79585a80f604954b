//! The merchant's certificate: that its files belong together, to the merchant, and to the present.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use wxpay_worker::clock::Clock;
use wxpay_worker::config::{Config, Problems};

use super::support::*;
use crate::wechat::certificates::{made, made_until};

const INLINE: &str = "v2_key = \"Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA\"";

/// A folder with the merchant's files, and some that are not.
fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    let (cert, key) = made("10000100", 2020, 2120);
    let (others, other_key) = made("1900000109", 2020, 2120);
    for (name, content) in [
        ("cert.pem", cert.as_str()),
        ("key.pem", &key),
        ("others.pem", &others),
        ("other_key.pem", &other_key),
        ("not.p12", "\u{1}\u{2}"),
        ("rubbish.pem", "-----BEGIN CERTIFICATE-----\nMII"),
    ] {
        write(dir.path(), name, content);
    }
    let p12 = STANDARD.decode(include_str!("../wechat/pem/legacy.p12.base64").replace('\n', "")).unwrap();
    std::fs::write(dir.path().join("both.p12"), p12).unwrap();
    dir
}

fn with(dir: &Path, mch_id: &str, cert: &str, key: &str) -> Result<Config, Problems> {
    let line = |name: &str, file: &str| if file.is_empty() { String::new() } else { format!("{name} = \"{file}\"\n") };
    let lines = format!("{}{}{INLINE}", line("client_cert_file", cert), line("client_key_file", key));
    load_in(dir, &good_but(&[(INLINE, &lines), ("mch_id = \"10000100\"", &format!("mch_id = \"{mch_id}\""))]), &[])
}

#[test]
fn a_certificate_with_its_key_for_its_merchant_is_taken() {
    let dir = folder();
    let config = with(dir.path(), "10000100", "cert.pem", "key.pem").unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.merchants[0].client_cert_file.as_deref(), Some(&*dir.path().join("cert.pem")));
    assert_eq!(config.merchants[0].client_key_file.as_deref(), Some(&*dir.path().join("key.pem")));
    let config = with(dir.path(), "1900000109", "both.p12", "").unwrap();
    assert_eq!(config.merchants[0].client_key_file, None);
    assert_eq!(with(dir.path(), "10000100", "", "").unwrap().merchants[0].client_cert_file, None);
}

#[test]
fn files_that_do_not_belong_together_stop_the_start() {
    let dir = folder();
    for (mch_id, cert, key, says) in [
        ("10000100", "cert.pem", "", "merchants[0].client_key_file: is missing"),
        ("10000100", "", "key.pem", "merchants[0].client_cert_file: is missing"),
        ("10000100", "cert.pem", "cert.pem", "merchants[0].client_key_file: is not the right file"),
        ("10000100", "key.pem", "key.pem", "merchants[0].client_cert_file: is not the right file"),
        ("10000100", "cert.pem", "gone.pem", "merchants[0].client_key_file: "),
        ("10000100", "cert.pem", "other_key.pem", "merchants[0].client_key_file: is not the key of the certificate"),
        (
            "10000100",
            "others.pem",
            "other_key.pem",
            "merchants[0].client_cert_file: is the certificate of \"1900000109\"",
        ),
        ("10000100", "rubbish.pem", "key.pem", "merchants[0].client_cert_file: holds no readable certificate"),
        ("10000100", "both.p12", "", "merchants[0].client_cert_file: is not a PKCS #12 file with the mch_id as its"),
        ("1900000109", "not.p12", "", "merchants[0].client_cert_file: is not a PKCS #12 file"),
        ("1900000109", "both.p12", "key.pem", "merchants[0].client_key_file: is not needed"),
    ] {
        let problem = only_problem(with(dir.path(), mch_id, cert, key));
        assert!(problem.starts_with(says), "{cert} {key}: {problem}");
    }
}

#[test]
fn the_end_of_a_certificate_is_reported_in_time_and_stops_refunds_but_not_the_start() {
    let dir = folder();
    let late = |name: &str, from: i32, to: i32| {
        let (cert, key) = made("10000100", from, to);
        write(dir.path(), &format!("{name}.pem"), &cert);
        write(dir.path(), &format!("{name}_key.pem"), &key);
        with(dir.path(), "10000100", &format!("{name}.pem"), &format!("{name}_key.pem"))
    };
    // The beginning of a day about three weeks from now.
    let soon = Clock::system().now().after(Duration::from_secs(21 * 24 * 3600)).to_beijing();
    let number = |from: usize, to: usize| soon[from..to].parse::<u16>().unwrap();
    let end = (i32::from(number(0, 4)), number(4, 6) as u8, number(6, 8) as u8);
    let (cert, key) = made_until("10000100", 2020, end);
    write(dir.path(), "soon.pem", &cert);
    write(dir.path(), "soon_key.pem", &key);
    let warnings = with(dir.path(), "10000100", "soon.pem", "soon_key.pem").unwrap().warnings;
    let says = format!("merchants[0].client_cert_file: expires at {:04}-{:02}-{:02}T00:00:00", end.0, end.1, end.2);
    assert!(matches!(&*warnings, [w] if w.to_string().starts_with(&says)), "{warnings:?}");

    for (name, from, to, says) in [
        ("expired", 2000, 2005, "merchants[0].client_cert_file: has expired at 2005-01-01T00:00:00"),
        ("future", 3000, 3005, "merchants[0].client_cert_file: is not valid before 3000-01-01"),
    ] {
        let warnings = late(name, from, to).unwrap().warnings;
        assert!(matches!(&*warnings, [w] if w.to_string().starts_with(says)), "{warnings:?}");
    }
}

#[test]
fn the_addresses_and_authorities_of_refunds_are_checked() {
    let dir = folder();
    let pay_ca_file = |file: &str| format!("[wechat]\npay_ca_file = \"{file}\"\n[server]");
    let config = load_in(dir.path(), &good_but(&[("[server]", &pay_ca_file("others.pem"))]), &[]).unwrap();
    assert_eq!(config.wechat.pay_ca_file.as_deref(), Some(&*dir.path().join("others.pem")));
    assert_eq!(config.wechat.refund_url, None);
    for file in ["key.pem", "gone.pem"] {
        let problem = only_problem(load_in(dir.path(), &good_but(&[("[server]", &pay_ca_file(file))]), &[]));
        assert!(problem.starts_with("wechat.pay_ca_file: "), "{problem}");
    }
    let refund_url =
        |url: &str| load(&good_but(&[("[server]", &format!("{SANDBOX}refund_url = \"{url}\"\n[server]"))]), &[]);
    assert_eq!(refund_url("https://127.0.0.1:19002/").unwrap().wechat.refund_url.unwrap(), "https://127.0.0.1:19002");
    assert!(only_problem(refund_url("127.0.0.1:19002")).starts_with("wechat.refund_url: "));
    let warnings = refund_url("http://8.8.8.8").unwrap().warnings;
    assert!(matches!(&*warnings, [w] if w.to_string().starts_with("wechat.refund_url: ")), "{warnings:?}");
}
