//! The transaction that a write sees. SQL and row mapping are written once over it, for both databases.

use std::future::Future;
use std::sync::Mutex;

use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, QueryTrait, Select, Statement,
    TryIntoModel, Value,
};

use super::connection::Connection;
use super::insertion::Insertion;
use super::row::{Row, RowForm, models};
use super::rowwise::{Outcome, Rowwise, columns_of};
use crate::store::db::{DbError, DbKind};

/// A transaction that commits after the write returned.
#[derive(Debug)]
pub struct WriteTx {
    pub(super) on: On,
    form: RowForm,
    /// What was put off: see [`WriteTx::insert_later`].
    pub(super) later: Mutex<Vec<Later>>,
}

#[derive(Debug)]
pub(super) enum On {
    Sqlite(Connection),
    Postgres(DatabaseTransaction),
}

/// A statement that was put off. It returns rows, which another one may read by a name.
#[derive(Debug)]
pub(super) struct Later {
    pub name: Option<&'static str>,
    pub statement: Statement,
}

impl WriteTx {
    pub(super) fn sqlite(connection: Connection, form: RowForm) -> WriteTx {
        WriteTx { on: On::Sqlite(connection), form, later: Mutex::default() }
    }

    pub(super) fn postgres(transaction: DatabaseTransaction, form: RowForm) -> WriteTx {
        WriteTx { on: On::Postgres(transaction), form, later: Mutex::default() }
    }

    /// Begins, divides or ends the transaction of the writer's thread; nothing on PostgreSQL.
    pub(super) fn frame(&self, sql: &str) -> Result<(), DbErr> {
        match &self.on {
            On::Sqlite(connection) => connection.frame(sql),
            On::Postgres(_) => Ok(()),
        }
    }

    /// Whether it has not come to its end.
    pub(super) fn is_open(&self) -> bool {
        match &self.on {
            On::Sqlite(connection) => connection.is_in_transaction(),
            On::Postgres(_) => true,
        }
    }

    pub(super) async fn commit(self) -> Result<(), DbErr> {
        match self.on {
            // The writer's thread begins and ends its transactions itself.
            On::Sqlite(_) => Ok(()),
            On::Postgres(transaction) => transaction.commit().await,
        }
    }

    pub(super) async fn roll_back(self) {
        if let On::Postgres(transaction) = self.on
            && let Err(e) = transaction.rollback().await
        {
            tracing::debug!(error = %DbError::from(e), "a transaction ends with its connection");
        }
    }

    /// Which database this is.
    pub fn kind(&self) -> DbKind {
        match &self.on {
            On::Sqlite(_) => DbKind::Sqlite,
            On::Postgres(_) => DbKind::Postgres,
        }
    }

    /// In which form rows are written.
    pub fn form(&self) -> RowForm {
        self.form
    }

    /// The SQL expression of the database's clock in milliseconds.
    pub fn now_ms_sql(&self) -> &'static str {
        self.kind().now_ms_sql()
    }

    /// Runs a statement and returns how many rows it changed. Parameters are written `$1`, `$2`, … for both databases.
    pub fn execute(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> impl Future<Output = Result<u64, DbError>> + Send {
        let statement = self.kind().statement(sql, values);
        self.execute_statement(statement)
    }

    /// Runs statements without parameters.
    pub async fn execute_unprepared(&self, sql: &str) -> Result<u64, DbError> {
        match &self.on {
            On::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            On::Postgres(transaction) => {
                self.flush().await?;
                Ok(transaction.execute_unprepared(sql).await?.rows_affected())
            }
        }
    }

    /// The first row of a result.
    pub fn one(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> impl Future<Output = Result<Option<Row>, DbError>> + Send {
        let statement = self.kind().statement(sql, values);
        async move {
            match &self.on {
                On::Sqlite(connection) => Ok(connection.query(&statement, 1)?.pop()),
                On::Postgres(transaction) => {
                    self.flush().await?;
                    Ok(transaction.query_one_raw(statement).await?.map(Row::Driver))
                }
            }
        }
    }

    /// All rows of a result.
    pub fn all(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> impl Future<Output = Result<Vec<Row>, DbError>> + Send {
        let statement = self.kind().statement(sql, values);
        self.all_of(statement)
    }

    /// Runs an insertion, update or deletion of an entity and returns how many rows it changed.
    pub fn run(&self, query: &impl QueryTrait) -> impl Future<Output = Result<u64, DbError>> + Send {
        let statement = query.build(self.kind().backend());
        self.execute_statement(statement)
    }

    /// How many rows one statement should take. On SQLite a short text that stays prepared, run once per row, costs
    /// less than parsing a long one; on PostgreSQL every statement is a round trip.
    pub fn rows_per_statement(&self) -> usize {
        match &self.on {
            On::Sqlite(_) => 1,
            On::Postgres(_) => usize::MAX,
        }
    }

    /// Runs a statement over rows.
    pub async fn over(&self, statement: &Rowwise, rows: &[Vec<Value>]) -> Result<Outcome, DbError> {
        if rows.is_empty() {
            return Ok(Outcome::Each(Vec::new()));
        }
        let text = statement.text(self.kind());
        match &self.on {
            On::Sqlite(connection) => Ok(Outcome::Each(connection.change_each(text, rows, &[])?)),
            On::Postgres(_) => {
                let columns = columns_of(rows, statement.width())?;
                Ok(Outcome::Returned(self.all_of(self.kind().statement(text, columns)).await?))
            }
        }
    }

    /// Inserts rows that all set the same columns; returns how many were inserted or, on a conflict, updated. Rows that
    /// do not are a [`DbError::Defect`]: a value would be bound to another column, or to none.
    pub async fn insert_all<A>(&self, rows: Vec<A>, on_conflict: Option<OnConflict>) -> Result<u64, DbError>
    where
        A: ActiveModelTrait,
    {
        let Some(insertion) = Insertion::of(rows, on_conflict, &[], self.kind())? else { return Ok(0) };
        match &self.on {
            On::Sqlite(connection) => {
                Ok(connection.execute_each(&insertion.text, &insertion.rows, &insertion.behind)?)
            }
            On::Postgres(_) => self.execute_statement(insertion.of_many()?).await,
        }
    }

    /// On SQLite the same; of each row, whether it was inserted or updated. PostgreSQL does not say which: there
    /// nothing is done, and no rows are made.
    pub fn insert_each<A>(
        &self,
        rows: impl FnOnce() -> Vec<A>,
        on_conflict: OnConflict,
    ) -> Result<Option<Vec<bool>>, DbError>
    where
        A: ActiveModelTrait,
    {
        let On::Sqlite(connection) = &self.on else { return Ok(None) };
        let Some(insertion) = Insertion::of(rows(), Some(on_conflict), &[], self.kind())? else {
            return Ok(Some(Vec::new()));
        };
        let changed = connection.change_each(&insertion.text, &insertion.rows, &insertion.behind)?;
        Ok(Some(changed.iter().map(Option::is_some).collect()))
    }

    /// Inserts rows and passes over those that conflict. On SQLite each row says whether it was inserted, and its
    /// number; PostgreSQL returns columns of those that were.
    pub async fn insert_new<A>(
        &self,
        rows: Vec<A>,
        pass_over: OnConflict,
        columns: &[<A::Entity as EntityTrait>::Column],
    ) -> Result<Outcome, DbError>
    where
        A: ActiveModelTrait,
    {
        let returned: &[<A::Entity as EntityTrait>::Column] = match self.kind() {
            DbKind::Sqlite => &[],
            DbKind::Postgres => columns,
        };
        let Some(insertion) = Insertion::of(rows, Some(pass_over), returned, self.kind())? else {
            return Ok(Outcome::Each(Vec::new()));
        };
        match &self.on {
            On::Sqlite(connection) => {
                Ok(Outcome::Each(connection.change_each(&insertion.text, &insertion.rows, &insertion.behind)?))
            }
            On::Postgres(_) => Ok(Outcome::Returned(self.all_of(insertion.of_many()?).await?)),
        }
    }

    /// The same as [`WriteTx::insert_all`], and returns columns of the rows that were inserted or updated. They are
    /// independent of what was put off: see [`WriteTx::all_behind`].
    pub async fn insert_returning<A>(
        &self,
        rows: Vec<A>,
        on_conflict: Option<OnConflict>,
        columns: &[<A::Entity as EntityTrait>::Column],
    ) -> Result<Vec<Row>, DbError>
    where
        A: ActiveModelTrait,
    {
        let Some(insertion) = Insertion::of(rows, on_conflict, columns, self.kind())? else { return Ok(Vec::new()) };
        match &self.on {
            On::Sqlite(connection) => Ok(connection.query_each(&insertion.text, &insertion.rows, &insertion.behind)?),
            On::Postgres(_) => self.behind(insertion.of_many()?).await,
        }
    }

    /// Runs an insertion that returns columns.
    pub fn returning(&self, query: &impl QueryTrait) -> impl Future<Output = Result<Vec<Row>, DbError>> + Send {
        let statement = query.build(self.kind().backend());
        self.all_of(statement)
    }

    /// An entity's row.
    pub async fn find_one<E>(&self, select: Select<E>) -> Result<Option<E::Model>, DbError>
    where
        E: EntityTrait,
        E::ActiveModel: TryIntoModel<E::Model>,
    {
        match &self.on {
            On::Sqlite(connection) => {
                let rows = connection.query(&select.build(self.kind().backend()), 1)?;
                Ok(models::<E>(rows)?.pop())
            }
            On::Postgres(transaction) => {
                self.flush().await?;
                Ok(select.one(transaction).await?)
            }
        }
    }

    /// An entity's rows.
    pub async fn find_all<E>(&self, select: Select<E>) -> Result<Vec<E::Model>, DbError>
    where
        E: EntityTrait,
        E::ActiveModel: TryIntoModel<E::Model>,
    {
        self.find_all_of::<E>(select.build(self.kind().backend())).await
    }

    /// An entity's rows that a statement returns whole.
    pub async fn find_all_of<E>(&self, statement: Statement) -> Result<Vec<E::Model>, DbError>
    where
        E: EntityTrait,
        E::ActiveModel: TryIntoModel<E::Model>,
    {
        match &self.on {
            On::Sqlite(connection) => models::<E>(connection.query(&statement, usize::MAX)?),
            On::Postgres(transaction) => {
                self.flush().await?;
                Ok(E::find().from_raw_sql(statement).all(transaction).await?)
            }
        }
    }

    pub(super) async fn all_of(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        match &self.on {
            On::Sqlite(connection) => Ok(connection.query(&statement, usize::MAX)?),
            On::Postgres(transaction) => {
                self.flush().await?;
                Ok(transaction.query_all_raw(statement).await?.into_iter().map(Row::Driver).collect())
            }
        }
    }

    async fn execute_statement(&self, statement: Statement) -> Result<u64, DbError> {
        match &self.on {
            On::Sqlite(connection) => Ok(connection.execute(&statement)?),
            On::Postgres(transaction) => {
                self.flush().await?;
                Ok(transaction.execute_raw(statement).await?.rows_affected())
            }
        }
    }
}
