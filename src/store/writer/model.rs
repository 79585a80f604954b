//! Entities from rows of SQLite.

use sea_orm::{ActiveModelTrait, ColumnTrait, ColumnType, EntityTrait, IdenStatic, Iterable, TryIntoModel, Value};

use super::row::{Cell, Row};
use crate::store::db::DbError;

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
