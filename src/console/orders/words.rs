//! Texts of the list of orders.

use crate::console::words::Lang;
use crate::store::OrderFlag;
use crate::trade::TradeType;

words! {
    Texts {
        title: "订单", "Orders";
        order_no: "订单号", "Order";
        description: "商品", "Description";
        credited: "入账", "Credited";
        attempts: "次数", "Attempts";
        refunds: "退款", "Refunded";
        flag: "标记", "Flag";
        app: "应用", "App";
        trade_type: "支付方式", "Trade type";
        min: "金额不低于", "At least ¥";
        max: "金额不高于", "At most ¥";
        text: "编号或文字", "Number or text";
        more: "更多条件", "More filters";
        yes: "是", "yes";
        no: "否", "no";
        page_sum: "本页合计", "This page";
        none_match: "没有符合条件的订单。", "No orders match these filters.";
        none: "还没有订单。", "No orders yet.";
        cut: "更早的订单尚未比对，请看下一页。已比对到", "Older orders were not compared yet: go on to the next page. Compared down to";
        text_from: "按文字搜索的范围从", "Texts were searched from";
        truncated: "还有更多编号以此开头，请输入更长的编号。", "More numbers begin like this: enter a longer one.";
    }
}

/// A flag in words.
pub fn flag(flag: OrderFlag, lang: Lang) -> &'static str {
    match flag {
        OrderFlag::PaidLate => lang.pick("逾期支付", "paid late"),
        OrderFlag::PaidTwice => lang.pick("重复支付", "paid twice"),
        OrderFlag::PaidBeforeOrder => lang.pick("早于下单", "paid before order"),
        OrderFlag::OutcomeUnknown => lang.pick("结果未知", "outcome unknown"),
        OrderFlag::AmountMismatch => lang.pick("金额不符", "amount mismatch"),
    }
}

/// How an order is paid, in words.
pub fn trade_type(trade_type: TradeType, lang: Lang) -> &'static str {
    match trade_type {
        TradeType::Jsapi => lang.pick("公众号/小程序 JSAPI", "JSAPI"),
        TradeType::Native => lang.pick("扫码 NATIVE", "NATIVE"),
        TradeType::App => lang.pick("APP", "APP"),
        TradeType::Mweb => lang.pick("H5 MWEB", "MWEB"),
    }
}
