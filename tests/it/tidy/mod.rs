//! Style is a unit test: the rules of the repository, held over its own source text.
//!
//! Every rule is a function from sources to violations and is tried on small snippets beside it, so that a rule that
//! cannot fail is noticed. `repository` runs them all over the tree and lists every violation at once.

mod bans;
mod imports;
mod places;
mod repository;
mod shape;
mod source;
mod words;
