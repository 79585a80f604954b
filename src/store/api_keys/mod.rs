//! API keys that were made over the API, the revoked ones of database and file, and when each was last used.
//!
//! Only hashes are stored. A key stays as a row after its revocation; its hash is never accepted again, not from the
//! configuration's file either.

pub(super) mod change;
pub(super) mod read;
