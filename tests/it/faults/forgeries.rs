//! True notifications in a flood of forged, foreign and wrong ones: none invented, none lost, each counted.
//! Small: forty true among four hundred. Long: two hundred among two thousand.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, stream};
use serde_json::json;
use wxpay_worker::order::OrderState;

use crate::flows::notifications::{SIGNED_BY_THE_TEST, counted, notify, signed};
use crate::harness::service::{KEY, OTHER_KEY, OTHER_MCH_ID, Processes, TestService};
use crate::harness::size;

/// Per true one.
const FALSE: usize = 10;
/// Posts under way at once.
const AT_ONCE: usize = 64;

/// A post: to whose address, what, and whether it must hear SUCCESS.
struct Post {
    merchant: &'static str,
    body: String,
    taken: bool,
}

/// The ten lies about one true notification, and how the service counts each.
fn lies(n: usize, genuine: &str) -> Vec<(&'static str, &'static str, String)> {
    let number = format!("A{n:06}");
    let about = |changes: &[(&str, &str)], key: &str| {
        let mut all = vec![("out_trade_no", number.as_str())];
        all.extend_from_slice(changes);
        signed(&all, key)
    };
    vec![
        ("main", "signature", about(&[], "00000000000000000000000000000000")),
        ("main", "signature", genuine.replace("<total_fee>100<", "<total_fee>1<")),
        ("main", "signature", genuine.replace("<transaction_id>42", "<transaction_id>43")),
        ("main", "signature", about(&[], OTHER_KEY)),
        ("main", "unsigned", genuine.split("<sign>").next().unwrap().to_owned() + "</xml>"),
        ("main", "foreign", about(&[("mch_id", OTHER_MCH_ID)], KEY)),
        ("main", "foreign", about(&[("appid", "wx0000000000000000")], KEY)),
        ("second", "signature", genuine.to_owned()),
        ("main", "xml", genuine.replace("<total_fee>", "<total_fee>1</total_fee><total_fee>")),
        // WeChat's signature holds, the amount is another: taken, and kept for a person to decide.
        ("main", "accepted", about(&[("total_fee", "99"), ("cash_fee", "99")], KEY)),
    ]
}

fn genuine(n: usize) -> String {
    let (number, transaction) = (format!("A{n:06}"), format!("42000000002026112200{n:08}"));
    signed(&[("out_trade_no", &number), ("transaction_id", &transaction)], KEY)
}

async fn only_true_ones_count(rig: Processes) {
    let count = size(40, 200);
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let service = rig.run_all().await;
    let orders = stream::iter(0..count).map(|n| {
        let (rig, service) = (&rig, &service);
        async move { rig.place(&service.base, &format!("A{n:06}"), 100).await }
    });
    let placed: Vec<_> = orders.buffer_unordered(16).collect().await;
    assert_eq!(placed.len(), count);

    let mut posts = Vec::new();
    let mut expected = std::collections::BTreeMap::from([(("main", "accepted"), count as u64)]);
    for n in 0..count {
        let truth = genuine(n);
        let lies = lies(n, &truth);
        assert_eq!(lies.len(), FALSE);
        for (merchant, result, body) in lies {
            *expected.entry((merchant, result)).or_default() += 1;
            posts.push(Post { merchant, body, taken: result == "accepted" });
        }
        posts.push(Post { merchant: "main", body: truth, taken: true });
    }
    // Mixed, the same way each time: neighbours come from all over.
    let total = posts.len();
    let mut mixed: Vec<Option<Post>> = posts.into_iter().map(Some).collect();
    let mixed = (0..total).map(|i| mixed[(i * 997) % total].take().unwrap());
    let repeats = AtomicU64::new(0);
    let posting = stream::iter(mixed).map(|post| {
        let (rig, service, repeats) = (&rig, &service, &repeats);
        async move {
            loop {
                let (status, answer) = notify(rig, service, post.merchant, post.body.clone()).await;
                // Not stored in time, on a machine under load: WeChat repeats it.
                if post.taken && status == 503 {
                    repeats.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                assert_eq!((status, answer.contains("SUCCESS")), (200, post.taken), "{answer}");
                break;
            }
        }
    });
    posting.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    rig.until_drained().await;

    for ((merchant, result), count) in expected {
        assert_eq!(counted(&rig, &service, merchant, result).await, count, "{merchant} {result}");
    }
    let repeats = i64::try_from(repeats.into_inner()).unwrap();
    let db = rig.open_db().await;
    let settled = i64::try_from(count).unwrap();
    for (what, rows) in [
        ("ledger WHERE amount_fen = 100", settled),
        ("ledger", settled),
        ("orders WHERE state = 'paid'", settled),
        ("notifications WHERE verdict = 'settled'", settled),
        ("outbox WHERE event_type = 'wxpay.order.paid.v1'", settled),
    ] {
        assert_eq!(rig.number(&db, &format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
    }
    // A repeat of what was stored after all is one more row, and settles nothing more.
    let rows = rig.number(&db, "SELECT COUNT(*) FROM notifications").await;
    assert!((2 * settled..=2 * settled + repeats).contains(&rows), "{rows} rows, {repeats} repeats");
    // A wrong amount that came after the true one is parked like one that came before.
    let parked = "dead_letters WHERE reason = 'amount_differs'";
    let refused = "notifications WHERE verdict = 'parked'";
    let rows = rig.number(&db, &format!("SELECT COUNT(*) FROM {parked}")).await;
    assert!((settled..=settled + repeats).contains(&rows), "{rows} parked, {repeats} repeats");
    assert_eq!(rig.number(&db, &format!("SELECT COUNT(*) FROM {refused}")).await, rows);
    rig.expect_dead_letters(&vec!["amount_differs"; usize::try_from(rows).unwrap()]);
    for n in [0, count / 2, count - 1] {
        let (_, order) = rig.get(&service.base, &format!("/v1/orders/A{n:06}?merchant=main")).await;
        let transaction = format!("42000000002026112200{n:08}");
        assert_eq!(
            (&order["state"], &order["transaction_id"]),
            (&json!(OrderState::Paid.as_str()), &json!(transaction))
        );
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn true_notifications_settle_among_ten_times_as_many_lies_on_embedded_and_sqlite() {
    only_true_ones_count(TestService::embedded_sqlite().await.processes().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn true_notifications_settle_among_ten_times_as_many_lies_on_nats_and_postgres() {
    only_true_ones_count(TestService::nats_postgres().await.processes().await).await;
}
