//! Configuration: defaults ← file ← environment, checked as a whole before anything starts.
//!
//! It ends where the types of [`Config`] begin: nothing here connects, listens or logs. What must stay true: every
//! problem is reported in one go with its key and its mend; no message, `Debug` output or listing holds a secret; a key
//! that nothing reads is an error. `default.toml` is compiled in and documents every key.

mod address;
mod api_key;
mod explain;
mod layers;
mod load;
mod problem;
mod process;
mod read;
mod reader;
mod reload;
mod secrets;
mod sections;
mod storage;
mod validate;

pub use address::{NatsServers, SANDBOX_FOLDER, WechatHost, is_public_address};
pub use api_key::{ApiKey, KeyHash, Merchants, Scope};
pub use load::DEFAULTS;
pub use problem::{Problem, Problems};
pub use process::{no_color, process_env, temp_dir};
pub use read::intake::{Intake, IntakeKind};
pub use read::typed::{Limits, Settling, Web};
pub use reader::CHANGE_ME;
pub use reload::{ConfigHandle, Reload, ReloadOutcome};
pub use secrets::is_pkcs12;
pub use sections::*;
pub use storage::{Retention, Store};
