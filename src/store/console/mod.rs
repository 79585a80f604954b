//! The console's users, invitations, sessions and attempts to log in.
//!
//! What must stay true: of an invitation and of a session only the hash of its token is stored; an invitation is good
//! once; there is always an administrator who sees all merchants, once there was one; removing a user or changing a
//! password ends the user's sessions in the same transaction.

pub mod attempts;
pub mod sessions;
pub mod types;
pub mod users;
