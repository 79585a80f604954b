//! Whatever happens at WeChat, on the network or here: each order ends in the state that WeChat knows.

mod calls;
mod closing;
pub mod held;
mod histories;
mod operations;
mod other_system;
mod policies;
mod queue_size;
mod reconfigured;
mod refresh;
mod rollout;
mod switching;
mod unmatched;
mod wallet;
mod wrong_clocks;

/// Makes a test of each function on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($db:ident: TestDb) $body:block)*) => {
        mod shared {
            #[allow(unused_imports)] use super::*;
            $($(#[$doc])* pub async fn $name($db: crate::harness::db::TestDb) $body)*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::shared::$name(crate::harness::db::TestDb::sqlite()).await })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::shared::$name(crate::harness::db::TestDb::postgres().await).await })*
        }
    };
}
pub(crate) use on_both;
