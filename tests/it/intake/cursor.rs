//! The cursor of a log that is forwarded: never ahead of what was kept.

use std::fs;

use tempfile::TempDir;
use wxpay_worker::intake::{LogSettings, read_cursor, write_cursor};

use super::{NAME, die, left, open, record};

#[test]
fn a_cursor_is_what_was_kept_last_or_the_beginning() {
    let folder = TempDir::new().unwrap();
    assert_eq!(read_cursor(folder.path()).unwrap(), 0);
    for position in [7, 1_234_567, u64::MAX] {
        write_cursor(folder.path(), position).unwrap();
        assert_eq!(read_cursor(folder.path()).unwrap(), position);
    }
    // A process that died before it was renamed.
    fs::write(folder.path().join("cursor.next"), "1 9").unwrap();
    assert_eq!(read_cursor(folder.path()).unwrap(), u64::MAX);
    write_cursor(folder.path(), 3).unwrap();
    assert_eq!(read_cursor(folder.path()).unwrap(), 3);
}

#[test]
fn a_cursor_with_any_byte_changed_cut_off_or_added_is_none() {
    let folder = TempDir::new().unwrap();
    write_cursor(folder.path(), 4_294_967_296).unwrap();
    let file = folder.path().join("cursor");
    let whole = fs::read(&file).unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            fs::write(&file, &changed).unwrap();
            assert_eq!(read_cursor(folder.path()).unwrap(), 0, "byte {at}, bit {bit}");
        }
        fs::write(&file, &whole[..at]).unwrap();
        assert_eq!(read_cursor(folder.path()).unwrap(), 0, "cut off at {at}");
    }
    fs::write(&file, [whole.as_slice(), b"0"].concat()).unwrap();
    assert_eq!(read_cursor(folder.path()).unwrap(), 0);
    fs::write(&file, &whole).unwrap();
    assert_eq!(read_cursor(folder.path()).unwrap(), 4_294_967_296);
}

#[test]
fn a_cursor_that_the_disk_does_not_give_is_none() {
    let folder = TempDir::new().unwrap();
    // Reading it is an error that no rights mend, as one of the disk.
    fs::create_dir(folder.path().join("cursor")).unwrap();
    assert_eq!(read_cursor(folder.path()).unwrap(), 0);
}

#[tokio::test]
async fn the_cursor_goes_with_its_log_and_nothing_else_does() {
    let folder = TempDir::new().unwrap();
    let (appender, reader) = open(folder.path(), LogSettings::DEFAULT);
    appender.append(record(b"accepted")).await.unwrap();
    write_cursor(&folder.path().join(NAME), 5).unwrap();
    die(appender, reader).await;
    let dead = left(folder.path()).remove(0);
    assert_eq!(read_cursor(dead.folder()).unwrap(), 5);
    dead.remove().unwrap();
    assert!(!folder.path().join(NAME).exists());
    // With a stranger's file beside them the folder stays, and says so.
    let (appender, reader) = open(folder.path(), LogSettings::DEFAULT);
    fs::write(folder.path().join(NAME).join("notes"), "a person's").unwrap();
    write_cursor(&folder.path().join(NAME), 5).unwrap();
    die(appender, reader).await;
    assert!(left(folder.path()).remove(0).remove().is_err());
    assert!(folder.path().join(NAME).join("notes").exists());
}
