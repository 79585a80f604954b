//! For which installation a configuration is written.

/// What an installation stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SQLite, the embedded queue and the simulator: complete as it is written.
    Sandbox,
    /// SQLite, the embedded queue and WeChat itself.
    Wechat,
    /// PostgreSQL, NATS and WeChat itself.
    NatsPostgres,
}

named!(Kind { Sandbox = "sandbox", Wechat = "wechat", NatsPostgres = "nats-postgres" });

impl Kind {
    /// What it is, in a few words.
    pub const fn described(self) -> &'static str {
        match self {
            Kind::Sandbox => "SQLite, the embedded queue and wxpay-sandbox: no account, no money",
            Kind::Wechat => "SQLite, the embedded queue and WeChat",
            Kind::NatsPostgres => "PostgreSQL, NATS and WeChat",
        }
    }

    pub(super) const fn is_real(self) -> bool {
        match self {
            Kind::Sandbox => false,
            Kind::Wechat | Kind::NatsPostgres => true,
        }
    }
}
