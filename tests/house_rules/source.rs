//! A source file as the rules see it: with comments and strings blanked, split into what ships and what tests it.

use std::path::Path;

/// One file of the project.
pub(crate) struct Source {
    /// From the project's root, with forward slashes.
    pub(crate) path: String,
    /// As written.
    pub(crate) text: String,
    /// Without comments and contents of strings; every line stays where it is.
    pub(crate) code: String,
    /// How many bytes of `code` ship: what follows is an inline test module.
    shipped: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let is_test = path.split('/').any(|part| ["tests", "tests.rs", "benches", "simulation"].contains(&part));
        let inline = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
        let shipped = if is_test { 0 } else { inline };
        Self { path: path.to_owned(), text: text.to_owned(), code, shipped }
    }

    /// The code that ships.
    pub(crate) fn shipped(&self) -> &str {
        &self.code[..self.shipped]
    }

    /// The code of tests.
    pub(crate) fn tests(&self) -> &str {
        &self.code[self.shipped..]
    }

    /// The module path below `src`, such as `consumer::group`; `None` for other folders and for the door, `lib.rs`.
    pub(crate) fn module(&self) -> Option<String> {
        let inner = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let module = inner.strip_suffix("/mod").unwrap_or(inner);
        (module != "lib").then(|| module.replace('/', "::"))
    }

    /// Every path of the crate that shipped code names, from the root: `wire::message::FetchRequest`.
    pub(crate) fn crate_paths(&self) -> Vec<String> {
        let Some(module) = self.module() else { return Vec::new() };
        let mut paths = Vec::new();
        for (at, _) in self.shipped().match_indices("crate::") {
            expand(String::new(), &self.shipped()[at + 7..], &mut paths);
        }
        for (at, _) in self.shipped().match_indices("super::") {
            if self.shipped()[..at].ends_with("super::") {
                continue; // The chain was followed from its beginning.
            }
            let (mut from, mut rest) = (module.as_str(), &self.shipped()[at..]);
            while let Some(next) = rest.strip_prefix("super::") {
                from = from.rsplit_once("::").map_or("", |(parent, _)| parent);
                rest = next;
            }
            expand(from.to_owned(), rest, &mut paths);
        }
        paths
    }
}

/// Adds the paths that a `use` tree names below `prefix`: `a::{b, c::d}` gives `a::b` and `a::c::d`.
fn expand(prefix: String, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        let (mut depth, mut begin) = (0, 0);
        for (at, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    expand(prefix.clone(), &group[begin..at], paths);
                    begin = at + 1;
                    if letter == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let end = tree.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    let path = [prefix.as_str(), name].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("::");
    match rest.strip_prefix("::") {
        Some(rest) => expand(path, rest, paths),
        None if path.is_empty() => {}
        None => paths.push(path),
    }
}

/// Replaces comments and the contents of strings by spaces.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (hidden, kept) = hidden_len(rest);
        if hidden > 0 {
            code.extend(rest[..hidden].chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[hidden..];
        } else {
            let kept = kept.max(first.len_utf8());
            code.push_str(&rest[..kept]);
            rest = &rest[kept..];
        }
    }
    code
}

/// How many bytes at the start of `rest` are a comment or a string; else how many belong together as code.
fn hidden_len(rest: &str) -> (usize, usize) {
    let until = |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), 0);
    }
    if rest.starts_with("/*") {
        return (until(2, "*/"), 0);
    }
    let raw = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r').map(|raw| raw.trim_start_matches('#'));
    if let Some(raw) = raw.filter(|raw| raw.starts_with('"')) {
        let opening = rest.len() - raw.len() + 1;
        let hashes = rest[..opening].matches('#').count();
        return (until(opening, &format!("\"{}", "#".repeat(hashes))), 0);
    }
    if let Some(string) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = string.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        return (end.map_or(rest.len(), |at| at + 2), 0);
    }
    if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
        return (until(2, "'"), 0);
    }
    (0, rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()))
}

/// The project's Rust files, and its other texts.
pub(crate) fn all(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut paths: Vec<_> =
        ["src", "tests", "examples", "benches", "docs", ".ci"].map(|folder| root.join(folder)).into();
    paths.extend(
        ["Makefile", "Cargo.toml", "README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md"]
            .map(|file| root.join(file)),
    );
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let relative = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
            sources.push(Source::new(&relative, &text));
        }
    }
    sources
}
