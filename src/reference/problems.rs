//! A page for each type of problem, from `docs/problems.md`, which the program contains.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use axum::response::Response;

use super::pages::html;
use crate::http::Error;

const TEXT: &str = include_str!("../../docs/problems.md");

/// The names and texts of the types, in their order.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEXT.split("\n## ").skip(1).map(|section| section.split_once('\n').unwrap_or((section, "")))
}

/// `GET /problems`
pub async fn list(asked: HeaderMap) -> Response {
    let items = sections().map(|(name, text)| {
        let status: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
        format!("<li><a href=\"problems/{name}\">{name}</a> {status}</li>\n")
    });
    html(
        &asked,
        document("Problems", "docs/", &format!("<h1>Problems</h1>\n<ul>\n{}</ul>\n", items.collect::<String>())),
    )
}

/// `GET /problems/{name}`
pub async fn page(name: Result<Path<String>, PathRejection>, asked: HeaderMap) -> Result<Response, Error> {
    let Ok(Path(name)) = name else { return Err(Error::NotFound("problem")) };
    let (name, text) = sections().find(|(known, _)| *known == name).ok_or(Error::NotFound("problem"))?;
    let paragraphs = text.trim().split("\n\n").map(|lines| {
        let lines: Vec<&str> = lines.lines().map(str::trim).collect();
        format!("<p>{}</p>\n", inline(&lines.join(" ")))
    });
    let body =
        format!("<h1>{name}</h1>\n{}<p><a href=\"../problems\">All problems</a></p>\n", paragraphs.collect::<String>());
    Ok(html(&asked, document(name, "../docs/", &body)))
}

/// `files` is the way to the style.
fn document(title: &str, files: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <link rel=\"icon\" href=\"data:,\">\
         <link rel=\"stylesheet\" href=\"{files}pages.css\"></head>\n<body><main>\n{body}</main></body></html>\n"
    )
}

/// Code and links of a line. Links between files of the documentation are no links here.
fn inline(line: &str) -> String {
    let parts = line.split('`').enumerate().map(|(i, part)| {
        if i % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(&without_links(part)) }
    });
    parts.collect()
}

/// `[text](address)` as its text.
fn without_links(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, link)) = rest.split_once('[') {
        plain.push_str(before);
        let found = link.split_once("](").and_then(|(words, tail)| Some((words, tail.split_once(')')?.1)));
        match found {
            Some((words, behind)) => {
                plain.push_str(words);
                rest = behind;
            }
            None => {
                plain.push('[');
                rest = link;
            }
        }
    }
    plain + rest
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
