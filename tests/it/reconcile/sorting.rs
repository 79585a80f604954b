//! The external merge sort: any order in, one order out, within its buffer, and no file left.

use std::path::Path;
use std::sync::Arc;

use wxpay_worker::reconcile::{Folder, Sorter};

/// Pairs of a key and a value from a small linear generator.
fn rows(seed: u64, count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    (0..count).map(|n| (format!("{:06}", next() % 997).into_bytes(), format!("{n}:{}", next()).into_bytes())).collect()
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn rows_come_in_the_order_of_their_keys_and_equal_ones_as_they_were_pushed() {
    let parent = tempfile::tempdir().unwrap();
    // From all in memory to so many runs that they are merged more than once.
    for (count, limit) in [(0, 1), (1, 1), (5000, 1 << 20), (5000, 20_000), (5000, 2_000), (300, 1)] {
        let folder = Arc::new(Folder::create(parent.path()).unwrap());
        let mut sorter = Sorter::new(Arc::clone(&folder), limit);
        let mut expected = rows(7, count);
        for (key, value) in &expected {
            sorter.push(key, value).unwrap();
        }
        let written = files(folder.path());
        assert!(written <= 64, "{written} files at once");
        assert_eq!(written > 0, count > 1 && limit < 1 << 20, "{count} {limit}");
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        let mut sorted = sorter.finish().unwrap();
        drop(folder);
        let mut found = Vec::new();
        while let Some(row) = sorted.read().unwrap() {
            found.push(row);
        }
        assert_eq!(found, expected, "{count} {limit}");
        drop(sorted);
        assert_eq!(files(parent.path()), 0, "no file is left");
    }
}

#[test]
fn a_sort_that_is_given_up_leaves_no_file() {
    let parent = tempfile::tempdir().unwrap();
    let mut sorter = Sorter::new(Arc::new(Folder::create(parent.path()).unwrap()), 1000);
    for (key, value) in rows(3, 500) {
        sorter.push(&key, &value).unwrap();
    }
    assert_eq!(files(parent.path()), 1);
    drop(sorter);
    assert_eq!(files(parent.path()), 0);
}

#[test]
fn a_row_of_absurd_length_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let mut sorter = Sorter::new(Arc::new(Folder::create(parent.path()).unwrap()), 1000);
    assert!(sorter.push(b"k", &vec![0; 2 << 20]).is_err());
}
