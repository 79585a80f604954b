//! Rhythms: the cron expression and the arithmetic say the same.

use std::time::Duration;

use wxpay_worker::clock::Timestamp;
use wxpay_worker::scheduler::When;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

#[test]
fn the_next_time_is_the_first_one_of_the_cron_after_now() {
    for (when, cron, now, next) in [
        (When::every_seconds(1), "*/1 * * * * *", "2026-03-01T02:03:04.000Z", "2026-03-01T02:03:05Z"),
        (When::every_seconds(1), "*/1 * * * * *", "2026-03-01T02:03:04.999Z", "2026-03-01T02:03:05Z"),
        (When::every_seconds(10), "*/10 * * * * *", "2026-03-01T23:59:51Z", "2026-03-02T00:00:00Z"),
        (When::hourly(7), "0 7 * * * *", "2026-03-01T02:06:59.999Z", "2026-03-01T02:07:00Z"),
        (When::hourly(7), "0 7 * * * *", "2026-03-01T02:07:00Z", "2026-03-01T03:07:00Z"),
        (When::daily(2, 15), "0 15 2 * * *", "2026-02-28T02:15:00Z", "2026-03-01T02:15:00Z"),
        (When::daily(2, 15), "0 15 2 * * *", "2026-03-01T02:14:59Z", "2026-03-01T02:15:00Z"),
        (When::daily(0, 0), "0 0 0 * * *", "2026-03-01T00:00:00.001Z", "2026-03-02T00:00:00Z"),
    ] {
        assert_eq!(when.cron(), cron);
        assert_eq!(when.next_after(at(now)), at(next), "{cron} after {now}");
    }
    assert_eq!(When::hourly(7).period(), Duration::from_secs(3600));
}

#[test]
fn midnight_in_beijing_is_at_sixteen_hours_utc() {
    for (now, midnight) in [
        ("2026-03-01T15:59:59.999Z", "2026-03-01T16:00:00Z"),
        ("2026-03-01T16:00:00Z", "2026-03-02T16:00:00Z"),
        ("1969-12-31T20:00:00Z", "1970-01-01T16:00:00Z"),
    ] {
        assert_eq!(at(now).next_beijing_midnight(), at(midnight), "after {now}");
    }
}
