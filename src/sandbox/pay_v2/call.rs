//! One call of the pay API: check, count, execute, sign.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use axum::routing::any;

use super::answer::{Refusal, Reply, certificate_page, respond, signed, unsigned};
use super::check;
use super::check::{Message, optional};
use super::download::Download;
use super::{close_order, order_query, others, refund, refund_query, unified_order};
use crate::sandbox::call::{self, base};
use crate::sandbox::faults::{Hit, Kind, On, Set};
use crate::sandbox::forgery::{another_merchant, tamper, wrong_key};
use crate::sandbox::http::tls::Shown;
use crate::sandbox::request_log::Arrival;
use crate::sandbox::state::SandboxState;
use crate::secret::sha256_hex;
use crate::wechat::v2::sign::seal;

/// `/pay/…` and `/secapi/pay/…`, and the same in the test environment, which asks for no certificate.
pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    let paths = [
        ("/pay/unifiedorder", On::UnifiedOrder, false),
        ("/pay/orderquery", On::OrderQuery, false),
        ("/pay/closeorder", On::CloseOrder, false),
        ("/secapi/pay/refund", On::Refund, false),
        ("/pay/refundquery", On::RefundQuery, false),
        ("/pay/downloadbill", On::DownloadBill, false),
        ("/pay/downloadfundflow", On::DownloadFundFlow, false),
        ("/sandboxnew/pay/unifiedorder", On::UnifiedOrder, true),
        ("/sandboxnew/pay/orderquery", On::OrderQuery, true),
        ("/sandboxnew/pay/closeorder", On::CloseOrder, true),
        ("/sandboxnew/pay/refund", On::Refund, true),
        ("/sandboxnew/secapi/pay/refund", On::Refund, true),
        ("/sandboxnew/pay/refundquery", On::RefundQuery, true),
        ("/xdc/apiv2sandbox/pay/orderquery", On::OrderQuery, true),
    ];
    paths.into_iter().fold(others::router(), |router, (path, api, is_test)| {
        let handler = move |State(sandbox): State<Arc<SandboxState>>,
                            shown: Option<Extension<Shown>>,
                            method: Method,
                            headers: HeaderMap,
                            body: Bytes| async move {
            let shown = shown.map(|Extension(shown)| shown);
            answered(api, &sandbox, PayRequest { is_test, shown, method, headers, body }).await
        };
        router.route(path, any(handler))
    })
}

/// One request as it came.
struct PayRequest {
    /// To the test environment.
    is_test: bool,
    /// What a caller who came over TLS showed.
    shown: Option<Shown>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl PayRequest {
    /// Whether the web server lets it through to the API.
    fn check_certificate(&self, api: On) -> Result<(), &'static str> {
        match (api, &self.shown) {
            _ if self.is_test => Ok(()),
            (On::Refund | On::DownloadFundFlow, None | Some(Shown::Nothing)) => {
                Err("No required SSL certificate was sent")
            }
            (On::Refund | On::DownloadFundFlow, Some(Shown::Unusable)) => Err("The SSL certificate error"),
            (On::Refund | On::DownloadFundFlow, Some(Shown::Of(_))) => Ok(()),
            (On::UnifiedOrder | On::OrderQuery | On::CloseOrder | On::RefundQuery | On::DownloadBill, _) => Ok(()),
            (On::Notify | On::RefundNotify | On::Platform(_), _) => Ok(()),
        }
    }

    /// Whether the certificate, where one is needed, is that of the merchant who signed.
    fn check_owner(&self, api: On, message: &Message<'_>) -> Result<(), Refusal> {
        match &self.shown {
            Some(Shown::Of(owner))
                if matches!(api, On::Refund | On::DownloadFundFlow)
                    && !self.is_test
                    && owner != message.account.mch_id.as_str() =>
            {
                Err(Refusal::Communication("certificate not match".to_owned()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

async fn answered(api: On, sandbox: &Arc<SandboxState>, request: PayRequest) -> Response {
    if let Err(page) = request.check_certificate(api) {
        sandbox.request_log().reject(api, page);
        return certificate_page(page);
    }
    let checked = check::message(sandbox, request.is_test, &request.method, &request.body)
        .and_then(|message| request.check_owner(api, &message).map(|()| message));
    let message = match checked {
        Ok(message) => message,
        Err(Refusal::Communication(text) | Refusal::Business(_, text)) => {
            sandbox.request_log().reject(api, &text);
            return respond(&unsigned(&text));
        }
    };
    let parameters_sha256 = sha256_hex(&joined(&message));
    let out_trade_no = match api {
        On::OrderQuery => order_query::subject(sandbox, &message),
        On::Refund => refund::subject(sandbox, &message),
        On::RefundQuery => refund_query::subject(sandbox, &message),
        // Requests for bills are counted by their day.
        On::DownloadBill | On::DownloadFundFlow => optional(&message.fields, "bill_date").map(str::to_owned),
        On::UnifiedOrder | On::CloseOrder | On::Notify | On::RefundNotify | On::Platform(_) => {
            optional(&message.fields, "out_trade_no").map(str::to_owned)
        }
    }
    .unwrap_or_default();
    let mch_id = message.account.mch_id.as_str();
    let arrival = Arrival {
        at: sandbox.now(),
        parameters_sha256: parameters_sha256.clone(),
        body_sha256: sha256_hex(&request.body),
        out_refund_no: optional(&message.fields, "out_refund_no").map(str::to_owned),
    };
    sandbox.request_log().note(api, mch_id, &out_trade_no, arrival);
    let hit = sandbox.faults.meet(api, mch_id, &out_trade_no);
    if api.is_bill() {
        return call::run(&Download { api, sandbox, message }, sandbox, hit).await;
    }
    let base = base(sandbox, &request.headers, request.shown.is_some());
    call::run(&Call { api, sandbox, message, parameters_sha256, base }, sandbox, hit).await
}

/// Length before value: two different messages never join to the same bytes.
fn joined(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in message.parameters() {
        for part in [name, value] {
            bytes.extend_from_slice(&part.len().to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    bytes
}

struct Call<'w> {
    api: On,
    sandbox: &'w Arc<SandboxState>,
    message: Message<'w>,
    parameters_sha256: String,
    base: String,
}

impl call::Call for Call<'_> {
    type Reply = Reply;

    fn on(&self) -> On {
        self.api
    }

    fn execute(&self) -> Reply {
        self.message.check_app(self.sandbox)?;
        match self.api {
            On::UnifiedOrder => {
                unified_order::execute(self.sandbox, &self.message, &self.parameters_sha256, &self.base)
            }
            On::OrderQuery => order_query::execute(self.sandbox, &self.message),
            On::CloseOrder => close_order::execute(self.sandbox, &self.message),
            On::Refund => refund::execute(self.sandbox, &self.message, &self.parameters_sha256),
            On::RefundQuery => refund_query::execute(self.sandbox, &self.message),
            On::DownloadBill | On::DownloadFundFlow => Err(Refusal::system_error()),
            On::Notify | On::RefundNotify | On::Platform(_) => Err(Refusal::system_error()),
        }
    }

    fn refusal(&self, hit: &Hit) -> Reply {
        Err(match (hit.kind, hit.err_code) {
            (Kind::RateLimit, _) => Refusal::rate_limit(),
            (Kind::ForeignAddress, _) => Refusal::Communication("此IP地址不允许调用接口".to_owned()),
            (Kind::CertificateExpired, _) => Refusal::Communication("证书已过期".to_owned()),
            (Kind::Refuse, Some(code)) => Refusal::of_refund(code),
            _ => Refusal::system_error(),
        })
    }

    fn rewritten(reply: Reply, set: &Set) -> Reply {
        reply.map(|mut fields| {
            for (name, text) in set {
                match text {
                    Some(text) => fields.insert(name.clone(), text.clone()),
                    None => fields.remove(name),
                };
            }
            fields
        })
    }

    /// Signs and writes; `ForgeAmount`, `Tamper`, `WrongSign` and `CrossMerchant` are applied here.
    fn answer(&self, reply: Reply, fault: Option<Kind>) -> Response {
        let reply = if fault == Some(Kind::ForgeAmount) { order_query::forge_amount(reply) } else { reply };
        let (mut account, mut appid) = (self.message.account, &self.message.appid);
        let stranger;
        if fault == Some(Kind::CrossMerchant) {
            stranger = another_merchant(self.sandbox, account);
            account = &stranger;
            appid = stranger.appids.first().unwrap_or(appid);
        }
        let mut fields = signed(reply, appid.as_str(), account, self.message.sign_type);
        if fault == Some(Kind::WrongSign) {
            fields = seal(fields, &wrong_key(&account.v2_key), self.message.sign_type);
        }
        if fault == Some(Kind::Tamper) {
            tamper(&mut fields);
        }
        respond(&fields)
    }
}
