//! What a payment block is checked for before the payer sees a cashier: its fields, the app, the session, the payer,
//! the signature. The words are those that WeChat shows in its browser.

use serde_json::{Map, Value};

use super::js_config::seconds;
use crate::ids::OpenId;
use crate::sandbox::cashier::yuan;
use crate::sandbox::ledger::account::{Handle, PayRefused};
use crate::sandbox::state::SandboxState;
use crate::trade::SignType;
use crate::wechat::v2::sign::sign;
use crate::wechat::v2::xml::Fields;

/// A block whose fields are all there.
pub(in crate::sandbox) struct Block {
    pub appid: String,
    time_stamp: String,
    nonce_str: String,
    package: String,
    sign_type: String,
    pay_sign: String,
}

/// What the cashier shows.
#[derive(Debug)]
pub(in crate::sandbox) struct Bill {
    pub prepay_id: String,
    pub amount: String,
    pub body: String,
    /// The merchant's number.
    pub payee: String,
    /// Its name.
    pub merchant: String,
}

impl Block {
    /// As `getBrandWCPayRequest` takes it: all texts. A number in `timeStamp` is what iOS refuses.
    pub fn of_bridge(params: &Map<String, Value>) -> Result<Block, String> {
        let appid = text(params, "appId")?;
        Block::of_request_payment(params, appid)
    }

    /// As a mini program's `wx.requestPayment` takes it: the app is the program's own.
    pub fn of_request_payment(params: &Map<String, Value>, appid: String) -> Result<Block, String> {
        let time_stamp = text(params, "timeStamp")?;
        Block::with(params, appid, time_stamp)
    }

    /// As `wx.chooseWXPay` takes it: `timestamp` in lower case, a number too; the app is the config's.
    pub fn of_choose(params: &Map<String, Value>, appid: String) -> Result<Block, String> {
        let time_stamp = params.get("timestamp").and_then(seconds).ok_or_else(|| missing("timestamp"))?;
        Block::with(params, appid, time_stamp)
    }

    fn with(params: &Map<String, Value>, appid: String, time_stamp: String) -> Result<Block, String> {
        Ok(Block {
            appid,
            time_stamp,
            nonce_str: text(params, "nonceStr")?,
            package: text(params, "package")?,
            sign_type: text(params, "signType")?,
            pay_sign: text(params, "paySign")?,
        })
    }

    /// Whether this payer may see the cashier.
    pub fn check(&self, sandbox: &SandboxState, openid: &OpenId) -> Result<Bill, String> {
        let prepay_id = self.package.strip_prefix("prepay_id=").ok_or_else(|| missing("package"))?;
        let now = sandbox.now();
        let book = sandbox.book();
        let handle = Handle::PrepayId(prepay_id);
        // WeChat searches for the order behind the session, finds none, and misses its first field.
        let order = book.look_up(handle).ok_or_else(|| "缺少参数:total_fee".to_owned())?;
        if order.terms.appid.as_str() != self.appid {
            return Err("该商户传入的appid参数与下单时传入的appid参数不一致".to_owned());
        }
        let wrong = || "支付验证签名失败".to_owned();
        let account = sandbox.accounts.get(order.terms.mch_id.as_str()).ok_or_else(wrong)?;
        // One order, one algorithm: the front end's is the unified order's.
        let sign_type = SignType::parse(&self.sign_type).filter(|t| *t == order.terms.sign_type).ok_or_else(wrong)?;
        let fields: Fields = [
            ("appId", &self.appid),
            ("timeStamp", &self.time_stamp),
            ("nonceStr", &self.nonce_str),
            ("package", &self.package),
            ("signType", &self.sign_type),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
        if sign(&fields, &account.v2_key, sign_type) != self.pay_sign {
            return Err(wrong());
        }
        let order = book.find(handle, now).map_err(why)?;
        if order.terms.openid.as_ref().is_some_and(|expected| expected != openid) {
            return Err(why(PayRefused::PayerDiffers));
        }
        Ok(Bill {
            prepay_id: prepay_id.to_owned(),
            amount: yuan(order.terms.total_fee),
            body: order.terms.body.clone(),
            payee: order.terms.mch_id.as_str().to_owned(),
            merchant: sandbox.merchant_name(order.terms.mch_id.as_str()),
        })
    }
}

/// WeChat's words for a payment that cannot be.
pub(in crate::sandbox) fn why(refused: PayRefused) -> String {
    match refused {
        PayRefused::NotFound | PayRefused::SessionExpired => "缺少参数:total_fee",
        PayRefused::Closed => "该订单已关闭",
        PayRefused::AlreadyPaid => "该订单已支付",
        PayRefused::PayerDiffers => "当前支付账号与下单账号不一致",
        PayRefused::Coupon | PayRefused::System => "系统繁忙，请稍后再试",
    }
    .to_owned()
}

fn text(params: &Map<String, Value>, name: &str) -> Result<String, String> {
    let text = params.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> String {
    format!("调用支付JSAPI缺少参数：{name}")
}
