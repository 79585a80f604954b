//! Orders placed by the process that took them: claims, several processes, crashes, a bus that is away.

mod away;
mod callers;
mod claims;
mod crashes;
mod groups;
mod known;
mod lapsed;
mod marks;
mod processes;
mod repeated;
mod stale;
mod versions;
