//! What is refused of one app or trade type alone: kept by app, begun again after a pause, ended where it is no longer
//! configured.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::config::Config;
use wxpay_worker::event::fact::WechatError;
use wxpay_worker::ids::{AppId, MerchantKey};
use wxpay_worker::merchant_setup::digest;
use wxpay_worker::store::{Again, Degradation, Part};
use wxpay_worker::trade::TradeType;

use crate::harness::service::{InProcess, MINI_APP_ID, TestService, signed_refusal};
use crate::harness::sql::texts;
use crate::harness::store::TestStore;
use crate::settling::on_both;

const MAIN: &str = "trade_type:JSAPI:shop";

impl InProcess {
    /// An order that WeChat refuses with this code.
    async fn refused_by_code(&self, order_no: &str, code: &str) {
        let body = signed_refusal(code, "商户无此接口权限");
        self.faults(json!([{"on": "unifiedorder", "kind": "raw", "body": body, "times": 1}])).await;
        self.place_unanswered(order_no).await;
        self.until_state(order_no, "failed").await;
        self.clear_faults().await;
    }

    async fn began(&self) -> Option<Timestamp> {
        let row = self.degraded().await.into_iter().next()?;
        Some(Timestamp::parse_rfc3339(row["since"].as_str().unwrap()).unwrap())
    }
}

fn degradation(part: Part, at: Timestamp) -> Degradation {
    Degradation {
        merchant: MerchantKey::parse("main").unwrap(),
        part,
        reason: "signature".into(),
        check: "merchants.v2_key_file".into(),
        said: None,
        setup: String::new(),
        since: at,
        seen_at: at,
        next_probe_at: at,
    }
}

const CONFIG: &str = r#"
[server]
public_url = "http://127.0.0.1:8080"
[[apps]]
key = "shop"
app_id = "wx8888888888888888"
kind = "official_account"
[[merchants]]
key = "main"
mch_id = "1900000109"
apps = ["shop"]
v2_key = "k7Qm2Zt9Xb4Lw8Rd6Vn1Hs3Jp5Gy0CfA"
"#;

/// The certificate's file may lie elsewhere on each host.
#[test]
fn the_digest_of_a_setup_is_not_of_the_certificates_path() {
    let config = |path: &str| {
        let mut config = Config::from_toml_str(CONFIG).unwrap();
        config.merchants[0].client_cert_file = Some(path.into());
        digest(&config, &config.merchants[0])
    };
    assert_eq!(config("/etc/a.p12"), config("/srv/b.p12"));
}

on_both! {
    async fn a_trade_type_is_degraded_by_app_and_begins_again_after_ten_minutes_at_the_earliest(db: TestDb) {
        let service = TestService::new().on(db).mini_program().in_process().await;
        let (begun, ended) = (format!("degraded {MAIN}"), format!("recovered {MAIN}"));
        service.refused_by_code("T100001", "NOAUTH").await;
        service.until_health_events(&[&begun]).await;
        // An order of the type through the other app proves nothing about this one.
        service.ordered_by_mini("T100002").await;
        service.until_payable("T100002").await;
        service.place("T100003").await;
        service.until_health_events(&[&begun, &ended]).await;
        let types = texts(service.store.db(), "SELECT what FROM merchant_health").await;
        assert_eq!(types, [MAIN]);

        service.refused_by_code("T100004", "NOAUTH").await;
        service.pass(601).await;
        let later = service.clock.now();
        service.refused_by_code("T100005", "NOAUTH").await;
        service.until_health_events(&[&begun, &ended, &begun]).await;
        assert!(service.began().await.unwrap() >= later, "not within ten minutes of the end");
        service.place("T100006").await;
        service.until_health_events(&[&begun, &ended, &begun, &ended]).await;
        service.finish().await;
    }

    async fn another_reason_of_what_stays_degraded_is_one_event_with_the_same_beginning(db: TestDb) {
        let stage = TestStore::open(db).await;
        let at = |seconds| Timestamp::from_ms(1_700_000_000_000).after(Duration::from_secs(seconds));
        // Within a minute of the last time nothing is written.
        for (seconds, code) in [(0, "A"), (61, "A"), (90, "B"), (122, "B"), (183, "B"), (244, "C")] {
            let said = Some(WechatError { code: code.into(), message: "x".into() });
            let found = Degradation { said, ..degradation(Part::TradeType(TradeType::Jsapi, None), at(seconds)) };
            let begun = stage.store.begin_degradation(&found, Again::Always).await.unwrap();
            assert_eq!(begun, seconds == 0);
        }
        let event = |payload: &String| {
            let data = serde_json::from_str::<Value>(payload).unwrap()["data"].clone();
            (data["wechat"]["code"].as_str().unwrap().to_owned(), data["since"].clone())
        };
        let events = texts(stage.store.db(), "SELECT payload FROM outbox ORDER BY id").await;
        let expected = ["A", "B", "C"].map(|code| (code.to_owned(), json!(at(0))));
        assert_eq!(events.iter().map(event).collect::<Vec<_>>(), expected);
        let found = stage.store.degradations().await.unwrap().remove(0);
        assert_eq!((found.said.unwrap().code.as_str(), found.since, found.seen_at), ("C", at(0), at(244)));
    }

    async fn a_fault_that_has_ended_meanwhile_does_not_begin(db: TestDb) {
        let stage = TestStore::open(db).await;
        let (store, at) = (&stage.store, Timestamp::from_ms(1_700_000_000_000));
        for part in [Part::Merchant, Part::Refunds] {
            assert!(!store.begin_degradation(&degradation(part, at), Again::Always).await.unwrap());
        }
        assert_eq!(store.degradations().await.unwrap(), Vec::new());
        let sql = "INSERT INTO merchant_faults
                     (merchant, fault, scope, code, message, setup, since_ms, probes, next_probe_at_ms)
                   VALUES ('main', 'signature', 'calls', 'SIGNERROR', 'x', '', 1, 0, 1)";
        stage.execute(sql).await.unwrap();
        assert!(store.begin_degradation(&degradation(Part::Merchant, at), Again::Always).await.unwrap());
        assert!(!store.begin_degradation(&degradation(Part::Refunds, at), Again::Always).await.unwrap());
    }

    async fn what_is_no_longer_configured_ends_without_an_event(db: TestDb) {
        let mut service = TestService::new().on(db).mini_program().in_process().await;
        service.put_in_force(|config| config.merchants[0].apps.truncate(1));
        // A run that is under way has the configuration of before.
        service.skip(10);
        service.until_job_ran("merchant_faults").await;
        for (merchant, what) in [("gone", "merchant"), ("main", "app:mini"), ("main", "trade_type:JSAPI:mini")] {
            let sql = format!(
                "INSERT INTO merchant_health
                   (merchant, what, reason, check_key, setup, since_ms, seen_ms, next_probe_at_ms)
                 VALUES ('{merchant}', '{what}', 'x', 'y', '', 1, {0}, {0})",
                service.clock.now().after(Duration::from_secs(60)).as_ms()
            );
            service.store.db().execute("test", sql, []).await.unwrap();
        }
        service.skip(10);
        let open = "SELECT COUNT(*) FROM merchant_health WHERE ended_ms IS NULL OR reason <> 'removed'";
        service.until_number("the end of all", open, |n| n == 0).await;
        assert_eq!(service.degraded().await, Vec::<Value>::new());
        assert_eq!(service.health_events().await, Vec::<String>::new());
        service.finish().await;
    }

    async fn orders_through_a_second_app_that_is_refused_probe_once_a_minute(db: TestDb) {
        let mut service = TestService::new().on(db).mini_program().in_process().await;
        service.restart_with(|config| config.apps[1].app_id = AppId::parse("wx0000000000000001").unwrap()).await;
        service.ordered_by_mini("T300000").await;
        service.until_health_events(&["degraded app:mini"]).await;
        let (begun, before) = (service.clock.now(), service.probes().await);
        let orders = 12;
        for n in 1..=orders {
            let order_no = format!("T3000{n:02}");
            service.skip(2);
            service.ordered_by_mini(&order_no).await;
            service.until("its first call", &order_no, |s| {
                s.order.current().is_none_or(|attempt| attempt.setup_refusals.is_some())
            }).await;
        }
        service.pass_times(20, 6).await;
        for n in 0..=orders {
            service.until_state(&format!("T3000{n:02}"), "failed").await;
        }
        let minutes = usize::try_from(service.clock.now().since(begun).as_secs() / 60).unwrap();
        let probes = service.probes().await - before;
        assert!(probes <= minutes + 3, "{probes} in {minutes} minutes");
        service.restart_with(|config| config.apps[1].app_id = AppId::parse(MINI_APP_ID).unwrap()).await;
        service.pass_times(10, 2).await;
        service.until_health_events(&["degraded app:mini", "recovered app:mini"]).await;
        service.finish().await;
    }
}
