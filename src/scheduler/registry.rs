//! What is done regularly, in one table: name, rhythm, deadline, and the function that does it.

use std::time::Duration;

use super::job::Job;
use super::jobs;
use super::schedule::When;
use super::token_refresh::CALL_LIMIT;

/// Two calls, one after the other, and what is written of them.
const TOKENS_DEADLINE: Duration = Duration::from_secs(45);
const _: () = assert!(2 * CALL_LIMIT.as_secs() < TOKENS_DEADLINE.as_secs());

pub(super) const JOBS: &[Job] = &[
    Job {
        name: "pending_queries",
        when: When::every_seconds(1),
        check: Some(|reading| Box::pin(jobs::has_due_queries(reading))),
        rests: true,
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::pending_queries(ctx)),
    },
    Job {
        name: "pending_refunds",
        when: When::every_seconds(1),
        check: Some(|reading| Box::pin(jobs::has_due_refunds(reading))),
        rests: true,
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::pending_refunds(ctx)),
    },
    Job {
        name: "far_times",
        when: When::every_seconds(30),
        check: Some(|reading| Box::pin(jobs::has_far_times(reading))),
        rests: false,
        deadline: Duration::from_secs(30),
        run: |ctx| Box::pin(jobs::far_times(ctx)),
    },
    Job {
        name: "deferred_messages",
        when: When::every_seconds(1),
        check: Some(|reading| Box::pin(jobs::has_deferred(reading))),
        rests: true,
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::deferred_messages(ctx)),
    },
    Job {
        name: "orphans",
        when: When::every_seconds(10),
        check: Some(|reading| Box::pin(jobs::has_orphans(reading))),
        rests: false,
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::orphans(ctx)),
    },
    Job {
        name: "merchant_faults",
        when: When::every_seconds(5),
        check: Some(|reading| Box::pin(jobs::has_faults(reading))),
        rests: false,
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::merchant_faults(ctx)),
    },
    Job {
        name: "platform_tokens",
        when: When::every_seconds(1),
        check: Some(|reading| Box::pin(jobs::has_due_tokens(reading))),
        rests: true,
        deadline: TOKENS_DEADLINE,
        run: |ctx| Box::pin(jobs::platform_tokens(ctx)),
    },
    Job {
        name: "gauges",
        when: When::every_seconds(10),
        check: Some(|reading| Box::pin(jobs::measure(reading))),
        rests: false,
        deadline: Duration::from_secs(30),
        run: |ctx| Box::pin(jobs::gauges(ctx)),
    },
    Job {
        name: "retention",
        when: When::hourly(7),
        check: None,
        rests: false,
        deadline: Duration::from_secs(600),
        run: |ctx| Box::pin(jobs::retention(ctx)),
    },
    Job {
        name: "reconciliations",
        when: When::every_seconds(5),
        check: Some(|reading| Box::pin(jobs::has_due_days(reading))),
        rests: false,
        deadline: Duration::from_secs(3600),
        run: |ctx| Box::pin(jobs::reconciliations(ctx)),
    },
    Job {
        name: "repairs",
        when: When::every_seconds(5),
        check: Some(|reading| Box::pin(jobs::has_due_repairs(reading))),
        rests: false,
        deadline: Duration::from_secs(300),
        run: |ctx| Box::pin(jobs::repairs(ctx)),
    },
    Job {
        name: "erasures",
        when: When::every_seconds(5),
        check: Some(|reading| Box::pin(jobs::has_due_erasures(reading))),
        rests: false,
        deadline: Duration::from_secs(60),
        run: |ctx| Box::pin(jobs::erasures(ctx)),
    },
    Job {
        name: "books",
        when: When::hourly(20),
        check: None,
        rests: false,
        deadline: Duration::from_secs(300),
        run: |ctx| Box::pin(jobs::books(ctx)),
    },
];
