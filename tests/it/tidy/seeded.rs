//! `tests/seeded_faults.toml` still fits the code: each fault can be put in, in one place. Whether the tests notice it
//! is what `tests/seeded-faults.sh` finds out.

use super::source::{self, Source};

#[derive(Debug)]
struct Fault {
    function: String,
    find: String,
    replace: String,
    tests: String,
}

fn faults(text: &str) -> Vec<Fault> {
    let table: toml::Table = toml::from_str(text).unwrap();
    let faults = table["fault"].as_array().unwrap();
    let fault = |fault: &toml::Value| {
        assert!(AREAS.contains(&fault["area"].as_str().unwrap()), "{fault:?}");
        let [function, find, replace, tests] =
            ["function", "find", "replace", "tests"].map(|key| fault[key].as_str().unwrap().to_owned());
        Fault { function, find, replace, tests }
    };
    faults.iter().map(fault).collect()
}

const AREAS: [&str; 7] = ["decide", "refund_decide", "outcome", "consumer", "commit", "refunds", "webhooks"];

fn check(faults: &[Fault], sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for fault in faults {
        let src = sources.iter().filter(|s| s.is_rust() && s.is_in("src"));
        let places: usize = src.map(|s| places(&s.text, fault)).sum();
        if places != 1 || fault.find == fault.replace {
            let Fault { function, find, .. } = fault;
            violations.push(format!("seeded_faults.toml: in {function}: \"{find}\" stands {places} times, not once"));
        }
        for filter in fault.tests.split_whitespace() {
            let path = filter.trim_end_matches("::").replace("::", "/");
            if !sources.iter().any(|s| s.path.starts_with(&format!("tests/it/{path}"))) {
                violations.push(format!("seeded_faults.toml: no test is called {filter}"));
            }
        }
    }
    violations
}

/// How often the text stands in the functions of that name.
fn places(text: &str, fault: &Fault) -> usize {
    let starts = ["(", "<"].map(|end| format!("fn {}{end}", fault.function));
    let starts = starts.iter().flat_map(|start| text.match_indices(start.as_str()).map(|(at, _)| at));
    starts.map(|at| body(text, at).matches(&fault.find).count()).sum()
}

/// The text of the function that begins here, up to the brace that closes a line as far left as it began.
fn body(text: &str, at: usize) -> &str {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let indent: String = text[line..].chars().take_while(|c| *c == ' ').collect();
    let end = text[at..].find(&format!("\n{indent}}}")).map_or(text.len(), |end| at + end);
    &text[at..end]
}

#[test]
fn every_seeded_fault_has_its_one_place() {
    let sources = source::repository();
    let list = sources.iter().find(|s| s.path == "tests/seeded_faults.toml").unwrap();
    let faults = faults(&list.text);
    assert!(faults.len() >= 40, "{} faults", faults.len());
    let violations = check(&faults, &sources);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_fault_without_its_one_place_is_found() {
    let fault = |function: &str, find: &str| {
        let list = "area = 'decide'\nreplace = 'c'\ntests = 'order::a'";
        faults(&format!("[[fault]]\n{list}\nfunction = '{function}'\nfind = '{find}'\n"))
    };
    let text = "impl A {\n    fn one(a: u8) {\n        a < b;\n    }\n    fn two<T>() { a < b; a < b }\n}\n";
    let sources = [Source::new("src/a.rs", text), Source::new("tests/it/order/a.rs", "")];
    assert_eq!(check(&fault("one", "a < b"), &sources), [] as [String; 0]);
    for (function, find, places) in [("two", "a < b", 2), ("one", "a > b", 0), ("on", "a < b", 0)] {
        let says = format!("seeded_faults.toml: in {function}: \"{find}\" stands {places} times, not once");
        assert_eq!(check(&fault(function, find), &sources), [says]);
    }
    assert_eq!(check(&fault("one", "a < b"), &sources[..1]), ["seeded_faults.toml: no test is called order::a"]);
}
