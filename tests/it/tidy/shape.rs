//! The shape of files: their length and their functions', what a `mod.rs` is, that every file is part of the build.

use std::collections::BTreeSet;

use super::ledger::Finding;
use super::source::{Kind, Source, Token, tokens};

/// The most lines a file may have, of the program or of its tests.
const FILE_LINES: usize = 400;

/// The most lines a function of the program may have, from `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;

const CODE: &[&str] = &["src", "bin", "migrations"];

/// Here functions may be long: a test that tells one story is read from top to bottom.
const TESTS: &str = "tests";

pub fn check(sources: &[Source]) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() && s.is_in("src")) {
        if !source.text.starts_with("//!") {
            violations
                .push(source.violation(1, "begins without //!: what is this, what is it not, what must stay true?"));
        }
        contents(source, &tokens(&source.text), &mut violations);
    }
    violations.extend(undeclared(sources));
    violations
}

/// Files and functions that are too long.
pub fn lengths(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust() && (s.is_in(TESTS) || CODE.iter().any(|place| s.is_in(place))))
    {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            findings.push(Finding::new(
                "file",
                source,
                lines,
                format!("{lines} lines: a file has {FILE_LINES} at most"),
            ));
        }
        if source.is_in(TESTS) {
            continue;
        }
        for (line, name, length) in functions(&tokens(&source.text)) {
            if length > FUNCTION_LINES {
                let text = format!("{name} has {length} lines: {FUNCTION_LINES} at most");
                findings.push(Finding::new("function", source, line, text));
            }
        }
    }
    findings
}

/// `mod.rs` and `lib.rs` are contents pages: declarations, no code.
fn contents(source: &Source, tokens: &[Token], violations: &mut Vec<String>) {
    if source.path != "src/lib.rs" && !(source.is_in("src") && source.path.ends_with("/mod.rs")) {
        return;
    }
    for (line, name) in function_names(tokens) {
        violations.push(source.violation(line, format!("{name} is code on a contents page: give it a file")));
    }
}

fn function_names(tokens: &[Token]) -> impl Iterator<Item = (usize, String)> {
    tokens.windows(2).filter_map(|pair| match (pair[0].ident(), pair[1].ident()) {
        (Some("fn"), Some(name)) => Some((pair[0].line, name.to_owned())),
        _ => None,
    })
}

/// Line, name and length in lines of every function with a body.
fn functions(tokens: &[Token]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (i, pair) in tokens.windows(2).enumerate() {
        let (Some("fn"), Some(name)) = (pair[0].ident(), pair[1].ident()) else { continue };
        if let Some(end) = end_of_body(&tokens[i..]) {
            found.push((pair[0].line, name.to_owned(), end - pair[0].line + 1));
        }
    }
    found
}

fn end_of_body(tokens: &[Token]) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for token in tokens {
        match token.kind {
            Kind::Punct('(' | '[') => others += 1,
            Kind::Punct(')' | ']') => others = others.saturating_sub(1),
            Kind::Punct('{') => braces += 1,
            Kind::Punct('}') => {
                braces -= 1;
                if braces == 0 {
                    return Some(token.line);
                }
            }
            // A declaration without a body; the semicolon of `[u8; 4]` is inside brackets.
            Kind::Punct(';') if braces == 0 && others == 0 => return None,
            Kind::Punct(_) | Kind::Ident(_) | Kind::Str(_) => {}
        }
    }
    None
}

/// Rust files that no `mod` line names: they are not compiled, and a test in them never runs.
fn undeclared(sources: &[Source]) -> Vec<String> {
    let paths: BTreeSet<&str> = sources.iter().map(|s| s.path.as_str()).collect();
    let mut violations = Vec::new();
    for source in
        sources.iter().filter(|s| s.is_rust() && ["src", "tests/it", "migrations/src"].iter().any(|p| s.is_in(p)))
    {
        let Some((dir, file)) = source.path.rsplit_once('/') else { continue };
        let (dir, name) = match file {
            "lib.rs" | "main.rs" => continue,
            "mod.rs" => dir.rsplit_once('/').unwrap_or(("", dir)),
            _ => (dir, file.trim_end_matches(".rs")),
        };
        let parents = [format!("{dir}/mod.rs"), format!("{dir}.rs"), format!("{dir}/lib.rs"), format!("{dir}/main.rs")];
        let Some(parent) = parents.iter().find(|path| paths.contains(path.as_str())) else {
            violations.push(source.violation(1, format!("no {dir}/mod.rs declares it")));
            continue;
        };
        let text = sources.iter().find(|s| s.path == *parent).map_or("", |s| &s.text);
        let declared =
            tokens(text).windows(3).any(|t| t[0].ident() == Some("mod") && t[1].ident() == Some(name) && t[2].is(';'));
        if !declared {
            violations.push(source.violation(1, format!("{parent} does not declare it: `mod {name};` is missing")));
        }
    }
    violations
}

#[cfg(test)]
fn function(name: &str, lines: usize) -> String {
    format!("fn {name}(x: [u8; 4]) -> u8 {{\n{}}}\n", "    let s = \"}\"; // }\n".repeat(lines - 2))
}

#[test]
fn a_long_function_is_found() {
    let with = |lines: usize| {
        let text = format!("//! x\ntrait T {{ fn no_body(x: [u8; 4]); }}\n{}", function("long", lines));
        lengths(&[Source::new("src/a.rs", &text)])
    };
    assert_eq!(with(70), []);
    let text = "long has 71 lines: 70 at most".to_owned();
    assert_eq!(with(71), [Finding { rule: "function", path: "src/a.rs".to_owned(), line: 3, weight: 1, text }]);
}

#[test]
fn a_long_file_is_found() {
    let texts = |path: &str, text: &str| {
        let findings = lengths(&[Source::new(path, text)]);
        findings.into_iter().map(|f| (f.rule, f.text)).collect::<Vec<_>>()
    };
    let too_long = [("file", "401 lines: a file has 400 at most".to_owned())];
    assert_eq!(texts("src/a.rs", &"//! x\n".repeat(400)), []);
    assert_eq!(texts("src/a.rs", &"//! x\n".repeat(401)), too_long);
    assert_eq!(texts("tests/it/a.rs", &function("long", 400)), []);
    assert_eq!(texts("tests/it/a.rs", &function("long", 401)), too_long);
}

#[test]
fn code_on_a_contents_page_and_a_file_without_its_first_line_are_found() {
    let page = "//! x\npub mod b;\n// fn comment\npub type F = fn(u8) -> u8;\n";
    let with = |page: &str, file: &str| {
        let lib = Source::new("src/lib.rs", "//! x\nmod a;\n");
        check(&[lib, Source::new("src/a/mod.rs", page), Source::new("src/a/b.rs", file)])
    };
    assert_eq!(with(page, "//! x\n"), [] as [String; 0]);
    let code = with(&format!("{page}pub fn code() {{}}\n"), "//! x\n");
    assert_eq!(code, ["src/a/mod.rs:5: code is code on a contents page: give it a file"]);
    assert!(with(page, "use x::y;\n")[0].starts_with("src/a/b.rs:1: begins without //!"));
}

#[test]
fn a_file_that_is_not_compiled_is_found() {
    let declared = |main: &str, page: &str| {
        let sources =
            [("tests/it/main.rs", main), ("tests/it/a/mod.rs", page), ("tests/it/a/b.rs", ""), ("tests/it/c.rs", "")];
        check(&sources.map(|(path, text)| Source::new(path, text)))
    };
    assert_eq!(declared("mod a;\nmod c;", "mod b;"), [] as [String; 0]);
    assert_eq!(
        declared("// mod c;\nmod a;", "mod bb;"),
        [
            "tests/it/a/b.rs:1: tests/it/a/mod.rs does not declare it: `mod b;` is missing",
            "tests/it/c.rs:1: tests/it/main.rs does not declare it: `mod c;` is missing",
        ]
    );
    let orphan = check(&[Source::new("src/x/y.rs", "//! x\n")]);
    assert_eq!(orphan, ["src/x/y.rs:1: no src/x/mod.rs declares it"]);
}
