//! The OpenAPI document: what every address takes and answers, as tables in code.
//!
//! Tables and not derived, because requests are read by hand: all problems of a body are reported at once, and unknown
//! and repeated members are refused, which no derived reader does. What must stay true: every route is described and
//! nothing else, every member that a request may have and every member that an answer has; tests compare the tables
//! with the routes, the readers and real answers.

mod document;
mod examples;
mod field;
mod operation;
mod refusals;
mod response;
mod tables;

pub use document::openapi_document;
