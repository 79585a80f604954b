//! Bills of any kind, on demand, as WeChat gives them.

use serde_json::json;
use wxpay_worker::clock::Timestamp;

use crate::ctl::support::{run, wxpayctl};
use crate::harness::service::{API_KEY, InProcess, TestService};
use crate::settling::on_both;

impl InProcess {
    async fn bill(&self, day: &str, of: &str) -> (u16, String) {
        let url = format!("{}/v1/reconciliations/main/{day}/bill?type={of}", self.base);
        let response = self.http.get(url).bearer_auth(API_KEY).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

on_both! {
    async fn each_kind_of_bill_is_given_as_wechat_makes_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        service.paid("BI000001").await;
        service.refunding("BI000001", "BIR1", 30).await;
        service.ends("BIR1", "SUCCESS").await;
        service.until_refunded("BIR1", "succeeded").await;
        let (status, early) = service.bill(&day, "all").await;
        assert_eq!(status, 400, "the day is not over: {early}");
        service.end_day().await;
        for (of, holds, lacks) in [("all", "BIR1", "收支类型"), ("success", "BI000001", "BIR1"),
                                   ("refund", "BIR1", "收支类型"), ("basic", "收支类型", "商品名称")] {
            let (status, text) = service.bill(&day, of).await;
            assert_eq!(status, 200, "{of}: {text}");
            assert!(text.contains(holds) && !text.contains(lacks), "{of}: {text}");
        }
        // Nothing was booked on the other accounts: WeChat has no bill of them.
        for of in ["operation", "fees"] {
            let (status, none) = service.bill(&day, of).await;
            assert!(status == 409 && none.contains("no-bill"), "{of}: {none}");
        }
        assert_eq!(service.bill(&day, "everything").await.0, 400);
        let exported = "SELECT COUNT(*) FROM audit WHERE action = 'bill.export'";
        assert_eq!(service.number(exported).await, 4, "each is in the audit");
        // Nothing of it is in the books, and nothing was left on the disk.
        assert_eq!(service.number("SELECT COUNT(*) FROM bills").await, 0);
        service.faults(json!([{"on": "downloadbill", "kind": "system_error", "times": null}])).await;
        let (status, refused) = service.bill(&day, "all").await;
        assert!(status == 409 && refused.contains("no-bill") && refused.contains("SYSTEMERROR"), "{refused}");
        service.clear_faults().await;
        let folder = tempfile::tempdir().unwrap();
        let (key, file) = (folder.path().join("api-key"), folder.path().join("refunds.csv"));
        std::fs::write(&key, API_KEY).unwrap();
        let out = file.to_str().unwrap();
        let mut command = wxpayctl(&["reconcile", "bill", "--date", &day, "--type", "refund", "--out", out]);
        command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &key);
        let ran = run(command).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), service.bill(&day, "refund").await.1);
        let long_ago = Timestamp::from_ms(service.clock.now().as_ms() - 100 * 24 * 3600 * 1000).to_beijing_day();
        let (status, gone) = service.bill(&long_ago, "all").await;
        assert!(status == 409 && gone.contains("bill-not-kept"), "{gone}");
        service.finish().await;
    }
}
