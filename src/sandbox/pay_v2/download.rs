//! `/pay/downloadbill` and `/pay/downloadfundflow`: the merchant fetches the bill of a day. Answers are not signed: a
//! file, compressed where that is asked for, or XML in its place.

use std::io::Write;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::iter;
use sha1::{Digest, Sha1};

use super::answer::{Refusal, respond, unsigned, with};
use super::check::{Message, optional, required};
use crate::sandbox::bill::day::{Day, Ready};
use crate::sandbox::bill::differences::planted;
use crate::sandbox::bill::layout::{TradeBill, fund_flow};
use crate::sandbox::bill::spoil::Spoil;
use crate::sandbox::bill::{fund_rows, trade_rows};
use crate::sandbox::call;
use crate::sandbox::faults::{Hit, Kind, On, Set};
use crate::sandbox::state::SandboxState;
use crate::secret::hex_lower;
use crate::trade::SignType;
use crate::wechat::v2::xml::Fields;

/// Of a day without trades, and of one whose bill is not there yet or no more.
const NO_BILL: &str = "No Bill Exist";
const CREATING: &str = "Bill Creating";

/// A request that was read, checked and counted.
pub(super) struct Download<'w> {
    pub api: On,
    pub sandbox: &'w Arc<SandboxState>,
    pub message: Message<'w>,
}

impl call::Call for Download<'_> {
    /// The file's text.
    type Reply = Result<String, Refusal>;

    fn on(&self) -> On {
        self.api
    }

    fn execute(&self) -> Self::Reply {
        self.message.check_app(self.sandbox)?;
        if self.api == On::DownloadFundFlow { self.fund_flow() } else { self.trades() }
    }

    fn refusal(&self, hit: &Hit) -> Self::Reply {
        Err(match hit.kind {
            Kind::RateLimit => Refusal::rate_limit(),
            Kind::ForeignAddress => Refusal::Communication("此IP地址不允许调用接口".to_owned()),
            Kind::CertificateExpired => Refusal::Communication("证书已过期".to_owned()),
            _ => Refusal::system_error(),
        })
    }

    /// A file has no elements.
    fn rewritten(reply: Self::Reply, _: &Set) -> Self::Reply {
        reply
    }

    fn answer(&self, reply: Self::Reply, _: Option<Kind>) -> Response {
        match reply {
            Ok(text) => self.file(text),
            Err(refusal) => respond(&self.words(refusal)),
        }
    }
}

impl Download<'_> {
    fn trades(&self) -> Result<String, Refusal> {
        let fields = &self.message.fields;
        let words = |words: &str| Refusal::Communication(words.to_owned());
        let bill = TradeBill::parse(optional(fields, "bill_type")).ok_or_else(|| words("invalid bill_type"))?;
        self.check_compression().map_err(|()| words("data format error"))?;
        let date = required(fields, "bill_date").map_err(|_| words("missing parameter"))?;
        let day = Day::parse(date).ok_or_else(|| words("data format error"))?;
        self.check_ready(&day, || words(NO_BILL), || words(CREATING))?;
        let mch_id = self.message.account.mch_id.as_str();
        let rows = |day: &Day| trade_rows::of_day(self.sandbox.book().orders(), mch_id, day);
        let (rows, before) = (rows(&day), rows(&day.previous()));
        let differences = self.sandbox.differences();
        let own = differences.iter().filter(|(of, _)| of == mch_id).map(|(_, difference)| difference);
        let (mut rows, more) = planted(rows, before, &own.collect::<Vec<_>>(), (mch_id, &day));
        rows.retain(|row| bill.holds(row));
        if rows.is_empty() { Err(words(NO_BILL)) } else { Ok(bill.write(&rows, more, self.sandbox.bill_form(mch_id))) }
    }

    fn fund_flow(&self) -> Result<String, Refusal> {
        let fields = &self.message.fields;
        let param = |des: &str| Refusal::Business("PARAM_ERROR", des.to_owned());
        if self.message.sign_type != SignType::HmacSha256 {
            return Err(param("sign_type须为HMAC-SHA256"));
        }
        let account = required(fields, "account_type")?;
        if !matches!(account, "Basic" | "Operation" | "Fees") {
            return Err(param("account_type参数错误"));
        }
        self.check_compression().map_err(|()| param("tar_type参数错误"))?;
        let day = Day::parse(required(fields, "bill_date")?).ok_or_else(|| param("bill_date参数错误"))?;
        let none = || Refusal::Business("NO_BILL_EXIST", "账单不存在".to_owned());
        self.check_ready(&day, none, || Refusal::Business("BILL_CREATING", "账单生成中".to_owned()))?;
        // Nothing is ever booked on the other accounts.
        let mch_id = self.message.account.mch_id.as_str();
        let of_basic = || fund_rows::of_day(self.sandbox.book().orders(), mch_id, &day);
        let rows = if account == "Basic" { of_basic() } else { Vec::new() };
        if rows.is_empty() { Err(none()) } else { Ok(fund_flow(&rows, self.sandbox.bill_form(mch_id))) }
    }

    fn check_compression(&self) -> Result<(), ()> {
        if matches!(optional(&self.message.fields, "tar_type"), None | Some("GZIP")) { Ok(()) } else { Err(()) }
    }

    fn check_ready(
        &self,
        day: &Day,
        none: impl Fn() -> Refusal,
        creating: impl Fn() -> Refusal,
    ) -> Result<(), Refusal> {
        match day.ready(self.sandbox.now()) {
            Ready::Yes => Ok(()),
            Ready::Creating => Err(creating()),
            Ready::No => Err(none()),
        }
    }

    fn file(&self, plain: String) -> Response {
        let spoil = self.sandbox.bill_form(self.message.account.mch_id.as_str()).spoil;
        let spoil = if self.api == On::DownloadBill { spoil } else { Spoil::None };
        if let Spoil::LongLine(mib) = spoil {
            return long_line(&plain, mib);
        }
        let plain = spoil.of_text(plain).into_bytes();
        let digest = format!("SHA={}", hex_lower(Sha1::digest(&plain).as_slice()));
        let compressed = optional(&self.message.fields, "tar_type").is_some();
        let bytes = if compressed { gzip(&plain).unwrap_or(plain) } else { plain };
        let mut response = Response::new(Body::from(spoil.of_bytes(bytes)));
        let content_type = if compressed { "application/x-gzip" } else { "text/plain" };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.api == On::DownloadFundFlow
            && let Ok(digest) = HeaderValue::from_str(&digest)
        {
            response.headers_mut().insert("digest", digest);
        }
        response
    }

    /// Of trade bills, the communication layer alone speaks; of fund flows both do.
    fn words(&self, refusal: Refusal) -> Fields {
        match refusal {
            Refusal::Business(code, des) if self.api == On::DownloadFundFlow => with(
                Fields::new(),
                &[("return_code", "SUCCESS"), ("result_code", "FAIL"), ("err_code", code), ("err_code_des", &des)],
            ),
            Refusal::Business(code, _) => unsigned(code),
            Refusal::Communication(words) => match words.as_str() {
                NO_BILL => with(unsigned(NO_BILL), &[("error_code", "20002")]),
                CREATING => with(unsigned(CREATING), &[("error_code", "20001")]),
                words => unsigned(words),
            },
        }
    }
}

/// The head of a bill, and a row of so many MiB, which are made while they are sent.
fn long_line(plain: &str, mib: u32) -> Response {
    const MIB: usize = 1 << 20;
    let head = format!("{}\r\n`", plain.lines().next().unwrap_or_default());
    let row = Bytes::from(vec![b'x'; MIB]);
    let chunks = (0..mib).map(move |_| row.clone());
    let chunks = iter(std::iter::once(Bytes::from(head)).chain(chunks).map(Ok::<_, std::io::Error>));
    Response::new(Body::from_stream(chunks))
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()
}
