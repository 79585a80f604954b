//! The routes of the reference: `/openapi.json`, `/docs`, `/problems`. They take no key and say nothing about this
//! installation.

use axum::Router;
use axum::routing::get;

use super::{pages, problems};

/// The routes, for the API's listener.
pub fn routes() -> Router {
    Router::new()
        .route("/openapi.json", get(pages::openapi))
        .route("/docs", get(pages::docs))
        .route("/docs/{name}", get(pages::file))
        .route("/problems", get(problems::list))
        .route("/problems/{name}", get(problems::page))
}
