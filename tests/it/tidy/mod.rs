//! Style is a unit test: the rules of the repository, held over its own source text.
//!
//! Every rule is a function from sources to violations and is tried on small snippets beside it, so that a rule that
//! cannot fail is noticed. `repository` runs them all over the tree and lists every violation at once. What the tree
//! still breaks is counted in `lists/exceptions.txt`, which only shrinks; `figures` prints what the rules measure.

mod circles;
mod figures;
mod imports;
mod language;
mod ledger;
mod places;
mod references;
mod repository;
mod routes;
mod seeded;
mod shape;
mod source;
mod width;
mod words;
