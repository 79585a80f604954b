//! Source files as tokens: enough of Rust's lexical rules that comments and strings never look like code.

use std::fs;
use std::path::Path;

/// One file of the repository.
#[derive(Debug, Clone)]
pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the file is `place` or lies in that folder; a `place` ending in `*` is a prefix.
    pub fn is_in(&self, place: &str) -> bool {
        match place.strip_suffix('*') {
            Some(prefix) => self.path.starts_with(prefix),
            None => self.path == place || self.path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/')),
        }
    }

    pub fn violation(&self, line: usize, text: impl AsRef<str>) -> String {
        format!("{}:{line}: {}", self.path, text.as_ref())
    }
}

/// Every text file that people write, generated and downloaded ones left out.
pub fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    walk(root, root, &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn walk(root: &Path, dir: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            if !["target", ".git", "data", "node_modules"].contains(&&*name) {
                walk(root, &path, sources);
            }
        } else if ![".git", "Cargo.lock", "package-lock.json", "vectors.json"].contains(&&*name) {
            // What is not text (an image, a key store) has no rules here.
            if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                sources.push(Source { path, text });
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Ident(String),
    Str(String),
    Punct(char),
}

/// A piece of code and its line, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub line: usize,
    pub kind: Kind,
}

impl Token {
    pub fn is(&self, punct: char) -> bool {
        self.kind == Kind::Punct(punct)
    }

    pub fn ident(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            Kind::Str(_) | Kind::Punct(_) => None,
        }
    }
}

/// The tokens of a Rust text. Comments vanish; character literals too; a lifetime is punctuation and a name.
pub fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0, line: 1, tokens: Vec::new() };
    while lexer.at < chars.len() {
        lexer.step();
    }
    lexer.tokens
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) -> char {
        let c = self.peek(0);
        self.line += usize::from(c == '\n');
        self.at += 1;
        c
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.bump();
        }
    }

    fn step(&mut self) {
        let line = self.line;
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.bump();
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(line),
            ('\'', '\\') => {
                self.skip(3);
                while self.at < self.chars.len() && self.bump() != '\'' {}
            }
            ('\'', _) if self.peek(2) == '\'' => self.skip(3),
            (c, _) if c.is_alphanumeric() || c == '_' => self.word(line),
            (c, _) => {
                self.bump();
                if !c.is_whitespace() {
                    self.tokens.push(Token { line, kind: Kind::Punct(c) });
                }
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.skip(2);
            if depth == 0 {
                return;
            }
        }
    }

    fn word(&mut self, line: usize) {
        let mut word = String::new();
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            word.push(self.bump());
        }
        let raw = matches!(&*word, "r" | "br" | "cr");
        match self.peek(0) {
            '"' if raw => self.raw_string(line),
            '"' if matches!(&*word, "b" | "c") => self.string(line),
            '#' if raw && matches!(self.peek(1), '"' | '#') => self.raw_string(line),
            _ => self.tokens.push(Token { line, kind: Kind::Ident(word) }),
        }
    }

    fn string(&mut self, line: usize) {
        let mut content = String::new();
        self.bump();
        while self.at < self.chars.len() {
            match self.bump() {
                '"' => break,
                '\\' => {
                    content.push('\\');
                    content.push(self.bump());
                }
                c => content.push(c),
            }
        }
        self.tokens.push(Token { line, kind: Kind::Str(content) });
    }

    fn raw_string(&mut self, line: usize) {
        let mut hashes = 0;
        while self.bump() == '#' {
            hashes += 1;
        }
        let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        let mut content = String::new();
        while self.at < self.chars.len() && !content.ends_with(&end) {
            content.push(self.bump());
        }
        content.truncate(content.len() - end.len());
        self.tokens.push(Token { line, kind: Kind::Str(content) });
    }
}

#[test]
fn comments_strings_and_characters_never_look_like_code() {
    let text = r##"
// fn a() {}
/* fn b /* nested */ fn c */
let s = "fn d \" fn e"; let r = r#"fn "f" "#; let b = b"fn g";
let c = '{'; let q = '\''; fn real<'a>(x: &'a str) {}
"##;
    let tokens = tokens(text);
    let names: Vec<&str> = tokens.iter().filter_map(Token::ident).collect();
    assert_eq!(names, ["let", "s", "let", "r", "let", "b", "let", "c", "let", "q", "fn", "real", "a", "x", "a", "str"]);
    let strings: Vec<&str> =
        tokens.iter().filter_map(|t| if let Kind::Str(s) = &t.kind { Some(s.as_str()) } else { None }).collect();
    assert_eq!(strings, [r#"fn d \" fn e"#, r#"fn "f" "#, "fn g"]);
    let real = tokens.iter().find(|t| t.ident() == Some("real")).unwrap();
    assert_eq!(real.line, 5);
    assert_eq!(tokens.iter().filter(|t| t.is('{')).count(), 1);
}
