//! `[[api_keys]]`: clients, their keys, what they may do and which merchants they see.

use wxpay_worker::config::{Config, KeyHash, Merchants, Scope};
use wxpay_worker::ids::MerchantKey;

use super::support::*;

const HASH_2: &str = "6c179f21e6f62b629055d8ab40f454ed02e48b68563913473b857d3638e23b28";
const SECOND_MERCHANT: &str = "
[[merchants]]
key = \"second\"
mch_id = \"10000200\"
apps = [\"shop\"]
v2_key = \"0Ld1oLd2OlD3old4OLD5oLd6OlD7old8\"
";

fn with_key(entry: &str) -> String {
    format!("{}[[api_keys]]\n{entry}\n", good())
}

fn other(lines: &str) -> String {
    with_key(&format!("name = \"other\"\nscopes = [\"ops\"]\n{lines}"))
}

fn key(name: &str) -> MerchantKey {
    MerchantKey::parse(name).unwrap()
}

#[test]
fn a_client_has_several_keys_while_one_is_replaced() {
    let hashes = format!(
        "id = \"erp\"\nhashes = [{{ hash = \"sha256:{HASH_2}\" }}, \
         {{ hash = \"sha256:{}\", until = \"2027-01-31T00:00:00Z\" }}]",
        "ab".repeat(32)
    );
    let config = load(&other(&hashes), &[]).unwrap();
    let client = &config.api_keys[1];
    assert_eq!((client.name.as_str(), client.id.as_str()), ("other", "erp"));
    let [new, old] = client.hashes.as_slice() else { panic!("{:?}", client.hashes) };
    assert_eq!(*new, KeyHash { sha256: HASH_2.into(), until: None });
    assert_eq!(old.until.unwrap().to_string(), "2027-01-31T00:00:00.000Z");
    // The listing can be loaded again.
    let listing = config.explain();
    assert!(listing.contains("[[api_keys.hashes]]\nhash = \"sha256:6c179f21…\""), "{listing}");
    let scopes = listing.find("scopes = [\"ops\"]").unwrap();
    assert!(scopes < listing.find("[[api_keys.hashes]]").unwrap(), "a key of the client under its hashes: {listing}");
    let hash = format!("sha256:{HASH_2}");
    let without = good_but(&[(&format!("hash = \"sha256:{HASH}\""), "")]);
    let config = load(&without, &[("WXPAY__API_KEYS__0__HASHES__0__HASH", &hash)]).unwrap();
    assert_eq!(config.api_keys[0].hashes, [KeyHash { sha256: HASH_2.into(), until: None }]);
}

#[test]
fn one_client_in_two_entries_and_one_key_of_two_clients_are_refused() {
    let taken = format!("hash = \"sha256:{HASH}\"");
    let free = format!("hash = \"sha256:{HASH_2}\"");
    let listed = |hash: &str| format!("hashes = [{{ hash = \"sha256:{hash}\" }}]");
    let twice = format!("hashes = [{{ hash = \"sha256:{HASH_2}\" }}, {{ hash = \"sha256:{HASH_2}\" }}]");
    for (lines, problem) in [
        (format!("id = \"shop-backend\"\n{free}"), "api_keys[1].id: is the same as api_keys[0].name"),
        (taken.clone(), "api_keys[1].hash: is the same as api_keys[0].hash"),
        (listed(HASH), "api_keys[1].hashes[0].hash: is the same as api_keys[0].hash"),
        (twice, "api_keys[1].hashes[1].hash: is the same as api_keys[1].hashes[0].hash"),
        (format!("{free}\n{}", listed(&"ab".repeat(32))), "api_keys[1].hash: is given twice"),
        ("hashes = []".to_owned(), "api_keys[1].hash: is missing"),
        (format!("id = \"a b\"\n{free}"), "api_keys[1].id: must be 1 to 64"),
        (listed("ab"), "api_keys[1].hashes[0].hash: must be \"sha256:\""),
        (
            format!("hashes = [{{ hash = \"sha256:{HASH_2}\", until = \"tomorrow\" }}]"),
            "api_keys[1].hashes[0].until: must be a time",
        ),
        (format!("hashes = [{{ hash = \"sha256:{HASH_2}\", til = \"\" }}]"), "api_keys[1].hashes[0].til: unknown key"),
    ] {
        let found = only_problem(load(&other(&lines), &[]));
        assert!(found.starts_with(problem), "{lines}: {found}");
    }
}

#[test]
fn merchants_are_all_some_none_or_the_only_one() {
    let seen = |text: &str| -> (Merchants, usize) {
        let config: Config = load(text, &[]).unwrap_or_else(|e| panic!("{e}"));
        (config.api_keys[0].merchants.clone(), config.warnings.len())
    };
    let main = Merchants::Only(vec![key("main")]);
    assert_eq!(seen(&good_but(&[("merchants = [\"main\"]", "")])), (main.clone(), 0));
    assert_eq!(seen(&good_but(&[("merchants = [\"main\"]", "merchants = \"all\"")])), (Merchants::All, 0));
    // A warning, because it meant all before.
    assert_eq!(seen(&good_but(&[("merchants = [\"main\"]", "merchants = []")])), (Merchants::Only(Vec::new()), 1));
    let two = |to: &str| format!("{}{SECOND_MERCHANT}", good_but(&[("merchants = [\"main\"]", to)]));
    assert_eq!(seen(&two("merchants = [\"main\"]")), (main, 0));
    assert_eq!(seen(&two("merchants = \"all\"")), (Merchants::All, 0));
    let problem = only_problem(load(&two(""), &[]));
    assert!(problem.starts_with("api_keys[0].merchants: is missing: several merchants"), "{problem}");
    let problem = only_problem(load(&two("merchants = \"main\""), &[]));
    assert!(problem.starts_with("api_keys[0].merchants: "), "{problem}");
    for (value, expected) in
        [("all", Merchants::All), ("main,second", Merchants::Only(vec![key("main"), key("second")]))]
    {
        let config = load(&two(""), &[("WXPAY__API_KEYS__0__MERCHANTS", value)]).unwrap();
        assert_eq!(config.api_keys[0].merchants, expected);
    }
}

#[test]
fn a_configuration_without_the_scope_refunds_starts_with_a_warning() {
    let without = good_but(&[("\"refunds\", ", "")]);
    let config = load(&without, &[]).unwrap();
    assert_eq!(config.api_keys[0].scopes, [Scope::Orders, Scope::Ops]);
    let [warning] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    assert!(warning.to_string().contains("add \"refunds\" to the scopes"), "{warning}");
}

#[test]
fn the_scope_admin_is_apart_and_a_rate_limit_is_none_unless_given() {
    let lines = "name = \"other\"\nscopes = [\"admin\"]\nrate_limit_per_second = 20";
    let entry = format!("{lines}\nhash = \"sha256:{HASH_2}\"");
    let config = load(&with_key(&entry), &[]).unwrap();
    assert_eq!((config.api_keys[0].rate_limit_per_second, config.api_keys[1].rate_limit_per_second), (None, Some(20)));
    assert!(!config.api_keys[0].scopes.contains(&Scope::Admin));
    assert_eq!(config.api_keys[1].scopes, [Scope::Admin]);
    let problem = only_problem(load(&with_key(&entry.replace("= 20", "= 0")), &[]));
    assert!(problem.starts_with("api_keys[1].rate_limit_per_second: "), "{problem}");
}
