//! Crates that `deny.toml` bans never get as far as the lock file: the ban holds even where `cargo deny` is not run.

fn check(deny: &str, lock: &str) -> Vec<String> {
    let deny: toml::Table = toml::from_str(deny).unwrap();
    let lock: toml::Table = toml::from_str(lock).unwrap();
    let packages = lock["package"].as_array().unwrap();
    let banned: Vec<&str> =
        deny["bans"]["deny"].as_array().unwrap().iter().map(|ban| ban["crate"].as_str().unwrap()).collect();
    assert!(!banned.is_empty());
    packages
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .filter(|name| banned.contains(name))
        .map(|name| format!("Cargo.lock: {name} is banned by deny.toml"))
        .collect()
}

#[test]
fn no_banned_crate_is_locked() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (deny, lock) = (read("deny.toml"), read("Cargo.lock"));
    assert_eq!(check(&deny, &lock), [] as [String; 0]);
    let poisoned = format!("{lock}\n[[package]]\nname = \"openssl-sys\"\nversion = \"0.9.0\"\n");
    assert_eq!(check(&deny, &poisoned), ["Cargo.lock: openssl-sys is banned by deny.toml"]);
}
