//! The intake log: its form at every byte, appending and its limits, logs that dead processes left, and settling.

mod asking;
mod cursor;
mod doctor_of_spool;
mod frames;
mod kept;
mod left;
mod log;
mod room;
pub mod support;

use support::*;
