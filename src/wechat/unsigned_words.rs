//! What the texts of unsigned failures are known to mean. They are not stable: a text that is not listed means nothing.

/// Texts that say WeChat failed itself. Whatever else stands beside them, the call may be repeated.
const BUSY: [&str; 17] = [
    "忙",
    "系统错误",
    "系统异常",
    "系统超时",
    "网络",
    "超时",
    "稍后",
    "频繁",
    "重试",
    "SYSTEMERROR",
    "SYSTEM ERROR",
    "INTERNAL ERROR",
    "BUSY",
    "TIMEOUT",
    "TIMED OUT",
    "TRY AGAIN",
    "TRY LATER",
];

/// Texts that say that WeChat is called too often.
const TOO_OFTEN: [&str; 4] = ["频繁", "频率", "TOO FREQUENT", "FREQUENCY"];

/// Texts known to mean that the request itself is wrong, in upper case: the documented ones, in the spellings seen.
const WRONG: [&str; 23] = [
    "参数错误",
    "参数格式",
    "参数长度",
    "参数有误",
    "参数不能为空",
    "缺少参数",
    "缺少必填",
    "缺少必要",
    "PARAM_ERROR",
    "PARAM ERROR",
    "LACK_PARAMS",
    "INVALID OPENID",
    "INVALID TOTAL_FEE",
    "INVALID SPBILL_CREATE_IP",
    "必须传OPENID",
    "不匹配",
    "NOT MATCH",
    "XML格式错误",
    "XML_FORMAT_ERROR",
    "编码格式错误",
    "NOT_UTF8",
    "POST数据为空",
    "使用POST方法",
];

/// Whether WeChat says that it failed itself.
pub(super) fn say_busy(words: &str) -> bool {
    names(words, &BUSY)
}

/// Whether WeChat says that it is called too often.
pub(super) fn say_too_often(words: &str) -> bool {
    names(words, &TOO_OFTEN)
}

/// Whether WeChat says that the request is wrong.
pub(super) fn say_wrong_request(words: &str) -> bool {
    names(words, &WRONG)
}

/// Whether one of the listed texts, in upper case, stands in the words.
pub(super) fn names(words: &str, listed: &[&str]) -> bool {
    let text = words.to_ascii_uppercase();
    listed.iter().any(|words| text.contains(words))
}
