//! What mends are called, why a line has its mend, and what it came to.

use super::words::FinanceWords;
use crate::console::frame::Frame;
use crate::console::ui::status::{Badge, Status};
use crate::console::words::Lang;
use crate::ops::reconciliation::{Mend, MendOutcome, PlanItem};
use crate::reconciliation::LineClass;

/// What would be done.
pub fn mend_word(mend: Mend, lang: Lang) -> &'static str {
    match mend {
        Mend::AskAboutOrder => lang.pick("向微信查询该订单", "ask WeChat about the order"),
        Mend::EnterPayment => lang.pick("向微信查询该支付，按无订单记账", "ask WeChat, enter a payment of no order"),
        Mend::AdoptRefund => lang.pick("向微信查询退款并登记", "ask WeChat about the refunds, adopt this one"),
        Mend::Rerun => lang.pick("重新对账", "compare again"),
        Mend::Note => lang.pick("由人员填写说明", "only a note explains it"),
    }
}

pub fn mend_status(mend: Mend) -> Status {
    match mend {
        Mend::AskAboutOrder | Mend::EnterPayment | Mend::AdoptRefund => Status::WouldAsk,
        Mend::Rerun => Status::Known,
        Mend::Note => Status::NeedsNote,
    }
}

/// Why it would be done, or why nothing can be.
pub fn mend_why(item: &PlanItem, lang: Lang) -> &'static str {
    match (item.mend, item.line.class) {
        (Mend::AskAboutOrder, _) => {
            lang.pick("账单中有该订单的支付，账簿中没有。", "The bill has a payment of this order that the books lack.")
        }
        (Mend::EnterPayment, _) => {
            lang.pick("系统中没有该编号的订单。", "No order here has this number: the payment is of no order.")
        }
        (Mend::AdoptRefund, _) => {
            lang.pick("退款在微信商户平台发起。", "The refund was made at WeChat's merchant platform.")
        }
        (Mend::Rerun, _) => lang.pick("账簿中已有该笔。", "The books have it by now."),
        (Mend::Note, LineClass::RefundMissingHere) => {
            lang.pick("退款所属的支付没有订单，无法查询。", "Its payment has no order here that could be asked about.")
        }
        (Mend::Note, LineClass::MissingHere) => {
            lang.pick("账单中的编号无法用于查询。", "The bill has no number that WeChat could be asked about.")
        }
        (Mend::Note, _) => {
            lang.pick("双方都有该笔，查询不能判断谁对。", "Both sides have it: a query cannot say which is right.")
        }
    }
}

/// What the mend of a line came to.
pub struct MendView {
    pub line: i64,
    pub word: &'static str,
    pub badge: Badge,
    pub says: String,
}

impl MendView {
    pub fn new(outcome: &MendOutcome, frame: &Frame, t: &FinanceWords) -> MendView {
        let lang = frame.lang;
        let (status, says) = match outcome.result.as_str() {
            "asked" => (
                Status::Asked,
                lang.pick("微信答复后入账，届时重新对账。", "WeChat's answer is entered; then compare again.")
                    .to_owned(),
            ),
            "entered" => (Status::Entered, lang.pick("已按微信的答复记账。", "WeChat confirmed it.").to_owned()),
            "known" => (Status::Known, lang.pick("账簿中已有该笔。", "The books have it by now.").to_owned()),
            "waiting" => {
                let words = outcome.said.as_deref().unwrap_or_default();
                (Status::Awaiting, format!("{}: {words} ({})", t.wechat_said, t.asked_again))
            }
            "note" => (Status::NeedsNote, lang.pick("请填写说明。", "Only a note explains it.").to_owned()),
            why => (Status::Broken, format!("{}: {why}", t.refused_by_wechat)),
        };
        let word = mend_word(outcome.mend, lang);
        MendView { line: outcome.line, word, badge: frame.badge(status), says }
    }
}
