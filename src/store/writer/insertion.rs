//! The insertion of rows of an entity, in a text for one of them.

use sea_orm::sea_query::{OnConflict, Query};
use sea_orm::{ActiveModelTrait, EntityTrait, Iterable, QueryTrait, Statement, Value};

use super::rowwise::{columns_of, insertion_of_many};
use crate::store::db::{DbError, DbKind};

/// An insertion of rows that all set the same columns.
pub(super) struct Insertion {
    /// The statement for one row.
    pub text: String,
    pub rows: Vec<Vec<Value>>,
    /// The parameters of the conflict's condition, which follow those of each row.
    pub behind: Vec<Value>,
    kind: DbKind,
}

impl Insertion {
    /// Nothing where there are no rows.
    pub fn of<A>(
        rows: Vec<A>,
        on_conflict: Option<OnConflict>,
        returned: &[<A::Entity as EntityTrait>::Column],
        kind: DbKind,
    ) -> Result<Option<Insertion>, DbError>
    where
        A: ActiveModelTrait,
    {
        let Some(first) = rows.first() else { return Ok(None) };
        let mut insert = <A::Entity as EntityTrait>::insert_many([first.clone()]);
        if let Some(on_conflict) = on_conflict {
            insert.query().on_conflict(on_conflict);
        }
        if !returned.is_empty() {
            insert.query().returning(Query::returning().columns(returned.iter().copied()));
        }
        let Statement { sql: text, values, .. } = insert.build(kind.backend());
        let mut same: Option<Vec<bool>> = None;
        let mut taken = Vec::with_capacity(rows.len());
        for row in rows {
            let (set, values) = values_of(row);
            if same.as_ref().is_some_and(|same| *same != set) {
                return Err(DbError::Defect("rows of one insertion set different columns".into()));
            }
            same.get_or_insert(set);
            taken.push(values);
        }
        let width = taken.first().map_or(0, Vec::len);
        let behind = values.map_or_else(Vec::new, |values| values.0.into_iter().skip(width).collect());
        Ok(Some(Insertion { text, rows: taken, behind, kind }))
    }

    /// All rows in one statement, for PostgreSQL.
    pub fn of_many(&self) -> Result<Statement, DbError> {
        let first = self.rows.first().map_or(&[][..], Vec::as_slice);
        let text = insertion_of_many(&self.text, first)?;
        let values = columns_of(&self.rows, first.len())?.into_iter().chain(self.behind.iter().cloned());
        Ok(self.kind.statement(text, values))
    }
}

/// Which columns a row sets, and their values.
fn values_of<A: ActiveModelTrait>(mut row: A) -> (Vec<bool>, Vec<Value>) {
    let (mut set, mut values) = (Vec::new(), Vec::new());
    for column in <A::Entity as EntityTrait>::Column::iter() {
        let value = row.take(column).into_value();
        set.push(value.is_some());
        values.extend(value);
    }
    (set, values)
}
