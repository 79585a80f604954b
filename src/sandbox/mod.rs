//! The WeChat simulator: a strict stand-in for `api.mch.weixin.qq.com` and the platform's hosts, in this process or as
//! `wxpay-sandbox`.
//!
//! It checks what WeChat checks, answers WeChat's own codes, keeps its own ledger, acts as the payer and posts signed
//! notifications on WeChat's schedule; it can also misbehave on demand. It is not part of the service: nothing here
//! reads the service's database, bus or decisions, so its ledger can be held against them as the truth.
//!
//! What must stay true: an order is paid at most once; what was answered or paid is in the ledger (and in the journal,
//! where there is one) before anyone hears of it; a fault changes the wire, never the ledger.
//!
//! | file | is |
//! |---|---|
//! | `settings` | merchants, apps, lifetimes, time scale, seed |
//! | `http` | the listeners, their limits, TLS and its certificates, answers that do not arrive whole |
//! | `state` | what all requests share |
//! | `call` | what all API calls share: execute, apply a fault, answer |
//! | `pay_v2` | orders, queries, closing, refunds and bills: `/pay/…`, `/secapi/pay/refund` |
//! | `bill` | trade bills and fund flows of the ledger, with planted differences |
//! | `platform` | login, tokens, JS-SDK, mini program: `api.weixin.qq.com`, `open.weixin.qq.com`, WeChat's browser |
//! | `ledger` | what WeChat knows of orders and refunds, how it changes, how it survives a restart |
//! | `request_log` | which requests arrived |
//! | `notify` | one notification on the wire; when it is repeated |
//! | `faults`, `forgery` | misbehaviour on demand, and what it does to messages |
//! | `control`, `cashier` | the payer, the merchant platform and the tester: JSON and HTML |

mod bill;
mod call;
mod cashier;
mod control;
mod fault_kinds;
mod faults;
mod forgery;
mod http;
mod ids;
mod ledger;
mod notify;
mod pay_v2;
mod platform;
mod request_log;
mod settings;
mod state;

pub use http::certificates::make_certificates;
pub use http::server::{Options, Running, Sandbox, StartError};
pub use ledger::account::PayRefused;
pub use settings::{Account, PlatformApp, PlatformKind, Settings};
