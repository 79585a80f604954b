//! The reference for integrators: the OpenAPI document, a page to browse it, and a page per problem.
//!
//! All of it is in the program: nothing is loaded from elsewhere, and no page has a script or a style in itself.

pub mod openapi;
mod pages;
mod problems;
mod routes;

pub use routes::routes;
