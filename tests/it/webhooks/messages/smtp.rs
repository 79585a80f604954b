//! A mail server on this host, with TLS: it keeps what it takes, and answers as the test says.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::harness::within_timeout;

pub const USER: &str = "alerts@example.com";
pub const PASSWORD: &str = "c0rrect-horse of the mail tests";

/// A mail that was taken.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// As it came.
    pub raw: String,
}

impl Mail {
    pub fn header(&self, name: &str) -> String {
        let head = self.raw.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ").replace("\r\n\t", " ");
        let found = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {name}: {}", self.raw))
    }

    /// The subject without its encoding.
    pub fn subject(&self) -> String {
        let (mut subject, mut was_encoded) = (String::new(), false);
        for word in self.header("Subject").split(' ') {
            let encoded = word.strip_prefix("=?utf-8?b?").and_then(|rest| rest.strip_suffix("?="));
            // A blank between two encoded words is none.
            let is_joined = was_encoded && encoded.is_some();
            if !is_joined && !subject.is_empty() {
                subject.push(' ');
            }
            let decoded = encoded.map(|text| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap());
            subject.push_str(&decoded.unwrap_or_else(|| word.to_owned()));
            was_encoded = encoded.is_some();
        }
        subject
    }

    pub fn text(&self) -> String {
        let (_, body) = self.raw.split_once("\r\n\r\n").unwrap();
        let encoded: String = body.split_whitespace().collect();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    }
}

#[derive(Clone)]
struct Shared {
    taken: watch::Sender<Vec<Mail>>,
    connections: watch::Sender<usize>,
    /// What follows a mail's last line, and how a recipient is answered.
    answers: Arc<Mutex<(String, String)>>,
    acceptor: TlsAcceptor,
    is_plain: bool,
    /// Mails that came to their end, taken or not.
    offered: Arc<Mutex<Vec<Mail>>>,
}

/// Stops when dropped.
pub struct MailServer {
    pub port: u16,
    folder: TempDir,
    shared: Shared,
    serving: JoinHandle<()>,
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl MailServer {
    /// With TLS from the first byte.
    pub async fn start() -> MailServer {
        MailServer::of(false, "127.0.0.1").await
    }

    /// Without TLS: it would take any mail and any password.
    pub async fn plain() -> MailServer {
        MailServer::of(true, "127.0.0.1").await
    }

    /// With a certificate for this name.
    pub async fn of(is_plain: bool, name: &str) -> MailServer {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let ca = authority.self_signed(&authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let only_own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(folder.path().join("password"), only_own).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Shared {
            taken: watch::Sender::new(Vec::new()),
            connections: watch::Sender::new(0),
            answers: Arc::new(Mutex::new(("250 2.0.0 queued as 4711".to_owned(), "250 2.1.5 ok".to_owned()))),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            is_plain,
            offered: Arc::default(),
        };
        let serving = tokio::spawn(accept(listener, shared.clone()));
        MailServer { port, folder, shared, serving }
    }

    /// The lines of `[webhooks]`.
    pub fn config(&self) -> String {
        format!(
            "smtp_url = \"smtps://127.0.0.1:{}\"\nsmtp_from = \"wxpay <{USER}>\"\nsmtp_username = \"{USER}\"\n\
             smtp_password_file = {:?}\nsmtp_ca_file = {:?}\nmail_domains = [\"Example.com\"]\n",
            self.port,
            self.file("password"),
            self.file("ca.pem"),
        )
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Answers a mail's last line so from now on.
    pub fn answer(&self, line: &str) {
        self.shared.answers.lock().unwrap().0 = line.to_owned();
    }

    pub fn answer_recipients(&self, line: &str) {
        self.shared.answers.lock().unwrap().1 = line.to_owned();
    }

    pub fn taken(&self) -> Vec<Mail> {
        self.shared.taken.borrow().clone()
    }

    /// Mails that came to their end, taken or not.
    pub fn offered(&self) -> Vec<Mail> {
        self.shared.offered.lock().unwrap().clone()
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// Awaits so many mails.
    pub async fn until(&self, count: usize) -> Vec<Mail> {
        let mut changes = self.shared.taken.subscribe();
        let came = changes.wait_for(|taken| taken.len() >= count);
        within_timeout(&format!("{count} mails"), came).await.unwrap().clone()
    }
}

async fn accept(listener: TcpListener, shared: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        shared.connections.send_modify(|count| *count += 1);
        let shared = shared.clone();
        tokio::spawn(async move {
            if shared.is_plain {
                serve(stream, &shared).await;
            } else if let Ok(stream) = shared.acceptor.clone().accept(stream).await {
                serve(stream, &shared).await;
            }
        });
    }
}

/// Serves one client, which has to log in.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: &Shared) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example.com ESMTP\r\n").await.ok()?;
    let (mut mail, mut is_known, mut line) = (Mail::default(), false, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let text = line.trim_end().to_owned();
        let argument =
            || text.split_once('<').and_then(|(_, rest)| rest.split('>').next()).unwrap_or_default().to_owned();
        let answer = match text.to_uppercase().split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-mail.example.com\r\n250-8BITMIME\r\n250 AUTH PLAIN".to_owned(),
            "AUTH" => {
                let expected = format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{USER}\0{PASSWORD}")));
                is_known = text == expected;
                // As a careless server might.
                if is_known { "235 ok".to_owned() } else { format!("535 5.7.8 no user for {text}") }
            }
            _ if !is_known => "530 5.7.0 log in first".to_owned(),
            "MAIL" => {
                mail = Mail { from: argument(), ..Mail::default() };
                "250 ok".to_owned()
            }
            "RCPT" => {
                mail.to.push(argument());
                shared.answers.lock().unwrap().1.clone()
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                loop {
                    line.clear();
                    stream.read_line(&mut line).await.ok()?;
                    if line == ".\r\n" {
                        break;
                    }
                    mail.raw.push_str(&line);
                }
                shared.offered.lock().unwrap().push(mail.clone());
                let answer = shared.answers.lock().unwrap().0.clone();
                if answer.starts_with('2') {
                    shared.taken.send_modify(|taken| taken.push(std::mem::take(&mut mail)));
                }
                answer
            }
            // As a server that is in no hurry: no answer ever comes.
            "QUIT" => continue,
            _ => "502 not here".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}
