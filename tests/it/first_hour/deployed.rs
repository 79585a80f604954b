//! What stands beside the compose files: limits of containers, the scripts that complete an installation.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use wxpay_worker::secret::sha256_hex;

use crate::deploy::{load_service_file, names, read, root, services, yaml};

const COMPOSE_FILES: [&str; 2] = ["docker-compose.yml", "nats/cluster/docker-compose.yml"];

fn script(name: &str, arguments: &[&Path]) -> Output {
    Command::new("bash").arg(root().join("deploy").join(name)).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn no_container_takes_the_machine_or_the_disk() {
    let mut count = 0;
    for file in COMPOSE_FILES {
        for (name, service) in services(&yaml(file)) {
            // The cluster's file adds to services of the root's.
            if service["image"].is_null() {
                continue;
            }
            let limited = ["mem_limit", "cpus", "pids_limit"].iter().all(|limit| !service[*limit].is_null());
            assert!(limited, "{file}: {name} has no limits");
            assert!(service["ulimits"]["nofile"]["hard"].as_u64().unwrap() >= 4096, "{file}: {name}");
            assert_eq!(service["ulimits"]["core"], 0, "{file}: {name} would write its memory to the disk");
            let log = &service["logging"];
            assert_eq!(log["driver"], "json-file", "{file}: {name}");
            assert!(log["options"]["max-size"].is_string() && log["options"]["max-file"].is_string(), "{file}: {name}");
            count += 1;
        }
    }
    assert_eq!(count, 6);
}

#[test]
fn the_certificates_place_is_complete_once_its_lines_count() {
    let lines = |text: &str| {
        text.replace("# client_cert_file", "client_cert_file").replace("# client_key_file", "client_key_file")
    };
    let config = load_service_file(|text| lines(&text), &[]).unwrap();
    assert!(config.merchants[0].client_cert_file.is_some() && config.merchants[0].client_key_file.is_some());
    let compose = read(COMPOSE_FILES[0]);
    for name in ["apiclient_cert", "apiclient_key"] {
        assert!(compose.contains(&format!("  # {name}: {{ file: ./deploy/secrets/{name} }}\n")), "{name}");
    }
}

#[test]
fn a_new_database_gets_its_two_roles_with_its_first_start() {
    let compose = yaml(COMPOSE_FILES[0]);
    let postgres = &compose["services"]["postgres"];
    let (volumes, secrets) = (names(&postgres["volumes"]), names(&postgres["secrets"]));
    assert!(volumes.contains("./deploy/postgres/init:/docker-entrypoint-initdb.d:ro"));
    assert!(volumes.contains("./deploy/postgres:/etc/wxpay-postgres:ro"));
    assert!(secrets.contains("store_url") && secrets.contains("migrate_url"));
    let init = root().join("deploy/postgres/init/10-roles.sh");
    assert_ne!(init.metadata().unwrap().permissions().mode() & 0o111, 0, "the image runs what is executable");
    assert!(read("deploy/postgres/init/10-roles.sh").contains("/etc/wxpay-postgres/roles.sh /run/secrets/store_url"));
    // The owner's address is known where the schema is changed, and not in the service.
    let migrate = &compose["services"]["migrate"];
    assert_eq!((&migrate["command"][0], &migrate["restart"]), (&json!("migrate"), &json!("no")));
    assert!(names(&migrate["secrets"]).contains("migrate_url") && migrate["ports"] == json!([]));
    let of_service = names(&compose["services"]["wxpayd"]["secrets"]);
    assert!(!of_service.contains("migrate_url"));
    assert!(names(&migrate["secrets"]).is_superset(&of_service), "it reads the configuration that names them");
    let owner = "WXPAY__STORE__MIGRATE_URL_FILE";
    let file = migrate["environment"][owner].as_str().unwrap().to_owned();
    let migrates = load_service_file(|text| text, &[(owner.to_owned(), file)]).unwrap();
    assert!(migrates.store.migrate_url.is_some());
    let config = load_service_file(|text| text, &[]).unwrap();
    assert!(config.store.migrate_url.is_none() && !config.store.migrate_on_start);
    assert!(!config.warnings.iter().any(|warning| warning.key == "store.migrate_url"), "{:?}", config.warnings);
}

#[test]
fn the_first_api_key_is_printed_once_and_its_hash_is_in_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wxpay.toml");
    std::fs::write(&file, read("deploy/config/wxpay.toml")).unwrap();
    let made = script("first-api-key.sh", &[&file]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let key = text(&made.stdout).trim_end().to_owned();
    assert!(key.len() == 48 && !text(&made.stderr).contains(&key));
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(!written.contains(&key));
    let at = written.find("\n[[api_keys]]").unwrap();
    let config = load_service_file(|text| format!("{text}{}", &written[at..]), &[]).unwrap();
    assert_eq!(config.api_keys[0].hashes[0].sha256, sha256_hex(key.as_bytes()));
    let again = script("first-api-key.sh", &[&file]);
    assert!(!again.status.success() && again.stdout.is_empty());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
}

#[test]
fn digests_are_filled_in_once_for_every_image_that_is_not_built_here() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    for file in [COMPOSE_FILES[0], COMPOSE_FILES[1], "deploy/Dockerfile"] {
        std::fs::create_dir_all(tree.join(file).parent().unwrap()).unwrap();
        std::fs::write(tree.join(file), read(file)).unwrap();
    }
    // Stands in for the registry: the digest of a name is the SHA-256 of the name.
    let docker = folder.path().join("docker");
    let digest = "$(printf %s \"$image\" | sha256sum | cut -d' ' -f1)";
    let program = format!("#!/bin/sh\nfor image; do :; done\nprintf 'sha256:%s\\n' \"{digest}\"\n");
    std::fs::write(&docker, program).unwrap();
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let pin = || {
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.arg(root().join("deploy/pin-images.sh")).arg(&tree).env("PATH", path).output().unwrap()
    };
    let pinned = pin();
    assert!(pinned.status.success(), "{}", text(&pinned.stderr));
    let all = || {
        [COMPOSE_FILES[0], COMPOSE_FILES[1], "deploy/Dockerfile"]
            .map(|file| std::fs::read_to_string(tree.join(file)).unwrap())
    };
    let after = all();
    for (image, count) in [
        ("nats:2.15.1-alpine", 2),
        ("postgres:17.10-bookworm", 1),
        ("rust:1.95.0-bookworm", 1),
        ("debian:12.12-slim", 1),
    ] {
        let digest = format!("{image}@sha256:{}", sha256_hex(image.as_bytes()));
        assert_eq!(after.concat().matches(&digest).count(), count, "{image}");
    }
    assert!(after[0].contains("image: wxpay-worker:0.1.0\n"));
    assert!(after[2].contains(" AS build\n"));
    assert!(pin().status.success());
    assert_eq!(all(), after, "what has a digest stays");
}

#[test]
fn the_list_of_components_has_what_is_compiled_in_and_nothing_of_the_tests() {
    let done =
        Command::new("bash").arg(root().join("deploy/sbom.sh")).env("CARGO_NET_OFFLINE", "true").output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    let list: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((list["bomFormat"].as_str(), list["specVersion"].as_str()), (Some("CycloneDX"), Some("1.5")));
    let components = list["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|component| component["name"] == name);
    let lock: toml::Table = toml::from_str(&read("Cargo.lock")).unwrap();
    for name in ["sea-orm", "async-nats", "rustls", "libsqlite3-sys"] {
        let (component, locked) = (named(name).unwrap(), lock["package"].as_array().unwrap());
        let locked = locked.iter().find(|package| package["name"].as_str() == Some(name)).unwrap();
        assert_eq!(component["version"].as_str(), locked["version"].as_str());
        assert_eq!(component["hashes"][0]["content"].as_str(), locked["checksum"].as_str());
        assert!(component["licenses"][0]["expression"].is_string() && component["purl"].is_string());
    }
    assert!(named("proptest").is_none() && named("jsonschema").is_none());
}
