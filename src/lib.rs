//! wxpay-worker: an event-driven WeChat Pay worker.
//!
//! A payment goes through here from left to right:
//!
//! ```text
//!  shop                        WeChat                                   finance, other services
//!   │ POST /v1/orders            │ POST /notify/{merchant}/pay             ▲ PAY_EVENTS · GET /v1/events
//!   ▼                            ▼                                         │
//!  ingress ── order.requested · notify.received ──► bus ──► worker ──► store (one transaction:
//!  (parse, verify, record, publish, answer) (embedded │ JetStream) state + evidence + ledger + outbox)
//!                                                    ▲                     │
//!  scheduler ── query.due · refund.due · deferred ───┘                   relay ──► bus (pay.event.…)
//! ```
//!
//! Two ways are shorter where the roles share a process: an order is placed by the process that recorded it, without a
//! message, and on SQLite a notification may lie in the [`intake`] log in place of the queue.
//!
//! The sources of truth are the database and WeChat itself. The bus carries work and events and may be wiped: queries
//! to WeChat and the outbox restore what was lost. Notifications and query replies become a [`event::fact::Fact`], and
//! one pure function, [`order::decide()`], says what a fact does to an order.
//!
//! # The map, in the order data flows
//!
//! | module | is |
//! |---|---|
//! | [`money`], [`ids`], [`clock`], [`secret`], [`trade`], [`sealed_box`] | vocabulary: values parsed once into types |
//! | [`event`] | envelope, facts, commands, domain events, every subject |
//! | [`order`], [`refund`] | states and decisions, pure: no runtime, web, database or clock |
//! | [`reconciliation`] | a bill and our books compared: classes, sums, states; pure as well |
//! | [`config`], [`telemetry`] | settings of the process; its logs and metrics |
//! | [`wechat`] | the protocol, both directions; the outcome table over every error code |
//! | [`store`] | SQLite and PostgreSQL; the commit that writes state, evidence, ledger and outbox together |
//! | [`batcher`], [`bus`] | many callers share one fsync; the queue, embedded or JetStream |
//! | [`intake`] | notifications in an append-only log, on SQLite: accepted with one fsync, settled with a cursor |
//! | [`http`] | the ingress: orders, refunds, notifications, events, health |
//! | [`web`] | the browser side: OAuth login, JS-SDK, wallet payments, mini programs |
//! | [`console`] | the operators' console: pages over [`ops`] |
//! | [`new_order`], [`new_refund`] | what a request becomes: the rows, and the parameters for WeChat |
//! | [`merchant_setup`] | a merchant whose own key, number or certificate WeChat refuses |
//! | [`ops`] | what operators see and do, one function each; HTTP API and console call only these |
//! | [`books`] | whether orders, ledgers, outbox and feed agree |
//! | [`reference`] | the OpenAPI document, and the pages that explain problems |
//! | [`doctor`], [`ctl`] | checks of an installation that need no service; `wxpayctl` |
//! | [`reconcile`] | fetches bills, sorts and compares both sides in bounded memory |
//! | [`worker`] | handlers of the bus: `core` is shared, then one file per kind of message |
//! | [`webhooks`] | events posted to the merchants' own addresses, signed, in order, tried for a day |
//! | [`relay`], [`scheduler`] | outbox to bus; jobs that are due by time |
//! | [`app`], [`demo`], [`init`] | the composition root; the demo; configurations that are written |
//! | [`sandbox`] | the WeChat simulator, strict and independent |
//! | [`retry`], [`failpoint`], `named` | backoff; points where a test may kill the process; enums with names |
//!
//! Who may import whom is a test: `tests/it/tidy`. `docs/architecture.md` says where a rule is written, what happens
//! when a process dies, and which files a new event field or a new WeChat API touches.
//!
//! # The invariants, and what holds each
//!
//! 1. WeChat hears SUCCESS only after the notification is durable: fsynced, not just accepted.
//!    `faults::synced` reads the system calls of the service and of nats-server; `faults::databases::sqlite_stuck` and
//!    `faults::nats::cluster` fill the disk, hold a foreign lock and remove the majority.
//! 2. An order changes in one function, only from a decision, together with evidence, ledger and outbox rows, in one
//!    transaction. `contracts::store::*::a_change_writes_state_evidence_ledger_and_events_together`, CHECK constraints
//!    (`columns_are_tied_to_states`). Triggers keep the ledger and the evidence append-only: no row is changed or
//!    deleted (`the_ledger_and_the_evidence_can_only_grow`).
//! 3. No network call inside a database transaction. A transaction never leaves [`store`], which knows neither WeChat
//!    nor the bus (`tidy`).
//! 4. Merchant, app, amount and currency are compared before anything becomes paid.
//!    `order::table::a_payment_of_another_amount_currency_merchant_or_app_is_held`, `faults::forgeries`.
//! 5. Unknown is never read as failed: only a query, a notification or a bill resolves it.
//!    `order::table::an_unknown_outcome_is_asked_about_soon_and_never_reads_as_failed`, `flows::orders`.
//! 6. Every handler may run twice, at the same time, in two processes. `faults::copies`, `faults::storm`.
//! 7. A delivery ends as done, a scheduled retry, or a dead letter that can be listed. Nothing disappears.
//!    `contracts::bus`, `faults::crash_sites`.
//! 8. A retry at WeChat repeats the same number with the same stored parameters.
//!    `flows::orders::*::an_answer_lost_after_execution_converges_on_one_number`.
//!    For refunds: `refunds::lost::*::an_answer_lost_after_execution_converges_on_one_refund`,
//!    `refunds::lost::as_many_lost_answers_make_as_many_refunds`.
//! 9. Secrets, raw bodies and openids are never logged. `flows::notifications::*::nothing_secret_is_logged`,
//!    `flows::browser::*::a_payer_logs_in_and_pays_and_nothing_secret_shows`.
//! 10. Money is integer fen; no float touches it. `tidy`, `vectors::money_time_numbers`.
//! 11. Refunds, those with an unknown outcome included, never exceed the payment, and nothing counts as refunded before
//!     a query to WeChat confirms it. `refunds::sums`, `refunds::reports::notifications`, CHECK constraints on
//!     `refund_totals`.

#[macro_use]
mod named;

pub mod app;
pub mod batcher;
pub mod books;
pub mod bus;
pub mod clock;
pub mod config;
pub mod console;
pub mod ctl;
pub mod demo;
pub mod doctor;
pub mod event;
pub mod failpoint;
pub mod http;
pub mod ids;
pub mod init;
pub mod intake;
pub mod merchant_setup;
pub mod money;
pub mod new_order;
pub mod new_refund;
pub mod ops;
pub mod order;
pub mod reconcile;
pub mod reconciliation;
pub mod reference;
pub mod refund;
pub mod relay;
pub mod retry;
pub mod sandbox;
pub mod scheduler;
pub mod sealed_box;
pub mod secret;
pub mod store;
pub mod telemetry;
pub mod trade;
pub mod web;
pub mod webhooks;
pub mod wechat;
pub mod worker;
