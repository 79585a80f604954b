//! Circles of imports between files. An import through a re-export is an import of the file that defines the item, so a
//! contents page (`mod.rs`, `lib.rs`) that only declares and re-exports is part of none; declaring a module imports
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Path, module, paths, resolve};
use super::ledger::Finding;
use super::source::{Kind, Source, Token, tokens};

/// Re-exports of re-exports are followed this far.
const DEPTH: usize = 8;

/// The files of one crate, and which of them each imports.
pub struct Graph<'a> {
    files: Vec<File<'a>>,
    by_module: BTreeMap<Vec<String>, usize>,
    imports: Vec<BTreeSet<usize>>,
}

struct File<'a> {
    source: &'a Source,
    module: Vec<String>,
    paths: Vec<Path>,
    /// Items defined at the top of the file.
    defines: BTreeSet<String>,
}

/// One finding for each file in a circle; it weighs as much as the file imports files of its circle.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for graph in ["src", "tests/it"].map(|root| Graph::of(sources, root)) {
        for circle in graph.circles() {
            for &file in &circle {
                let inside: Vec<&str> =
                    graph.imports[file].intersection(&circle).map(|i| graph.files[*i].source.path.as_str()).collect();
                let round = graph.shortest_round(file).join(" → ");
                let text = format!("imports {} of its circle ({}): {round}", inside.len(), inside.join(", "));
                let weight = inside.len();
                findings.push(Finding { weight, ..Finding::new("circle", graph.files[file].source, 1, text) });
            }
        }
    }
    findings
}

impl<'a> Graph<'a> {
    pub fn of(sources: &'a [Source], root: &str) -> Graph<'a> {
        let files: Vec<File<'a>> =
            sources.iter().filter(|s| s.is_rust() && s.is_in(root)).map(|s| file(s, root)).collect();
        let by_module = files.iter().enumerate().map(|(i, file)| (file.module.clone(), i)).collect();
        let mut graph = Graph { files, by_module, imports: Vec::new() };
        graph.imports = (0..graph.files.len()).map(|i| graph.imports_of(i)).collect();
        graph
    }

    /// The files that import each other, directly or by others: each group once.
    pub fn circles(&self) -> Vec<BTreeSet<usize>> {
        let reached: Vec<BTreeSet<usize>> = (0..self.files.len()).map(|i| self.reached_from(i)).collect();
        let circles: BTreeSet<BTreeSet<usize>> = (0..self.files.len())
            .map(|i| reached[i].iter().copied().filter(|j| reached[*j].contains(&i)).collect())
            .filter(|circle: &BTreeSet<usize>| !circle.is_empty())
            .collect();
        circles.into_iter().collect()
    }

    fn reached_from(&self, start: usize) -> BTreeSet<usize> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(file) = next.pop() {
            next.extend(self.imports[file].iter().copied().filter(|i| reached.insert(*i)));
        }
        reached
    }

    /// A shortest way from a file back to itself.
    fn shortest_round(&self, start: usize) -> Vec<&str> {
        let mut ways = vec![vec![start]];
        let mut seen = BTreeSet::new();
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                for &next in way.last().map(|last| &self.imports[*last]).into_iter().flatten() {
                    let way = [&way[..], &[next]].concat();
                    if next == start {
                        return way.iter().map(|i| self.files[*i].source.path.as_str()).collect();
                    }
                    if seen.insert(next) {
                        longer.push(way);
                    }
                }
            }
            ways = longer;
        }
        Vec::new()
    }

    fn imports_of(&self, at: usize) -> BTreeSet<usize> {
        let file = &self.files[at];
        let counted = file.paths.iter().filter(|path| !(path.exported && file.is_page()));
        let found = counted.filter_map(|path| self.target(at, path, DEPTH));
        found.filter(|target| *target != at).collect()
    }

    /// The file that a path of this file leads to.
    fn target(&self, at: usize, path: &Path, depth: usize) -> Option<usize> {
        let absolute = self.absolute(at, path, depth)?;
        self.locate(&absolute, depth).map(|(file, _)| file)
    }

    /// The path from the crate's root: by `crate` and `super`, by a name imported here, or by a module below.
    fn absolute(&self, at: usize, path: &Path, depth: usize) -> Option<Vec<String>> {
        let file = &self.files[at];
        let own = [&file.module[..], &path.inside].concat();
        if let Some(absolute) = resolve(&own, &path.names) {
            return Some(absolute);
        }
        let (first, rest) = path.names.split_first()?;
        if first == "self" {
            return Some([&own[..], rest].concat());
        }
        let child = [&file.module[..], std::slice::from_ref(first)].concat();
        if self.by_module.contains_key(&child) {
            return Some([&child[..], rest].concat());
        }
        let imported = file.paths.iter().find(|p| p.import.as_ref() == Some(first) && *p != path)?;
        let base = self.absolute(at, imported, depth.checked_sub(1)?)?;
        Some([&base[..], rest].concat())
    }

    /// The file with the item at a path from the root, and whether the item was seen there.
    fn locate(&self, path: &[String], depth: usize) -> Option<(usize, bool)> {
        let mut at = *self.by_module.get(&Vec::new())?;
        for (i, name) in path.iter().enumerate() {
            let file = &self.files[at];
            let child = [&file.module[..], std::slice::from_ref(name)].concat();
            if let Some(next) = self.by_module.get(&child) {
                at = *next;
                continue;
            }
            if file.defines.contains(name) {
                return Some((at, true));
            }
            let depth = depth.checked_sub(1)?;
            let onwards = |import: &Path, rest: &[String]| {
                let base = self.absolute(at, import, depth)?;
                self.locate(&[&base[..], rest].concat(), depth)
            };
            let mut named = file.paths.iter().filter(|p| p.import.as_ref() == Some(name));
            if let Some(found) = named.find_map(|import| onwards(import, &path[i + 1..])) {
                return Some(found);
            }
            let mut globs = file.paths.iter().filter(|p| p.import.as_deref() == Some("*"));
            if let Some(found) = globs.find_map(|glob| onwards(glob, &path[i..]).filter(|(_, seen)| *seen)) {
                return Some(found);
            }
            break;
        }
        // A module as a whole, or an item that a macro made. Nothing of that is on a contents page.
        (!self.files[at].is_page()).then_some((at, false))
    }
}

impl File<'_> {
    fn is_page(&self) -> bool {
        ["/mod.rs", "/lib.rs", "/main.rs"].iter().any(|name| self.source.path.ends_with(name))
    }
}

fn file<'a>(source: &'a Source, root: &str) -> File<'a> {
    let path = source.path.strip_prefix(&format!("{root}/")).unwrap_or(&source.path);
    let path = if path == "main.rs" { "lib.rs" } else { path };
    let tokens = tokens(&source.text);
    // `pub(in crate::a)` says who may see it, not what it needs.
    let visibility: BTreeSet<usize> = tokens.iter().filter(|t| t.ident() == Some("in")).map(|t| t.line).collect();
    let is_scope =
        |path: &Path| path.import.is_none() && visibility.contains(&path.line) && stands_after_in(&tokens, path);
    let paths = paths(&tokens).into_iter().filter(|path| !is_scope(path)).collect();
    File { source, module: module(path), paths, defines: defines(&tokens) }
}

fn stands_after_in(tokens: &[Token], path: &Path) -> bool {
    tokens.windows(3).any(|t| {
        t[0].is('(')
            && t[1].ident() == Some("in")
            && t[2].line == path.line
            && t[2].ident() == path.names.first().map(String::as_str)
    })
}

/// The names of the items at the top of a file.
fn defines(tokens: &[Token]) -> BTreeSet<String> {
    const KINDS: [&str; 10] =
        ["struct", "enum", "union", "trait", "type", "const", "static", "fn", "mod", "macro_rules"];
    let mut depth = 0_usize;
    let mut names = BTreeSet::new();
    for (i, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Punct('{') => depth += 1,
            Kind::Punct('}') => depth = depth.saturating_sub(1),
            Kind::Ident(kind) if depth == 0 && KINDS.contains(&kind.as_str()) => {
                let after = &tokens[i + 1..];
                let name = after.iter().find(|t| !t.is('!')).and_then(Token::ident);
                let elsewhere = kind == "mod" && after.get(1).is_some_and(|t| t.is(';'));
                names.extend(name.filter(|name| !elsewhere && !KINDS.contains(name)).map(str::to_owned));
            }
            Kind::Punct(_) | Kind::Ident(_) | Kind::Str(_) => {}
        }
    }
    names
}

#[cfg(test)]
fn circle_of(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(&format!("src/{path}.rs"), text)).collect();
    check(&sources).into_iter().map(|f| f.path.replace("src/", "").replace(".rs", "")).collect()
}

#[test]
fn a_circle_is_found_however_the_import_is_written() {
    let pages = [("lib", "pub mod a; pub mod b;"), ("a/mod", "mod x; mod y; pub use y::Y;"), ("a/y", "pub struct Y;")];
    let x = ("a/x", "use crate::b::b;");
    for text in [
        "use crate::a::x::X;",
        "use crate::{money, a::{self, x::{X as Z}}};",
        "fn b() -> crate::a::x::X { todo() }",
        "use crate::a; fn b() { a::x::f() }",
        "use crate::a::x; fn b() {}",
        "use super::a::x::X;",
        "mod inner { use super::super::a::x::X; }",
    ] {
        assert_eq!(circle_of(&[&pages[..], &[x, ("b", text)]].concat()), ["a/x", "b"], "{text}");
    }
    for text in [
        "use crate::a::Y;",
        "use crate::a; fn b() { a::Y::new() }",
        "use crate::a;",
        "// use crate::a::x::X;",
        "pub(in crate::a::x) fn b() {}",
        "const S: &str = \"crate::a::x\";",
    ] {
        assert_eq!(circle_of(&[&pages[..], &[x, ("b", text)]].concat()), [] as [&str; 0], "{text}");
    }
}

#[test]
fn a_re_export_leads_to_the_file_that_defines_the_item() {
    let lib = ("lib", "pub mod a; pub mod b;");
    let x = ("a/x", "use crate::b::B; pub struct X;");
    for page in ["mod x; pub use x::X;", "mod x; pub use x::*;", "mod x; pub use self::x::X as X;", "mod x; use x::X;"]
    {
        let files = [lib, ("a/mod", page), x, ("b", "use crate::a::X; pub struct B;")];
        assert_eq!(circle_of(&files), ["a/x", "b"], "{page}");
    }
    // The page itself defines the item; it imports nothing, so there is no circle.
    let defined = [lib, ("a/mod", "mod x; pub struct X;"), x, ("b", "use crate::a::X; pub struct B;")];
    assert_eq!(circle_of(&defined), [] as [&str; 0]);
    // A child that needs what its parent defines, while the parent only declares and re-exports it.
    let parent = [lib, ("a/mod", "mod x; pub use x::X; pub const N: u8 = 1;"), ("a/x", "pub struct X; use super::N;")];
    assert_eq!(circle_of(&parent), [] as [&str; 0]);
}

#[test]
fn a_finding_weighs_as_much_as_is_to_be_untied_and_shows_a_way_round() {
    let files = [("lib", ""), ("a", "use crate::{b::B, c::C};"), ("b", "use crate::a::A;"), ("c", "use crate::b::B;")];
    let sources = files.map(|(path, text)| Source::new(&format!("src/{path}.rs"), text));
    let found = check(&sources);
    assert_eq!(found.iter().map(|f| f.weight).collect::<Vec<_>>(), [2, 1, 1]);
    assert!(found[2].text.ends_with("src/c.rs → src/b.rs → src/a.rs → src/c.rs"), "{}", found[2].text);
    assert_eq!(Graph::of(&sources, "src").circles().len(), 1);
    assert_eq!(circle_of(&[("lib", ""), ("a", "use crate::b::B;"), ("b", "")]), [] as [&str; 0]);
}
