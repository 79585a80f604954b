//! The reference for integrators: the OpenAPI document, a page to browse it, and a page per problem.
//!
//! All of it is in the program: nothing is loaded from elsewhere, and no page has a script or a style in itself.

mod openapi;
mod pages;
mod problems;
mod routes;

pub use openapi::openapi_document;
pub use pages::openapi_text;
pub use routes::{problem_routes, routes};
