//! Bills: WeChat's account of a day, line by line, and how it is fetched.
//!
//! A bill is read in one pass, in memory that does not grow with it:
//!
//! ```ignore
//! let ask = Ask::trades(BillDay::parse("2026-11-27")?, TradeBillType::All);
//! let bill = download(&client, merchant, appid, &ask, folder, DownloadLimits::default()).await?;
//! let file = tokio::fs::File::open(&bill.file).await?;
//! let mut reader = TradeBill::new(file, Limits::default()).expecting(Expected::new(merchant, ask));
//! while let Some(row) = reader.next().await? {
//!     match row.line { TradeLine::Payment(trade) => …, TradeLine::Refund(trade, refund) => … }
//! }
//! let totals = reader.totals();
//! ```
//!
//! What must stay true: a row is provisional until the reader has come to the end without an error. The summary at the
//! bill's end must equal the sums of its rows, and only then is the bill whole; after any error nothing of it may be
//! used. Columns are found by their names, never by their positions: WeChat has at least seven layouts. Amounts are
//! exact: whole [`Fen`](crate::money::Fen), fees as [`Yuan`]. No error text holds a cell's contents but for sums.
//!
//! What a bill says of a refund is its state of the day on which WeChat accepted it, and is never updated.
//!
//! | file | is |
//! |---|---|
//! | `day`, `request` | which bill; the signed message that asks for it |
//! | `download`, `receiver`, `gunzip` | the answer into a file, within bounds |
//! | `parser`, `cells`, `reader` | lines, header, summary of either kind of bill; fed with bytes, or from a file |
//! | `trade`, `trade_totals` | trade bills |
//! | `fund_flow` | fund-flow bills |
//! | `refusal`, `error` | what WeChat answers in place of a bill; why a bill cannot be read |
//! | `decimal` | yuan with five decimals, rates |

mod cells;
mod day;
mod decimal;
mod download;
mod error;
mod fund_flow;
mod gunzip;
mod parser;
mod reader;
mod receiver;
mod refusal;
mod request;
mod trade;
mod trade_totals;

pub use cells::OtherCell;
pub use day::{BillDay, DayError};
pub use decimal::{Rate, Yuan};
pub use download::{DownloadError, DownloadLimits, Downloaded, download};
pub use error::{BillError, Flaw};
pub use fund_flow::{Direction, FundEntry, FundFlows, FundTotals};
pub use gunzip::{Gunzip, GunzipError};
pub use parser::{Layout, Limits, Parser, Row};
pub use reader::{BillReader, FundFlowBill, TradeBill};
pub use refusal::{Refusal, RefusalKind};
pub use request::{Ask, Expected, FundAccount, TradeBillType, write_request};
pub use trade::{Personal, Refund, RefundKind, Trade, TradeLine, Trades};
pub use trade_totals::TradeTotals;
