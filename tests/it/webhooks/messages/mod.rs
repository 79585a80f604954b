//! Messages: mails, replays to robots, and what people read in both.

mod bills;
mod mail;
mod order;
mod smtp;
mod together;
