//! A bill from a file or any other source of bytes, row by row.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::BillError;
use super::fund_flow::FundFlows;
use super::parser::{Layout, Limits, Parser, Row};
use super::request::Expected;
use super::trade::Trades;

/// A trade bill.
pub type TradeBill<R> = BillReader<R, Trades>;
/// A fund-flow bill.
pub type FundFlowBill<R> = BillReader<R, FundFlows>;

const CHUNK_BYTES: usize = 16 * 1024;

/// Holds one chunk of the source and its rows.
pub struct BillReader<R, L: Layout> {
    source: R,
    chunk: Vec<u8>,
    rows: VecDeque<Row<L::Line>>,
    at: At<L>,
}

enum At<L: Layout> {
    Rows(Box<Parser<L>>),
    End(L::Totals),
    Failed(BillError),
}

impl<R: AsyncRead + Unpin, L: Layout> BillReader<R, L> {
    /// `source` gives the bill uncompressed.
    pub fn new(source: R, limits: Limits) -> BillReader<R, L> {
        let at = At::Rows(Box::new(Parser::new(limits)));
        BillReader { source, chunk: vec![0; CHUNK_BYTES], rows: VecDeque::new(), at }
    }

    /// Refuses rows of any other bill. To be called before the first row is read.
    pub fn expecting(mut self, expected: Expected) -> BillReader<R, L> {
        self.at = match self.at {
            At::Rows(parser) => At::Rows(Box::new(parser.expecting(expected))),
            at => at,
        };
        self
    }

    /// The next row; none once the bill was read whole and its summary is right. After an error every call gives the
    /// same error.
    pub async fn next(&mut self) -> Result<Option<Row<L::Line>>, BillError> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            let read = match &self.at {
                At::Rows(_) => self.source.read(&mut self.chunk).await,
                At::End(_) => return Ok(None),
                At::Failed(error) => return Err(error.clone()),
            };
            let read = read.map_err(|error| BillError::Io(error.to_string()));
            if let Err(error) = read.and_then(|bytes| self.parse(bytes)) {
                // Rows before the error are as provisional as all others, and of no use any more.
                self.rows.clear();
                self.at = At::Failed(error);
            }
        }
    }

    /// The sums, which the summary confirms; none before the end.
    pub const fn totals(&self) -> Option<&L::Totals> {
        match &self.at {
            At::End(totals) => Some(totals),
            At::Rows(_) | At::Failed(_) => None,
        }
    }

    fn parse(&mut self, bytes: usize) -> Result<(), BillError> {
        let At::Rows(parser) = &mut self.at else { return Ok(()) };
        let rows = &mut self.rows;
        if bytes > 0 {
            return parser.feed(self.chunk.get(..bytes).unwrap_or_default(), |row| rows.push_back(row));
        }
        let parser = std::mem::replace(&mut **parser, Parser::new(Limits::default()));
        self.at = At::End(parser.finish(|row| rows.push_back(row))?);
        Ok(())
    }
}
