//! Statements over many rows whose text does not depend on how many rows there are, so that each stays prepared.
//!
//! On SQLite the statement of one row runs once per row, and is one that can fail only as a whole: neither INSERT …
//! SELECT nor RETURNING, for which SQLite copies each page that they change, and for RETURNING makes a table each time.
//! On PostgreSQL the rows travel as one array per column, in one round trip. What must stay true: every row has as many
//! values as there are columns, and of the same types.

use std::sync::OnceLock;

use sea_orm::{DbErr, Value};

use super::row::Row;
use crate::store::db::{DbKind, array, array_type};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Integer,
    Truth,
    Text,
    Bytes,
}

impl Holds {
    const fn array_type(self) -> &'static str {
        match self {
            Holds::Integer => "bigint[]",
            Holds::Truth => "boolean[]",
            Holds::Text => "text[]",
            Holds::Bytes => "bytea[]",
        }
    }
}

/// A statement that takes each of its rows once.
#[derive(Debug)]
pub struct Rowwise {
    columns: &'static [(&'static str, Holds)],
    text: &'static str,
    locked: Option<&'static str>,
    passes_over: bool,
    returned: Option<&'static str>,
    sqlite: OnceLock<String>,
    postgres: OnceLock<String>,
}

/// What a statement over rows came to.
#[derive(Debug)]
pub enum Outcome {
    /// On SQLite: of each row that changed something, the number of the last row that was inserted.
    Each(Vec<Option<i64>>),
    /// On PostgreSQL: what the statement returned of all of them.
    Returned(Vec<Row>),
}

impl Rowwise {
    /// `v.name` in the text is a column of the row; `{from}` is where PostgreSQL names the rows, `{now}` the database's
    /// clock. An insertion is `INSERT … SELECT … {from} WHERE TRUE …`.
    pub const fn new(columns: &'static [(&'static str, Holds)], text: &'static str) -> Rowwise {
        Rowwise {
            columns,
            text,
            locked: None,
            passes_over: false,
            returned: None,
            sqlite: OnceLock::new(),
            postgres: OnceLock::new(),
        }
    }

    /// On PostgreSQL it locks the rows of this table with the `id` of its rows first, in the order of `id`: an UPDATE
    /// alone locks in whatever order its plan has, and two processes may lock the same rows crosswise.
    pub const fn locking(mut self, table: &'static str) -> Rowwise {
        self.locked = Some(table);
        self
    }

    /// The same, but rows that another transaction has locked at this moment are passed over.
    pub const fn locking_free(mut self, table: &'static str) -> Rowwise {
        self.locked = Some(table);
        self.passes_over = true;
        self
    }

    /// What PostgreSQL returns of the rows.
    pub const fn returning(mut self, columns: &'static str) -> Rowwise {
        self.returned = Some(columns);
        self
    }

    /// How many values a row has.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn text(&self, kind: DbKind) -> &str {
        let timed = || self.text.replace("{now}", kind.now_ms_sql());
        match kind {
            DbKind::Sqlite => self.sqlite.get_or_init(|| numbered(&of_one_row(&timed()), self.columns)),
            DbKind::Postgres => self.postgres.get_or_init(|| {
                let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
                let types = self.columns.iter().map(|(_, holds)| holds.array_type());
                let rows = format!("{} AS v ({})", unnested(types), names.join(", "));
                let returning = self.returned.map(|columns| format!(" RETURNING {columns}")).unwrap_or_default();
                let (with, from) = match self.locked {
                    Some(table) => (locked_rows((table, self.passes_over), &rows), "FROM v".to_owned()),
                    None => (String::new(), format!("FROM {rows}")),
                };
                with + &timed().replace("{from}", &from) + &returning
            }),
        }
    }
}

/// The insertion of a selection as that of a list of values; any other statement as it is.
fn of_one_row(text: &str) -> String {
    match (text.split_once("SELECT "), text.starts_with("INSERT")) {
        (Some((before, selected)), true) => {
            format!("{before}VALUES ({}", selected.replacen(" {from} WHERE TRUE", ")", 1))
        }
        _ => text.replace("{from}", ""),
    }
}

/// `v.name` becomes the parameter of its place.
fn numbered(text: &str, columns: &[(&str, Holds)]) -> String {
    let mut numbered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("v.") {
        let (before, found) = rest.split_at(at);
        numbered.push_str(before);
        let name = &found[2..];
        let name = &name[..name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len())];
        let is_word = before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        match columns.iter().position(|(column, _)| *column == name).filter(|_| !is_word) {
            Some(place) => numbered.push_str(&format!("?{}", place + 1)),
            None => numbered.push_str(&found[..2 + name.len()]),
        }
        rest = &found[2 + name.len()..];
    }
    numbered.push_str(rest);
    numbered
}

/// The rows as `v`, each of them when the table's row has been locked: one after the other, because the join is LATERAL
/// and its other side sorted, and found by its key, whatever the plan. A row that another transaction changes meanwhile
/// is waited for; the statement then compares its last version.
fn locked_rows((table, passes_over): (&str, bool), rows: &str) -> String {
    // Of a row that is passed over no more is locked than its change needs: rows that refer to it may be written.
    let lock = if passes_over { "FOR NO KEY UPDATE SKIP LOCKED" } else { "FOR UPDATE" };
    format!(
        "WITH v AS MATERIALIZED (
           SELECT v.* FROM (SELECT * FROM {rows} ORDER BY id) AS v
           CROSS JOIN LATERAL (SELECT 1 FROM {table} WHERE {table}.id = v.id {lock}) AS locked) "
    )
}

/// `UNNEST(CAST($1 AS text[]), …)`
fn unnested<'a>(types: impl Iterator<Item = &'a str>) -> String {
    let casts: Vec<String> = types.enumerate().map(|(i, of)| format!("CAST(${} AS {of})", i + 1)).collect();
    format!("UNNEST({})", casts.join(", "))
}

/// The insertion of one row as the insertion of many: its list of values, `VALUES ($1, $2)`, becomes the rows.
pub(super) fn insertion_of_many(sql: &str, of_one: &[Value]) -> Result<String, DbErr> {
    let shape = || DbErr::Type("an insertion of another shape".into());
    let (before, values) = sql.split_once("VALUES (").ok_or_else(shape)?;
    let (_, behind) = values.split_once(')').ok_or_else(shape)?;
    let types = of_one.iter().map(array_type).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{before}SELECT * FROM {}{behind}", unnested(types.into_iter())))
}

/// The rows as PostgreSQL takes them: an array per column.
pub(super) fn columns_of(rows: &[Vec<Value>], columns: usize) -> Result<Vec<Value>, DbErr> {
    if rows.iter().any(|row| row.len() != columns) {
        return Err(DbErr::Type("a row with other columns".into()));
    }
    let column = |i: usize| array(rows.iter().filter_map(|row| row.get(i))).map(Value::from);
    (0..columns).map(column).collect()
}
