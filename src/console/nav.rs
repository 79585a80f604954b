//! The navigation: one line for each page that it leads to.

use super::words::Lang;
use crate::store::Right;

/// A place of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Overview,
    Orders,
    Notifications,
    DeadLetters,
    Replays,
    Held,
    Refunds,
    Approvals,
    Reconciliation,
    Ledger,
    Webhooks,
    Jobs,
    Audit,
    Settings,
    /// Of no place: the page of an error.
    None,
}

/// A line of the table.
pub struct Entry {
    pub place: Place,
    pub path: &'static str,
    zh: &'static str,
    en: &'static str,
    /// Who sees it.
    pub right: Right,
}

impl Entry {
    pub fn title(&self, lang: Lang) -> &'static str {
        lang.pick(self.zh, self.en)
    }
}

const fn entry(place: Place, path: &'static str, zh: &'static str, en: &'static str) -> Entry {
    Entry { place, path, zh, en, right: Right::View }
}

/// Every page of the navigation, in its order.
pub const ENTRIES: &[Entry] = &[
    entry(Place::Overview, "/console", "总览", "Overview"),
    entry(Place::Orders, "/console/orders", "订单", "Orders"),
    entry(Place::Notifications, "/console/notifications", "通知", "Notifications"),
    entry(Place::DeadLetters, "/console/dead-letters", "死信", "Dead letters"),
    entry(Place::Replays, "/console/replays", "重放", "Replays"),
    entry(Place::Held, "/console/held", "挂起资金", "Held money"),
    entry(Place::Refunds, "/console/refunds", "退款", "Refunds"),
    entry(Place::Approvals, "/console/approvals", "复核", "Approvals"),
    entry(Place::Reconciliation, "/console/reconciliation", "对账", "Reconciliation"),
    entry(Place::Ledger, "/console/ledger", "账簿", "Ledger"),
    entry(Place::Webhooks, "/console/webhooks", "Webhook", "Webhooks"),
    entry(Place::Jobs, "/console/jobs", "任务", "Jobs"),
    entry(Place::Audit, "/console/audit", "审计", "Audit"),
    entry(Place::Settings, "/console/settings", "设置", "Settings"),
];
