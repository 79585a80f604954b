//! An identifier: a link to its page, and a button that copies it.

use askama::Template;
use askama::filters::HtmlSafe;

#[derive(Template)]
#[template(path = "console/ui/id.html")]
pub struct Id {
    pub href: String,
    pub text: String,
    pub copy: &'static str,
}

impl HtmlSafe for Id {}
