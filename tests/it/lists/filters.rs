//! The list by its filters.

use serde_json::{Value, json};
use wxpay_worker::secret::sha256_hex;

use crate::harness::service::{InProcess, SECOND_MERCHANT, TestService, answer, jsapi};
use crate::settling::on_both;

const LIMITED_KEY: &str = "wxk_second_only";

fn limited_key() -> String {
    let hash = sha256_hex(LIMITED_KEY.as_bytes());
    format!(
        "{SECOND_MERCHANT}\n[[api_keys]]\nname = \"limited\"\nhash = \"sha256:{hash}\"\nscopes = [\"orders\"]\n\
         merchants = [\"second\"]\n"
    )
}

async fn limited(service: &InProcess, path: &str) -> (u16, Value) {
    answer(service.http.get(format!("{}{path}", service.base)).bearer_auth(LIMITED_KEY)).await.unwrap()
}

fn order(order_no: &str, amount_fen: i64, trade_type: &str) -> Value {
    let mut body = jsapi(order_no, amount_fen);
    body["trade_type"] = trade_type.into();
    if trade_type == "NATIVE" {
        body.as_object_mut().unwrap().remove("openid");
        body["product_id"] = "p1".into();
    }
    body
}

on_both! {
    async fn each_filter_leaves_out_what_it_should(db: TestDb) {
        let service = TestService::new().on(db).second_account().config(&limited_key()).in_process().await;
        let begun = service.clock.now();
        for (n, (amount, trade_type)) in
            [(100, "JSAPI"), (200, "NATIVE"), (300, "JSAPI"), (400, "JSAPI")].into_iter().enumerate()
        {
            service.place_as(&order(&format!("L10000{n}"), amount, trade_type)).await;
            service.skip(10);
        }
        let mut of_second = jsapi("L200000", 100);
        of_second["merchant"] = "second".into();
        service.place_as(&of_second).await;
        service.pay("L100001").await;
        service.until_state("L100001", "paid").await;
        assert_eq!(service.numbers("").await, ["L200000", "L100003", "L100002", "L100001", "L100000"]);
        assert_eq!(service.numbers("state=paid").await, ["L100001"]);
        assert_eq!(service.numbers("merchant=main&state=payable").await, ["L100003", "L100002", "L100000"]);
        assert_eq!(service.numbers("trade_type=NATIVE").await, ["L100001"]);
        assert_eq!(service.numbers("app=shop&min_amount_fen=200&max_amount_fen=300").await, ["L100002", "L100001"]);
        assert_eq!(service.numbers("app=other").await, [] as [&str; 0]);
        assert_eq!(service.numbers("flag=paid_late").await, [] as [&str; 0]);
        let at = |seconds| begun.after(std::time::Duration::from_secs(seconds));
        let between = format!("from={}&to={}", at(5), at(25));
        assert_eq!(service.numbers(&between).await, ["L100002", "L100001"]);
        let (status, list) = limited(&service, "/v1/orders").await;
        assert_eq!((status, &list["orders"][0]["order_no"]), (200, &json!("L200000")), "{list}");
        assert_eq!(list["orders"].as_array().unwrap().len(), 1, "{list}");
        assert_eq!(limited(&service, "/v1/orders?merchant=main").await.0, 404);
        let (_, list) = limited(&service, "/v1/orders?q=L100001").await;
        assert_eq!(list["orders"], json!([]), "another merchant's number is found by no key of this one: {list}");
        service.finish().await;
    }

    async fn a_flag_is_found_whatever_the_state(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        for n in 0..3 {
            service.place(&format!("L30000{n}")).await;
        }
        let sql = "UPDATE orders SET amount_mismatch = TRUE WHERE order_no = 'L300001'";
        service.store.db().execute("test", String::from(sql), []).await.unwrap();
        assert_eq!(service.numbers("flag=amount_mismatch").await, ["L300001"]);
        assert_eq!(service.numbers("flag=amount_mismatch&state=payable").await, ["L300001"]);
        assert_eq!(service.numbers("flag=amount_mismatch&state=paid").await, [] as [&str; 0]);
        assert_eq!(service.numbers("flag=outcome_unknown").await, [] as [&str; 0]);
        let sql = "UPDATE orders SET amount_mismatch = FALSE";
        service.store.db().execute("test", String::from(sql), []).await.unwrap();
        service.finish().await;
    }

    async fn pages_have_every_order_once_across_states(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let all: Vec<String> = (0..9).map(|n| format!("L40000{n}")).collect();
        for order_no in &all {
            // Some at the same moment.
            service.place(order_no).await;
        }
        for order_no in ["L400002", "L400005", "L400006"] {
            service.pay(order_no).await;
            service.until_state(order_no, "paid").await;
        }
        let whole = service.numbers("").await;
        let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
        loop {
            let list = service.order_list(&query).await;
            let page = list["orders"].as_array().unwrap();
            assert!(page.len() <= 2, "{list}");
            seen.extend(page.iter().map(|order| order["order_no"].as_str().unwrap().to_owned()));
            let Some(next) = list["next"].as_str() else { break };
            query = format!("limit=2&after={next}");
        }
        assert_eq!(seen, whole);
        let mut sorted = seen.clone();
        sorted.sort();
        assert_eq!(sorted, all);
        service.finish().await;
    }

    async fn what_is_not_a_filter_is_refused(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        for query in [
            "states=paid", "state=open", "flag=late", "trade_type=CARD", "from=yesterday", "min_amount_fen=-1",
            "min_amount_fen=2&max_amount_fen=1", "limit=0", "limit=501", "after=x", "q=%00",
            "state=paid&state=closed", "app=A.B",
        ] {
            let (status, problem) = service.get(&format!("/v1/orders?{query}")).await;
            assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "{query}: {problem}");
        }
        let without = service.http.get(format!("{}/v1/orders", service.base));
        assert_eq!(answer(without).await.unwrap().0, 401);
        service.finish().await;
    }
}
