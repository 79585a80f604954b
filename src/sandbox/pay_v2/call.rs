//! One call from its bytes to its answer: check, count, meet a fault or none, execute, sign.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use axum::routing::any;

use super::answer::{Refusal, Reply, certificate_page, gateway_error, respond, signed, unsigned};
use super::check;
use super::check::{Message, optional};
use super::{close_order, order_query, refund, refund_query, unified_order};
use crate::sandbox::faults::{Hit, Kind, On};
use crate::sandbox::http::tls::Shown;
use crate::sandbox::http::wire::Wire;
use crate::sandbox::notify::notifier::{another_merchant, tamper, wrong_key};
use crate::sandbox::request_log::Arrival;
use crate::sandbox::state::World;
use crate::secret::sha256_hex;
use crate::wechat::v2::sign::seal;

/// `/pay/…` and `/secapi/pay/…`
pub(in crate::sandbox) fn router() -> Router<Arc<World>> {
    let paths = [
        ("/pay/unifiedorder", On::UnifiedOrder),
        ("/pay/orderquery", On::OrderQuery),
        ("/pay/closeorder", On::CloseOrder),
        ("/secapi/pay/refund", On::Refund),
        ("/pay/refundquery", On::RefundQuery),
    ];
    paths.into_iter().fold(Router::new(), |router, (path, api)| {
        let handler = move |State(world): State<Arc<World>>,
                            shown: Option<Extension<Shown>>,
                            method: Method,
                            headers: HeaderMap,
                            body: Bytes| async move {
            let shown = shown.map(|Extension(shown)| shown);
            call(api, &world, Heard { shown, method, headers, body }).await
        };
        router.route(path, any(handler))
    })
}

/// One request as it came.
struct Heard {
    /// What a caller who came over TLS showed.
    shown: Option<Shown>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Heard {
    /// Whether the web server lets it through to the API.
    fn at_the_door(&self, api: On) -> Result<(), &'static str> {
        match (api, &self.shown) {
            (On::Refund, None | Some(Shown::Nothing)) => Err("No required SSL certificate was sent"),
            (On::Refund, Some(Shown::Unusable)) => Err("The SSL certificate error"),
            (On::Refund, Some(Shown::Of(_))) => Ok(()),
            (On::UnifiedOrder | On::OrderQuery | On::CloseOrder | On::RefundQuery, _) => Ok(()),
            (On::Notify | On::RefundNotify | On::Platform(_), _) => Ok(()),
        }
    }

    /// Whether the certificate, where one is needed, is that of the merchant who signed.
    fn check_owner(&self, api: On, message: &Message<'_>) -> Result<(), Refusal> {
        match &self.shown {
            Some(Shown::Of(owner)) if api == On::Refund && owner != message.account.mch_id.as_str() => {
                Err(Refusal::Communication("certificate not match".to_owned()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

async fn call(api: On, world: &Arc<World>, heard: Heard) -> Response {
    if let Err(page) = heard.at_the_door(api) {
        world.seen().reject(api, page);
        return certificate_page(page);
    }
    let checked = check::message(world, &heard.method, &heard.body)
        .and_then(|message| heard.check_owner(api, &message).map(|()| message));
    let message = match checked {
        Ok(message) => message,
        Err(Refusal::Communication(text) | Refusal::Business(_, text)) => {
            world.seen().reject(api, &text);
            return respond(&unsigned(&text));
        }
    };
    let parameters_sha256 = sha256_hex(&joined(&message));
    let out_trade_no = match api {
        On::OrderQuery => order_query::subject(world, &message),
        On::Refund => refund::subject(world, &message),
        On::RefundQuery => refund_query::subject(world, &message),
        On::UnifiedOrder | On::CloseOrder | On::Notify | On::RefundNotify | On::Platform(_) => {
            optional(&message.fields, "out_trade_no").map(str::to_owned)
        }
    }
    .unwrap_or_default();
    let mch_id = message.account.mch_id.as_str();
    let arrival = Arrival {
        at: world.now(),
        parameters_sha256: parameters_sha256.clone(),
        body_sha256: sha256_hex(&heard.body),
        out_refund_no: optional(&message.fields, "out_refund_no").map(str::to_owned),
    };
    world.seen().note(api, mch_id, &out_trade_no, arrival);
    let hit = world.faults.meet(api, mch_id, &out_trade_no);
    let call = Call { api, world, message, parameters_sha256, base: base(world, &heard) };
    let response = match hit {
        None => call.answer(call.execute(), None),
        Some(hit) => call.with_fault(hit).await,
    };
    world.passed.of(api).notify_waiters();
    response
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

/// Where the caller reached us.
fn base(world: &World, heard: &Heard) -> String {
    let host = heard.headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(|host| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    });
    match host {
        Some(host) if heard.shown.is_some() => format!("https://{host}"),
        Some(host) => format!("http://{host}"),
        None => format!("http://{}", world.addr),
    }
}

struct Call<'w> {
    api: On,
    world: &'w Arc<World>,
    message: Message<'w>,
    parameters_sha256: String,
    base: String,
}

impl Call<'_> {
    fn execute(&self) -> Reply {
        self.message.check_app(self.world)?;
        match self.api {
            On::UnifiedOrder => unified_order::execute(self.world, &self.message, &self.parameters_sha256, &self.base),
            On::OrderQuery => order_query::execute(self.world, &self.message),
            On::CloseOrder => close_order::execute(self.world, &self.message),
            On::Refund => refund::execute(self.world, &self.message, &self.parameters_sha256),
            On::RefundQuery => refund_query::execute(self.world, &self.message),
            On::Notify | On::RefundNotify | On::Platform(_) => Err(Refusal::system_error()),
        }
    }

    /// Signs and writes, `Tamper`, `WrongSign` and `CrossMerchant` included.
    fn answer(&self, reply: Reply, fault: Option<Kind>) -> Response {
        let (mut account, mut appid) = (self.message.account, &self.message.appid);
        let stranger;
        if fault == Some(Kind::CrossMerchant) {
            stranger = another_merchant(self.world, account);
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

    async fn with_fault(&self, hit: Hit) -> Response {
        let lost = |wire: Wire| {
            let mut response = self.answer(self.execute(), None);
            response.extensions_mut().insert(wire);
            response
        };
        match hit.kind {
            Kind::Drop => {
                let mut response = respond(&unsigned(""));
                response.extensions_mut().insert(Wire::Lost);
                response
            }
            Kind::AnswerLost => lost(Wire::Lost),
            Kind::Reset => lost(Wire::Reset),
            Kind::Hang => lost(Wire::Hang),
            Kind::HalfBody => lost(Wire::Half),
            Kind::Delay => {
                tokio::time::sleep(hit.delay).await;
                self.answer(self.execute(), None)
            }
            Kind::Reorder => {
                self.world.let_another_pass(self.api, hit.delay).await;
                self.answer(self.execute(), None)
            }
            Kind::Slow => self.slow(hit.delay).await,
            Kind::Duplicate => {
                // The caller hears the second answer, which an unlucky network delivers.
                let _first = self.execute();
                self.answer(self.execute(), None)
            }
            // Not possible here; the rules refuse it.
            Kind::Errcode => self.answer(Err(Refusal::system_error()), None),
            Kind::RateLimit => self.answer(Err(Refusal::rate_limit()), None),
            Kind::SystemError => {
                if hit.executed {
                    let _unheard = self.execute();
                }
                self.answer(Err(Refusal::system_error()), None)
            }
            Kind::Refuse => {
                if hit.executed {
                    let _unheard = self.execute();
                }
                self.answer(Err(hit.err_code.map_or_else(Refusal::system_error, Refusal::of_refund)), None)
            }
            Kind::Http500 => {
                if hit.executed {
                    let _unheard = self.execute();
                }
                gateway_error()
            }
            Kind::ForgeAmount => self.answer(order_query::forge_amount(self.execute()), None),
            kind @ (Kind::Tamper | Kind::WrongSign | Kind::CrossMerchant) => self.answer(self.execute(), Some(kind)),
        }
    }

    async fn slow(&self, delay: Duration) -> Response {
        let response = self.answer(self.execute(), None);
        tokio::time::sleep(delay).await;
        response
    }
}
