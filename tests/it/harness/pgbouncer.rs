//! A pooler in front of the test server.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::ports::free_port;
use super::{setting, within_timeout};

/// A running pgbouncer; killed when dropped.
pub struct PgBouncer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl PgBouncer {
    /// With six sessions for all clients. `settings` are lines of its section.
    pub async fn start(pool_mode: &str, settings: &str) -> PgBouncer {
        let server = setting("WXPAY_TEST_POSTGRES");
        let address = server.split('@').next_back().unwrap().split('/').next().unwrap();
        let (host, server_port) = address.split_once(':').unwrap();
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let text = format!(
            "[databases]\n* = host={host} port={server_port} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\ndefault_pool_size = 6\n\
             {settings}\n"
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, text).unwrap();
        for path in [folder.path(), &file] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut command = Command::new(setting("WXPAY_TEST_PGBOUNCER"));
        // It refuses to run as root, and ignores the option where it is not.
        command.args(["-q", "-u", "postgres"]).arg(&file);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = PgBouncer { child, port, _folder: folder };
        within_timeout("the pooler listens", async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        started
    }

    /// A database of the test server, through the pooler.
    pub fn url(&self, direct: &str) -> String {
        let name = direct.rsplit('/').next().unwrap();
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
