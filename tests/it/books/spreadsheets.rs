//! Files for finance as other programs read them: what a stranger wrote opens as a text.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::harness::service::{API_KEY, InProcess, TestService, jsapi};
use crate::harness::setting;

const HOSTILE: &str = "=cmd|' /C calc'!A0";

/// Where LibreOffice is; the long proof alone installs it, because it is large.
fn office() -> Option<PathBuf> {
    std::env::var_os("WXPAY_TEST_LONG").map(|_| PathBuf::from(setting("WXPAY_TEST_SOFFICE")))
}

impl InProcess {
    async fn save(&self, path: &str, to: &Path) {
        let response = self.http.get(format!("{}{path}", self.base)).bearer_auth(API_KEY).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        std::fs::write(to, response.bytes().await.unwrap()).unwrap();
    }
}

/// Runs a program to its end; it must succeed.
async fn succeeds(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_formula_of_a_stranger_opens_as_a_text() {
    let service = TestService::new().in_process().await;
    let mut body = jsapi("SS000001", 123_456);
    (body["description"], body["attach"]) = (json!(HOSTILE), json!(HOSTILE));
    service.place_as(&body).await;
    service.pay("SS000001").await;
    service.until_state("SS000001", "paid").await;
    let day = service.clock.now().to_beijing_day();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    for kind in ["csv", "xlsx"] {
        let lines = format!("/v1/reports/main/{day}.{kind}?columns=attach");
        service.save(&lines, &file(&format!("lines.{kind}"))).await;
    }
    let check = || {
        let mut check = Command::new(setting("WXPAY_TEST_PYTHON"));
        check.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/spreadsheet_check.py")).arg(HOSTILE);
        check
    };
    let mut read = check();
    read.args([file("lines.csv"), file("lines.xlsx")]);
    succeeds(read).await;
    if let Some(office) = office() {
        for name in ["lines.csv", "lines.xlsx"] {
            let mut convert = Command::new(&office);
            convert.arg("--headless").arg(format!("-env:UserInstallation=file://{}", file("profile").display()));
            // Commas, quotation marks, UTF-8, from the first line on.
            if name.ends_with("csv") {
                convert.arg("--infilter=CSV:44,34,76,1");
            }
            convert.args(["--convert-to", "fods", "--outdir"]).arg(folder.path()).arg(file(name));
            succeeds(convert).await;
            let mut opened = check();
            opened.arg(file("lines.fods"));
            succeeds(opened).await;
            std::fs::remove_file(file("lines.fods")).unwrap();
        }
    }
    service.finish().await;
}
