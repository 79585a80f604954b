//! Grouping: one effect for many callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc};
use wxpay_worker::batcher::{Group, GroupError, Limits};

use crate::harness::within_timeout;

const LIMITS: Limits = Limits { max_batch: 100, queue: 1000 };

/// A group that reports its batches and waits at a gate before each.
fn gated(limits: Limits) -> (Group<u32, u32>, Arc<Semaphore>, mpsc::UnboundedReceiver<Vec<u32>>) {
    let gate = Arc::new(Semaphore::new(0));
    let (seen, batches) = mpsc::unbounded_channel();
    let held = Arc::clone(&gate);
    let group = Group::new(limits, move |items: Vec<u32>| {
        let (gate, seen) = (Arc::clone(&held), seen.clone());
        async move {
            let _ = seen.send(items.clone());
            gate.acquire().await.unwrap().forget();
            items.iter().map(|n| n * 2).collect()
        }
    });
    (group, gate, batches)
}

#[tokio::test]
async fn what_queues_up_while_a_batch_runs_is_the_next_batch() {
    let (group, gate, mut batches) = gated(LIMITS);
    let group = Arc::new(group);
    let first = tokio::spawn({
        let group = Arc::clone(&group);
        async move { group.run(0).await }
    });
    assert_eq!(within_timeout("the first batch", batches.recv()).await.unwrap(), [0]);
    let others = join_all((1..=50).map(|n| group.run(n)));
    tokio::pin!(others);
    // Polled once, all of them stand in the queue.
    assert!(futures_util::poll!(&mut others).is_pending());
    gate.add_permits(2);
    let results: Vec<u32> = within_timeout("the results", others).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results, (1..=50).map(|n| n * 2).collect::<Vec<_>>());
    assert_eq!(within_timeout("the second batch", batches.recv()).await.unwrap(), (1..=50).collect::<Vec<_>>());
    assert_eq!(first.await.unwrap(), Ok(0));
}

#[tokio::test]
async fn a_batch_is_never_larger_than_allowed() {
    let (group, gate, mut batches) = gated(Limits { max_batch: 8, ..LIMITS });
    gate.add_permits(1000);
    for result in join_all((0..50).map(|n| group.run(n))).await {
        result.unwrap();
    }
    drop(group);
    let mut total = 0;
    while let Some(batch) = within_timeout("the end", batches.recv()).await {
        assert!(batch.len() <= 8);
        total += batch.len();
    }
    assert_eq!(total, 50);
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait() {
    let (group, gate, mut batches) = gated(Limits { max_batch: 1, queue: 2 });
    let callers = join_all((0..4).map(|n| group.run(n)));
    tokio::pin!(callers);
    assert!(futures_util::poll!(&mut callers).is_pending());
    // One runs, two are queued; the fourth has not got in, so withdrawing it leaves no trace.
    assert_eq!(within_timeout("a batch", batches.recv()).await.unwrap(), [0]);
    gate.add_permits(4);
    assert_eq!(within_timeout("the results", callers).await, [Ok(0), Ok(2), Ok(4), Ok(6)]);
}

#[tokio::test]
async fn a_panic_reaches_every_caller_and_the_group_lives_on() {
    let group = Group::new(LIMITS, |items: Vec<u32>| async move {
        assert!(!items.contains(&13), "unlucky");
        items
    });
    let results = within_timeout("the results", join_all([13, 14].map(|n| group.run(n)))).await;
    assert_eq!(results, [Err(GroupError::Lost), Err(GroupError::Lost)]);
    assert_eq!(within_timeout("a result", group.run(15)).await, Ok(15));
}

#[tokio::test]
async fn a_batch_that_gives_too_few_results_leaves_no_caller_waiting() {
    let group = Group::new(LIMITS, |items: Vec<u32>| async move { items.into_iter().take(1).collect::<Vec<_>>() });
    let results = within_timeout("the results", join_all([1, 2].map(|n| group.run(n)))).await;
    assert_eq!(results, [Ok(1), Err(GroupError::Lost)]);
}

#[tokio::test]
async fn dropping_the_group_finishes_what_was_handed_in() {
    let (group, gate, mut batches) = gated(LIMITS);
    let group = Arc::new(group);
    let callers: Vec<_> = (0..3)
        .map(|n| {
            let group = Arc::clone(&group);
            tokio::spawn(async move { group.run(n).await })
        })
        .collect();
    within_timeout("a batch", batches.recv()).await.unwrap();
    drop(group);
    gate.add_permits(10);
    for (n, caller) in callers.into_iter().enumerate() {
        assert_eq!(within_timeout("a result", caller).await.unwrap(), Ok(u32::try_from(n).unwrap() * 2));
    }
    within_timeout("the end of the task", async { while batches.recv().await.is_some() {} }).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_withdraws_its_item() {
    let (group, gate, mut batches) = gated(LIMITS);
    let busy = group.run(1);
    tokio::pin!(busy);
    assert!(futures_util::poll!(&mut busy).is_pending());
    within_timeout("the first batch", batches.recv()).await.unwrap();
    let gone = tokio::time::timeout(Duration::from_millis(10), group.run(2)).await;
    assert!(gone.is_err());
    let stays = group.run(3);
    tokio::pin!(stays);
    assert!(futures_util::poll!(&mut stays).is_pending());
    gate.add_permits(2);
    assert_eq!(within_timeout("the results", async { (busy.await, stays.await) }).await, (Ok(2), Ok(6)));
    assert_eq!(within_timeout("the second batch", batches.recv()).await.unwrap(), [3]);
}

#[tokio::test]
async fn partitions_run_at_once_and_a_route_keeps_its_order() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (order, mut ordered) = mpsc::unbounded_channel();
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let (r, m, b) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&both));
    let group = Group::partitioned(
        Limits { max_batch: 1, queue: 100 },
        2,
        |n: &u32| u64::from(*n),
        move |items| {
            let (running, most, both, order) = (Arc::clone(&r), Arc::clone(&m), Arc::clone(&b), order.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // Passes only when both partitions have come here.
                both.wait().await;
                running.fetch_sub(1, Ordering::SeqCst);
                let _ = order.send(items[0]);
                items
            }
        },
    );
    for result in within_timeout("the results", join_all((0..20).map(|n| group.run(n)))).await {
        result.unwrap();
    }
    drop(group);
    let mut partitions = [Vec::new(), Vec::new()];
    while let Some(n) = ordered.recv().await {
        partitions[(n % 2) as usize].push(n);
    }
    assert!(most.load(Ordering::SeqCst) >= 2);
    assert_eq!(partitions[0], (0..20).step_by(2).collect::<Vec<_>>());
    assert_eq!(partitions[1], (1..20).step_by(2).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_handed_in_together_stays_together_within_the_limit() {
    let (group, gate, mut batches) = gated(Limits { max_batch: 4, ..LIMITS });
    let group = Arc::new(group);
    let first = tokio::spawn({
        let group = Arc::clone(&group);
        async move { group.run(0).await }
    });
    assert_eq!(within_timeout("the first batch", batches.recv()).await.unwrap(), [0]);
    let sets = [vec![1, 2, 3], vec![4, 5], vec![6], vec![], vec![7, 8, 9, 10, 11, 12]];
    let others = join_all(sets.map(|set| group.run_all(set)));
    tokio::pin!(others);
    assert!(futures_util::poll!(&mut others).is_pending());
    gate.add_permits(10);
    let all_of = |set: Vec<Result<u32, GroupError>>| set.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    let results: Vec<_> = within_timeout("the results", others).await.into_iter().map(all_of).collect();
    assert_eq!(results, [vec![2, 4, 6], vec![8, 10], vec![12], vec![], vec![14, 16, 18, 20, 22, 24]]);
    first.await.unwrap().unwrap();
    let mut sizes = Vec::new();
    while let Ok(batch) = batches.try_recv() {
        sizes.push(batch);
    }
    // Only what is larger by itself is beyond the limit.
    assert_eq!(sizes, [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8, 9, 10, 11, 12]]);
}

#[tokio::test]
async fn what_is_handed_in_together_goes_to_the_queue_of_each_and_the_results_come_in_order() {
    let (seen, mut batches) = mpsc::unbounded_channel();
    let run = move |items: Vec<u32>| {
        let _ = seen.send(items.clone());
        async move {
            assert!(!items.contains(&6), "the batch of 6");
            items.into_iter().map(|n| n * 2).collect()
        }
    };
    let group = Group::partitioned(LIMITS, 2, |n: &u32| u64::from(*n), run);
    let results = within_timeout("the results", group.run_all(vec![5, 2, 4, 1, 3])).await;
    assert_eq!(results, [10, 4, 8, 2, 6].map(Ok));
    let lost = within_timeout("the results", group.run_all(vec![6, 7, 8])).await;
    assert_eq!(lost, [Err(GroupError::Lost), Ok(14), Err(GroupError::Lost)], "one queue's batch is not the other's");
    drop(group);
    let mut by_queue = [Vec::new(), Vec::new()];
    while let Some(batch) = batches.recv().await {
        by_queue[(batch[0] % 2) as usize].push(batch);
    }
    assert_eq!(by_queue, [vec![vec![2, 4], vec![6, 8]], vec![vec![5, 1, 3], vec![7]]], "each queue's own in one batch");
}
