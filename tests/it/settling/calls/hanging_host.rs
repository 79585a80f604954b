//! A main pay host that takes calls and gives no answer, beside a backup host that works.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use serde_json::json;

use super::backup_host::{Carrier, path_of};
use crate::harness::service::{InProcess, TestService};
use crate::harness::within_timeout;
use crate::settling::on_both;
use crate::wechat::server::{Answer, Server};

const ORDER: &str = "/pay/unifiedorder";
const QUERY: &str = "/pay/orderquery";
const REFUND: &str = "/secapi/pay/refund";
/// Of a call; the host that works answers within it on a busy machine, too.
const LIMIT: Duration = Duration::from_secs(4);

/// WeChat, which does not answer the calls of these paths while it hangs.
struct Site {
    server: Server,
    hangs: Arc<AtomicBool>,
}

impl Site {
    fn of(wechat: Carrier, hangs: bool, hanging: &'static [&'static str]) -> Site {
        let hangs = Arc::new(AtomicBool::new(hangs));
        let answers = Arc::clone(&hangs);
        let server = Server::start(move |request| {
            if answers.load(SeqCst) && hanging.contains(&path_of(request)) {
                return Answer::Hang;
            }
            wechat.carry(request)
        });
        Site { server, hangs }
    }

    fn calls(&self, path: &str) -> usize {
        self.server.received().iter().filter(|r| path_of(r) == path).count()
    }
}

/// The service talks to these two from now on.
async fn two_sites(service: &mut InProcess, timeout: Duration, hanging: &'static [&'static str]) -> (Site, Site) {
    let wechat = Carrier::to(service).await;
    let (main, backup) = (Site::of(wechat.clone(), true, hanging), Site::of(wechat, false, &[]));
    let (main_url, backup_url) = (main.server.url.clone(), backup.server.url.clone());
    service
        .restart_with(|config| {
            config.wechat.pay_url = main_url;
            config.wechat.pay_backup_url = backup_url;
            config.wechat.timeout = timeout;
        })
        .await;
    (main, backup)
}

on_both! {
    async fn a_main_host_that_hangs_costs_a_second_once_and_is_used_again_once_it_answers(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        let (main, backup) = two_sites(&mut service, Duration::from_secs(30), &[ORDER, QUERY, "/"]).await;
        let begun = Instant::now();
        service.place("H100001").await;
        let first = begun.elapsed();
        assert!(first >= Duration::from_secs(1) && first < Duration::from_secs(30), "{first:?}: the host's whole time");
        service.place("H100002").await;
        service.place("H100003").await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        service.pay("H100002").await;
        // A busy machine may have the answer after the caller's three seconds.
        let (status, order) = service.get("/v1/orders/H100002?refresh=1").await;
        assert_eq!(status, 200, "{order}");
        service.until_state("H100002", "paid").await;
        assert_eq!((main.calls(ORDER), main.calls(QUERY)), (1, 0), "of the host that hangs");
        assert_eq!(backup.calls(ORDER), 3);
        assert_eq!(service.wechat_calls("unifiedorder", "H100001").await.len(), 1, "the first one hung, too");

        main.hangs.store(false, SeqCst);
        within_timeout("an order at the main host", async {
            for n in 0.. {
                service.place(&format!("H2{n:05}")).await;
                if main.calls(ORDER) > 1 {
                    return;
                }
                // The probe is the service's own; nothing tells of it but where a call goes.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
        service.finish().await;
    }

    async fn a_refund_is_not_sent_to_the_other_host_in_the_same_call(db: TestDb) {
        let mut service = TestService::new().on(db).refunds_over_plain_http().in_process().await;
        let (main, backup) = two_sites(&mut service, LIMIT, &[REFUND]).await;
        service.paid("H300001").await;
        let begun = Instant::now();
        service.give_back_unheard("H300001", json!({"refund_no": "H3-a", "all": true})).await;
        service.until_calls_are_over().await;
        let unanswered = begun.elapsed();
        assert!(unanswered >= LIMIT, "the time limit is the one host's: {unanswered:?}");
        assert_eq!((main.calls(REFUND), backup.calls(REFUND)), (1, 0));
        assert_eq!(service.wechat_refunds("H300001").await.len(), 0);

        service.poll_until("H3-a", "processing").await;
        assert_eq!((main.calls(REFUND), backup.calls(REFUND)), (1, 1), "the next call is the other host's");
        service.ends("H3-a", "SUCCESS").await;
        service.until_refunded("H3-a", "succeeded").await;
        assert_eq!(service.wechat_refunds("H300001").await.len(), 1);
        service.finish().await;
    }
}
