//! What each user of NATS is refused, by a server with the shipped configuration.

use std::collections::BTreeSet;

use async_nats::jetstream::consumer::pull;
use futures_util::StreamExt;

use super::support::{jetstream_as, make_durable, refused, server, service_with};
use crate::deploy::Mounts;
use crate::harness::service::Processes;

/// Exactly these are refused, of these and of those that are allowed.
fn assert_refused(service: &Processes, user: &str, forbidden: &[&str], allowed: &[&str]) {
    let lines: Vec<String> = [forbidden, allowed].concat().iter().map(|line| (*line).to_owned()).collect();
    let refused: BTreeSet<String> = refused(server(service), user, &lines).into_iter().collect();
    assert_eq!(refused, forbidden.iter().map(|line| (*line).to_owned()).collect(), "of {user}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_may_fetch_and_acknowledge_and_nothing_else() {
    let service = service_with(&["billing"]).await;
    let process = service.run_all().await;
    service.place(&process.base, "S100001", 100).await;
    // Its notification is the work that PAY_IN has.
    service.pay("S100001").await;
    service.until_state(&process.base, "S100001", "paid").await;
    service.until_drained().await;
    for name in ["finance", "billing"] {
        make_durable(&service, name);
    }
    let forbidden = [
        "PUB pay.in.main.order.forged",
        "PUB pay.in.main.notify.forged",
        "PUB pay.event.main.order.forged",
        "PUB $JS.API.INFO",
        "PUB $JS.API.STREAM.NAMES",
        "PUB $JS.API.STREAM.INFO.PAY_EVENTS",
        "PUB $JS.API.STREAM.CREATE.MINE",
        "PUB $JS.API.STREAM.UPDATE.PAY_EVENTS",
        "PUB $JS.API.STREAM.PURGE.PAY_EVENTS",
        "PUB $JS.API.STREAM.PURGE.PAY_IN",
        "PUB $JS.API.STREAM.DELETE.PAY_EVENTS",
        "PUB $JS.API.STREAM.DELETE.PAY_IN",
        "PUB $JS.API.STREAM.MSG.GET.PAY_IN",
        "PUB $JS.API.STREAM.MSG.DELETE.PAY_EVENTS",
        "PUB $JS.API.DIRECT.GET.PAY_IN",
        "PUB $JS.API.CONSUMER.CREATE.PAY_EVENTS",
        "PUB $JS.API.CONSUMER.CREATE.PAY_EVENTS.mine",
        "PUB $JS.API.CONSUMER.CREATE.PAY_EVENTS.finance",
        "PUB $JS.API.CONSUMER.CREATE.PAY_IN.mine",
        "PUB $JS.API.CONSUMER.DURABLE.CREATE.PAY_EVENTS.finance",
        "PUB $JS.API.CONSUMER.DELETE.PAY_EVENTS.finance",
        "PUB $JS.API.CONSUMER.INFO.PAY_EVENTS.billing",
        "PUB $JS.API.CONSUMER.MSG.NEXT.PAY_EVENTS.billing",
        "PUB $JS.API.CONSUMER.MSG.NEXT.PAY_IN.settle",
        "PUB $JS.ACK.PAY_EVENTS.billing.1.1.1.1.0",
        "PUB $JS.ACK.PAY_IN.settle.1.1.1.1.0",
        "PUB _INBOX.anyone",
        "PUB _INBOX_billing.anyone",
        "SUB >",
        "SUB pay.>",
        "SUB pay.in.>",
        "SUB pay.event.>",
        "SUB $JS.>",
        "SUB $SYS.>",
        "SUB _INBOX.>",
        "SUB _INBOX_billing.>",
    ];
    let allowed = [
        "PUB $JS.API.CONSUMER.MSG.NEXT.PAY_EVENTS.finance",
        "PUB $JS.API.CONSUMER.INFO.PAY_EVENTS.finance",
        "PUB $JS.ACK.PAY_EVENTS.finance.1.1.1.1.0",
        "SUB _INBOX_finance.>",
    ];
    assert_refused(&service, "finance", &forbidden, &allowed);
    let finance = jetstream_as(server(&service), "finance").await;
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        finance.get_consumer_from_stream("finance", "PAY_EVENTS").await.unwrap();
    let mut messages = consumer.batch().max_messages(1).messages().await.unwrap();
    let message = messages.next().await.unwrap().unwrap();
    assert_eq!(message.subject.as_str(), "pay.event.main.order.payable");
    message.double_ack().await.unwrap();
    assert_eq!(consumer.get_info().await.unwrap().ack_floor.stream_sequence, 1);
    let admin = jetstream_as(server(&service), "admin").await;
    for (stream, subject) in [
        ("PAY_IN", "pay.in.main.order.forged"),
        ("PAY_IN", "pay.in.main.notify.forged"),
        ("PAY_EVENTS", "pay.event.main.order.forged"),
    ] {
        let stream = admin.get_stream(stream).await.unwrap();
        assert!(stream.get_last_raw_message_by_subject(subject).await.is_err(), "{subject} was stored");
        assert!(stream.cached_info().state.messages >= 1, "nothing was removed");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_deletes_no_stream_and_the_admin_publishes_no_message() {
    let service = service_with(&[]).await;
    let _process = service.run_all().await;
    let forbidden = [
        "PUB $JS.API.STREAM.DELETE.PAY_IN",
        "PUB $JS.API.STREAM.DELETE.PAY_EVENTS",
        "PUB $JS.API.STREAM.PURGE.PAY_EVENTS",
        "PUB $JS.API.STREAM.CREATE.OTHER",
        "PUB $JS.API.STREAM.MSG.DELETE.PAY_IN",
        "PUB $JS.API.CONSUMER.CREATE.PAY_EVENTS.mine",
        "PUB $JS.API.CONSUMER.DELETE.PAY_IN.settle",
        "PUB $JS.API.CONSUMER.MSG.NEXT.PAY_EVENTS.finance",
        "PUB $JS.ACK.PAY_EVENTS.finance.1.1.1.1.0",
        "PUB other",
        "SUB >",
        "SUB pay.event.>",
        "SUB _INBOX_finance.>",
        "SUB _INBOX_admin.>",
    ];
    let allowed = ["PUB $JS.API.STREAM.PURGE.PAY_IN", "PUB $JS.API.CONSUMER.LIST.PAY_IN", "SUB _INBOX.>"];
    assert_refused(&service, "wxpay", &forbidden, &allowed);
    let forbidden = [
        "PUB pay.in.main.order.create",
        "PUB pay.event.main.order.paid",
        "PUB $JS.ACK.PAY_IN.settle.1.1.1.1.0",
        "PUB _INBOX.anyone",
        "SUB >",
        "SUB pay.in.>",
        "SUB _INBOX.>",
        "SUB _INBOX_finance.>",
    ];
    assert_refused(&service, "admin", &forbidden, &["PUB $JS.API.STREAM.INFO.PAY_IN", "SUB _INBOX_admin.>"]);
    let admin = jetstream_as(server(&service), "admin").await;
    let events = admin.get_stream("PAY_EVENTS").await.unwrap();
    let config = pull::Config { durable_name: Some("other".into()), ..pull::Config::default() };
    events.create_consumer(config).await.unwrap();
    events.delete_consumer("other").await.unwrap();
    service.finish().await;
}

#[test]
fn names_that_would_be_other_users_or_other_subjects_are_no_subscribers() {
    let mounts = Mounts::new();
    let before = mounts.secret("nats_auth");
    for name in ["", "wxpay", "admin", "Finance", "a.b", "a*", ">", "a b", "-a", "a\"b", "a/../b", &"a".repeat(33)] {
        let refused = mounts.add_subscriber(name);
        assert_eq!(refused.status.code(), Some(2), "{name}");
        assert!(String::from_utf8_lossy(&refused.stderr).starts_with("error: a subscriber has a name"), "{name}");
        assert_eq!(mounts.secret("nats_auth"), before, "{name}");
    }
    mounts.add_subscriber("billing-2");
    let after = mounts.secret("nats_auth");
    assert!(after.contains("user: \"billing-2\"") && after.contains("user: \"finance\""));
    let password = mounts.secret("nats_subscriber_finance");
    assert!(before.contains(&password) && after.contains(&password), "the earlier ones keep theirs");
}
