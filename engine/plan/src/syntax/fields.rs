//! The entries of a mapping, sorted by a [`Table`]: [`Fields`]; and single values read from them, each error at its own place.

use crate::codes;
use crate::duration::Millis;
use crate::finding::{Finding, Findings};
use crate::name::Name;
use crate::shape::Shape;
use crate::source::Place;
use crate::suggest::nearest;

use super::foreign::{Meant, meant};
use super::keys::{Key, Table, Wanted};
use super::tree::{Entry, Node, Value};

/// A value and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub place: Place,
}

impl<T> Spanned<T> {
    /// This value at this place.
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

/// The entries of one mapping of the language.
#[derive(Debug)]
pub struct Fields<'n> {
    table: &'static Table,
    /// One for each key of the table.
    entries: Vec<Option<&'n Entry>>,
}

impl<'n> Fields<'n> {
    /// The entries of `node`, which stands under the key or name at `at`. Unknown and missing keys are found.
    pub fn of(node: &'n Node, at: Place, table: &'static Table, findings: &mut Findings) -> Option<Self> {
        let Some(map) = node.map() else {
            findings.push(
                Finding::error(
                    codes::WRONG_TYPE,
                    at_value(node, at),
                    format!("{} must be a mapping", table.what),
                )
                .label(format!("this is {}", node.words()))
                .help(match table.keys.iter().rfind(|key| key.required) {
                    Some(key) => {
                        format!("write at least `{}`, for example `{{ {} }}`", key.name, key.example)
                    }
                    None => format!("its keys are {}", list(table.names())),
                }),
            );
            return None;
        };
        let mut entries = vec![None; table.keys.len()];
        for entry in map {
            match table.keys.iter().position(|key| key.name == &*entry.key) {
                Some(ix) => {
                    entries[ix] = Some(entry);
                    if let Some(instead) = table.keys[ix].deprecated {
                        findings.push(deprecated(entry, table.what, "key", instead));
                    }
                }
                None => findings.push(unknown_key(entry, table)),
            }
        }
        let is_called = |name: &'static str| {
            map.iter().any(|entry| meant(table.name, &entry.key) == Some(Meant::Key(name)))
        };
        for (key, entry) in table.keys.iter().zip(&entries) {
            if key.required && entry.is_none() && !is_called(key.name) {
                findings.push(
                    Finding::error(codes::MISSING_KEY, at, format!("{} needs `{}`", table.what, key.name))
                        .label(format!("`{}` is missing", key.name))
                        .help(format!("add it, for example `{}`", key.example)),
                );
            }
        }
        Some(Self { table, entries })
    }

    /// The key of the table and its entry, when it is written.
    pub fn get(&self, name: &str) -> Option<(&'static Key, &'n Entry)> {
        let ix = self.table.keys.iter().position(|key| key.name == name)?;
        Some((&self.table.keys[ix], self.entries[ix]?))
    }

    /// The entry of this key, when it is written.
    pub fn entry(&self, name: &str) -> Option<&'n Entry> {
        self.get(name).map(|(_, entry)| entry)
    }

    /// The text under this key.
    pub fn text(&self, name: &str, findings: &mut Findings) -> Option<Spanned<&'n str>> {
        let (key, entry) = self.get(name)?;
        match entry.value.text() {
            Some(text) => Some(Spanned::new(text, entry.value.place)),
            None => wrong_type(key, entry, findings),
        }
    }

    /// The text under this key, where it is one of those that the table names.
    pub fn one_of(&self, name: &str, findings: &mut Findings) -> Option<Spanned<&'n str>> {
        let (key, entry) = self.get(name)?;
        let Wanted::Value(Shape::OneOf(words)) = key.wanted else { return self.text(name, findings) };
        match entry.value.text() {
            Some(text) if words.contains(&text) => Some(Spanned::new(text, entry.value.place)),
            Some(text) => {
                let mut finding = Finding::error(
                    codes::NO_SUCH_WORD,
                    entry.value_place(),
                    format!("`{name}` must be {}", Shape::OneOf(words).words()),
                )
                .label("none of them");
                if let Some(near) = nearest(text, words.iter().copied()) {
                    finding = finding.help(format!("did you mean `{near}`?")).suggestion(near);
                }
                findings.push(finding);
                None
            }
            None => wrong_type(key, entry, findings),
        }
    }

    /// The flag under this key.
    pub fn boolean(&self, name: &str, findings: &mut Findings) -> Option<bool> {
        let (key, entry) = self.get(name)?;
        match entry.value.value {
            Value::Boolean(value) => Some(value),
            _ => wrong_type(key, entry, findings),
        }
    }

    /// The number under this key.
    pub fn number(&self, name: &str, findings: &mut Findings) -> Option<&'n serde_json::Number> {
        let (key, entry) = self.get(name)?;
        match &entry.value.value {
            Value::Number(number) => Some(number),
            _ => wrong_type(key, entry, findings),
        }
    }

    /// The number of at least 1 under this key.
    pub fn positive(&self, name: &str, findings: &mut Findings) -> Option<Spanned<u32>> {
        let (key, entry) = self.get(name)?;
        let number = match &entry.value.value {
            Value::Number(number) => {
                number.as_u64().filter(|number| *number > 0).and_then(|number| u32::try_from(number).ok())
            }
            _ => None,
        };
        match (number, &entry.value.value) {
            (Some(number), _) => Some(Spanned::new(number, entry.value.place)),
            (None, Value::Number(number)) => {
                findings.push(wrong(key, entry).label(format!("this is {number}")));
                None
            }
            _ => wrong_type(key, entry, findings),
        }
    }

    /// The duration under this key.
    pub fn duration(&self, name: &str, findings: &mut Findings) -> Option<Spanned<Millis>> {
        let (key, entry) = self.get(name)?;
        match &entry.value.value {
            Value::Text(text) => match Millis::parse(&text.text) {
                Ok(duration) => return Some(Spanned::new(duration, entry.value.place)),
                Err(words) => findings
                    .push(Finding::error(codes::WRONG_TYPE, entry.value_place(), words).label("no duration")),
            },
            Value::Number(number) if number.is_u64() => findings.push(
                Finding::error(codes::WRONG_TYPE, entry.value_place(), format!("`{name}` needs a unit"))
                    .label("seconds, minutes, hours?")
                    .help(format!("write `{number}s`, `{number}m` or `{number}h`"))
                    .suggestion(format!("{number}s")),
            ),
            _ => return wrong_type(key, entry, findings),
        }
        None
    }

    /// The name under this key.
    pub fn name(&self, name: &str, findings: &mut Findings) -> Option<Spanned<Name>> {
        let text = self.text(name, findings)?;
        named(text.value, text.place, findings).map(|name| Spanned::new(name, text.place))
    }

    /// The texts under this key, which must be a list of names; whether they name something is asked later.
    pub fn names(&self, name: &str, findings: &mut Findings) -> Vec<Spanned<&'n str>> {
        let Some((key, entry)) = self.get(name) else { return Vec::new() };
        match &entry.value.value {
            Value::List(items) => items
                .iter()
                .filter_map(|item| match item.text() {
                    Some(text) => Some(Spanned::new(text, item.place)),
                    None => {
                        findings.push(
                            Finding::error(
                                codes::WRONG_TYPE,
                                at_value(item, entry.key_place),
                                format!("`{name}` lists names"),
                            )
                            .label(format!("this is {}", item.words()))
                            .help("write a name of the plan, for example `[first, second]`"),
                        );
                        None
                    }
                })
                .collect(),
            Value::Text(text) => {
                findings.push(
                    Finding::error(
                        codes::WRONG_TYPE,
                        entry.value.place,
                        format!("`{name}` must be a list of names"),
                    )
                    .label("this is text")
                    .help(format!("write `{name}: [{}]`", text.text))
                    .suggestion(format!("[{}]", text.text)),
                );
                Vec::new()
            }
            _ => wrong_type(key, entry, findings).unwrap_or_default(),
        }
    }

    /// The entries under this key, which must be a mapping.
    pub fn entries(&self, name: &str, findings: &mut Findings) -> &'n [Entry] {
        let Some((key, entry)) = self.get(name) else { return &[] };
        match &entry.value.value {
            Value::Map(entries) => entries,
            _ => wrong_type(key, entry, findings).unwrap_or_default(),
        }
    }

    /// The items under this key, which must be a list.
    pub fn items(&self, name: &str, findings: &mut Findings) -> &'n [Node] {
        let Some((key, entry)) = self.get(name) else { return &[] };
        match &entry.value.value {
            Value::List(items) => items,
            _ => wrong_type(key, entry, findings).unwrap_or_default(),
        }
    }

    /// The entry under this key, which must be an expression: text, or one of the words that are expressions by themselves.
    pub fn expression(&self, name: &str, findings: &mut Findings) -> Option<&'n Entry> {
        let (key, entry) = self.get(name)?;
        match &entry.value.value {
            Value::Text(_) | Value::Boolean(_) => Some(entry),
            Value::List(_) => {
                findings.push(
                    Finding::error(
                        codes::WRONG_TYPE,
                        entry.value_place(),
                        format!("`{name}` must be an expression"),
                    )
                    .label("this is a list")
                    .help(format!("put it in quotes, and its texts too: `{name}: \"['a', 'b']\"`")),
                );
                None
            }
            _ => wrong_type(key, entry, findings),
        }
    }
}

/// The name that a text is; it is found when it is none.
pub fn named(text: &str, place: Place, findings: &mut Findings) -> Option<Name> {
    match Name::parse(text) {
        Ok(name) => Some(name),
        Err(error) => {
            let mut finding =
                Finding::error(codes::NOT_A_NAME, place, format!("`{text}` is not a name")).label(error.why);
            if let Some(near) = error.suggestion {
                finding = finding.help(format!("write `{near}`")).suggestion(near);
            } else {
                finding = finding.help(
                    "a name begins with a to z and goes on with a to z, 0 to 9 and `_`, at most 63 in all",
                );
            }
            findings.push(finding);
            None
        }
    }
}

/// Where to point at a value: at its place, or at its key's where it is written as nothing.
pub(crate) fn at_value(node: &Node, key: Place) -> Place {
    if node.place.span.start == node.place.span.end { key } else { node.place }
}

/// Names in back-ticks, for messages.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Found: the value under a key is of another type. Always `None`.
fn wrong_type<T>(key: &Key, entry: &Entry, findings: &mut Findings) -> Option<T> {
    findings.push(wrong(key, entry).label(format!("this is {}", entry.value.words())));
    None
}

fn wrong(key: &Key, entry: &Entry) -> Finding {
    let message = format!("`{}` must be {}", key.name, key.wanted.words());
    Finding::error(codes::WRONG_TYPE, entry.value_place(), message)
        .help(format!("write for example `{}`", key.example))
}

/// Found: a key or an input that is read only because plans may still have it.
pub(crate) fn deprecated(entry: &Entry, owner: &str, what: &str, instead: &str) -> Finding {
    let message = format!("the {what} `{}` of {owner} is deprecated", entry.key);
    Finding::warning(codes::DEPRECATED, entry.key_place, message).label("goes away one day").help(instead)
}

fn unknown_key(entry: &Entry, table: &Table) -> Finding {
    let message = format!("{} has no key `{}`", table.what, entry.key);
    let finding = Finding::error(codes::UNKNOWN_KEY, entry.key_place, message);
    match meant(table.name, &entry.key) {
        Some(Meant::Key(key)) => {
            let written = table.keys.iter().find(|one| one.name == key).map_or(key, |one| one.example);
            let help = format!("it is called `{key}` here, for example `{written}`");
            return finding.label("another tool's word").help(help).suggestion(key);
        }
        Some(Meant::Said(help)) => return finding.label("another tool's word").help(help),
        None => {}
    }
    match nearest(&entry.key, table.names()) {
        Some(near) => finding.label("unknown").help(format!("did you mean `{near}`?")).suggestion(near),
        None => finding.label("unknown").help(format!("its keys are {}", list(table.names()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceFile;
    use crate::syntax::yaml;

    static TABLE: Table = Table {
        name: "test",
        what: "a test",
        doc: "a mapping for tests",
        keys: &[
            Key {
                name: "after",
                doc: "What comes before.",
                wanted: Wanted::Names,
                example: "after: [one]",
                required: false,
                deprecated: Some("write `needs: [one]`"),
            },
            Key {
                name: "needs",
                doc: "What comes before.",
                wanted: Wanted::Names,
                example: "needs: [one]",
                required: false,
                deprecated: None,
            },
        ],
    };

    #[test]
    fn a_deprecated_key_is_read_and_found() {
        let node = yaml::read(&SourceFile::new("t", "after: [one]\nneeds: [two]\n"), 0, &mut Findings::new());
        let node = node.unwrap();
        let mut findings = Findings::new();
        let fields = Fields::of(&node, node.place, &TABLE, &mut findings).unwrap();
        assert_eq!(fields.names("after", &mut findings).len(), 1);
        let [found] = &findings.into_sorted()[..] else { panic!("one finding") };
        assert_eq!(
            (found.code, found.message.as_str(), found.help.as_deref(), found.place.span.range()),
            (
                codes::DEPRECATED,
                "the key `after` of a test is deprecated",
                Some("write `needs: [one]`"),
                0..5
            )
        );
        assert_eq!(found.severity, crate::finding::Severity::Warning);
    }
}
