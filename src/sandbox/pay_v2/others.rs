//! WeChat's other interfaces, which are not simulated: each checks what every call passes and then refuses in WeChat's
//! own form. The key of the test environment (`/sandboxnew`) is given out.
//!
//! A refusal of a message that can be read and verified is NOAUTH, as of a merchant without the permission.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{Method, Uri};
use axum::response::Response;
use axum::routing::any;

use super::answer::{Refusal, certificate_page, respond, unsigned, with};
use super::check;
use super::check::optional;
use crate::sandbox::http::tls::Shown;
use crate::sandbox::state::SandboxState;
use crate::secret::random_text;
use crate::wechat::v2::sign::seal;
use crate::wechat::v2::xml::Fields;

/// The form of an interface's refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Signed, as most answers are.
    Signed,
    /// Both layers, without a signature.
    Unsigned,
    /// A file, or the communication layer's refusal in its place. In the test environment alone: there is none.
    Bill,
}

use Form::{Bill, Signed, Unsigned};

/// Of each documented interface: whether it wants to see the merchant's certificate, and the form of its answers.
const INTERFACES: &[(&str, bool, Form)] = &[
    ("/pay/micropay", false, Signed),
    ("/pay/facepay", false, Signed),
    ("/pay/combinedorder", false, Signed),
    ("/pay/contractorder", false, Signed),
    ("/pay/pappayapply", false, Signed),
    ("/pay/paporderquery", false, Signed),
    ("/pay/downloadbill", false, Bill),
    ("/pay/downloadfundflow", true, Bill),
    ("/pay/profitsharingquery", false, Signed),
    ("/pay/profitsharingreturnquery", false, Signed),
    ("/pay/profitsharingaddreceiver", false, Signed),
    ("/pay/profitsharingremovereceiver", false, Signed),
    ("/pay/profitsharingorderamountquery", false, Signed),
    ("/pay/profitsharingmerchantratioquery", false, Signed),
    ("/secapi/pay/reverse", true, Signed),
    ("/secapi/pay/profitsharing", true, Signed),
    ("/secapi/pay/multiprofitsharing", true, Signed),
    ("/secapi/pay/profitsharingfinish", true, Signed),
    ("/secapi/pay/profitsharingreturn", true, Signed),
    ("/tools/shorturl", false, Signed),
    ("/tools/authcodetoopenid", false, Signed),
    ("/payitil/report", false, Unsigned),
    ("/billcommentsp/batchquerycomment", true, Unsigned),
    ("/mmpaymkttransfers/sendredpack", true, Unsigned),
    ("/mmpaymkttransfers/sendgroupredpack", true, Unsigned),
    ("/mmpaymkttransfers/sendminiprogramhb", true, Unsigned),
    ("/mmpaymkttransfers/gethbinfo", true, Unsigned),
    ("/mmpaymkttransfers/promotion/transfers", true, Unsigned),
    ("/mmpaymkttransfers/gettransferinfo", true, Unsigned),
    ("/mmpaymkttransfers/send_coupon", true, Signed),
    ("/mmpaymkttransfers/query_coupon_stock", false, Signed),
    ("/mmpaymkttransfers/querycouponsinfo", false, Signed),
    ("/mmpaysptrans/pay_bank", true, Unsigned),
    ("/mmpaysptrans/query_bank", true, Unsigned),
    ("/risk/getpublickey", true, Unsigned),
    ("/deposit/facepay", false, Signed),
    ("/deposit/micropay", false, Signed),
    ("/deposit/orderquery", false, Signed),
    ("/deposit/reverse", true, Signed),
    ("/deposit/consume", true, Signed),
    ("/deposit/refund", true, Signed),
    ("/deposit/refundquery", false, Signed),
    ("/papay/preentrustweb", false, Signed),
    ("/papay/querycontract", false, Signed),
    ("/papay/deletecontract", false, Signed),
    ("/transit/queryorder", false, Signed),
    ("/vehicle/pay/notification", false, Signed),
    ("/vehicle/pay/querystate", false, Signed),
    ("/vehicle/transactioninfo", false, Signed),
    ("/cgi-bin/mch/customs/customdeclareorder", false, Signed),
    ("/cgi-bin/mch/customs/customdeclarequery", false, Signed),
    ("/cgi-bin/mch/newcustoms/customdeclareredeclare", false, Signed),
];

/// The roots of WeChat's paths for merchants; what is unknown below them is refused, too.
const ROOTS: &[&str] = &[
    "/pay",
    "/secapi",
    "/tools",
    "/payitil",
    "/billcommentsp",
    "/mmpaymkttransfers",
    "/mmpaysptrans",
    "/risk",
    "/deposit",
    "/papay",
    "/transit",
    "/vehicle",
    "/cgi-bin/mch",
    "/sandboxnew",
    "/xdc",
];

/// The roots of the test environments.
const TEST_ROOTS: [&str; 2] = ["/sandboxnew", "/xdc/apiv2sandbox"];

/// Everything below WeChat's roots that is not simulated.
pub(super) fn router() -> Router<Arc<SandboxState>> {
    let keys = ["/sandboxnew/pay/getsignkey", "/xdc/apiv2getsignkey/sign/getsignkey"];
    let router = keys.into_iter().fold(Router::new(), |router, path| router.route(path, any(test_key)));
    ROOTS.iter().fold(router, |router, root| router.route(&format!("{root}/{{*rest}}"), any(refuse)))
}

/// `getsignkey`: the key of the test environment, for a merchant who signs with the real one. Unsigned.
async fn test_key(State(sandbox): State<Arc<SandboxState>>, method: Method, body: Bytes) -> Response {
    let checked = check::read(&method, &body).and_then(|fields| {
        check::required(&fields, "nonce_str")?;
        check::verified(&sandbox.accounts, &fields, "mch_id").map(|(account, _)| account.mch_id.as_str())
    });
    match checked {
        Ok(mch_id) => {
            let key = sandbox.test_accounts.get(mch_id).map(|account| account.v2_key.expose()).unwrap_or_default();
            let said = [("return_code", "SUCCESS"), ("return_msg", "ok"), ("mch_id", mch_id), ("sandbox_signkey", key)];
            respond(&with(Fields::new(), &said))
        }
        Err(Refusal::Communication(text) | Refusal::Business(_, text)) => respond(&unsigned(&text)),
    }
}

async fn refuse(
    State(sandbox): State<Arc<SandboxState>>,
    shown: Option<Extension<Shown>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let root = TEST_ROOTS.iter().find(|root| uri.path().starts_with(**root));
    let path = uri.path().strip_prefix(root.copied().unwrap_or_default()).unwrap_or_default();
    let Some((_, wants_certificate, form)) = INTERFACES.iter().find(|(known, ..)| *known == path) else {
        return unknown();
    };
    if *wants_certificate && root.is_none() {
        match shown {
            Some(Extension(Shown::Of(_))) => {}
            Some(Extension(Shown::Unusable)) => return certificate_page("The SSL certificate error"),
            Some(Extension(Shown::Nothing)) | None => return certificate_page("No required SSL certificate was sent"),
        }
    }
    respond(&refusal(&sandbox, root.is_some(), *form, (&method, &body)))
}

/// There is no such interface.
pub(in crate::sandbox) fn unknown() -> Response {
    respond(&unsigned("接口不存在"))
}

fn refusal(sandbox: &SandboxState, is_test: bool, form: Form, (method, body): (&Method, &[u8])) -> Fields {
    let fields = match check::read(method, body) {
        Ok(fields) => fields,
        Err(Refusal::Communication(text) | Refusal::Business(_, text)) => return unsigned(&text),
    };
    // Transfers and combined orders name the merchant in another way.
    let names = ["mch_id", "mchid", "combine_mch_id"];
    let name = names.into_iter().find(|name| optional(&fields, name).is_some()).unwrap_or("mch_id");
    let (account, sign_type) = match check::verified(sandbox.accounts_of(is_test), &fields, name) {
        Ok(verified) => verified,
        Err(Refusal::Communication(text) | Refusal::Business(_, text)) => return unsigned(&text),
    };
    if form == Bill {
        return with(unsigned("No Bill Exist"), &[("error_code", "20002")]);
    }
    let mut answer = with(
        Fields::new(),
        &[
            ("return_code", "SUCCESS"),
            ("return_msg", "OK"),
            ("result_code", "FAIL"),
            ("err_code", "NOAUTH"),
            ("err_code_des", "商户无此接口权限（模拟器不支持此接口）"),
            (name, account.mch_id.as_str()),
        ],
    );
    for name in ["appid", "wxappid", "mch_appid", "combine_appid"] {
        if let Some(appid) = optional(&fields, name) {
            answer.insert(name.to_owned(), appid.to_owned());
        }
    }
    match form {
        Signed => {
            answer.insert("nonce_str".to_owned(), random_text(16));
            seal(answer, &account.v2_key, sign_type)
        }
        Unsigned | Bill => answer,
    }
}
