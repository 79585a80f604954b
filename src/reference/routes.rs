//! The routes of the reference: `/openapi.json`, `/docs`, `/problems`. They take no key and say nothing about this
//! installation.

use axum::Router;
use axum::routing::get;

use super::{pages, problems};

/// The routes, for the API's listener.
pub fn routes() -> Router {
    let document = Router::new().route("/openapi.json", get(pages::openapi)).route("/docs", get(pages::docs));
    document.merge(problem_routes())
}

/// The pages that the member `docs` of a refusal names, with their style, for listeners of their own.
pub fn problem_routes() -> Router {
    Router::new()
        .route("/docs/{name}", get(pages::file))
        .route("/problems", get(problems::list))
        .route("/problems/{name}", get(problems::page))
}
