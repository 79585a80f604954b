//! Logging in: the consent page, codes that work once, and who the users are.

pub(in crate::sandbox) mod authorize;
pub(in crate::sandbox) mod codes;
pub(in crate::sandbox) mod logins;
pub(in crate::sandbox) mod people;
pub(in crate::sandbox) mod site;
pub(in crate::sandbox) mod sns;
