//! Clocks of hosts that are wrong, and what sets them right.

use std::time::{Duration, Instant};

use wxpay_worker::clock::{Clock, Timestamp};

const HOUR_MS: i64 = 3_600_000;
const ANY: Timestamp = Timestamp::from_ms(1_800_000_000_000);

/// Within what the test itself takes.
fn shows(clock: &Clock, expected_ms: i64) -> bool {
    (clock.now().as_ms() - expected_ms).abs() < 500
}

fn host_ms() -> i64 {
    Clock::system().now().as_ms()
}

#[test]
fn a_clock_that_is_hours_off_is_set_with_all_its_clones() {
    for off_ms in [3 * HOUR_MS, -3 * HOUR_MS, 1500, -1500] {
        let clock = Clock::host_off_by(off_ms);
        let clone = clock.clone();
        assert!(shows(&clone, host_ms() + off_ms), "{off_ms}");
        let put_ahead = clock.set_by(Clock::system().now(), Instant::now()).expect("it was off");
        assert!((put_ahead + off_ms).abs() < 500, "{off_ms}: {put_ahead}");
        assert!(shows(&clock, host_ms()) && shows(&clone, host_ms()), "{off_ms}");
        assert!((clock.host_ahead_ms(Clock::system().now()) - off_ms).abs() < 500, "the host is as wrong as before");
        assert_eq!(clock.set_by(Clock::system().now(), Instant::now()), None, "{off_ms}: it is right");
    }
}

#[test]
fn less_than_a_second_is_left_alone_again_and_again() {
    let clock = Clock::host_off_by(600);
    for _ in 0..3 {
        assert_eq!(clock.set_by(Clock::system().now(), Instant::now()), None);
        assert!(shows(&clock, host_ms() + 600));
    }
}

#[test]
fn what_may_be_the_answers_way_sets_nothing() {
    let clock = Clock::system();
    let asked = Instant::now().checked_sub(Duration::from_secs(6)).unwrap();
    // Taken just before it was on its way: three seconds from the middle.
    let theirs = Timestamp::from_ms(host_ms() - 6000);
    assert_eq!(clock.set_by(theirs, asked), None);
    assert!(shows(&clock, host_ms()));
    assert!(clock.set_by(Timestamp::from_ms(host_ms() - HOUR_MS), asked).is_some(), "an hour is no answer's way");
}

#[test]
fn a_manual_clock_is_never_set_by_the_host() {
    let clock = Clock::manual(ANY);
    assert_eq!(clock.set_by(Clock::system().now(), Instant::now()), None);
    assert_eq!((clock.now(), clock.host_ahead_ms(Clock::system().now())), (ANY, 0));
    clock.advance(Duration::from_secs(1));
    assert_eq!(clock.now(), ANY.after(Duration::from_secs(1)));
}
