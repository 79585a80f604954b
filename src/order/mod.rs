//! Orders: their states, and the one pure function that moves them. Knows no runtime, web, database or clock.

mod trade_type;

pub use trade_type::TradeType;
