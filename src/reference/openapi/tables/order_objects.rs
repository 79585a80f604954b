//! The schemas of orders.

use super::common::{CURRENCY, MERCHANT_KEY, NEXT, OUT_TRADE_NO, REASON, TRANSACTION_ID};
use crate::money::Fen;
use crate::ops::orders::Matched;
use crate::order::{AttemptState, OrderState};
use crate::reference::openapi::field::{
    Field, Names, Shape, fen, flag, names_of, object as object_field, objects, of, text, time, word,
};
use crate::reference::openapi::operation::{Object, object, request};
use crate::store::OrderFlag;
use crate::trade::TradeType;
use crate::wechat::v2::unified_order::{LONG_MAX_BYTES, SHORT_MAX_BYTES, TEXT_MAX_BYTES};

pub const TRADE_TYPE_NAMES: Names = names_of!(TradeType);
/// The largest `metadata`, as compact JSON.
const METADATA_MAX_BYTES: usize = 4096;
const PENDING: Names = || vec!["close", "new_attempt"];

const ORDER_NO: Field = text("order_no", "The business's own number, unique per merchant.", "A100001");
const AMOUNT: Field = fen("amount_fen", "In fen: 100 is ¥1.00.");
const TRADE_TYPE: Field = word(
    "trade_type",
    "JSAPI: inside WeChat, official account or mini program. NATIVE: a QR code. APP: a mobile app. MWEB: a browser \
    on a \
     phone.",
    TRADE_TYPE_NAMES,
);
const OPENID: Field = text(
    "openid",
    "The payer under the app. Required with JSAPI, refused with any other trade type.",
    "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
)
.bytes(128)
.pattern("^[0-9A-Za-z_-]+$")
.optional();
const PRODUCT_ID: Field = text(
    "product_id",
    "What is sold. Required with NATIVE, refused with any other trade type. At most 32 bytes.",
    "sku-1",
)
.bytes(SHORT_MAX_BYTES)
.optional();
const SCENE_INFO: Field = of(
    Shape::Json,
    "scene_info",
    "Where the payment is made, as WeChat wants it. Required with MWEB, refused with any other trade type. At most 256 \
     bytes as compact JSON.",
)
.max_bytes(LONG_MAX_BYTES)
.example("{\"h5_info\":{\"type\":\"Wap\",\"wap_url\":\"https://m.example.com\",\"wap_name\":\"shop\"}}")
.optional();
const CLIENT_IP: Field = text(
    "client_ip",
    "IPv4 or IPv6 address of the payer. Required with MWEB, where it must be the public address of the payer's \
    browser. \
     Left out otherwise: the caller's.",
    "203.0.113.7",
)
.optional();
const EXPIRES_AT: Field = time(
    "expires_at",
    "Until when it can be paid: more than a minute and at most seven days ahead. Left out: \
    `orders.default_expiry_minutes` of \
     the configuration.",
)
.example("2026-11-27T04:00:00Z")
.optional();

pub const ORDER_REQUESTS: &[Object] = &[
    request(
        "OrderRequest",
        "An order to place. A member that is null counts as left out; unknown members are refused.",
        &[
            ORDER_NO.bytes(32).pattern("^[0-9A-Za-z_-]+$"),
            text("merchant", "The merchant's key. Required where the API key sees several.", "main").optional(),
            text("app", "The app's key. Required where the merchant has several apps.", "shop").optional(),
            AMOUNT.within(1, Fen::ORDER_MAX.as_i64()),
            text("description", "What the payer reads. At most 127 bytes, no control characters.", "Tea")
                .bytes(TEXT_MAX_BYTES),
            TRADE_TYPE,
            OPENID,
            CLIENT_IP,
            PRODUCT_ID,
            SCENE_INFO,
            text(
                "attach",
                "Comes back from WeChat with the payment. At most 127 bytes, no control characters.",
                "table 5",
            )
            .bytes(TEXT_MAX_BYTES)
            .optional(),
            EXPIRES_AT,
            of(
                Shape::Json,
                "metadata",
                "For the business alone, never sent to WeChat. At most 4096 bytes as compact JSON.",
            )
            .max_bytes(METADATA_MAX_BYTES)
            .example("{\"table\": 5}")
            .optional(),
        ],
    ),
    request(
        "AttemptRequest",
        "Another way to pay. What is left out stays as the order has it.",
        &[TRADE_TYPE.optional(), OPENID, PRODUCT_ID, SCENE_INFO, CLIENT_IP, EXPIRES_AT],
    ),
    request(
        "AcceptRequest",
        "Which payment is credited, and why.",
        &[TRANSACTION_ID.bytes(32).pattern("^[0-9A-Za-z]+$"), REASON],
    ),
];

pub const ORDER_OBJECTS: &[Object] = &[
    object(
        "Order",
        "An order. Members that only some answers have are not required.",
        &[
            ORDER_NO,
            MERCHANT_KEY,
            text("app", "The app's key.", "shop"),
            word("state", "Deliver on `credited`, not on this.", names_of!(OrderState)),
            word("pending", "What was asked for and waits for WeChat.", PENDING).optional(),
            of(Shape::Words(names_of!(OrderFlag)), "flags", "What a person should know beside the state.")
                .example("[]"),
            AMOUNT,
            CURRENCY,
            text("description", "What the payer reads.", "Tea"),
            fen("refunded_fen", "What went back to the payer, in fen.").example("0"),
            TRANSACTION_ID.or_null(),
            time("created_at", "When it was recorded."),
            time("updated_at", "When it changed last."),
            time("expires_at", "Until when it can be paid."),
            time("paid_at", "When it was paid, by WeChat's clock.").or_null(),
            flag("credited", "Whether `order.paid` was emitted: deliver on this."),
            object_field("wechat", "What WeChat last said against it.", "WechatError").or_null(),
            text("attach", "As it was given.", "table 5").or_null(),
            of(Shape::Json, "metadata", "As it was given.").or_null(),
            objects("attempts", "Oldest first; the last one is what can be paid.", "Attempt"),
            objects("payments", "All that WeChat reported for it, oldest first.", "Payment").optional(),
            objects("refunds", "Oldest first.", "Refund").optional(),
            text("order_token", "Opens the order's stream, for a payer's page.", "q0b6uS2rJ4…").optional(),
            object_field("pay_params", "Null where it cannot be paid at the moment.", "PayParams").or_null().optional(),
            flag("refreshed", "With `refresh=1`: whether WeChat answered for this reply.").optional(),
        ],
    ),
    object(
        "Attempt",
        "One try at WeChat.",
        &[OUT_TRADE_NO, TRADE_TYPE, word("state", "Of this attempt.", names_of!(AttemptState))],
    ),
    object(
        "PayParams",
        "Ready to hand to WeChat; nothing is to be added. Which members there are follows from the trade type.",
        &[
            text("appId", "JSAPI.", "wxd930ea5d5a258f4f").optional(),
            text("timeStamp", "JSAPI: seconds, as text.", "1795355574").optional(),
            text("nonceStr", "JSAPI.", "oUbh9I2R0L59vEQxS8P7SyYBGJD0Hfr7").optional(),
            text("package", "JSAPI: `prepay_id=…`; APP: `Sign=WXPay`.", "prepay_id=wx20261127").optional(),
            text("signType", "JSAPI: MD5 or HMAC-SHA256.", "HMAC-SHA256").optional(),
            text("paySign", "JSAPI.", "37EF67D90D3056957BF5D1D775F606DA").optional(),
            text("timestamp", "JSAPI: the same as `timeStamp`, for `wx.chooseWXPay`. APP: seconds.", "1795355574")
                .optional(),
            text("appid", "APP.", "wxd930ea5d5a258f4f").optional(),
            text("partnerid", "APP: the merchant number.", "10000100").optional(),
            text("prepayid", "APP.", "wx20261127").optional(),
            text("noncestr", "APP.", "oUbh9I2R0L59vEQxS8P7SyYBGJD0Hfr7").optional(),
            text("sign", "APP.", "37EF67D90D3056957BF5D1D775F606DA").optional(),
            text("code_url", "NATIVE: show it as a QR code.", "weixin://wxpay/bizpayurl?pr=abc").optional(),
            text(
                "mweb_url",
                "MWEB: send the browser there.",
                "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?t=1",
            )
            .optional(),
        ],
    ),
    object(
        "PayParamsAnswer",
        "The pay parameters of an order.",
        &[
            ORDER_NO,
            MERCHANT_KEY,
            OUT_TRADE_NO,
            TRADE_TYPE,
            time("expires_at", "Until when it can be paid."),
            object_field("pay_params", "Signed for this answer.", "PayParams"),
        ],
    ),
    object(
        "OrderList",
        "A page of orders.",
        &[
            objects("orders", "Newest first.", "Order"),
            NEXT,
            word("matched", "Whether `q` was a number or a text.", names_of!(Matched)).or_null(),
            time("from", "Where a search in texts begins.").or_null(),
            time("compared_to", "Down to where this page came, where it is not full and `next` goes on.").or_null(),
            flag("truncated", "Whether more numbers begin like `q`."),
        ],
    ),
    object(
        "RevokedToken",
        "Whose token ended.",
        &[MERCHANT_KEY, ORDER_NO, time("revoked_at", "When the order got another one.")],
    ),
    object(
        "Timeline",
        "What happened to an order.",
        &[
            ORDER_NO,
            MERCHANT_KEY,
            word("state", "Of the order.", names_of!(OrderState)),
            objects("entries", "Oldest first.", "TimelineEntry"),
            of(Shape::Texts, "truncated", "The kinds of rows of which there are more.").example("[]"),
        ],
    ),
    object(
        "TimelineEntry",
        "Further members follow from `kind`: docs/orders-api.md lists them.",
        &[time("at", "When."), text("kind", "What happened.", "decision")],
    ),
];
