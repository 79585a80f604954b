//! Bytes that were no record go by their age and their number, and none of a log of which anything is left.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use wxpay_worker::clock::Clock;
use wxpay_worker::intake::{KEPT_FOR, MOST_KEPT, forget_kept, keep_aside, kept_files};

use super::NAME;

const A_MINUTE: Duration = Duration::from_secs(60);
const OTHER: &str = "notify-bbbbbbbbbbbbbbbbbbbb";

fn names(parent: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(parent.join("damaged")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn old_files_go_except_those_of_a_log_that_is_not_settled_and_what_others_put_there() {
    let folder = TempDir::new().unwrap();
    let parent = folder.path();
    assert_eq!(forget_kept(parent, &HashSet::new(), Clock::system().now()).unwrap(), 0, "without a folder, too");
    keep_aside(parent, NAME, 7, b"of a settled log").unwrap();
    keep_aside(parent, OTHER, 7, b"of one that is not").unwrap();
    for note in ["note.txt", "notify-x-1-2"] {
        std::fs::write(parent.join("damaged").join(note), "of an operator").unwrap();
    }
    assert_eq!(kept_files(parent).unwrap(), 2);
    let unsettled = HashSet::from([OTHER.to_owned()]);
    let later = Clock::system().now().after(KEPT_FOR);
    let [before, after] = [later.before(A_MINUTE), later.after(A_MINUTE)];
    assert_eq!(forget_kept(parent, &unsettled, before).unwrap(), 0, "they are kept for {KEPT_FOR:?}");
    assert_eq!(forget_kept(parent, &unsettled, after).unwrap(), 1);
    let left = [format!("{OTHER}-00000000000000000007-0"), "note.txt".into(), "notify-x-1-2".into()];
    let mut sorted = left.to_vec();
    sorted.sort();
    assert_eq!(names(parent), sorted);
    // Its cursor is gone, its folder is not.
    std::fs::create_dir(parent.join(OTHER)).unwrap();
    assert_eq!(forget_kept(parent, &HashSet::new(), after).unwrap(), 0);
    std::fs::remove_dir(parent.join(OTHER)).unwrap();
    assert_eq!(forget_kept(parent, &HashSet::new(), after).unwrap(), 1);
}

#[test]
fn of_too_many_files_the_oldest_go() {
    let folder = TempDir::new().unwrap();
    let parent = folder.path();
    keep_aside(parent, NAME, 0, b"the first").unwrap();
    let at = SystemTime::now() - Duration::from_secs(3600);
    for n in 0..MOST_KEPT + 1 {
        let file = std::fs::File::create(parent.join("damaged").join(format!("{OTHER}-{n:020}-0"))).unwrap();
        file.set_modified(at + Duration::from_secs(u64::try_from(n).unwrap())).unwrap();
    }
    assert_eq!(forget_kept(parent, &HashSet::new(), Clock::system().now()).unwrap(), 2);
    let left = names(parent);
    assert_eq!(left.len(), MOST_KEPT);
    let gone = |n: usize| !left.contains(&format!("{OTHER}-{n:020}-0"));
    assert!(gone(0) && gone(1) && !gone(2), "the newest stay");
}
