//! OAuth login: to WeChat, back with a code, and one exchange per code.

pub(super) mod callback;
pub(super) mod exchange;
pub(super) mod login_loop_guard;
pub(super) mod profile;
pub(super) mod redirect;
pub(super) mod state;
