//! The three layers as one tree: each value with the layer it came from. Knows TOML and the environment's naming, but
//! no key and no type: a text from the environment becomes a number only where a number is read.
//!
//! No type here has `Debug`: the tree holds secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Value;

use super::problem::Problem;

/// What the name of every variable of ours begins with.
pub(super) const ENV_PREFIX: &str = "WXPAY__";

/// Who set a value. Later ones win.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The embedded defaults.
    Default,
    /// The configuration file.
    File,
    /// A variable, by its name.
    Environment(String),
}

/// A place in the tree.
#[derive(Clone)]
pub(super) enum Node {
    /// Anything that is neither a table nor a list of tables.
    Value(Value, Origin),
    /// `[section]`.
    Table(Table),
    /// `[[entries]]`.
    List(Vec<Table>),
}

/// Keys and what they hold.
pub(super) type Table = BTreeMap<String, Node>;

/// The tree that a configuration was read from. Opaque, so that [`super::Config`] can derive `Debug`.
#[derive(Clone)]
pub(super) struct Tree(pub Arc<Table>);

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// Parses a TOML text. Every syntax error is reported with its line; the text itself is not quoted, since it may be a
/// secret.
pub(super) fn parse(text: &str, name: &str, origin: &Origin) -> Result<Table, Vec<Problem>> {
    let (_, errors) = toml::de::DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.iter().map(|e| syntax(text, name, e)).collect());
    }
    let table: toml::Table = toml::from_str(text).map_err(|e| vec![syntax(text, name, &e)])?;
    Ok(from_toml(table, origin))
}

fn syntax(text: &str, name: &str, error: &toml::de::Error) -> Problem {
    let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    Problem::new(name, format!("line {line} is not TOML: {}", error.message()))
}

fn from_toml(table: toml::Table, origin: &Origin) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let node = match value {
                Value::Table(table) => Node::Table(from_toml(table, origin)),
                Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
                    let tables = items.into_iter().filter_map(|item| match item {
                        Value::Table(table) => Some(from_toml(table, origin)),
                        _ => None,
                    });
                    Node::List(tables.collect())
                }
                other => Node::Value(other, origin.clone()),
            };
            (key, node)
        })
        .collect()
}

/// Lays `over` on `base`: tables are merged key by key, everything else is replaced.
pub(super) fn overlay(base: &mut Table, over: Table) {
    for (key, node) in over {
        match (base.get_mut(&key), node) {
            (Some(Node::Table(below)), Node::Table(above)) => overlay(below, above),
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

/// Lays the environment's variables on the tree; the others are not ours.
pub(super) fn overlay_env(base: &mut Table, env: impl Iterator<Item = (String, String)>) -> Vec<Problem> {
    let mut ours: Vec<(Vec<Segment>, String, String)> = env
        .filter_map(|(name, value)| {
            let path = name.strip_prefix(ENV_PREFIX)?.split("__").map(Segment::parse).collect();
            Some((path, name, value))
        })
        .collect();
    // By number, so that entry 10 comes after entry 2 and lists grow one by one.
    ours.sort();
    let mut problems = Vec::new();
    for (path, name, value) in ours {
        let leaf = Node::Value(Value::String(value), Origin::Environment(name.clone()));
        if let Err(text) = set(base, &path, leaf) {
            problems.push(Problem::new(name, text));
        }
    }
    problems
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Index(usize),
    Key(String),
}

impl Segment {
    fn parse(text: &str) -> Segment {
        match text.parse() {
            Ok(index) if text.bytes().all(|b| b.is_ascii_digit()) => Segment::Index(index),
            Ok(_) | Err(_) => Segment::Key(text.to_ascii_lowercase()),
        }
    }
}

fn set(table: &mut Table, path: &[Segment], leaf: Node) -> Result<(), String> {
    match path {
        [Segment::Key(key), ..] if key.is_empty() => {
            Err("two underscores stand between levels, with a name on each side".into())
        }
        [Segment::Key(key)] => {
            table.insert(key.clone(), leaf);
            Ok(())
        }
        [Segment::Key(key), Segment::Index(index), rest @ ..] => set_entry(table, key, *index, rest, leaf),
        [Segment::Key(key), rest @ ..] => match table.entry(key.clone()).or_insert_with(|| Node::Table(Table::new())) {
            Node::Table(below) => set(below, rest, leaf),
            Node::List(_) => Err(format!("{key} is a list: name the entry by its number, like {}", example(key))),
            Node::Value(..) => Err(format!("{key} has no keys below it")),
        },
        [Segment::Index(_), ..] | [] => Err("a number must follow the name of a list".into()),
    }
}

fn set_entry(table: &mut Table, key: &str, index: usize, rest: &[Segment], leaf: Node) -> Result<(), String> {
    let node = table.entry(key.to_owned()).or_insert_with(|| Node::List(Vec::new()));
    if matches!(node, Node::Value(Value::Array(items), _) if items.is_empty()) && !rest.is_empty() {
        *node = Node::List(Vec::new());
    }
    let Node::List(entries) = node else {
        return Err(format!("{key} is not a list of tables; give a plain list whole, separated by commas"));
    };
    if rest.is_empty() {
        return Err(format!("an entry of {key} is a table: name a key of it, like {}", example(key)));
    }
    if index > entries.len() {
        return Err(format!(
            "entry {index} of {key} without entry {}: number them from 0 without a gap",
            entries.len()
        ));
    }
    if index == entries.len() {
        entries.push(Table::new());
    }
    set(&mut entries[index], rest, leaf)
}

fn example(key: &str) -> String {
    format!("{ENV_PREFIX}{}__0__KEY", key.to_ascii_uppercase())
}
