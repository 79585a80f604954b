//! A statement's conditions with their values, in the order of their numbers.

use sea_orm::{QueryResult, Value};

use crate::ids::MerchantKey;
use crate::store::db::DbError;

/// Rows that one page compares with what no index has. Behind them the next page goes on, however few passed.
pub(super) const SCANNED: u64 = 20_000;

/// What a page found.
#[derive(Debug, Clone)]
pub struct Scanned<T, K> {
    pub rows: Vec<T>,
    /// The last row that was compared, where others follow that were not; none where all were.
    pub to: Option<K>,
}

/// Conditions that are joined by AND.
#[derive(Debug, Default)]
pub(in crate::store) struct Conditions {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// A condition without values.
    pub fn plain(&mut self, text: &str) {
        self.texts.push(text.to_owned());
    }

    /// A condition in which `{}` stands for the value.
    pub fn add(&mut self, text: &str, value: impl Into<Value>) {
        let number = self.value(value);
        self.texts.push(text.replace("{}", &number));
    }

    /// The same where there is a value.
    pub fn add_option(&mut self, text: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(text, value);
        }
    }

    /// The column is one of these; nothing is where there are none.
    pub fn one_of(&mut self, column: &str, values: impl IntoIterator<Item = impl Into<Value>>) {
        let numbers: Vec<String> = values.into_iter().map(|value| self.value(value)).collect();
        let text =
            if numbers.is_empty() { "FALSE".to_owned() } else { format!("{column} IN ({})", numbers.join(", ")) };
        self.texts.push(text);
    }

    /// The column is one of these merchants; any where none are given.
    pub fn merchants(&mut self, column: &str, merchants: Option<&[MerchantKey]>) {
        if let Some(merchants) = merchants {
            self.one_of(column, merchants.iter().map(MerchantKey::as_str));
        }
    }

    /// Keeps a value; answers its number in the statement.
    pub fn value(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// The text after WHERE.
    pub fn text(&self) -> String {
        if self.texts.is_empty() { "TRUE".to_owned() } else { self.texts.join(" AND ") }
    }

    /// The text so far: what is added afterwards stands elsewhere in the same statement.
    pub fn take(&mut self) -> Conditions {
        Conditions { texts: std::mem::take(&mut self.texts), values: self.values.clone() }
    }

    pub fn values(&self) -> Vec<Value> {
        self.values.clone()
    }
}

/// A page of a table with numbered rows, newest first, and in the same statement where the next page begins.
///
/// `columns` begin with `id`. A row whose `is_end` is 1 is no row of the page: its number, where there is one, is the
/// last that was compared. It comes where the page is not full.
pub(super) fn page_statement(table: &str, columns: &str, (window, only): (&str, &str), limit: u64) -> String {
    let nulls = ", NULL".repeat(columns.matches(',').count());
    let last = SCANNED - 1;
    format!(
        "WITH newest_page AS (
           SELECT {columns}
           FROM (SELECT {columns} FROM {table} WHERE {window} ORDER BY id DESC LIMIT {SCANNED}) AS newest
           WHERE {only} ORDER BY id DESC LIMIT {limit})
         SELECT {columns}, 0 AS is_end FROM newest_page
         UNION ALL
         SELECT (SELECT id FROM {table} WHERE {window} ORDER BY id DESC LIMIT 1 OFFSET {last}){nulls}, 1
         WHERE (SELECT COUNT(*) FROM newest_page) < {limit}"
    )
}

/// The rows of such a page.
pub(super) fn page<T>(
    rows: &[QueryResult],
    row: impl Fn(&QueryResult) -> Result<T, DbError>,
    id: impl Fn(&T) -> i64,
) -> Result<Scanned<T, i64>, DbError> {
    let mut found = Scanned { rows: Vec::new(), to: None };
    for read in rows {
        if read.try_get::<i32>("", "is_end")? == 0 {
            found.rows.push(row(read)?);
        } else {
            found.to = read.try_get("", "id")?;
        }
    }
    found.rows.sort_by_key(|row| std::cmp::Reverse(id(row)));
    Ok(found)
}
