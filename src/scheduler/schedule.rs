//! When a job is due: a fixed rhythm in UTC, which is a cron expression for the scheduler library and plain arithmetic
//! for the check whether a run was missed. The two must agree.

use std::time::Duration;

use crate::clock::Timestamp;

const DAY_S: u32 = 86_400;
const HOUR_S: u32 = 3600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    period_s: u32,
    offset_s: u32,
}

impl When {
    /// Every so many seconds; a divisor of 60.
    pub const fn every_seconds(period_s: u32) -> When {
        assert!(period_s > 0 && 60 % period_s == 0, "cron counts seconds within a minute");
        When { period_s, offset_s: 0 }
    }

    /// Every so many minutes; a divisor of 60.
    pub const fn every_minutes(minutes: u32) -> When {
        assert!(minutes > 0 && 60 % minutes == 0, "cron counts minutes within an hour");
        When { period_s: minutes * 60, offset_s: 0 }
    }

    /// Every hour at this minute.
    pub const fn hourly(minute: u32) -> When {
        assert!(minute < 60, "an hour has 60 minutes");
        When { period_s: HOUR_S, offset_s: minute * 60 }
    }

    /// Every day at this time in UTC. Beijing is eight hours ahead.
    pub const fn daily(hour: u32, minute: u32) -> When {
        assert!(hour < 24 && minute < 60, "a day has 24 hours of 60 minutes");
        When { period_s: DAY_S, offset_s: hour * HOUR_S + minute * 60 }
    }

    /// The time between two runs.
    pub const fn period(self) -> Duration {
        Duration::from_secs(self.period_s as u64)
    }

    /// The cron expression, with seconds.
    pub fn cron(self) -> String {
        let (hour, minute) = (self.offset_s / HOUR_S, self.offset_s / 60 % 60);
        match self.period_s {
            DAY_S => format!("0 {minute} {hour} * * *"),
            HOUR_S => format!("0 {minute} * * * *"),
            seconds @ 0..60 => format!("*/{seconds} * * * * *"),
            seconds => format!("0 */{} * * * *", seconds / 60),
        }
    }

    /// The first due time after `t`.
    pub fn next_after(self, t: Timestamp) -> Timestamp {
        let (period_ms, offset_ms) = (i64::from(self.period_s) * 1000, i64::from(self.offset_s) * 1000);
        let periods = (t.as_ms() - offset_ms).div_euclid(period_ms) + 1;
        Timestamp::from_ms(periods * period_ms + offset_ms)
    }
}
