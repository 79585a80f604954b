//! Mini programs: login and phone number.

pub(super) mod login;
pub(super) mod phone;
