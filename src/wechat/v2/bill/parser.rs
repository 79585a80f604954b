//! The parser of either kind of bill: fed with bytes as they come, it gives rows. It keeps one unfinished line and the
//! running sums, whatever the bill's length.

use super::cells::{Cells, Header};
use super::error::{BillError, Flaw};
use super::refusal::Refusal;
use super::request::Expected;

/// What a bill may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one line, in bytes. WeChat's longest are about 3,000.
    pub line_bytes: usize,
    pub rows: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { line_bytes: 64 * 1024, rows: 50_000_000 }
    }
}

/// An answer in place of a bill is a few hundred bytes long; of a longer page the beginning is enough.
const ANSWER_BYTES: usize = 64 * 1024;

/// A row and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<T> {
    /// The line in the file, from 1; the header is line 1.
    pub number: u64,
    pub line: T,
}

/// A kind of bill. Implemented by [`Trades`](super::Trades) and [`FundFlows`](super::FundFlows) alone.
pub trait Layout: Sized {
    /// What one row says.
    type Line;
    /// Sums over all rows.
    type Totals: Default;
    /// Where the columns are.
    type Columns;
    /// The first column of the rows.
    const FIRST: &'static str;
    /// The first column of the summary.
    const SUMMARY: &'static str;

    fn columns(header: &Header) -> Result<Self::Columns, BillError>;
    fn read(columns: &Self::Columns, cells: &Cells<'_>) -> Result<Self::Line, BillError>;
    /// Whether the columns suffice for the bill that was asked for.
    fn suffice(expected: &Expected, columns: &Self::Columns) -> Result<(), Flaw>;
    /// Whether the row belongs to the bill that was asked for.
    fn check(expected: &Expected, line: &Self::Line) -> Result<(), Flaw>;
    /// Nothing when a sum does not fit.
    fn add(totals: &mut Self::Totals, line: &Self::Line) -> Option<()>;
    /// Whether the summary has what the rows come to.
    fn compare(totals: &Self::Totals, summary: &Cells<'_>, header: &Header) -> Result<(), BillError>;
}

enum State<C> {
    Start,
    Rows {
        header: Header,
        columns: C,
    },
    Summary {
        header: Header,
    },
    End,
    /// It begins like an answer or a page.
    Answer(Vec<u8>),
    Failed(BillError),
}

/// See the module.
pub struct Parser<L: Layout> {
    limits: Limits,
    expected: Option<Expected>,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// Lines read.
    lines: u64,
    rows: u64,
    state: State<L::Columns>,
    totals: L::Totals,
}

impl<L: Layout> Parser<L> {
    pub fn new(limits: Limits) -> Parser<L> {
        let totals = Default::default();
        Parser { limits, expected: None, begun: Vec::new(), lines: 0, rows: 0, state: State::Start, totals }
    }

    /// Refuses rows of any other bill.
    pub fn expecting(self, expected: Expected) -> Parser<L> {
        Parser { expected: Some(expected), ..self }
    }

    /// Reads the next bytes and gives `sink` the rows that end in them. After an error every call gives the same error.
    pub fn feed(&mut self, bytes: &[u8], mut sink: impl FnMut(Row<L::Line>)) -> Result<(), BillError> {
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        self.lines_of(bytes, &mut sink).inspect_err(|error| self.state = State::Failed(error.clone()))
    }

    /// The bill is at its end: gives the row that no line break ended, and compares the summary with the rows.
    pub fn finish(mut self, mut sink: impl FnMut(Row<L::Line>)) -> Result<L::Totals, BillError> {
        if !self.begun.is_empty() && !matches!(self.state, State::Failed(_)) {
            let last = std::mem::take(&mut self.begun);
            self.line(&last, &mut sink)?;
        }
        match self.state {
            State::End => Ok(self.totals),
            State::Failed(error) => Err(error),
            State::Start => Err(BillError::Empty),
            State::Rows { .. } | State::Summary { .. } => Err(BillError::CutShort { line: self.lines }),
            State::Answer(body) => Err(match Refusal::read(&body) {
                Ok(refusal) => BillError::Refused(refusal),
                Err(said) => BillError::NotABill(said),
            }),
        }
    }

    fn lines_of(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(Row<L::Line>)) -> Result<(), BillError> {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            let (end, rest) = bytes.split_at(at);
            bytes = rest.get(1..).unwrap_or_default();
            if self.begun.is_empty() {
                self.line(end, sink)?;
            } else {
                self.keep(end)?;
                let mut whole = std::mem::take(&mut self.begun);
                self.line(&whole, sink)?;
                whole.clear();
                self.begun = whole;
            }
        }
        self.keep(bytes)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), BillError> {
        let length = self.begun.len() + bytes.len();
        let first = if self.begun.is_empty() { bytes } else { &self.begun };
        match &mut self.state {
            // A page may have no line breaks, and its beginning says what it is.
            State::Start if length > self.limits.line_bytes && begins_an_answer(first) => {
                let beginning = first.iter().take(ANSWER_BYTES).copied().collect();
                self.state = State::Answer(beginning);
                self.begun.clear();
            }
            State::Answer(_) if length > self.limits.line_bytes => self.begun.clear(),
            _ if length > self.limits.line_bytes => {
                return Err(flawed(self.lines + 1, Flaw::TooLong { limit: self.limits.line_bytes }));
            }
            _ => self.begun.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn line(&mut self, bytes: &[u8], sink: &mut impl FnMut(Row<L::Line>)) -> Result<(), BillError> {
        self.lines += 1;
        let number = self.lines;
        if let State::Answer(body) = &mut self.state {
            let room = ANSWER_BYTES.saturating_sub(body.len());
            body.extend(bytes.iter().chain(b"\n").take(room));
            return Ok(());
        }
        if matches!(self.state, State::Start) && begins_an_answer(bytes) {
            self.state = State::Answer(bytes.iter().chain(b"\n").take(ANSWER_BYTES).copied().collect());
            return Ok(());
        }
        if bytes.len() > self.limits.line_bytes {
            return Err(flawed(number, Flaw::TooLong { limit: self.limits.line_bytes }));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| flawed(number, Flaw::NotText))?;
        let text = text.strip_suffix('\r').unwrap_or(text);
        let text = if number == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text };
        if text.trim().is_empty() {
            return Ok(());
        }
        match &self.state {
            State::Start => self.header(number, text),
            State::Rows { header, columns } if !begins_with(text, L::SUMMARY) => {
                if self.rows == self.limits.rows {
                    return Err(flawed(number, Flaw::TooManyRows { limit: self.limits.rows }));
                }
                let line = L::read(columns, &Cells::split(header, number, text)?)?;
                if let Some(expected) = &self.expected {
                    L::check(expected, &line).map_err(|flaw| flawed(number, flaw))?;
                }
                L::add(&mut self.totals, &line).ok_or(BillError::Line { line: number, flaw: Flaw::SumTooLarge })?;
                self.rows += 1;
                sink(Row { number, line });
                Ok(())
            }
            State::Rows { .. } => {
                self.state = State::Summary { header: Header::parse(number, text)? };
                Ok(())
            }
            State::Summary { header } => {
                L::compare(&self.totals, &Cells::split(header, number, text)?, header)?;
                self.state = State::End;
                Ok(())
            }
            State::End => Err(flawed(number, Flaw::BehindTheSummary)),
            State::Answer(_) => Ok(()),
            State::Failed(error) => Err(error.clone()),
        }
    }

    fn header(&mut self, number: u64, text: &str) -> Result<(), BillError> {
        let header = Header::parse(number, text)?;
        if header.find(&[L::FIRST])? != Some(0) {
            return Err(flawed(number, Flaw::NotTheHeader));
        }
        let columns = L::columns(&header)?;
        if let Some(expected) = &self.expected {
            L::suffice(expected, &columns).map_err(|flaw| flawed(number, flaw))?;
        }
        self.state = State::Rows { header, columns };
        Ok(())
    }
}

fn flawed(line: u64, flaw: Flaw) -> BillError {
    BillError::Line { line, flaw }
}

fn begins_with(text: &str, name: &str) -> bool {
    text.trim_start_matches('`').starts_with(name)
}

/// Whether a bill cannot begin like this, but XML, HTML or JSON can.
fn begins_an_answer(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    matches!(bytes.first(), Some(b'<' | b'{'))
}
