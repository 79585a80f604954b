//! What time makes due: rhythms, plans, runs, and the platform's tokens over days that pass in an instant.

mod checks;
mod deferred;
mod publishes;
mod retention;
mod runs;
mod stage;
mod token_plan;
mod tokens;
mod triggered;
mod when;
