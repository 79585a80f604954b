//! Messages that are read and left where they are.

use wxpay_worker::bus::{Peek, Peeked};

use crate::harness::bus::{Backend, NEEDS, Needs, TestBus, message, publish_all};
use crate::harness::within_timeout;

async fn page(stage: &TestBus, stream: &str, consumer: Option<&str>, after: u64) -> Option<Vec<Peeked>> {
    let peek = Peek { stream: stream.into(), consumer: consumer.map(Into::into), after, limit: 3 };
    within_timeout("a page", stage.bus.peek(&peek)).await.unwrap()
}

on_every_bus! {
    NEEDS => async fn a_page_has_the_oldest_messages_and_takes_none(stage) {
        let messages: Vec<_> = (0..5).map(|n| message(format!("message {n}"))).collect();
        publish_all(&stage.bus, messages.clone()).await;
        for consumer in [None, Some("worker")] {
            let (mut after, mut seen) = (0, Vec::new());
            for size in [3, 2, 0] {
                let rows = page(&stage, "T_IN", consumer, after).await.unwrap();
                assert_eq!(rows.len(), size, "{rows:?}");
                after = rows.last().map_or(after, |last| last.seq);
                seen.extend(rows);
            }
            for (row, message) in seen.iter().zip(&messages) {
                let expected = (Some(message.id), &message.payload, &message.subject);
                assert_eq!((row.id, &row.payload, &row.subject), expected);
            }
        }
        assert_eq!(stage.lag().await.pending, 5, "none was taken");
        assert_eq!(page(&stage, "T_EVENTS", None, 0).await.unwrap(), Vec::new());
        assert_eq!(page(&stage, "T_NONE", None, 0).await, None);
        assert_eq!(page(&stage, "T_IN", Some("reader"), 0).await, None);
    }
}
