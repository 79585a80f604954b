//! Where rows are read: in the pool of readers, or in the transaction of a write.

use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, Select, Statement, TryIntoModel, Value};

use super::pool::ReadPool;
use super::row::Row;
use super::tx::WriteTx;
use crate::store::db::{DbError, DbKind};

/// What a query runs on.
#[derive(Debug, Clone, Copy)]
pub enum Reader<'a> {
    /// The newest committed state.
    Pool(&'a ReadPool),
    /// The state that a write sees, its own changes included.
    Write(&'a WriteTx),
}

impl Reader<'_> {
    /// Which database this is.
    pub fn kind(&self) -> DbKind {
        match self {
            Reader::Pool(pool) => DbKind::of(pool.get_database_backend()),
            Reader::Write(tx) => tx.kind(),
        }
    }

    /// The rows of a query.
    pub async fn all<E>(&self, select: Select<E>) -> Result<Vec<E::Model>, DbError>
    where
        E: EntityTrait,
        E::ActiveModel: ActiveModelTrait<Entity = E> + TryIntoModel<E::Model>,
    {
        match self {
            Reader::Pool(pool) => Ok(select.all(*pool).await?),
            Reader::Write(tx) => tx.find_all(select).await,
        }
    }

    /// The rows of an entity that a statement returns whole.
    pub async fn all_of<E>(&self, statement: Statement) -> Result<Vec<E::Model>, DbError>
    where
        E: EntityTrait,
        E::ActiveModel: ActiveModelTrait<Entity = E> + TryIntoModel<E::Model>,
    {
        match self {
            Reader::Pool(pool) => Ok(E::find().from_raw_sql(statement).all(*pool).await?),
            Reader::Write(tx) => tx.find_all_of::<E>(statement).await,
        }
    }

    /// The rows of a statement. Parameters are written `$1`, `$2`, … for both databases.
    pub async fn rows(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<Row>, DbError> {
        match self {
            Reader::Pool(pool) => {
                let statement = Statement::from_sql_and_values(pool.get_database_backend(), sql, values);
                Ok(pool.query_all_raw(statement).await?.into_iter().map(Row::Driver).collect())
            }
            Reader::Write(tx) => tx.all(sql, values).await,
        }
    }
}
