//! Who connects to NATS, as `bus.url` says it.

use wxpay_worker::bus::Bus;
use wxpay_worker::config::{Bus as Settings, Config};

use crate::harness::bus::{NEEDS, bus_settings, topology};
use crate::harness::nats::NatsServer;

/// The address of a server with this login, and a server of its cluster that is down.
fn list(server: &NatsServer, login: &str) -> String {
    let address = server.url();
    let host = address.trim_start_matches("nats://");
    // The client picks any of them: the one that is down has the login, the one that answers has not.
    format!("nats://{login}@127.0.0.1:1,nats://{host}")
}

async fn connects(server: &NatsServer, url: String) -> bool {
    let settings = bus_settings(url, vec![server.monitoring_url()], NEEDS.max_bytes);
    Bus::connect_with(&settings, None, topology(NEEDS)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_of_the_address_is_decoded_and_used_for_every_server_of_the_list() {
    let server = NatsServer::start_guarded("authorization { user: \"shop\", password: \"p@ss,w/rd+1%\" }\n");
    let host = server.url().trim_start_matches("nats://").to_owned();
    assert!(connects(&server, format!("nats://shop:p%40ss%2Cw%2Frd%2B1%25@{host}")).await);
    assert!(connects(&server, list(&server, "shop:p%40ss%2Cw%2Frd+1%25")).await, "a plus sign is one");
    assert!(!connects(&server, format!("nats://shop:wrong@{host}")).await);
    assert!(!connects(&server, server.url()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_the_address_is_decoded_and_used_for_every_server_of_the_list() {
    let server = NatsServer::start_guarded("authorization { token: \"t0k:en\" }\n");
    let host = server.url().trim_start_matches("nats://").to_owned();
    assert!(connects(&server, format!("nats://t0k%3Aen@{host}")).await);
    assert!(connects(&server, list(&server, "t0k%3Aen")).await);
    assert!(!connects(&server, server.url()).await);
}

fn settings(url: &str) -> Settings {
    bus_settings(url, Vec::new(), NEEDS.max_bytes)
}

#[test]
fn the_servers_of_a_list_have_one_login_and_are_named_without_it() {
    let servers = settings("nats://u:p%2C1@a:4222, nats://b:4222,nats://u:p%2C1@c:4222").nats().unwrap();
    assert_eq!(servers.addresses, ["nats://a:4222", "nats://b:4222", "nats://c:4222"]);
    let (user, password) = servers.password.unwrap();
    assert_eq!((user.as_str(), password.expose(), servers.token.is_none()), ("u", "p,1", true));
    let without = settings("nats://a:4222").nats().unwrap();
    assert!(without.password.is_none() && without.token.is_none());
    // While a cluster changes from one to the other.
    let both = settings("nats://u:p@a:4222,nats://t0k@b:4222").nats().unwrap();
    assert_eq!((both.password.unwrap().0.as_str(), both.token.unwrap().expose()), ("u", "t0k"));
    for (url, rule) in
        [("nats://u:p@a:4222,nats://u:other@b:4222", "two logins of a kind"), ("nats://u:%ff@a:4222", "not UTF-8")]
    {
        let problems = Config::from_toml_str(&format!("[bus]\nurl = \"{url}\"\n")).unwrap_err().to_string();
        let line = problems.lines().find(|line| line.contains("bus.url")).unwrap();
        assert!(line.contains(rule) && !line.contains("other") && !line.contains("%ff"), "{line}");
    }
}
