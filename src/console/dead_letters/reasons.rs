//! What a reason class means and what mends it, in the reader's language.

use crate::console::words::Lang;
use crate::ops::reason::ReasonClass;

/// What it means, in one sentence.
pub fn sentence(class: ReasonClass, lang: Lang) -> &'static str {
    lang.pick(chinese_sentence(class), class.sentence())
}

/// What to do about it.
pub fn mend(class: ReasonClass, lang: Lang) -> &'static str {
    lang.pick(chinese_mend(class), class.mend())
}

const fn chinese_sentence(class: ReasonClass) -> &'static str {
    use ReasonClass as R;
    match class {
        R::Exhausted => "对该消息的每次尝试都失败了。",
        R::Alien => "服务的主题上出现了不是本服务发布的消息。",
        R::Malformed => "消息无法解析。",
        R::UnknownSubject => "本版本没有处理该主题的程序。",
        R::UnknownMerchant => "这里没有配置该商户或应用。",
        R::UnknownOrder => "本服务没有微信所报编号的订单。",
        R::UnknownAttempt => "订单没有这次支付尝试。",
        R::UnknownRefund => "本服务与微信的应答都不认识该退款。",
        R::InvalidOrder => "消息中的订单违反了微信的规则。",
        R::NumberTaken => "该单号属于另一订单的支付尝试。",
        R::Defect => "本服务的缺陷。",
        R::Xml => "通知不是微信格式的 XML。",
        R::ReturnCode => "通知表明微信自身处理失败。",
        R::Unsigned => "通知没有签名。",
        R::Signature => "商户的任何密钥都不能通过验签。",
        R::Decrypt => "商户的任何密钥都不能解开该退款通知。",
        R::Foreign => "通知属于另一商户或应用。",
        R::Incomplete => "已验签的通知缺少必需的字段。",
        R::NeedsV3Key => "这是 API v3 的通知，其密钥没有配置。",
        R::AmountDiffers => "支付金额与订单金额不同。",
        R::CurrencyDiffers => "支付币种不是人民币。",
        R::RecipientDiffers => "收款的商户或应用与订单不同。",
        R::ClosedAfterPaid => "微信把曾报为已支付的订单报为已关闭。",
        R::TransactionElsewhere => "该 transaction_id 属于另一订单。",
        R::UnknownPayment => "订单没有这笔支付。",
        R::GivenBack => "该支付正在退回或已退回付款人。",
        R::ForeignPayment => "该支付只能退款。",
        R::RefundDiffers => "微信所报退款金额与本地不同。",
        R::AnotherPayment => "微信认为该退款单号属于另一笔支付。",
        R::RefundIdDiffers => "微信以另一 refund_id 记录该退款。",
        R::UndoneAfterSuccess => "微信把曾成功的退款报为未成功。",
        R::AliveAfterFailure => "微信把曾失败的退款报为有效。",
        R::QueryDiffers => "微信的查询应答与其通知矛盾。",
        R::RefundExceeds => "微信所报退款超过该支付的余额。",
    }
}

const fn chinese_mend(class: ReasonClass) -> &'static str {
    use ReasonClass as R;
    match class {
        R::Exhausted => "查看各次尝试的错误，排除原因后重放。",
        R::Alien => "查出谁能在该主题发布并收回其权限；丢弃该消息。",
        R::Malformed => "若由更新的版本发布，完成升级后重放；否则按主题查明它要做什么，另行完成后丢弃。",
        R::UnknownSubject => "完成升级后重放，或丢弃。",
        R::UnknownMerchant => "重新配置该商户或应用后重放。",
        R::UnknownOrder => {
            "先查明该单号属于谁：属于同一商户号的其他系统则丢弃；若订单后来出现（如恢复备份后）请重放；只退无主的款项。"
        }
        R::UnknownAttempt => "与商户平台核对该单号；重放，或退回无主的款项。",
        R::UnknownRefund => "与商户平台核对退款单号；微信能查到后重放。",
        R::InvalidOrder => "修正调用方，换新订单号重新下单；丢弃该消息。",
        R::NumberTaken => "换一个订单号重新下单；丢弃该消息。",
        R::Defect => "连同各次尝试的错误一起上报；修正后的版本上线后重放。",
        R::Xml => "丢弃；若确由微信发出，请上报。",
        R::ReturnCode => "没有因此发生支付：丢弃。",
        R::Unsigned => "是伪造的：丢弃。",
        R::Signature => "与商户平台核对 v2_key；更正后重放。若密钥正确，则是伪造的。",
        R::Decrypt => "与商户平台核对 v2_key；更正后重放。",
        R::Foreign => "核对 mch_id、商户的应用及其 notify_url；更正后重放。",
        R::Incomplete => "请上报；支付会通过查询得知。用能读懂它的版本重放。",
        R::NeedsV3Key => "在商户平台把通知设置为 API v2。",
        R::AmountDiffers => "接受该支付或退款；然后丢弃。",
        R::CurrencyDiffers => "退款；然后丢弃。",
        R::RecipientDiffers => "核对商户的应用；退款；然后丢弃。",
        R::ClosedAfterPaid => "与商户平台核对订单；一致后丢弃。",
        R::TransactionElsewhere => "与商户平台核对两个订单；一致后丢弃。",
        R::UnknownPayment => "从微信刷新订单后重放。",
        R::GivenBack => "丢弃。",
        R::ForeignPayment => "退款；然后丢弃。",
        R::RefundDiffers => "与商户平台核对该退款；一致后丢弃。",
        R::AnotherPayment => "与商户平台核对；换退款单号重新申请。",
        R::RefundIdDiffers => "与商户平台核对该退款；一致后丢弃。",
        R::UndoneAfterSuccess => "向微信客服询问该退款；一致后丢弃。",
        R::AliveAfterFailure => "与商户平台核对该退款；一致后丢弃。",
        R::QueryDiffers => "稍后刷新该退款；一致后重放。",
        R::RefundExceeds => "与商户平台核对各笔退款；其他退款结束后重放。",
    }
}
