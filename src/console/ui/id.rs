//! An identifier: a link to its page, and a button that copies it.

use askama::Template;
use askama::filters::HtmlSafe;

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<span class="id">{% if href.is_empty() %}<code>{{ text }}</code>{% else %}<a href="{{ href }}"><code>{{ text }}</code></a>{% endif %}<button type="button" class="copy" data-copy="{{ text }}" aria-label="{{ copy }} {{ text }}" hidden><svg viewBox="0 0 16 16" aria-hidden="true"><path d="M5 5V2h9v9h-3v3H2V5h3zm1.5 0H11v4.5h1.5v-6h-6V5zm-3 1.5v6h6v-6h-6z"/></svg></button></span>"#
)]
pub struct Id {
    pub href: String,
    pub text: String,
    pub copy: &'static str,
}

impl HtmlSafe for Id {}
