//! The browser side: pages inside WeChat, and mini programs.

use crate::order::OrderState;
use crate::reference::openapi::field::{Field, Names, Shape, fen, flag, flag_01, names_of, of, text, time, word};
use crate::reference::openapi::operation::{
    Access, Content, Object, Operation, Section, answer, get, located, object, post, request,
};
use crate::store::OrderFlag;

const SCOPES: Names = || vec!["snsapi_base", "snsapi_userinfo"];
const MAX_CODE_BYTES: usize = 512;

const APP: Field = text("app", "Another app than the first of its kind.", "shop").optional();
const OF_CODES: &[&str] = &["bad_code", "risk_user", "login_failed", "too_many"];

const OPERATIONS: &[Operation] = &[
    get("/api/wechat/redirect", "beginLogin", "Begin a login")
        .about("A browser navigates here. WeChat sends it back to `getOpenId`, and that on to `callback`.")
        .access(Access::Browser)
        .query(&[
            text(
                "callback",
                "The page to come back to, of an origin on the allow-list; encoded \
                  once.",
                "https://m.example.com/pay",
            )
            .optional(),
            text(
                "url",
                "Another name of `callback`; one of the two is \
                  required.",
                "https://m.example.com/pay",
            )
            .optional(),
            word(
                "scope",
                "Silent, which is what is done where it is left out; or with name and \
                  picture.",
                SCOPES,
            )
            .optional(),
            APP,
        ])
        .answers(&[located(302, Content::None, "To WeChat.")])
        .refusals(&["bad_origin"]),
    get("/api/wechat/getOpenId", "endLogin", "End a login")
        .about("WeChat sends the browser here. A code is exchanged once, however often the address is opened.")
        .access(Access::Browser)
        .query(&[
            text("code", "WeChat's code; missing where the payer declined.", "ATN0GmgP").optional(),
            text("state", "As it was given to WeChat.", "I8TlDjdofv9Far6J0Hi9a4WRl9aLegZK").optional(),
        ])
        .answers(&[located(302, Content::None, "To the page that began it, with the session's cookie.")])
        .refusals(&[
            "bad_state",
            "bad_origin",
            "login_refused",
            "login_failed",
            "snapshot_user",
            "risk_user",
            "too_many",
            "login_loop",
        ]),
    get("/api/wechat/jssdk", "signPage", "Sign a page for the JS-SDK")
        .access(Access::Browser)
        .query(&[
            text("url", "`location.href`, encoded once; of an origin on the allow-list.", "https://m.example.com/pay"),
            APP,
            flag_01("explain", "1 shows what was signed, without the ticket."),
        ])
        .answers(&[answer(200, Content::Envelope("JssdkConfig"), "What the page hands to `wx.config`.")])
        .refusals(&["bad_origin", "token_unavailable"]),
    get("/api/wechat/getUserInfo", "getUserInfo", "Read what is known of the payer")
        .access(Access::Session)
        .answers(&[answer(200, Content::Envelope("UserInfo"), "Never the openid.")]),
    post("/api/wechat/logout", "logOut", "Log out")
        .about("Ends all sessions of the payer, on other devices, too. Without a session nothing happens.")
        .access(Access::Browser)
        .answers(&[answer(200, Content::Envelope("LoggedOut"), "There is no session any more.")]),
    get("/api/wechat/pay/payWallet", "payWallet", "Order and pay")
        .about(
            "An order of the session's payer, and the complete block for `WeixinJSBridge` or `wx.chooseWXPay`. The \
            same \
             payer and amount get the same order as long as it can be paid. `pending` (20001) comes with status 200.",
        )
        .access(Access::Session)
        .query(&[text("money", "Whole fen, within the configured bounds.", "100")])
        .answers(&[answer(200, Content::Envelope("WalletBlock"), "Pay parameters; or `pending`, without them.")])
        .refusals(&[
            "pending",
            "bad_origin",
            "snapshot_user",
            "not_found",
            "order_closed",
            "order_paid",
            "order_failed",
            "too_many",
        ]),
    get("/api/wechat/pay/status", "getOwnOrder", "Read the payer's own order")
        .about("What a page believes, whatever the payment sheet said.")
        .access(Access::Session)
        .query(&[
            text("order_no", "The order.", "W20261127xISJm0Ud87vhW9ujI5YPOE").bytes(32).pattern("^[0-9A-Za-z_-]+$"),
            flag_01("refresh", "1 asks WeChat first, at most every two seconds."),
        ])
        .answers(&[answer(200, Content::Envelope("OwnOrder"), "The order.")])
        .refusals(&["not_found"]),
    post("/api/wechat/mini/login", "loginMiniProgram", "Log a mini program in")
        .access(Access::Browser)
        .query(&[APP])
        .body("CodeRequest")
        .answers(&[answer(200, Content::Envelope("MiniSession"), "The session.")])
        .refusals(OF_CODES),
    post("/api/wechat/mini/phone", "getPhoneNumber", "Get the payer's phone number")
        .access(Access::Session)
        .body("CodeRequest")
        .answers(&[answer(200, Content::Envelope("PhoneNumber"), "The number.")])
        .refusals(&["bad_code", "risk_user", "login_failed", "too_many", "token_unavailable"]),
];

const OBJECTS: &[Object] = &[
    request(
        "CodeRequest",
        "A code of WeChat's.",
        &[text("code", "Of `wx.login`, or of the button.", "0a3b5c").bytes(MAX_CODE_BYTES).pattern("^[!-~]+$")],
    ),
    object(
        "EnvelopeRefusal",
        "A refusal. Which reasons an address has is with each status.",
        &[
            of(Shape::Number, "code", "Never 0: the status and two digits.").example("40001"),
            of(Shape::Any, "data", "The parameter and its rule; the order and its state; or null."),
            text("message", "For the payer.", "支付参数异常，请联系客服"),
            text("reason", "For programs; stable.", "bad_parameter"),
            text("request_id", "Quote it in support requests.", "5VZpdOEcAjI4kiIPPxzN"),
        ],
    ),
    object(
        "JssdkConfig",
        "For `wx.config`.",
        &[
            text("appId", "Of the official account or mini program.", "wxd930ea5d5a258f4f"),
            of(Shape::Number, "timestamp", "Seconds.").example("1795355574"),
            text("nonceStr", "Random.", "DyX1jLT3EORkpWTc"),
            text("signature", "SHA-1, in hex.", "3d1cf950dc7a1ca4e71862187d056558ea159875"),
            of(Shape::Texts, "jsApiList", "What the page may call, as configured.").example("[\"chooseWXPay\"]"),
            text("url", "What was signed: `location.href` has to be this.", "https://m.example.com/pay"),
            of(Shape::Json, "explain", "With `explain=1`.").optional(),
        ],
    ),
    object(
        "UserInfo",
        "Of the session's payer.",
        &[
            text("nickname", "As the payer chose it.", "小明").or_null(),
            text("avatar", "The address of the picture.", "https://thirdwx.qlogo.cn/mmopen/0").or_null(),
            text("headimgurl", "The same, by WeChat's name.", "https://thirdwx.qlogo.cn/mmopen/0").or_null(),
            flag("has_profile", "Whether name and picture are known."),
            flag("is_snapshot", "Whether it is the made-up payer of a snapshot page."),
        ],
    ),
    object("LoggedOut", "After a logout.", &[flag("logged_in", "Never.").example("false")]),
    object(
        "WalletBlock",
        "Hand it to WeChat as it is.",
        &[
            text("appId", "Of the official account or mini program.", "wxd930ea5d5a258f4f"),
            text("timeStamp", "Seconds, as text.", "1795355574"),
            text("timestamp", "The same, for `wx.chooseWXPay`.", "1795355574"),
            text("nonceStr", "Random.", "oUbh9I2R0L59vEQxS8P7SyYBGJD0Hfr7"),
            text("package", "`prepay_id=…`.", "prepay_id=wx20261127"),
            text("signType", "MD5 or HMAC-SHA256.", "HMAC-SHA256"),
            text("paySign", "Over the members before.", "37EF67D90D3056957BF5D1D775F606DA"),
            text("order_no", "The order, where it is about one.", "W20261127xISJm0Ud87vhW9ujI5YPOE"),
            word("state", "Of the order.", names_of!(OrderState)),
            time("expires_at", "Until when."),
        ],
    ),
    object(
        "OwnOrder",
        "Where the payer's order stands.",
        &[
            text("order_no", "The order, where it is about one.", "W20261127xISJm0Ud87vhW9ujI5YPOE"),
            word("state", "Of the order.", names_of!(OrderState)),
            flag("credited", "Whether the shop was informed."),
            of(Shape::Words(names_of!(OrderFlag)), "flags", "What a person should know beside the state.")
                .example("[]"),
            fen("amount_fen", "In fen."),
            fen("refunded_fen", "In fen.").example("0"),
            time("paid_at", "By WeChat's clock.").or_null(),
            time("expires_at", "Until when."),
            flag("refreshed", "Whether WeChat answered for this reply."),
        ],
    ),
    object(
        "MiniSession",
        "The session of a mini program.",
        &[text("session", "Send it as `Authorization: Bearer …`.", "H3k0")],
    ),
    object(
        "PhoneNumber",
        "In WeChat's names.",
        &[
            text("phoneNumber", "With the country's code where it is not China.", "13800000000"),
            text("purePhoneNumber", "Without the country's code.", "13800000000"),
            text("countryCode", "Of the country.", "86"),
        ],
    ),
];

pub const SECTION: Section = Section {
    name: "Browser",
    about: "Pages inside WeChat and mini programs. Every answer is an envelope with `code` 0, or a refusal. With \
            `web.status_always_200` refusals have status 200.",
    operations: OPERATIONS,
    objects: &[OBJECTS],
};
