//! Whole flows through real processes, on embedded and JetStream, on SQLite and PostgreSQL.

mod api_keys;
pub mod browser;
mod feed_cursors;
mod idempotency;
mod idle;
pub mod notifications;
mod orders;
mod orphans;
mod rates;
mod refund_cap;
mod refused_rows;
mod tokens;
mod words;
mod wrong_key;

/// Makes a test of each function on all four combinations of queue and database.
macro_rules! on_all_four {
    ($($(#[$doc:meta])* async fn $name:ident($service:ident) $body:block)*) => {
        mod shared {
            #[allow(unused_imports)] use super::*;
            use crate::harness::service::Processes as Service;
            $($(#[$doc])* pub async fn $name($service: Service) $body)*
        }
        $crate::flows::on_all_four!(@on embedded_sqlite, $($name)*);
        $crate::flows::on_all_four!(@on embedded_postgres, $($name)*);
        $crate::flows::on_all_four!(@on nats_sqlite, $($name)*);
        $crate::flows::on_all_four!(@on nats_postgres, $($name)*);
    };
    (@on $backend:ident, $($name:ident)*) => {
        mod $backend {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let service = crate::harness::service::TestService::$backend().await.processes().await;
                super::shared::$name(service).await
            })*
        }
    };
}
pub(crate) use on_all_four;
