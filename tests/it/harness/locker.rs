//! Another process that holds SQLite's lock.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{setting, within_timeout};

/// Holds the lock of a database until it is dropped.
pub struct Locker(Child);

impl Locker {
    pub async fn start(database: &Path) -> Locker {
        let program = "import sqlite3, sys\n\
                       held = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)\n\
                       held.execute('BEGIN EXCLUSIVE')\n\
                       print('locked', flush=True)\n\
                       sys.stdin.read()";
        let mut command = Command::new(setting("WXPAY_TEST_PYTHON"));
        command.args(["-c", program]).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let locker = Locker(child);
        let locked = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            line
        });
        assert_eq!(within_timeout("the lock", locked).await.unwrap(), "locked\n");
        locker
    }
}

impl Drop for Locker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
