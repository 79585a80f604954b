//! One test, four backends.

/// Makes of each `needs => async fn name(stage) { … }` a test per backend, on a stage of its own.
macro_rules! on_every_bus {
    ($($(#[$doc:meta])* $needs:expr => async fn $name:ident($stage:ident) $body:block)*) => {
        mod shared {
            use super::*;
            $($(#[$doc])* pub async fn $name(#[allow(unused_mut)] mut $stage: TestBus) $body)*
            $(pub mod $name { use super::super::*; pub fn needs() -> Needs { $needs } })*
        }
        on_every_bus!(@backend embedded_on_sqlite, sqlite, $($name)*);
        on_every_bus!(@backend embedded_on_postgres, postgres, $($name)*);
        on_every_bus!(@backend jetstream, nats, $($name)*);
        on_every_bus!(@backend jetstream_without_batches, nats_old, $($name)*);
    };
    (@backend $module:ident, $backend:ident, $($name:ident)*) => {
        mod $module {
            use super::{Backend, TestBus, shared};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                shared::$name(TestBus::open(Backend::$backend().await, shared::$name::needs()).await).await;
            })*
        }
    };
}
