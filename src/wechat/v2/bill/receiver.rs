//! What an answer to a request for a bill is: an archive, plain lines, or WeChat's words in their place. The first
//! bytes tell; what is sent in an archive is judged by its own first bytes.

use aws_lc_rs::digest;

use super::gunzip::{Gunzip, GunzipError, MAGIC};
use super::refusal::Refusal;
use crate::secret::hex_lower;

/// An answer in place of a bill is a few hundred bytes long; of a longer page the beginning is enough.
const ANSWER_BYTES: usize = 64 * 1024;
/// Blanks before the first byte of an answer.
const BLANK_BYTES: usize = 1024;

/// What was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub bytes: u64,
    pub sha256: String,
}

/// Why it is no bill.
#[derive(Debug)]
pub(super) enum Fault {
    Refused(Refusal),
    NotABill(String),
    Gunzip(GunzipError),
    TooLarge { limit: u64 },
    Digest,
}

enum Form {
    Undecided(Vec<u8>),
    Archive(Box<Gunzip>),
    Plain,
}

/// Takes the answer's bytes as they come.
pub(super) struct Receiver {
    form: Form,
    body: Body,
    limit: u64,
    /// The digest that WeChat sent, of the archive or of what it holds: the documentation does not say which.
    digest: Option<String>,
    sha1_sent: digest::Context,
}

/// The decompressed bytes.
struct Body {
    begin: Begin,
    out: Vec<u8>,
    bytes: u64,
    sha1: digest::Context,
    sha256: digest::Context,
}

enum Begin {
    Undecided(Vec<u8>),
    Lines,
    Answer(Vec<u8>),
}

impl Receiver {
    /// `digest` is the answer's header of that name.
    pub fn new(limit: u64, digest: Option<String>) -> Receiver {
        let sha1 = || digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        let body = Body {
            begin: Begin::Undecided(Vec::new()),
            out: Vec::new(),
            bytes: 0,
            sha1: sha1(),
            sha256: digest::Context::new(&digest::SHA256),
        };
        Receiver { form: Form::Undecided(Vec::new()), body, limit, digest, sha1_sent: sha1() }
    }

    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.sha1_sent.update(bytes);
        let Form::Undecided(begin) = &mut self.form else { return self.decompress(bytes) };
        begin.extend_from_slice(bytes);
        if begin.len() < MAGIC.len() {
            return Ok(());
        }
        let begin = std::mem::take(begin);
        self.form =
            if begin.starts_with(&MAGIC) { Form::Archive(Box::new(Gunzip::new(self.limit))) } else { Form::Plain };
        self.decompress(&begin)
    }

    /// Lines of the bill that were not written yet.
    pub fn plain(&self) -> &[u8] {
        &self.body.out
    }

    pub fn written(&mut self) {
        self.body.out.clear();
    }

    /// The answer is at its end. Gives the last lines.
    pub fn finish(mut self) -> Result<(Vec<u8>, Received), Fault> {
        match std::mem::replace(&mut self.form, Form::Plain) {
            Form::Undecided(begin) => self.body.feed(&begin),
            Form::Archive(gunzip) => gunzip.finish(|bytes| self.body.feed(bytes)).map_err(Fault::Gunzip)?,
            Form::Plain => {}
        }
        match self.body.begin {
            Begin::Lines => {}
            Begin::Undecided(blank) if blank.is_empty() => {
                return Err(Fault::NotABill("the answer is empty".to_owned()));
            }
            Begin::Undecided(answer) | Begin::Answer(answer) => {
                return Err(in_place(&answer));
            }
        }
        let hex = |context: digest::Context| hex_lower(context.finish().as_ref());
        let (sent, plain) = (hex(self.sha1_sent), hex(self.body.sha1));
        if let Some(expected) = self.digest.as_deref().and_then(sha1_of)
            && ![sent, plain].contains(&expected)
        {
            return Err(Fault::Digest);
        }
        Ok((self.body.out, Received { bytes: self.body.bytes, sha256: hex(self.body.sha256) }))
    }

    fn decompress(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match &mut self.form {
            Form::Archive(gunzip) => gunzip.feed(bytes, |plain| self.body.feed(plain)).map_err(Fault::Gunzip)?,
            Form::Plain | Form::Undecided(_) => {
                self.body.feed(bytes);
                if self.body.bytes > self.limit {
                    return Err(Fault::TooLarge { limit: self.limit });
                }
            }
        }
        match &self.body.begin {
            // More of it would be read for nothing.
            Begin::Answer(answer) if answer.len() == ANSWER_BYTES => Err(in_place(answer)),
            Begin::Answer(_) | Begin::Undecided(_) | Begin::Lines => Ok(()),
        }
    }
}

impl Body {
    fn feed(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.sha1.update(bytes);
        self.sha256.update(bytes);
        match &mut self.begin {
            Begin::Lines => self.out.extend_from_slice(bytes),
            Begin::Answer(answer) => keep(answer, bytes),
            Begin::Undecided(begin) => {
                begin.extend_from_slice(bytes);
                let text = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin).trim_ascii_start();
                match text.first() {
                    Some(b'<' | b'{') => {
                        let mut answer = Vec::new();
                        keep(&mut answer, begin);
                        self.begin = Begin::Answer(answer);
                    }
                    None if begin.len() < BLANK_BYTES => {}
                    // The first two bytes of a byte order mark decide nothing.
                    Some(0xef) if begin.len() < 3 => {}
                    Some(_) | None => {
                        self.out.append(begin);
                        self.begin = Begin::Lines;
                    }
                }
            }
        }
    }
}

fn in_place(answer: &[u8]) -> Fault {
    match Refusal::read(answer) {
        Ok(refusal) => Fault::Refused(refusal),
        Err(said) => Fault::NotABill(said),
    }
}

fn keep(answer: &mut Vec<u8>, bytes: &[u8]) {
    let room = ANSWER_BYTES.saturating_sub(answer.len());
    answer.extend(bytes.iter().take(room));
}

/// The hex digits of `SHA=<hex>`; none of a digest in another form.
fn sha1_of(header: &str) -> Option<String> {
    let (algorithm, hex) = header.trim().split_once('=')?;
    let known = matches!(algorithm.to_ascii_uppercase().as_str(), "SHA" | "SHA1" | "SHA-1");
    let is_hex = hex.len() == 40 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    (known && is_hex).then(|| hex.to_ascii_lowercase())
}
