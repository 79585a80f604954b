//! All rules over the whole tree.

use super::shape::Exceptions;
use super::{imports, places, shape, source, words};

/// What is longer than it should be today. Only ever shorten this list.
const EXCEPTIONS: Exceptions<'_> = Exceptions { files: &[], functions: &[("src/wechat/v2/xml.rs", "parse")] };

#[test]
fn the_repository_keeps_its_own_rules() {
    let sources = source::repository();
    assert!(sources.iter().any(|s| s.path == "src/lib.rs"), "the walk found nothing");
    let violations = [
        imports::check(&sources),
        places::check(&sources),
        shape::check(&sources, &EXCEPTIONS),
        words::check(&sources),
    ]
    .concat();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}
