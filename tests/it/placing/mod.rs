//! Orders placed by the process that took them: claims, several processes, crashes, a bus that is away.

mod away;
mod claims;
mod crashes;
mod processes;
mod versions;
