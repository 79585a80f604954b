//! What is kept of one payer, and its erasure: the bytes of the openid in every column of every table.

mod bounds;
mod console;
mod ctl;
mod erased;
mod evidence;
mod goes_on;
mod killed;

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait, Value};
use serde_json::{Value as Json, json};
use wxpay_worker::store::{Db, DbKind};

use crate::harness::service::{InProcess, OPENID};
use crate::harness::sql::texts;

/// Another payer.
const OTHER: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS7p";
/// One whose openid begins as the erased one's.
const LONGER: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o2";
/// Nothing of before a request can come any more.
const LAST_PASS: &str = "UPDATE erasures SET last_pass_from_ms = 0, next_at_ms = 0 WHERE state = 'waiting'";
const ADDRESS: &str = "203.0.113.77";
const NAME: &str = "Li-Lei-of-the-erasure";

async fn run(db: &Db, sql: &str, values: impl Into<Vec<Value>>) {
    db.execute("test", sql.to_owned(), values.into()).await.unwrap();
}

/// Every column of every table, as `table.column`.
async fn columns(db: &Db) -> Vec<String> {
    let sql = match db.kind() {
        DbKind::Postgres => {
            "SELECT table_name || '.' || column_name FROM information_schema.columns
             WHERE table_schema = current_schema()"
        }
        DbKind::Sqlite => {
            "SELECT t.name || '.' || c.name FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
             WHERE t.type = 'table'"
        }
    };
    let columns = texts(db, sql).await;
    assert!(columns.len() > 300, "{}", columns.len());
    columns
}

/// The columns in which a word stands, not as a part of a longer one.
async fn holders(db: &Db, word: &str) -> BTreeSet<String> {
    let mut holders = BTreeSet::new();
    for column in columns(db).await {
        let (table, name) = column.split_once('.').unwrap();
        let sql = match db.kind() {
            // As text with escapes, of which a word has none.
            DbKind::Postgres if is_bytes(db, table, name).await => {
                format!("SELECT encode(\"{name}\", 'escape') FROM {table} WHERE \"{name}\" IS NOT NULL")
            }
            DbKind::Postgres => format!("SELECT CAST(\"{name}\" AS TEXT) FROM {table} WHERE \"{name}\" IS NOT NULL"),
            DbKind::Sqlite => format!("SELECT CAST(\"{name}\" AS TEXT) FROM \"{table}\" WHERE \"{name}\" IS NOT NULL"),
        };
        let rows = db.read().query_all_raw(db.statement(sql, [])).await.unwrap();
        // A packed column of SQLite is no text: what it says is asked for apart.
        if rows.iter().filter_map(|row| row.try_get_by_index::<String>(0).ok()).any(|text| has_word(&text, word)) {
            holders.insert(column);
        }
    }
    holders
}

async fn is_bytes(db: &Db, table: &str, column: &str) -> bool {
    let sql = format!(
        "SELECT data_type FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = '{table}' AND column_name = '{column}'"
    );
    texts(db, &sql).await == ["bytea"]
}

fn has_word(text: &str, word: &str) -> bool {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.split(|c| !is_of_word(c)).any(|found| found == word)
}

impl InProcess {
    /// A user of the app, who logs in again an hour from now.
    async fn knows(&self, openid: &str) {
        let later = self.clock.now().as_ms() + 3_600_000;
        let user = "INSERT INTO users (app, openid, nickname, is_snapshot, created_at_ms, updated_at_ms)
                    VALUES ('shop', $1, $2, FALSE, 1, $3)";
        run(self.store.db(), user, [openid.into(), NAME.into(), later.into()]).await;
    }

    async fn asks_erasure(&self) -> Json {
        let wanted = json!({"app": "shop", "openid": OPENID, "reason": "the payer asked for it"});
        let (status, erasure) = self.post("/v1/ops/erasures", &wanted).await;
        assert_eq!(status, 202, "{erasure}");
        assert!(!erasure.to_string().contains(OPENID), "{erasure}");
        erasure
    }

    async fn erasure(&self, erasure: &Json) -> Json {
        let (status, erasure) = self.get(&format!("/v1/ops/erasures/{}", erasure["id"])).await;
        assert_eq!(status, 200, "{erasure}");
        erasure
    }

    /// Awaits that nothing is left, makes the last way through the tables due, and awaits the end.
    async fn until_erased(&self) {
        let sql = "SELECT COUNT(*) FROM erasures WHERE state = 'waiting' AND waits_for = '{\"last_pass\":1}'";
        self.until_number("an erasure that waits for its last pass", sql, |n| n == 1).await;
        run(self.store.db(), LAST_PASS, []).await;
        self.until_erasure_is("done").await;
    }

    async fn until_erasure_is(&self, state: &str) {
        let sql = format!("SELECT COUNT(*) FROM erasures WHERE state = '{state}'");
        self.until_number(&format!("an erasure that is {state}"), &sql, |n| n == 1).await;
    }
}
