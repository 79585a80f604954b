//! Why there is no answer, or no client.

use crate::telemetry::error_text;

/// Maximum size of a reply in bytes. WeChat's largest API replies are a few dozen KiB; bills are streamed.
pub const MAX_REPLY_BYTES: usize = 1024 * 1024;

/// Why there is no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection: name, route or TLS. WeChat has not seen the call.
    #[error("not sent: {why}")]
    NotSent {
        /// The cause, without addresses' query strings or bodies.
        why: String,
    },
    /// Sent, but the answer timed out or was cut off: WeChat may have executed the call.
    #[error("no answer: {why}")]
    NoAnswer {
        /// The cause.
        why: String,
    },
    /// An HTTP status other than 200; WeChat answers even its refusals with 200.
    #[error("HTTP status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The reply is longer than any reply of WeChat.
    #[error("reply larger than {MAX_REPLY_BYTES} bytes")]
    TooLarge,
}

impl TransportError {
    /// Whether the other host may succeed.
    pub(super) fn is_worth_the_backup(&self) -> bool {
        match self {
            TransportError::NotSent { .. } | TransportError::NoAnswer { .. } => true,
            TransportError::Status { status } => *status >= 500,
            TransportError::TooLarge => false,
        }
    }

    /// Whether WeChat may have executed the call that ended like this.
    pub const fn may_have_executed(&self) -> bool {
        match self {
            TransportError::NotSent { .. } => false,
            TransportError::NoAnswer { .. } | TransportError::TooLarge => true,
            // A gateway's own error says nothing about the server behind it; a refused message was not executed.
            TransportError::Status { status } => *status >= 500,
        }
    }

    pub(super) const fn label(&self) -> &'static str {
        match self {
            TransportError::NotSent { .. } => "not_sent",
            TransportError::NoAnswer { .. } => "no_answer",
            TransportError::Status { .. } => "status",
            TransportError::TooLarge => "too_large",
        }
    }
}

/// Why a client cannot be created: a mistake in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An address under `[wechat]` is not an absolute http(s) address without query.
    #[error("wechat.{key} is not an absolute http(s) address without query and fragment")]
    Address {
        /// The key.
        key: &'static str,
    },
    /// The TLS library refuses the merchant's certificate and key.
    #[error("client certificate unusable: {why}")]
    Certificate {
        /// The cause; never key material.
        why: String,
    },
    /// The file of `wechat.pay_ca_file` cannot be read or holds no certificate.
    #[error("wechat.pay_ca_file unusable: {why}")]
    Authority {
        /// The cause.
        why: String,
    },
    /// TLS could not be set up.
    #[error("cannot set up HTTPS: {why}")]
    Tls {
        /// The cause.
        why: String,
    },
}

pub(super) fn transport(error: reqwest::Error) -> TransportError {
    let not_sent = error.is_connect() || error.is_builder();
    let timed_out = error.is_timeout();
    let why = match (not_sent, timed_out) {
        (true, true) => "connecting timed out".to_owned(),
        (false, true) => "timed out".to_owned(),
        (_, false) => error_text(&error.without_url()),
    };
    if not_sent { TransportError::NotSent { why } } else { TransportError::NoAnswer { why } }
}
