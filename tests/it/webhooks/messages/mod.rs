//! Messages about several events: mails, and replays to robots.

mod mail;
mod order;
mod smtp;
mod together;
