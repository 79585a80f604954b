//! A row of a result, and entities from rows of SQLite.

use std::sync::Arc;

use rusqlite::types::ValueRef;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ColumnType, DbErr, EntityTrait, FromQueryResult, IdenStatic, Iterable, QueryResult,
    TryGetable, TryIntoModel, Value,
};

use super::values::failed;
use crate::store::db::DbError;

/// A row of a result.
#[derive(Debug)]
pub enum Row {
    /// Of SQLite: the columns' names, and what they hold.
    Sqlite(Arc<[String]>, Vec<Cell>),
    /// Of the driver: of PostgreSQL, and of a reader of SQLite.
    Driver(QueryResult),
}

/// What a column of SQLite holds.
#[derive(Debug)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A number or a truth value.
    Integer(i64),
    Text(String),
    Blob(Vec<u8>),
}

/// A type that a column can be read as.
pub trait FromCell: Sized {
    /// Nothing when the cell holds another type.
    fn from_cell(cell: &Cell) -> Option<Self>;
}

impl FromCell for i64 {
    fn from_cell(cell: &Cell) -> Option<i64> {
        match cell {
            Cell::Integer(n) => Some(*n),
            Cell::Null | Cell::Text(_) | Cell::Blob(_) => None,
        }
    }
}

impl FromCell for bool {
    fn from_cell(cell: &Cell) -> Option<bool> {
        i64::from_cell(cell).map(|n| n != 0)
    }
}

impl FromCell for String {
    fn from_cell(cell: &Cell) -> Option<String> {
        match cell {
            Cell::Text(text) => Some(text.clone()),
            Cell::Null | Cell::Integer(_) | Cell::Blob(_) => None,
        }
    }
}

impl FromCell for Vec<u8> {
    fn from_cell(cell: &Cell) -> Option<Vec<u8>> {
        match cell {
            Cell::Blob(bytes) => Some(bytes.clone()),
            Cell::Null | Cell::Integer(_) | Cell::Text(_) => None,
        }
    }
}

impl<T: FromCell> FromCell for Option<T> {
    fn from_cell(cell: &Cell) -> Option<Option<T>> {
        match cell {
            Cell::Null => Some(None),
            Cell::Integer(_) | Cell::Text(_) | Cell::Blob(_) => T::from_cell(cell).map(Some),
        }
    }
}

impl Row {
    /// Takes a column of a row of SQLite, most likely at this place.
    pub(super) fn take(&mut self, place: usize, column: &str) -> Option<Cell> {
        let Row::Sqlite(names, cells) = self else { return None };
        let is_it = names.get(place).is_some_and(|name| name == column);
        let place = if is_it { place } else { names.iter().position(|name| name == column)? };
        cells.get_mut(place).map(|cell| std::mem::replace(cell, Cell::Null))
    }

    /// A column of the row.
    pub fn get<T: TryGetable + FromCell>(&self, column: &str) -> Result<T, DbError> {
        match self {
            Row::Sqlite(names, cells) => {
                let cell = names.iter().position(|name| name == column).and_then(|i| cells.get(i));
                let value = cell.and_then(T::from_cell);
                value.ok_or_else(|| DbError::Defect(format!("column {column} is not what was asked for")))
            }
            Row::Driver(row) => Ok(row.try_get("", column)?),
        }
    }

    /// An entity of PostgreSQL, whose columns' names follow this prefix.
    pub fn entity<M: FromQueryResult>(&self, prefix: &str) -> Result<M, DbError> {
        match self {
            Row::Sqlite(..) => Err(DbError::Defect("an entity of a row of SQLite".into())),
            Row::Driver(row) => Ok(M::from_query_result(row, prefix)?),
        }
    }

    pub(super) fn of_sqlite(row: &rusqlite::Row<'_>, names: &Arc<[String]>) -> Result<Row, DbErr> {
        let cell = |i: usize| match row.get_ref(i).map_err(|e| failed(&e))? {
            ValueRef::Null => Ok(Cell::Null),
            ValueRef::Integer(n) => Ok(Cell::Integer(n)),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Ok(Cell::Text(text.to_owned())),
                Err(e) => Err(DbErr::Type(e.to_string())),
            },
            ValueRef::Blob(bytes) => Ok(Cell::Blob(bytes.to_owned())),
            ValueRef::Real(_) => Err(DbErr::Type("a fraction, which no table holds".into())),
        };
        Ok(Row::Sqlite(Arc::clone(names), (0..names.len()).map(cell).collect::<Result<_, _>>()?))
    }
}

/// The form of rows.
#[derive(Debug, Clone, Copy)]
pub struct RowForm {
    /// Whether long texts are packed (`store.compact`).
    pub compact: bool,
    /// Whether an event counts as relayed once it has its position: no program outside can subscribe to the bus.
    pub relayed: bool,
}

/// SQLite has no truth values: the column's type tells which number is one.
#[derive(Debug, Clone, Copy)]
enum Type {
    Truth,
    Integer,
    Text,
    Bytes,
}

/// The entities of the rows of a query.
pub(super) fn models<E>(rows: Vec<Row>) -> Result<Vec<E::Model>, DbError>
where
    E: EntityTrait,
    E::ActiveModel: TryIntoModel<E::Model>,
{
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let columns =
        E::Column::iter().map(|column| Ok((column, type_of(column)?))).collect::<Result<Vec<_>, DbError>>()?;
    rows.into_iter().map(|row| model::<E>(row, &columns)).collect()
}

fn type_of(column: impl ColumnTrait) -> Result<Type, DbError> {
    match column.def().get_column_type() {
        ColumnType::Boolean => Ok(Type::Truth),
        ColumnType::BigInteger => Ok(Type::Integer),
        ColumnType::String(_) | ColumnType::Text => Ok(Type::Text),
        ColumnType::VarBinary(_) | ColumnType::Blob | ColumnType::Binary(_) => Ok(Type::Bytes),
        other => Err(DbError::Defect(format!("column {} is {other:?}, which no write reads", column.as_str()))),
    }
}

fn model<E>(mut row: Row, columns: &[(E::Column, Type)]) -> Result<E::Model, DbError>
where
    E: EntityTrait,
    E::ActiveModel: TryIntoModel<E::Model>,
{
    let mut model = <E::ActiveModel as ActiveModelTrait>::default();
    for (place, (column, of)) in columns.iter().enumerate() {
        let name = column.as_str();
        let value = match (of, row.take(place, name)) {
            (Type::Truth, Some(Cell::Integer(n))) => Value::Bool(Some(n != 0)),
            (Type::Truth, Some(Cell::Null)) => Value::Bool(None),
            (Type::Integer, Some(Cell::Integer(n))) => Value::BigInt(Some(n)),
            (Type::Integer, Some(Cell::Null)) => Value::BigInt(None),
            (Type::Text, Some(Cell::Text(text))) => Value::String(Some(text)),
            (Type::Text, Some(Cell::Null)) => Value::String(None),
            (Type::Bytes, Some(Cell::Blob(bytes))) => Value::Bytes(Some(bytes)),
            (Type::Bytes, Some(Cell::Null)) => Value::Bytes(None),
            (_, Some(_) | None) => {
                return Err(DbError::Defect(format!("column {name} is not what was asked for")));
            }
        };
        model.try_set(*column, value)?;
    }
    Ok(model.try_into_model()?)
}
