//! Answers that a download must not trust: archives without end, pages, digests of other bytes, hosts that are away.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;
use wxpay_worker::config::Wechat;
use wxpay_worker::wechat::transport::{Client, StreamLimits, TransportError};
use wxpay_worker::wechat::v2::bill::{
    Ask, BillDay, DownloadError, DownloadLimits, Downloaded, FundAccount, GunzipError, RefusalKind, TradeBillType,
    download,
};

use super::{bill, payment};
use crate::wechat::server::{Answer, Server, http, unreachable};
use crate::wechat::{app_id, merchant, our_key, wechat};

const DAY: &str = "2025-01-02";

fn trades() -> Ask {
    Ask::trades(BillDay::parse(DAY).unwrap(), TradeBillType::All)
}

async fn fetch(config: &Wechat, ask: Ask, folder: &Path, limits: DownloadLimits) -> Result<Downloaded, DownloadError> {
    let client = Client::new(config).unwrap();
    movable(download(&client, &merchant(&our_key()), &app_id(), &ask, folder, limits)).await
}

/// Jobs move between threads while they wait.
fn movable<T: Send>(job: T) -> T {
    job
}

async fn fetch_from(server: &Server, limits: DownloadLimits) -> Result<Downloaded, DownloadError> {
    let folder = TempDir::new().unwrap();
    let fetched = fetch(&wechat(&server.url, &server.url), trades(), folder.path(), limits).await;
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, usize::from(fetched.is_ok()), "{fetched:?}");
    fetched
}

fn bytes(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn serving(headers: &'static str, body: Vec<u8>) -> Server {
    Server::start(move |_| Answer::Bytes(bytes(headers, &body)))
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn plain_and_compressed_bills_become_the_same_file() {
    let text = format!("\u{feff}{}", bill(&[payment("a"), payment("b")]));
    let mut digests = Vec::new();
    for body in [text.clone().into_bytes(), gzip(text.as_bytes())] {
        let (server, folder) = (serving("", body), TempDir::new().unwrap());
        let config = wechat(&server.url, &server.url);
        let fetched = fetch(&config, trades(), folder.path(), DownloadLimits::default()).await.unwrap();
        assert_eq!(fetched.file, folder.path().join("1900000109-trades-all-20250102.csv"));
        assert_eq!(std::fs::read_to_string(&fetched.file).unwrap(), text);
        assert_eq!(fetched.bytes, text.len() as u64);
        digests.push(fetched.sha256);
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[0], wxpay_worker::secret::sha256_hex(text.as_bytes()));
}

#[tokio::test]
async fn an_archive_is_given_up_at_its_limit_or_its_missing_end() {
    let text = bill(&vec![payment(&"x".repeat(1000)); 500]);
    let (whole_bytes, archive) = (text.len() as u64, gzip(text.as_bytes()));
    let limits = |plain_bytes| DownloadLimits { plain_bytes, ..DownloadLimits::default() };
    let whole = serving("", archive.clone());
    assert_eq!(fetch_from(&whole, limits(whole_bytes)).await.unwrap().bytes, whole_bytes);
    let error = fetch_from(&whole, limits(1000)).await.unwrap_err();
    assert!(!error.may_come_later());
    assert_eq!(error, DownloadError::Gunzip(GunzipError::TooLarge { limit: 1000 }));
    let cut = serving("", archive[..archive.len() / 2].to_vec());
    let error = fetch_from(&cut, limits(1 << 20)).await.unwrap_err();
    assert_eq!(error.to_string(), "the gzip data is cut short");
    let few = DownloadLimits { wire_bytes: 100, ..DownloadLimits::default() };
    assert_eq!(fetch_from(&whole, few).await.unwrap_err(), DownloadError::TooLarge { limit: 100 });
    let plain = serving("", vec![b'x'; 2000]);
    assert_eq!(fetch_from(&plain, limits(1000)).await.unwrap_err(), DownloadError::TooLarge { limit: 1000 });
}

#[tokio::test]
async fn answers_and_pages_in_place_of_a_bill_leave_no_file() {
    let answer = "<xml><return_code>FAIL</return_code><return_msg>No Bill Exist</return_msg></xml>";
    for body in [answer.as_bytes().to_vec(), gzip(answer.as_bytes()), format!("\u{feff}\n {answer}").into_bytes()] {
        let error = fetch_from(&serving("", body), DownloadLimits::default()).await.unwrap_err();
        let DownloadError::Refused(refusal) = error else { panic!("{error}") };
        assert_eq!((refusal.kind, refusal.words.as_str()), (RefusalKind::NoBill, "No Bill Exist"));
    }
    let page = "<!DOCTYPE html><html><body>Bad Gateway</body></html>";
    let error = fetch_from(&serving("", page.into()), DownloadLimits::default()).await.unwrap_err();
    assert_eq!(error, DownloadError::NotABill("Bad Gateway".to_owned()));
    let error = fetch_from(&serving("", Vec::new()), DownloadLimits::default()).await.unwrap_err();
    assert_eq!(error, DownloadError::NotABill("the answer is empty".to_owned()));
    assert!(error.may_come_later());
}

#[tokio::test]
async fn a_digest_must_be_of_the_bytes_sent_or_of_what_they_hold() {
    let text = bill(&[payment("a")]).into_bytes();
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
    let header: &'static str = format!("digest: SHA={}\r\n", wxpay_worker::secret::hex_lower(sha1.as_ref())).leak();
    let fetched = fetch_from(&serving(header, text.clone()), DownloadLimits::default()).await;
    assert_eq!(fetched.unwrap().bytes, text.len() as u64);
    let fetched = fetch_from(&serving(header, gzip(&text)), DownloadLimits::default()).await;
    assert_eq!(fetched.unwrap().bytes, text.len() as u64);
    let other = bill(&[payment("b")]).into_bytes();
    let error = fetch_from(&serving(header, other), DownloadLimits::default()).await.unwrap_err();
    assert_eq!(error, DownloadError::Digest);
    let unknown = serving("digest: md5=abc\r\n", text);
    assert!(fetch_from(&unknown, DownloadLimits::default()).await.is_ok(), "another algorithm proves nothing");
}

#[tokio::test]
async fn the_other_host_is_asked_when_one_is_away_or_fails() {
    let good = serving("", bill(&[payment("a")]).into_bytes());
    let failing = Server::start(|_| Answer::Bytes(http(502, "")));
    let refusing = Server::start(|_| Answer::Bytes(http(404, "")));
    let folder = TempDir::new().unwrap();
    for main in [unreachable(), failing.url.clone()] {
        let config = wechat(&main, &good.url);
        fetch(&config, trades(), folder.path(), DownloadLimits::default()).await.unwrap();
    }
    let config = wechat(&refusing.url, &good.url);
    let error = fetch(&config, trades(), folder.path(), DownloadLimits::default()).await.unwrap_err();
    assert_eq!(error, DownloadError::Transport(TransportError::Status { status: 404 }));
    assert_eq!(good.received().len(), 2);
    assert!(good.received()[0].head.starts_with("POST /pay/downloadbill "));
}

#[tokio::test]
async fn a_silent_host_and_a_refused_certificate_are_named() {
    let silent = Server::start(|_| Answer::Hang);
    let config = wechat(&silent.url, &silent.url);
    let folder = TempDir::new().unwrap();
    let pace = StreamLimits { begin: Duration::from_millis(300), ..StreamLimits::default() };
    let limits = DownloadLimits { pace, ..DownloadLimits::default() };
    let error = fetch(&config, trades(), folder.path(), limits).await.unwrap_err();
    assert!(matches!(error, DownloadError::Transport(TransportError::NoAnswer { .. })), "{error}");
    let refusing = Server::start(|_| Answer::Bytes(http(400, "")));
    let flow = Ask::fund_flow(BillDay::parse(DAY).unwrap(), FundAccount::Basic);
    let config = wechat(&refusing.url, &refusing.url);
    let error = fetch(&config, flow, folder.path(), DownloadLimits::default()).await.unwrap_err();
    assert!(!error.may_come_later(), "an operator must renew the certificate: {error}");
    let nowhere = folder.path().join("missing");
    let good = serving("", b"abc".to_vec());
    let error = fetch(&wechat(&good.url, &good.url), trades(), &nowhere, DownloadLimits::default()).await.unwrap_err();
    assert!(matches!(error, DownloadError::File(_)), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_bill_of_the_request_leaves_the_earlier_one() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    let good = bill(&[payment("a")]);
    let server = serving("", good.clone().into_bytes());
    let config = wechat(&server.url, &server.url);
    let file = fetch(&config, trades(), folder.path(), DownloadLimits::default()).await.unwrap().file;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let other = good.replace("1900000109", "1900000110");
    let earlier = good.replace("2025-01-02 11", "2025-01-01 11");
    let cut = good.rsplit_once('\n').unwrap().0.to_owned();
    for (wrong, reason) in [
        ("502 Bad Gateway".to_owned(), "the bill is not usable: line 1: not the header of this kind of bill"),
        (other, "the bill is not usable: line 2: of another merchant"),
        (earlier, "the bill is not usable: line 2: of another day"),
        (cut, "the bill is not usable: the bill ends after line 3 without its summary: it is cut short"),
    ] {
        let server = serving("", wrong.into_bytes());
        let config = wechat(&server.url, &server.url);
        let error = fetch(&config, trades(), folder.path(), DownloadLimits::default()).await.unwrap_err();
        assert!(error.to_string().starts_with(reason), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), good);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

/// A host that sends a head and then a byte every few milliseconds, for as long as it is listened to.
fn dripping() -> String {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let mut drop: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
                while stream.write_all(drop).is_ok() {
                    drop = b"x";
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_host_that_drips_is_given_up_at_the_deadline_of_the_whole_and_at_that_of_a_part() {
    let (url, folder) = (dripping(), TempDir::new().unwrap());
    let config = wechat(&url, &url);
    let whole = StreamLimits { total: Duration::from_millis(600), ..StreamLimits::default() };
    // A byte is enough for the part's own deadline to begin again: only that of the whole ends it.
    let part = StreamLimits { window: Duration::from_millis(600), ..StreamLimits::default() };
    for pace in [StreamLimits { bytes: 1, ..whole }, part] {
        let limits = DownloadLimits { pace, ..DownloadLimits::default() };
        let error = fetch(&config, trades(), folder.path(), limits).await.unwrap_err();
        assert!(matches!(error, DownloadError::Transport(TransportError::NoAnswer { .. })), "{error}");
        assert!(error.may_come_later());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of it");
    }
}
