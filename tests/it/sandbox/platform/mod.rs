//! The platform that the simulator plays: logins, tokens, the page bridge, mini programs.

mod bridge;
mod login;
mod mini;
mod tokens;
