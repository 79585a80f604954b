//! One test, two databases.

/// Makes of each `async fn name(stage) { … }` a test per database, on a stage of its own.
macro_rules! on_both_databases {
    ($($(#[$doc:meta])* async fn $name:ident($stage:ident) $body:block)*) => {
        mod shared { use super::*; $($(#[$doc])* pub async fn $name($stage: Stage) $body)* }
        mod sqlite {
            use super::{Stage, TestDb, shared};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { shared::$name(Stage::open(TestDb::sqlite()).await).await })*
        }
        mod postgres {
            use super::{Stage, TestDb, shared};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { shared::$name(Stage::open(TestDb::postgres().await).await).await })*
        }
    };
}
