//! One test, two databases.

/// Makes of each `async fn name(stage) { … }` a test per database, on a store of its own.
macro_rules! on_both_databases {
    ($($(#[$doc:meta])* async fn $name:ident($stage:ident) $body:block)*) => {
        mod shared { use super::*; $($(#[$doc])* pub async fn $name($stage: TestStore) $body)* }
        mod sqlite {
            use super::{TestStore, TestDb, shared};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { shared::$name(TestStore::open(TestDb::sqlite()).await).await })*
        }
        mod postgres {
            use super::{TestStore, TestDb, shared};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { shared::$name(TestStore::open(TestDb::postgres().await).await).await })*
        }
    };
}
