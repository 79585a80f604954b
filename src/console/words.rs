//! Texts in Chinese and English, side by side, so that neither can be missing.

use axum::http::{HeaderMap, header};

/// A language of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lang {
    Zh,
    En,
}

named!(Lang { Zh = "zh", En = "en" });

impl Lang {
    /// The first of both that the browser names; English where it names neither.
    pub fn of_browser(headers: &HeaderMap) -> Lang {
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        accepted.split(',').find_map(|name| Lang::parse(name.trim().get(..2)?)).unwrap_or(Lang::En)
    }

    /// The value of `lang` in HTML.
    pub fn tag(self) -> &'static str {
        match self {
            Lang::Zh => "zh-CN",
            Lang::En => "en",
        }
    }

    /// One of both texts.
    pub fn pick<T>(self, zh: T, en: T) -> T {
        match self {
            Lang::Zh => zh,
            Lang::En => en,
        }
    }
}

/// A table of texts: `words! { Texts { title: "订单", "Orders"; } }` makes a struct with a field for each text and
/// `Texts::of(lang)`. In a template: `{{ t.title }}`.
macro_rules! words {
    ($name:ident { $($key:ident : $zh:expr, $en:expr;)* }) => {
        #[derive(Debug, Clone, Copy)]
        pub struct $name { $(pub $key: &'static str,)* }

        impl $name {
            const ZH: &'static $name = &$name { $($key: $zh,)* };
            const EN: &'static $name = &$name { $($key: $en,)* };

            /// The texts in this language.
            pub fn of(lang: $crate::console::words::Lang) -> &'static $name {
                lang.pick($name::ZH, $name::EN)
            }
        }
    };
}

words! {
    Words {
        console: "支付控制台", "Payments console";
        skip: "跳到内容", "Skip to content";
        search: "搜索", "Search";
        search_hint: "任意编号，或商品描述", "Any number, or a description";
        sign_out: "退出", "Sign out";
        signed_in_as: "当前用户", "Signed in as";
        language: "English", "中文";
        theme: "主题", "Theme";
        theme_auto: "跟随系统", "System";
        theme_light: "浅色", "Light";
        theme_dark: "深色", "Dark";
        menu: "菜单", "Menu";
        copy: "复制", "Copy";
        copied: "已复制", "Copied";
        older: "更早", "Older";
        newer: "返回最新", "Newest";
        filter: "筛选", "Filter";
        reset: "清除", "Clear";
        all: "全部", "All";
        none: "无", "None";
        total: "合计", "Total";
        merchant: "商户", "Merchant";
        order: "订单", "Order";
        amount: "金额", "Amount";
        state: "状态", "State";
        time: "时间", "Time";
        reason: "原因", "Reason";
        from: "从", "From";
        to: "到", "To";
        save: "保存", "Save";
        cancel: "取消", "Cancel";
        confirm: "确认", "Confirm";
        back: "返回", "Back";
        request: "请求编号", "Request";
        ago: "前", "ago";
        ahead: "后", "from now";
        just_now: "刚刚", "just now";
        class: "类别", "Class";
        refunded: "已退款", "Refunded";
        nothing_matches: "没有符合条件的记录。", "Nothing matches these filters.";
        beijing: "北京时间", "Beijing time";
    }
}
