//! A spool whose end is torn, taken over while the database is away: what is whole of it is forwarded all the same, and
//! WeChat is asked about what is open once the database is there.

use std::fs::OpenOptions;

use tempfile::TempDir;
use wxpay_worker::intake::Record;

use super::spool::with_spool;
use super::spool_left::{DIRECT, leave, notified};
use crate::faults::until;
use crate::flows::notifications::{SIGNED_BY_THE_TEST, signed};
use crate::harness::cable::Cable;
use crate::harness::service::KEY;

const WHOLE: &str = "notify-aaaaaaaaaaaaaaaaaaaa";
const TORN: &str = "notify-bbbbbbbbbbbbbbbbbbbb";

/// That this order was paid.
fn paid(n: u32) -> Record {
    let numbers = [format!("L{n:06}"), format!("42000000002026112200{n:08}")];
    notified(signed(&[("out_trade_no", &numbers[0]), ("transaction_id", &numbers[1])], KEY).into_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_spool_is_forwarded_while_the_database_is_away_and_wechat_is_asked_afterwards() {
    let (rig, folder) = with_spool().await;
    rig.leave_books_open(SIGNED_BY_THE_TEST);
    let url = rig.db.url();
    let address = url.split('@').next_back().unwrap().split('/').next().unwrap();
    let mut cable = Cable::to(address).await;
    let by_cable = url.replace(address, &cable.address().to_string());
    let ingress = rig.run_with("ingress", &[("WXPAY__STORE__URL", &by_cable)]).await;
    // It keeps its database, and reads no logs; no process asks WeChat here.
    let _worker = rig.run_beside("worker,relay", &[DIRECT[0], ("WXPAY__SERVER__INTAKE_DIR", "")]).await;
    for n in 1..=3 {
        rig.place(&ingress.base, &format!("L{n:06}"), 100).await;
    }
    let db = rig.open_db().await;
    db.execute("test", "UPDATE orders SET next_query_at_ms = expires_at_ms", []).await.unwrap();
    // After one log the process knows of which database logs are its own.
    leave(&rig, folder.path(), WHOLE, vec![paid(1)]).await;
    until("the whole log gone", || async { (!folder.path().join(WHOLE).exists()).then_some(()) }).await;

    let apart = TempDir::new().unwrap();
    leave(&rig, apart.path(), TORN, vec![paid(2), paid(3)]).await;
    let mut files = std::fs::read_dir(apart.path().join(TORN)).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some()).unwrap();
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(file.metadata().unwrap().len() - 10).unwrap();
    cable.cut();
    let torn = folder.path().join(TORN);
    std::fs::rename(apart.path().join(TORN), &torn).unwrap();
    let ledger = "SELECT COUNT(*) FROM ledger";
    until("two payments", || async { (rig.number(&db, ledger).await == 2).then_some(()) }).await;
    let later = "SELECT COUNT(*) FROM orders WHERE next_query_at_ms >= expires_at_ms";
    assert!(torn.exists(), "the log stays until WeChat is asked");
    assert_eq!(rig.number(&db, later).await, 1, "of the third payment only WeChat knows");

    cable.mend().await;
    until("the torn log gone", || async { (!torn.exists()).then_some(()) }).await;
    assert_eq!(rig.number(&db, later).await, 0, "WeChat is asked about the open order");
    rig.finish().await;
}
