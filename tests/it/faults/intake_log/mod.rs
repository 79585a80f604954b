//! The intake log in running processes: settled once whichever dies, taken over whatever is left, and watched.

mod backed_up;
mod beside;
mod chosen;
mod disk;
#[cfg(debug_assertions)]
mod killed;
mod left;
mod removed;
mod restored;
mod settled;
mod stays;
mod support;
mod watched;

#[cfg(debug_assertions)]
pub use killed::POINTS;
