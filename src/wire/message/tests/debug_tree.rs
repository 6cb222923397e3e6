//! Reads what `Debug` prints of two libraries' structures, so that they can be compared field by field.

use std::collections::BTreeMap;
use std::fmt;

/// What was printed: a structure's name and fields, a list, or anything else as its text.
#[derive(Debug, PartialEq)]
pub(super) enum Tree {
    Structure(String, BTreeMap<String, Tree>),
    List(Vec<Tree>),
    Text(String),
}

impl Tree {
    pub(super) fn of(value: &impl fmt::Debug) -> Self {
        let text = format!("{value:?}");
        let mut rest = text.as_str();
        let tree = Self::parse(&mut rest);
        assert_eq!(rest, "", "left over of {text}");
        tree
    }

    /// The path of the first field of ours that `theirs` has not, or has with another value. Theirs may have fields beyond ours.
    pub(super) fn difference(&self, theirs: &Self, except: &[(&str, &str)]) -> Option<String> {
        match (self, theirs) {
            (Self::Structure(name, ours), Self::Structure(their_name, theirs)) if name == their_name => {
                ours.iter().filter(|(field, _)| !except.contains(&(name, field))).find_map(|(field, ours)| {
                    let inner = match theirs.get(field) {
                        Some(theirs) => ours.difference(theirs, except)?,
                        None => " is missing".into(),
                    };
                    Some(format!("{name}.{field}{inner}"))
                })
            }
            (Self::List(ours), Self::List(theirs)) if ours.len() == theirs.len() => {
                ours.iter().zip(theirs).find_map(|(ours, theirs)| ours.difference(theirs, except))
            }
            (ours, theirs) if ours == theirs => None,
            (Self::Text(ours), _) if ours.starts_with("AuthBytes") => None,
            (ours, theirs) => Some(format!(": {ours:?} is not {theirs:?}")),
        }
    }

    fn parse(rest: &mut &str) -> Self {
        if let Some(after) = rest.strip_prefix('[') {
            *rest = after;
            return Self::List(sequence(rest, ']', Self::parse));
        }
        let name = word(rest);
        if let Some(after) = rest.strip_prefix(" {").or_else(|| rest.strip_prefix('{')) {
            *rest = after;
            let fields = sequence(rest, '}', |rest| {
                let field = word(rest);
                *rest = rest.strip_prefix(": ").unwrap();
                (field, Self::parse(rest))
            });
            return Self::Structure(name, fields.into_iter().collect());
        }
        if let Some(after) = rest.strip_prefix('(') {
            *rest = after;
            let mut inner = sequence(rest, ')', Self::parse);
            // Wrapped numbers and names are compared by what they wrap; an option is kept apart from its value.
            return match name.as_str() {
                "Some" => Self::Structure("Some".into(), [("0".into(), inner.remove(0))].into()),
                "AuthBytes" => Self::Text(name),
                _ => inner.remove(0),
            };
        }
        Self::Text(without_hyphens(name))
    }
}

fn sequence<T>(rest: &mut &str, end: char, item: impl Fn(&mut &str) -> T) -> Vec<T> {
    let mut items = Vec::new();
    loop {
        *rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix(end) {
            *rest = after;
            return items;
        }
        items.push(item(rest));
    }
}

/// A name, a number, or a quoted text with its quotes.
fn word(rest: &mut &str) -> String {
    let opening = rest.strip_prefix("b\"").or_else(|| rest.strip_prefix('"'));
    let length = match opening {
        Some(quoted) => {
            let mut escaped = false;
            let inside = quoted.find(|letter| {
                let closes = letter == '"' && !escaped;
                escaped = letter == '\\' && !escaped;
                closes
            });
            rest.len() - quoted.len() + inside.unwrap() + 1
        }
        // `12 bytes` is the only text of two words.
        None => rest.find([',', ' ', ':', '(', ')', '{', '}', '[', ']']).unwrap_or(rest.len()),
    };
    let (word, after) = rest.split_at(length);
    *rest = after.strip_prefix(" bytes").unwrap_or(after);
    word.to_owned()
}

/// The oracle prints identities with hyphens.
fn without_hyphens(text: String) -> String {
    if !text.contains('"') && text.matches('-').count() == 4 { text.replace('-', "") } else { text }
}

#[test]
fn a_changed_field_and_a_missing_one_are_told_by_their_paths() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "printed only")]
    struct Pair {
        left: Option<i32>,
        right: Vec<&'static str>,
    }
    let tree = |left, right| Tree::of(&Pair { left, right });
    let ours = tree(Some(1), vec!["a, \"b\" }"]);
    assert_eq!(ours.difference(&tree(Some(1), vec!["a, \"b\" }"]), &[]), None);
    assert_eq!(ours.difference(&tree(Some(2), vec!["a, \"b\" }"]), &[("Pair", "left")]), None);
    let told = ours.difference(&tree(Some(2), vec![]), &[]).unwrap();
    assert!(told.starts_with("Pair.leftSome.0: Text(\"1\")"), "{told}");
    assert!(ours.difference(&Tree::Structure("Pair".into(), BTreeMap::new()), &[]).unwrap().ends_with("is missing"));
}
