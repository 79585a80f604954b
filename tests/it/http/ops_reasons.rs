//! Why a message is parked or a notification refused: each reason of the code has a class, and each class its page.

use std::collections::BTreeSet;
use std::path::Path;

use wxpay_worker::ops::reason::ReasonClass;

/// What is quoted between these texts, in the files of a folder and below.
fn quoted(folder: &Path, before: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            quoted(&path, before, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let parts = text.split(before).skip(1);
        found.extend(parts.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
}

/// The arms of `fn reason` in a file.
fn arms(file: &str, found: &mut BTreeSet<String>) {
    let text = std::fs::read_to_string(file).unwrap();
    let body = text.split("fn reason(").nth(1).unwrap().split("\n    }").next().unwrap();
    found.extend(body.split("=> \"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
}

#[test]
fn every_reason_has_a_class() {
    let mut found = BTreeSet::from(["unknown_refund".to_owned(), "refund_exceeds".to_owned(), "query_differs".into()]);
    quoted(Path::new("src/worker"), "reason: \"", &mut found);
    quoted(Path::new("src/bus"), "const EXHAUSTED: &str = \"", &mut found);
    quoted(Path::new("src/bus"), "const ALIEN: &str = \"", &mut found);
    quoted(Path::new("src/http"), "const NEEDS_V3_KEY: &str = \"", &mut found);
    for file in ["src/wechat/v2/notify.rs", "src/order/decision.rs", "src/refund/state.rs"] {
        arms(file, &mut found);
    }
    assert!(found.len() > 25, "{found:?}");
    let unknown: Vec<&String> = found.iter().filter(|reason| ReasonClass::parse(reason).is_none()).collect();
    assert_eq!(unknown, [] as [&String; 0]);
}

#[test]
fn the_page_has_every_class_in_its_own_words() {
    let page = std::fs::read_to_string("docs/operations.md").unwrap();
    for class in ReasonClass::ALL {
        let row = format!("| `{}` | {} | {} |", class.as_str(), class.sentence(), class.mend());
        assert!(page.contains(&row), "{row}");
    }
}
