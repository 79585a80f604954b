//! The OpenAPI document against the routes, the readers of requests and real answers; its pages; and what Schemathesis
//! finds by it.

mod answers;
mod api_page;
mod browser;
mod document;
mod examples;
mod fuzzing;
mod limits;
mod members;
mod pages;
mod scopes;
mod support;
mod webhooks;
