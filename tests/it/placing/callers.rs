//! Callers that leave while their order is being recorded, and callers that repeat a request.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::processes::commands_published;
use crate::flows::on_all_four;
use crate::harness::service::{API_KEY, answer, jsapi};

on_all_four! {
    /// A later attempt's number is placed by a poll: a command would place it a second time.
    async fn a_repeated_request_publishes_nothing_about_a_later_attempt(service) {
        let process = service.run_all().await;
        service.place(&process.base, "A770001", 100).await;
        assert!(process.terminate().await.success());
        let db = service.open_db().await;
        for sql in [
            "UPDATE attempts SET n = 2, state = 'created', prepay_id = NULL, prepay_issued_at_ms = NULL",
            "UPDATE orders SET state = 'requested', next_query_at_ms = created_at_ms",
        ] {
            db.execute("test", sql, []).await.unwrap();
        }
        let ingress = service.run_roles("ingress").await;
        let request = service.http.post(format!("{}/v1/orders", ingress.base)).bearer_auth(API_KEY);
        let request = request.header("prefer", "wait=0").header("content-type", "application/json");
        let (status, order) = answer(request.body(jsapi("A770001", 100).to_string())).await.unwrap();
        assert_eq!((status, &order["state"]), (202, &"requested".into()), "{order}");
        assert_eq!(commands_published(&service, &ingress.base).await, [] as [String; 0]);
        assert!(ingress.terminate().await.success());
        let process = service.run_all().await;
        service.until_state(&process.base, "A770001", "payable").await;
        service.finish().await;
    }
}

/// Nothing but the process that recorded the order places it: there is no scheduler that polls it.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_whose_caller_leaves_while_it_is_recorded_is_placed_from_here() {
    use crate::harness::db::TestDb;
    use crate::harness::locker::Locker;
    use crate::harness::pausing::{is_stopped, signal};
    use crate::harness::service::TestService;
    use crate::harness::within_timeout;

    // The claim is taken before the pause: it must not end within it.
    let service = TestService::embedded_sqlite().await.config("[store]\nlease_ms = 60000\n").processes().await;
    let TestDb::Sqlite(folder) = &service.db else { unreachable!("on SQLite") };
    // Without the relay: a process that is stopped within a transaction would keep the lock of SQLite.
    let process = service.run_with("ingress,worker", &[("WXPAY_PAUSE_AT", "ingress.order_parsed")]).await;
    let mut caller = TcpStream::connect(process.base.trim_start_matches("http://")).await.unwrap();
    let body = jsapi("A770002", 100).to_string();
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    caller.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    within_timeout("the pause before the order is recorded", async {
        while !is_stopped(&process) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let locker = Locker::start(&folder.path().join("wxpay.db")).await;
    caller.shutdown().await.unwrap();
    signal(&process, "-CONT");
    let mut answer = Vec::new();
    let read = within_timeout("the end of the connection", caller.read_to_end(&mut answer)).await;
    assert!(read.is_err() || answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    drop(locker);
    service.until_state(&process.base, "A770002", "payable").await;
    assert_eq!(service.wechat_calls("unifiedorder", "A770002").await.len(), 1);
    let _relay = service.run_beside("relay", &[]).await;
    service.finish().await;
}
