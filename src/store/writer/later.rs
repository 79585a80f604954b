//! Statements of which nothing is asked. On PostgreSQL each would be a round trip: there they are put off, and travel
//! as one statement with the next one that is said to be independent of them, or before any other one.
//!
//! What must stay true: they run in their order, before every later statement that may read what they change, and
//! before COMMIT. Statements that travel as one see none of each other's rows, and change none of the same: who puts
//! one off, or has one run behind, answers for that. References to other tables are checked when all of them ran.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::PoisonError;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, Statement, Value};

use super::insertion::Insertion;
use super::row::Row;
use super::rowwise::{Outcome, Rowwise, columns_of};
use super::tx::{Later, On, WriteTx};
use crate::store::db::{DbError, DbKind};

impl WriteTx {
    /// On PostgreSQL, puts off an insertion as [`WriteTx::insert_new`] does it: the statement that is run behind it
    /// reads these columns of the new rows as those of a table of this name. Nothing on SQLite.
    pub fn insert_new_as<A>(
        &self,
        name: &'static str,
        rows: Vec<A>,
        pass_over: OnConflict,
        columns: &[<A::Entity as EntityTrait>::Column],
    ) -> Result<(), DbError>
    where
        A: ActiveModelTrait,
    {
        if self.kind() == DbKind::Postgres
            && let Some(insertion) = Insertion::of(rows, Some(pass_over), columns, self.kind())?
        {
            self.put_off(Some(name), insertion.of_many()?);
        }
        Ok(())
    }

    /// Inserts rows as [`WriteTx::insert_all`] does; put off on PostgreSQL.
    pub fn insert_later<A>(&self, rows: Vec<A>, on_conflict: Option<OnConflict>) -> Result<(), DbError>
    where
        A: ActiveModelTrait,
    {
        let Some(insertion) = Insertion::of(rows, on_conflict, &[], self.kind())? else { return Ok(()) };
        match &self.on {
            On::Sqlite(connection) => {
                connection.execute_each(&insertion.text, &insertion.rows, &insertion.behind)?;
            }
            On::Postgres(_) => {
                let mut statement = insertion.of_many()?;
                statement.sql.push_str(" RETURNING 1");
                self.put_off(None, statement);
            }
        }
        Ok(())
    }

    /// Runs a statement over rows that returns none; put off on PostgreSQL.
    pub fn over_later(&self, statement: &Rowwise, rows: &[Vec<Value>]) -> Result<(), DbError> {
        if rows.is_empty() {
            return Ok(());
        }
        let text = statement.text(self.kind());
        match &self.on {
            On::Sqlite(connection) => {
                connection.execute_each(text, rows, &[])?;
            }
            On::Postgres(_) => {
                let columns = columns_of(rows, statement.width())?;
                self.put_off(None, self.kind().statement(format!("{text} RETURNING 1"), columns));
            }
        }
        Ok(())
    }

    /// Locks rows with a SELECT; put off. Nothing on SQLite, which has one writer.
    pub fn lock_later(&self, sql: &str, values: impl IntoIterator<Item = Value>) {
        if self.kind() == DbKind::Postgres {
            self.put_off(None, self.kind().statement(sql, values));
        }
    }

    /// The rows of a statement that is independent of what was put off, and runs behind it. It returns its columns by
    /// their names.
    pub fn all_behind(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> impl Future<Output = Result<Vec<Row>, DbError>> + Send {
        let statement = self.kind().statement(sql, values);
        self.behind(statement)
    }

    /// The same of a statement over rows.
    pub async fn over_behind(&self, statement: &Rowwise, rows: &[Vec<Value>]) -> Result<Outcome, DbError> {
        if self.kind() == DbKind::Sqlite || rows.is_empty() {
            return self.over(statement, rows).await;
        }
        let columns = columns_of(rows, statement.width())?;
        let statement = self.kind().statement(statement.text(self.kind()), columns);
        Ok(Outcome::Returned(self.behind(statement).await?))
    }

    pub(super) async fn behind(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        let On::Postgres(transaction) = &self.on else { return self.all_of(statement).await };
        let later = self.put_off_so_far();
        if later.is_empty() {
            return self.all_of(statement).await;
        }
        let mut found = Vec::new();
        for row in transaction.query_all_raw(joined(later, Some(statement))).await? {
            // Where it returned nothing, there is a row of nothing.
            if row.try_get::<Option<bool>>("", "is_row")?.is_some() {
                found.push(Row::Driver(row));
            }
        }
        Ok(found)
    }

    /// Runs what was put off.
    pub(super) async fn flush(&self) -> Result<(), DbError> {
        let On::Postgres(transaction) = &self.on else { return Ok(()) };
        let later = self.put_off_so_far();
        if !later.is_empty() {
            transaction.execute_raw(joined(later, None)).await?;
        }
        Ok(())
    }

    fn put_off(&self, name: Option<&'static str>, statement: Statement) {
        self.later.lock().unwrap_or_else(PoisonError::into_inner).push(Later { name, statement });
    }

    fn put_off_so_far(&self) -> Vec<Later> {
        std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Statements that return rows as one, which returns those of `behind` with `is_row`. The order is that of the reads:
/// `all_later` reads one after the other to its end, and is itself read before `behind`, because a left join with no
/// condition has its left side outside.
fn joined(later: Vec<Later>, behind: Option<Statement>) -> Statement {
    let (mut text, mut counts, mut values) = (String::from("WITH "), String::new(), Vec::new());
    for (i, Later { name, statement }) in later.into_iter().enumerate() {
        let name = name.map_or_else(|| format!("later_{i}"), str::to_owned);
        // Writing to a text cannot fail.
        let _ = write!(text, "{name} AS MATERIALIZED (");
        append(&mut text, &statement.sql, values.len());
        text.push_str("), ");
        let _ = write!(counts, "{}(SELECT COUNT(*) FROM {name}) AS n_{i}", if i == 0 { "" } else { ", " });
        values.extend(statement.values.into_iter().flat_map(|values| values.0));
    }
    let _ = write!(text, "all_later AS MATERIALIZED (SELECT {counts})");
    match behind {
        Some(statement) => {
            text.push_str(", behind AS MATERIALIZED (");
            append(&mut text, &statement.sql, values.len());
            values.extend(statement.values.into_iter().flat_map(|values| values.0));
            text.push_str(
                ") SELECT b.* FROM all_later
                 LEFT JOIN (SELECT TRUE AS is_row, behind.* FROM behind) AS b ON TRUE",
            );
        }
        None => text.push_str(" SELECT 1 FROM all_later"),
    }
    DbKind::Postgres.statement(text, values)
}

/// A statement whose parameters follow so many others.
fn append(text: &mut String, sql: &str, others: usize) {
    let mut parts = sql.split('$');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        match part[..part.len() - rest.len()].parse::<usize>() {
            Ok(number) => {
                let _ = write!(text, "${}{rest}", number + others);
            }
            // No parameter.
            Err(_) => {
                let _ = write!(text, "${part}");
            }
        }
    }
}
