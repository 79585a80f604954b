//! `docs/configuration.md` says what `src/config/default.toml` says. `WXPAY_RENEW_CONFIGURATION=1` writes it anew.

use std::fmt::Write as _;

const DEFAULTS: &str = include_str!("../../../src/config/default.toml");
const PAGE: &str = "docs/configuration.md";
const RENEW: &str = "WXPAY_RENEW_CONFIGURATION";
const INTRODUCTION: &str = "# Configuration

Every key, with its default; made from [default.toml](../src/config/default.toml). `wxpayd init` writes a file to begin
with, `wxpayd check-config` prints the values in force, where each came from, and every problem at once. The file given
by `--config` and the environment only set what differs: `WXPAY__SERVER__LISTEN` sets `listen` of `[server]`,
`WXPAY__MERCHANTS__0__MCH_ID` `mch_id` of the first merchant, and a list may be written `orders,ops`.

A secret `x` is better kept in a file of its own, named by `x_file`. The path of a file is relative to the configuration
file's folder (to the working directory if the environment sets it), those in `store.url`, `server.intake_dir`,
`reconcile.dir` and `reconcile.temp_dir` to the working directory. An empty text means: not set.
";

/// A section or a list of tables, with its keys.
#[derive(Default)]
struct Section {
    name: String,
    about: String,
    keys: Vec<Key>,
}

#[derive(Default)]
struct Key {
    name: String,
    value: String,
    about: String,
}

#[test]
fn the_page_says_what_the_defaults_say() {
    let (sections, lists) = DEFAULTS.split_once("\n# Apps: ").expect("the lists come last");
    let mut parsed = sections_of(sections);
    parsed.extend(lists_of(&format!("# Apps: {lists}")));
    for name in ["[server]", "[webhooks]", "[[apps]]", "[[merchants]]", "[[api_keys]]"] {
        assert!(parsed.iter().any(|section| section.name == name && section.keys.len() > 3), "{name}");
    }
    let all = parsed.iter().flat_map(|section| section.keys.iter().map(move |key| (&section.name, key)));
    let unexplained: Vec<_> = all.filter(|(_, key)| key.about.is_empty()).map(|(of, key)| (of, &key.name)).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    let page = page(&parsed);
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let now = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(now == page, "{RENEW}=1 writes {PAGE} anew");
}

fn page(sections: &[Section]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in sections {
        let is_list = section.name.starts_with("[[");
        write!(page, "\n## {}\n", section.name).unwrap();
        if !section.about.is_empty() {
            write!(page, "\n{}\n", wrapped(&section.about)).unwrap();
        }
        let value = if is_list { "example" } else { "default" };
        write!(page, "\n| key | {value} | meaning |\n|---|---|---|\n").unwrap();
        for key in &section.keys {
            let cell = |text: &str| text.replace('|', "\\|");
            writeln!(page, "| `{}` | `{}` | {} |", key.name, cell(&key.value), cell(&key.about)).unwrap();
        }
    }
    page
}

/// A paragraph in lines of at most 120 characters.
pub fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().unwrap();
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > 120 {
            lines.push(word.to_owned());
        } else {
            *last += if last.is_empty() { "" } else { " " };
            *last += word;
        }
    }
    lines.join("\n")
}

fn add(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    *text += more.trim();
}

/// Sections: the comment before a key is about it; one that ends with an empty comment line is about the section.
fn sections_of(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut about = String::new();
    let mut open: Option<Key> = None;
    for line in text.lines() {
        if let Some(mut key) = open.take() {
            add(&mut key.value, line);
            match line {
                "]" => sections.last_mut().unwrap().keys.push(key),
                _ => open = Some(key),
            }
        } else if line.starts_with('[') {
            sections.push(Section { name: line.to_owned(), ..Section::default() });
            about.clear();
        } else if line == "#" {
            if let Some(section) = sections.last_mut() {
                section.about = std::mem::take(&mut about);
            }
        } else if let Some(comment) = line.strip_prefix('#') {
            add(&mut about, comment);
        } else if let Some((name, value)) = line.split_once(" = ") {
            let key = Key { name: name.to_owned(), value: value.to_owned(), about: std::mem::take(&mut about) };
            if value == "[" { open = Some(key) } else { sections.last_mut().unwrap().keys.push(key) }
        }
    }
    sections
}

/// Lists of tables, which are examples in comments: each line has a key and, behind two blanks, its meaning, which the
/// following lines continue.
fn lists_of(text: &str) -> Vec<Section> {
    let mut lists: Vec<Section> = Vec::new();
    let mut about = String::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        let trimmed = line.trim();
        if trimmed.starts_with("[[") {
            let about = std::mem::take(&mut about);
            lists.push(Section { name: trimmed.to_owned(), about, ..Section::default() });
        } else if line.starts_with("  ") && trimmed.starts_with("# ") {
            add(&mut lists.last_mut().unwrap().keys.last_mut().unwrap().about, &trimmed[1..]);
        } else if let Some((name, rest)) = trimmed.split_once(" = ").filter(|(name, _)| is_name(name)) {
            let (value, about) = rest.rsplit_once("  # ").or_else(|| rest.rsplit_once(" # ")).unwrap_or((rest, ""));
            let (name, value, about) = (name.to_owned(), value.trim().to_owned(), about.trim().to_owned());
            lists.last_mut().unwrap().keys.push(Key { name, value, about });
        } else if trimmed.is_empty() {
            // The next list begins.
        } else if !trimmed.starts_with(['{', ']']) {
            add(&mut about, trimmed);
        }
    }
    lists
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
