use std::cell::Cell;
use std::time::{Duration, Instant};

use wxpay_worker::retry::{Policy, Transient, retry, retry_while};

use crate::harness::within_timeout;

const QUICK: Policy = Policy {
    initial: Duration::from_millis(1),
    max: Duration::from_millis(2),
    tries: 3,
    deadline: Duration::from_secs(60),
};

#[derive(Debug, PartialEq)]
enum Fault {
    Passing(u32),
    Lasting,
}

impl Transient for Fault {
    fn is_transient(&self) -> bool {
        match self {
            Fault::Passing(_) => true,
            Fault::Lasting => false,
        }
    }
}

#[tokio::test]
async fn a_passing_fault_is_tried_again_until_it_has_passed() {
    let runs = Cell::new(0);
    let result = retry(QUICK, || async {
        runs.set(runs.get() + 1);
        if runs.get() < 3 { Err(Fault::Passing(runs.get())) } else { Ok("done") }
    })
    .await;
    assert_eq!((result, runs.get()), (Ok("done"), 3));
}

#[tokio::test]
async fn the_tries_are_counted_and_the_last_error_is_kept() {
    let runs = Cell::new(0);
    let fail = || async {
        runs.set(runs.get() + 1);
        Err::<(), _>(Fault::Passing(runs.get()))
    };
    assert_eq!(retry(QUICK, fail).await, Err(Fault::Passing(3)));
    assert_eq!(retry(Policy { tries: 0, ..QUICK }, fail).await, Err(Fault::Passing(4)), "0 tries are one");
}

#[tokio::test]
async fn a_lasting_fault_is_not_tried_again() {
    let runs = Cell::new(0);
    let result = retry(QUICK, || async {
        runs.set(runs.get() + 1);
        Err::<(), _>(Fault::Lasting)
    })
    .await;
    assert_eq!((result, runs.get()), (Err(Fault::Lasting), 1));
}

#[tokio::test]
async fn no_pause_begins_that_would_end_after_the_deadline() {
    let runs = Cell::new(0u32);
    let policy = Policy { initial: Duration::from_secs(3600), max: Duration::from_secs(3600), tries: 9, ..QUICK };
    let hours = retry(policy, || async {
        runs.set(runs.get() + 1);
        Err::<(), _>(Fault::Passing(runs.get()))
    });
    let result = tokio::time::timeout(Duration::from_secs(30), hours).await;
    assert_eq!(result.expect("it does not wait an hour to find out"), Err(Fault::Passing(1)));
}

#[tokio::test]
async fn the_deadline_ends_what_the_tries_would_not() {
    let mut tried = 0;
    // On a busy machine the first tries may take the whole of a short time.
    for deadline in [300, 3000, 30_000].map(Duration::from_millis) {
        let policy = Policy { tries: u32::MAX, deadline, ..QUICK };
        let runs = Cell::new(0u32);
        let started = Instant::now();
        let endless = retry_while(
            policy,
            || async {
                runs.set(runs.get() + 1);
                runs.get()
            },
            |_| true,
        );
        let last = within_timeout("the end by the deadline", endless).await;
        assert_eq!(last, runs.get());
        assert!(started.elapsed() >= deadline / 2, "it used its time");
        tried = last;
        if tried > 3 {
            break;
        }
    }
    assert!(tried > 3, "it did try: {tried}");
}

#[tokio::test]
async fn pauses_grow_and_never_exceed_the_longest() {
    let policy = Policy {
        initial: Duration::from_millis(8),
        max: Duration::from_millis(16),
        tries: 5,
        deadline: Duration::from_secs(60),
    };
    let started = Instant::now();
    retry_while(policy, || async {}, |()| true).await;
    // Four pauses of 8, 12, 16, 16 ms, each with jitter of half of it: 26 ms at the least.
    assert!(started.elapsed() >= Duration::from_millis(26), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_unknown_value_is_tried_again_like_an_error() {
    let runs = Cell::new(0);
    let value = retry_while(
        QUICK,
        || async {
            runs.set(runs.get() + 1);
            if runs.get() < 2 { "unknown" } else { "issued" }
        },
        |value| *value == "unknown",
    )
    .await;
    assert_eq!((value, runs.get()), ("issued", 2));
}
