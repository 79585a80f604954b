//! The bus's pure rules: what a verdict becomes, which subject goes where.

use std::time::Duration;

use wxpay_worker::bus::{
    ConsumerName, Discard, MAX_BUS_DELAY, MAX_BUS_RETRIES, Message, Step, Topology, Tries, Verdict, next_step,
};

const TRIES: Tries = Tries { attempt: 1, on_bus: 1, max_attempts: 20, bus_has_room: true };

fn retry(after: Duration) -> Verdict {
    Verdict::Retry { after, why: "why".into() }
}

#[test]
fn a_short_wait_stays_in_the_bus_and_everything_else_goes_to_the_database() {
    let wait = |after| Step::Wait { after, why: "why".into() };
    let defer = |after| Step::Defer { after, why: "why".into() };
    let (short, long) = (MAX_BUS_DELAY, MAX_BUS_DELAY + Duration::from_millis(1));
    assert_eq!(next_step(retry(short), TRIES), wait(short));
    assert_eq!(next_step(retry(long), TRIES), defer(long));
    let last = Tries { on_bus: MAX_BUS_RETRIES, attempt: MAX_BUS_RETRIES, ..TRIES };
    assert_eq!(next_step(retry(short), last), wait(short));
    let beyond = Tries { on_bus: MAX_BUS_RETRIES + 1, ..last };
    assert_eq!(next_step(retry(short), beyond), defer(short));
    assert_eq!(next_step(retry(short), Tries { bus_has_room: false, ..TRIES }), defer(short));
}

#[test]
fn the_last_attempt_is_parked_however_it_was_counted() {
    for after in [Duration::ZERO, Duration::from_secs(3600)] {
        for attempt in [20, 21] {
            let step = next_step(retry(after), Tries { attempt, ..TRIES });
            assert_eq!(step, Step::Park { reason: "exhausted", why: "why".into() });
        }
    }
    assert_eq!(next_step(Verdict::Done, Tries { attempt: 99, ..TRIES }), Step::Ack);
}

#[test]
fn what_was_away_for_too_long_is_a_failed_attempt() {
    let away = || Verdict::Unavailable { why: "why".into() };
    assert_eq!(next_step(away(), TRIES), Step::Wait { after: MAX_BUS_DELAY, why: "why".into() });
    let step = next_step(away(), Tries { attempt: 20, ..TRIES });
    assert_eq!(step, Step::Park { reason: "exhausted", why: "why".into() });
}

#[test]
fn what_waits_for_a_lock_comes_again_after_growing_waits_and_ends_as_a_dead_letter() {
    let locked = || Verdict::Locked { why: "why".into() };
    let step = |attempt| next_step(locked(), Tries { attempt, ..TRIES });
    assert_eq!(step(1), Step::Wait { after: MAX_BUS_DELAY, why: "why".into() });
    for (attempt, seconds) in [(2, 10), (3, 20), (6, 160), (7, 300), (19, 300)] {
        let expected = Step::Defer { after: Duration::from_secs(seconds), why: "why".into() };
        assert_eq!(step(attempt), expected, "attempt {attempt}");
    }
    assert_eq!(step(20), Step::Park { reason: "exhausted", why: "why".into() });
}

#[test]
fn every_command_subject_has_its_consumer() {
    let topology = Topology::builtin(std::time::Duration::from_secs(30)).unwrap();
    for (subject, name) in [
        ("pay.in.main.order.requested", ConsumerName::PREPARE_ORDER),
        ("pay.in.main.notify.received", ConsumerName::SETTLE),
        ("pay.in.main.query.due", ConsumerName::QUERY),
    ] {
        let (stream, _) = topology.consumer(&name).unwrap();
        assert_eq!(topology.stream_of(subject).unwrap().name, stream.name);
        let takers = stream.consumers.iter().filter(|c| wxpay_worker::bus::matches(&c.filter, subject));
        assert_eq!(takers.map(|c| c.name.as_str()).collect::<Vec<_>>(), [name.as_str()]);
    }
    assert_eq!(topology.stream_of("pay.event.main.order.paid").unwrap().name, "PAY_EVENTS");
    assert!(topology.stream_of("pay.other").is_none());
}

#[test]
fn a_full_stream_of_work_refuses_and_a_full_stream_of_events_drops_its_oldest() {
    let topology = Topology::builtin(std::time::Duration::from_secs(30)).unwrap();
    let discards = topology.streams.iter().map(|s| (s.name.as_str(), s.discard));
    assert_eq!(discards.collect::<Vec<_>>(), [("PAY_IN", Discard::New), ("PAY_EVENTS", Discard::Old)]);
}

#[test]
fn a_topology_in_which_two_take_the_same_subject_is_refused() {
    let text = include_str!("../../../../nats/topology.toml");
    let twice = text.replace("pay.in.*.query.*", "pay.in.main.notify.>");
    assert!(Topology::parse(&twice).unwrap_err().to_string().contains("share subjects"));
    let streams = text.replace("\"pay.event.>\"", "\"pay.*.main\"");
    assert!(Topology::parse(&streams).unwrap_err().to_string().contains("share subjects"));
    let unknown = text.replace("purge_acknowledged", "purge_all");
    assert!(Topology::parse(&unknown).is_err());
}

#[test]
fn a_message_never_shows_its_content() {
    let message = Message::new("pay.in.main.notify.received", "openid oUpF8uMuAJO_M2pxb1Q9zNjWeS6o")
        .with_header("x-note", "two\r\nlines");
    assert!(!format!("{message:?}").contains("oUpF8"));
    assert_eq!(message.header("X-Note"), Some("two  lines"));
    let replayed = message.clone().replayed("job-7");
    assert_eq!(replayed.id, message.id);
    assert_ne!(replayed.dedupe_key(), message.dedupe_key());
    assert_eq!(Message::id_of_key(&replayed.dedupe_key()), Some(message.id));
    assert_eq!(Message::id_of_key("not-ours"), None);
}
