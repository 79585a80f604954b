//! Coming in and going out: the login, the invitation, the password, the language and the colours.

pub mod invitation;
pub mod page;
pub mod passwords;
pub mod preferences;
pub mod samples;
pub mod throttle;
pub mod words;
