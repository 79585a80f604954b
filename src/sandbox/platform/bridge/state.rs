//! What the bridge remembers between two calls of a page: which config held, which cashier is open, and how the next
//! payment is to go.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::ids::OpenId;
use crate::secret::random_text;

/// How many configs, and how many cashiers, are remembered.
const KEPT: usize = 10_000;

/// What a page may do after a `wx.config` that held.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Grant {
    pub appid: String,
    pub apis: Vec<String>,
}

/// How a payment was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(in crate::sandbox) enum Via {
    /// `WeixinJSBridge.invoke('getBrandWCPayRequest', …)`
    #[serde(rename = "bridge")]
    Bridge,
    /// `wx.chooseWXPay`
    #[serde(rename = "chooseWXPay")]
    ChooseWxPay,
    /// `wx.requestPayment` of a mini program
    #[serde(skip)]
    RequestPayment,
}

/// An open cashier: checked, and waiting for the payer.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Sheet {
    pub via: Via,
    pub prepay_id: String,
    pub openid: OpenId,
}

/// How the next payment goes instead of showing a cashier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Next {
    /// `ok`, though nothing was paid.
    LieOk,
    Cancel,
    Fail,
    /// Paid without asking.
    Pay,
}

/// Values by a random name, the oldest forgotten.
struct Shelf<T> {
    by_name: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Shelf<T> {
        Shelf { by_name: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Shelf<T> {
    fn put(&mut self, value: T) -> String {
        let name = random_text(32);
        self.by_name.insert(name.clone(), value);
        self.order.push_back(name.clone());
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_name.remove(&oldest);
        }
        name
    }
}

#[derive(Default)]
pub(in crate::sandbox) struct BridgeState {
    grants: Shelf<Grant>,
    sheets: Shelf<Sheet>,
    pub next: Option<Next>,
}

impl BridgeState {
    /// A config held.
    pub fn grant(&mut self, grant: Grant) -> String {
        self.grants.put(grant)
    }

    /// What a config allowed.
    pub fn granted(&self, name: &str) -> Option<&Grant> {
        self.grants.by_name.get(name)
    }

    /// A cashier opens.
    pub fn open(&mut self, sheet: Sheet) -> String {
        self.sheets.put(sheet)
    }

    /// A cashier closes; it does so once.
    pub fn close(&mut self, name: &str) -> Option<Sheet> {
        self.sheets.by_name.remove(name)
    }
}
