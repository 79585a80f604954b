//! Another system of the same merchant, which uses numbers of its own or ours.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::ids::{AppId, MchId, OpenId, OutTradeNo};
use wxpay_worker::money::Fen;
use wxpay_worker::secret::V2Key;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::transport::Client;
use wxpay_worker::wechat::v2::unified_order::{self, Placed, Trade, UnifiedOrder};

use crate::harness::service::{APP_ID, InProcess, KEY, MCH_ID, OPENID};

impl InProcess {
    /// Another system of the merchant places an order of 100 fen.
    pub async fn placed_elsewhere(&self, number: &str) {
        self.placed_elsewhere_with(number, None).await;
    }

    /// Its order has this `attach`.
    pub async fn placed_elsewhere_with(&self, number: &str, attach: Option<&str>) {
        let order = UnifiedOrder {
            appid: AppId::parse(APP_ID).unwrap(),
            mch_id: MchId::parse(MCH_ID).unwrap(),
            sign_type: SignType::HmacSha256,
            out_trade_no: OutTradeNo::parse(number).unwrap(),
            total_fee: Fen::from_i64(100),
            body: "elsewhere".into(),
            spbill_create_ip: "127.0.0.1".parse().unwrap(),
            time_start: self.clock.now(),
            time_expire: self.clock.now().after(Duration::from_secs(7200)),
            notify_url: format!("{}/notify/main/pay", self.base),
            trade: Trade::Jsapi { openid: OpenId::parse(OPENID).unwrap() },
            attach: attach.map(Into::into),
            device_info: None,
        };
        let client = Client::new(&self.in_force.snapshot().wechat).unwrap();
        let (key, params) = (V2Key::parse(KEY).unwrap(), unified_order::params(&order));
        let answer = unified_order::place(&client, &key, &params, self.clock.now()).await;
        assert!(matches!(answer.placed, Placed::Issued(_)), "{answer:?}");
    }

    /// As [`InProcess::placed_elsewhere`], and its payer pays it so. WeChat posts to us.
    pub async fn sold_elsewhere(&self, number: &str, how: Value) -> Value {
        self.placed_elsewhere(number).await;
        let mut request = json!({"out_trade_no": number});
        request.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
        self.wechat_control("pay", request).await
    }
}
