//! Parameters and errors between SQLite's driver and sea-orm's types.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::Arc;

use rusqlite::ffi;
use rusqlite::types::{ToSqlOutput, ValueRef};
use sea_orm::sqlx::error::{DatabaseError, Error as SqlxError, ErrorKind};
use sea_orm::{DbErr, RuntimeErr, Value};

/// A parameter as SQLite takes it.
pub(super) fn parameter(value: &Value) -> Result<ToSqlOutput<'_>, DbErr> {
    let number = |n: Option<i64>| n.map_or(ValueRef::Null, ValueRef::Integer);
    let borrowed = match value {
        Value::Bool(v) => number(v.map(i64::from)),
        Value::Int(v) => number(v.map(i64::from)),
        Value::BigInt(v) => number(*v),
        Value::Unsigned(v) => number(v.map(i64::from)),
        Value::BigUnsigned(v) => number(v.map(i64::try_from).transpose().map_err(|e| DbErr::Type(e.to_string()))?),
        Value::String(v) => v.as_ref().map_or(ValueRef::Null, |v| ValueRef::Text(v.as_bytes())),
        Value::Bytes(v) => v.as_ref().map_or(ValueRef::Null, |v| ValueRef::Blob(v)),
        _ => return Err(DbErr::Type("a parameter of a type that no table has".into())),
    };
    Ok(ToSqlOutput::Borrowed(borrowed))
}

/// The driver's error in the shape of the other driver's: [`crate::store::db::DbError`] tells all apart by their codes.
pub(super) fn failed(e: &rusqlite::Error) -> DbErr {
    match e {
        rusqlite::Error::SqliteFailure(e, message) => {
            let message = message.clone().unwrap_or_else(|| e.to_string());
            let fault = SqliteFault { code: e.extended_code, message };
            DbErr::Exec(RuntimeErr::SqlxError(Arc::new(SqlxError::Database(Box::new(fault)))))
        }
        other => DbErr::Type(other.to_string()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("(code: {code}) {message}")]
struct SqliteFault {
    code: i32,
    message: String,
}

impl DatabaseError for SqliteFault {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE => ErrorKind::UniqueViolation,
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ErrorKind::ForeignKeyViolation,
            ffi::SQLITE_CONSTRAINT_NOTNULL => ErrorKind::NotNullViolation,
            ffi::SQLITE_CONSTRAINT_CHECK => ErrorKind::CheckViolation,
            _ => ErrorKind::Other,
        }
    }
}
