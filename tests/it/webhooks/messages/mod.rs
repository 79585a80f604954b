//! Messages about several events: mails, and replays to robots.

mod mail;
mod smtp;
mod together;
