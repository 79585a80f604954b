//! The job removes what has passed its configured period, and nothing earlier.

use sea_orm::Value;

use super::runs::{Process, ended_by, real_time, until};

const DAY_MS: i64 = 86_400_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_table_loses_what_is_older_than_its_own_period() {
    let stage = real_time().await;
    let now_ms = stage.clock.now().as_ms();
    let run = async |sql: &str, values: Vec<Value>| {
        stage.store.db().execute("test", sql.to_owned(), values).await.unwrap();
    };
    // A day before the end of each default period, and a day after it.
    for (name, past) in [("kept", -1), ("old", 1)] {
        let at = |days: i64| Value::from(now_ms - (days + past) * DAY_MS);
        run(
            "INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms,
                                        processed_at_ms, verdict)
             VALUES ($1, 'main', 'pay', '', '[]', '', $2, 1, 'rejected')",
            vec![format!("0 {name}").into(), at(180)],
        )
        .await;
        run(
            "INSERT INTO quarantine (merchant, reason, remote_addr, received_at_ms, body)
             VALUES ('main', $1, '', $2, '')",
            vec![name.into(), at(180)],
        )
        .await;
        run(
            "INSERT INTO outbox (event_id, merchant, subject, event_type, payload, created_at_ms, position,
                                 relayed_at_ms)
             VALUES ($1, 'main', 's', 't', '{}', $2, $3, $2)",
            vec![name.into(), at(180), Value::from(if past > 0 { 1_i64 } else { 2 })],
        )
        .await;
        run(
            "INSERT INTO dead_letters (event_id, consumer, subject, headers, payload, reason, first_error, last_error,
                                       attempts, parked_at_ms, state, ended_at_ms)
             VALUES ($1, 'c', 's', '[]', '', 'r', 'e', 'e', 1, 1, 'discarded', $2)",
            vec![name.into(), at(365)],
        )
        .await;
        run(
            "INSERT INTO audit (at_ms, actor, remote_addr, action, merchant, result)
             VALUES ($2, $1, '', 'a', 'main', 'r')",
            vec![name.into(), at(3650)],
        )
        .await;
        run(
            "INSERT INTO idempotency_keys VALUES ('shop', $1, 'h', 'main', 'no such order', $2)",
            vec![name.into(), at(30)],
        )
        .await;
        // Refused, and one of which no one decided: it ended when its time was over.
        for (n, state, decided) in [("r", "refused", at(1095)), ("e", "waiting", Value::BigInt(None))] {
            let by = if state == "refused" { "'boss'" } else { "NULL" };
            run(
                &format!(
                    "INSERT INTO approvals (kind, merchant, transaction_id, refund_no, amount_fen, class, currency,
                       reason, content, asked_by, asked_by_id, asked_key_id, asked_from, asked_at_ms, expires_at_ms,
                       state, decided_by, decided_by_id, decided_at_ms)
                     VALUES ('refund', 'main', 't', $1, 1, 'credited', 'CNY', '', '{{}}', 'a', 'a', 'a', '', 1, $2, $3,
                             {by}, {by}, $4)"
                ),
                vec![format!("{n}{name}").into(), at(1095), state.into(), decided],
            )
            .await;
        }
        run(
            "INSERT INTO users (app, openid, is_snapshot, created_at_ms, updated_at_ms)
             VALUES ('shop', $1, FALSE, 1, $2)",
            vec![name.into(), at(730)],
        )
        .await;
        run(
            "INSERT INTO webhook_attempts (endpoint_id, merchant, event_id, event_type, cause, outcome, url,
                                           request_bytes, started_at_ms, took_ms)
             VALUES ('e', 'main', $1, 't', 'schedule', 'delivered', 'u', 1, $2, 1)",
            vec![name.into(), at(30)],
        )
        .await;
        for (state, ended) in [("delivered", at(30)), ("pending", Value::BigInt(None))] {
            run(
                "INSERT INTO webhook_deliveries (endpoint_id, merchant, event_id, event_type, position, state,
                                                 attempts, tries, due_at_ms, created_at_ms, ended_at_ms)
                 VALUES ($2, 'main', $1, 't', 1, $2, 1, 1, 1, 1, $3)",
                vec![name.into(), state.into(), ended],
            )
            .await;
        }
    }
    let process = Process::start(&stage, "one").await;
    let view = until(&stage, "retention", "its run", |view| ended_by(view, "one")).await;
    let detail = view.last.unwrap().detail.unwrap();
    let each = "1 notifications, 1 quarantine, 1 outbox, 1 dead_letters, 1 audit, 1 idempotency_keys, 2 approvals, \
                1 users, 1 webhook_attempts, 1 webhook_deliveries";
    assert!(detail.ends_with(each), "{detail}");
    for (table, name) in [
        ("notifications", "event_id"),
        ("quarantine", "reason"),
        ("outbox", "event_id"),
        ("dead_letters", "event_id"),
        ("audit", "actor"),
        ("idempotency_keys", "idempotency_key"),
        ("users", "openid"),
    ] {
        assert_eq!(stage.count(&format!("{table} WHERE {name} LIKE '%old'")).await, 0, "{table}");
        assert_eq!(stage.count(&format!("{table} WHERE {name} LIKE '%kept'")).await, 1, "{table}");
    }
    assert_eq!(stage.count("approvals WHERE refund_no LIKE '%old'").await, 0);
    assert_eq!(stage.count("approvals WHERE refund_no LIKE '%kept'").await, 2);
    assert_eq!(stage.count("webhook_attempts WHERE event_id = 'kept'").await, 1);
    assert_eq!(stage.count("webhook_deliveries WHERE state = 'pending'").await, 2, "what is pending stays");
    assert_eq!(stage.count("webhook_deliveries WHERE event_id = 'kept'").await, 2);
    process.stop().await;
    run("DELETE FROM dead_letters", Vec::new()).await;
    stage.finish().await;
}
