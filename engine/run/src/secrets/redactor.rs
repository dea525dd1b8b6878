//! Takes secrets out of everything that comes back: [`Redactor`].
//!
//! A value is found as it is, with its quotes doubled as in SQL, percent-encoded (any hex, `+` for a space), JSON-escaped, in base64 (standard and URL-safe, wherever in the
//! encoded bytes it lies), and in these within one another as a URL in a JSON text has them. Of a value of several lines each longer line
//! is found too, of a URL its password. A value of up to three characters is found only where it stands as a word of its own and as it is: it would be found by
//! chance everywhere else.

use std::borrow::Cow;
use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use drydock_step::StepError;
use serde_json::{Map, Value};

use super::encoded::{Encoding, View, WRAPPINGS};

/// What stands where a secret stood.
pub const MASK: &str = "***";

/// Values with fewer characters are looked for as whole words only.
const SHORT: usize = 4;

/// Lines of a value with at least so many bytes are looked for by themselves.
const LONG_LINE: usize = 8;

/// The most characters of an error's detail that are kept.
const DETAIL: usize = 2_000;

/// Finds the values of secrets and masks them.
#[derive(Default)]
pub struct Redactor {
    values: BTreeSet<String>,
    long: Option<Search>,
    words: Option<Search>,
}

/// Patterns to find, and what is known of each.
struct Search {
    automaton: AhoCorasick,
    /// For each pattern, whether the character before and the one after it bear some bits of the value too.
    edges: Vec<(bool, bool)>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redactor").field("values", &self.values.len()).finish_non_exhaustive()
    }
}

impl Redactor {
    /// Finds these values. Empty ones are nowhere.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        let values: BTreeSet<String> = values.into_iter().filter(|value| !value.is_empty()).collect();
        let (short, long): (Vec<_>, Vec<_>) = values.iter().partition(|value| value.chars().count() < SHORT);
        let words = short.iter().map(|value| Pattern::plain(value.as_bytes())).collect();
        let long = long.iter().flat_map(|value| patterns(value)).collect();
        Self { words: Search::new(words), long: Search::new(long), values }
    }

    /// Whether a value is among those that are found.
    pub fn knows(&self, value: &str) -> bool {
        self.values.contains(value)
    }

    /// All values, for a redactor of more.
    pub(super) fn values(&self) -> impl Iterator<Item = &String> {
        self.values.iter()
    }

    /// The text with every value masked.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut found = Vec::new();
        if let Some(words) = &self.words {
            words.find(text.as_bytes(), |start, end| {
                if stands_alone(text, start, end) {
                    found.push((start, end));
                }
            });
        }
        if let Some(long) = &self.long {
            long.find(text.as_bytes(), |start, end| found.push((start, end)));
            for view in WRAPPINGS.iter().filter_map(|wrapping| View::of(text, wrapping)) {
                long.find(&view.bytes, |start, end| found.push(view.place(start, end)));
            }
        }
        masked(text, found)
    }

    /// The JSON with every value masked, in texts and keys, and as a whole number.
    pub fn json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => match self.text(&text) {
                Cow::Borrowed(_) => Value::String(text),
                Cow::Owned(masked) => Value::String(masked),
            },
            Value::Array(items) => items.into_iter().map(|item| self.json(item)).collect(),
            Value::Object(map) => {
                let mut masked = Map::new();
                for (key, value) in map {
                    masked.insert(free_key(&masked, self.text(&key)), self.json(value));
                }
                Value::Object(masked)
            }
            Value::Number(number) if self.values.contains(&number.to_string()) => Value::String(MASK.into()),
            scalar => scalar,
        }
    }

    /// The error with every value masked.
    pub fn error(&self, error: StepError) -> StepError {
        StepError {
            code: self.text(&error.code).into_owned(),
            message: self.text(&error.message).into_owned(),
            help: error.help.map(|help| self.text(&help).into_owned()),
            // Cut after it is masked: half of a secret would not be found.
            detail: error.detail.map(|detail| cut(&self.text(&detail))),
            ..error
        }
    }
}

/// The beginning of a text that is too long.
fn cut(text: &str) -> String {
    match text.char_indices().nth(DETAIL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The key, or, where two keys have become the same, the key with a number behind it.
fn free_key(taken: &Map<String, Value>, key: Cow<'_, str>) -> String {
    if !taken.contains_key(&*key) {
        return key.into_owned();
    }
    let numbered = (2..).map(|number: u64| format!("{key} ({number})"));
    numbered.into_iter().find(|key| !taken.contains_key(key)).unwrap_or_default()
}

/// Whether no letter, digit or `_` touches this part of a text.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..start].ends_with(word) && !text[end..].starts_with(word)
}

/// The text with these parts masked. Parts that touch or overlap become one; a character is never cut.
fn masked(text: &str, mut found: Vec<(usize, usize)>) -> Cow<'_, str> {
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_unstable();
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in found {
        let (start, end) = whole_characters(text, start, end);
        if start > at || at == 0 {
            result.push_str(&text[at..start.max(at)]);
            result.push_str(MASK);
        }
        at = at.max(end);
    }
    result.push_str(&text[at..]);
    Cow::Owned(result)
}

/// The smallest part of whole characters around these bytes.
fn whole_characters(text: &str, start: usize, end: usize) -> (usize, usize) {
    let boundary = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=start.min(text.len())).rev().find(boundary).unwrap_or(0);
    let end = (end..text.len()).find(boundary).unwrap_or(text.len());
    (start, end)
}

/// Bytes that show a value.
struct Pattern {
    bytes: Vec<u8>,
    edges: (bool, bool),
}

impl Pattern {
    fn plain(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), edges: (false, false) }
    }

    /// The characters that a value gives in base64 whatever stands before and after it, when so many bytes stand before its group of
    /// three began. The characters beside them share bits with the neighbours.
    fn base64(value: &[u8], before: usize, engine: &impl Engine) -> Self {
        let mut group = vec![0; before];
        group.extend_from_slice(value);
        let encoded = engine.encode(&group);
        let first = (before * 8).div_ceil(6);
        let last = group.len() * 8 / 6;
        let shared = |bits: usize| !bits.is_multiple_of(6);
        Self {
            bytes: encoded.as_bytes()[first..last].to_vec(),
            edges: (shared(before * 8), shared(group.len() * 8)),
        }
    }
}

/// Everything that shows a long value or a part of it that a server may see alone.
fn patterns(value: &str) -> Vec<Pattern> {
    let mut found = Vec::new();
    for part in parts(value) {
        found.push(Pattern::plain(part.as_bytes()));
        // As a literal in SQL has it.
        if part.contains('\'') {
            found.push(Pattern::plain(part.replace('\'', "''").as_bytes()));
        }
        for before in 0..3 {
            let standard = Pattern::base64(part.as_bytes(), before, &STANDARD);
            let url_safe = Pattern::base64(part.as_bytes(), before, &URL_SAFE);
            if url_safe.bytes != standard.bytes {
                found.push(url_safe);
            }
            found.push(standard);
        }
    }
    found
}

/// The value, and what of it may come back alone: without the blanks around it, each longer line, and the password of a URL.
fn parts(value: &str) -> BTreeSet<String> {
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= LONG_LINE);
    let password = url_password(value);
    let decoded = password.and_then(|password| View::of(password, &[Encoding::Percent]));
    let decoded = decoded.and_then(|view| String::from_utf8(view.bytes).ok());
    let alone = [value.trim()].into_iter().chain(password).map(str::to_owned).chain(decoded);
    let long = alone.filter(|part| part.chars().count() >= SHORT).chain(lines.map(str::to_owned));
    long.chain([value.to_owned()]).collect()
}

/// The password in `https://user:password@host/`, as it is written.
fn url_password(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (_, password) = authority.rsplit_once('@')?.0.split_once(':')?;
    Some(password)
}

impl Search {
    /// `None` when there is nothing to find.
    fn new(patterns: Vec<Pattern>) -> Option<Self> {
        if patterns.is_empty() {
            return None;
        }
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::Standard);
        let automaton = builder.build(patterns.iter().map(|pattern| &pattern.bytes));
        // An automaton cannot be built only where the patterns have more than 2^31 bytes together.
        let automaton = automaton.expect("the values of all secrets have less than 2 GiB");
        Some(Self { automaton, edges: patterns.iter().map(|pattern| pattern.edges).collect() })
    }

    fn find(&self, bytes: &[u8], mut found: impl FnMut(usize, usize)) {
        for hit in self.automaton.find_overlapping_iter(bytes) {
            let (before, after) = self.edges.get(hit.pattern().as_usize()).copied().unwrap_or_default();
            let beside = |at: usize| bytes.get(at).is_some_and(|byte| is_base64(*byte));
            let start = hit.start() - usize::from(before && hit.start() > 0 && beside(hit.start() - 1));
            found(start, hit.end() + usize::from(after && beside(hit.end())));
        }
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(values: &[&str], text: &str, expected: &str) {
        let redactor = Redactor::new(values.iter().map(|value| (*value).to_owned()));
        assert_eq!(redactor.text(text), expected, "{values:?} in {text:?}");
    }

    #[test]
    fn a_value_in_a_literal_of_sql_is_found() {
        check(&["it's me"], "SELECT N'it''s me', N'its me'", "SELECT N'***', N'its me'");
    }

    #[test]
    fn a_value_is_masked_in_every_encoding() {
        check(&["pa ss\"/x"], "is pa ss\"/x.", "is ***.");
        check(&["pa ss\"/x"], "?k=pa%20ss%22%2Fx&l=pa+ss%22%2fx", "?k=***&l=***");
        check(&["pa ss\"/x"], r#"{"k":"pa ss\"\/x","l":"pa\u0020ss\"/x"}"#, r#"{"k":"***","l":"***"}"#);
        check(&["pa ss\"/x"], "Basic dTpwYSBzcyIveA==!", "Basic dT***==!");
        check(&["pa ss\"/x"], "{\\\"k\\\":\\\"pa ss\\\\\\\"/x\\\"}", "{\\\"k\\\":\\\"***\\\"}");
        check(&["k\u{e4}se"], "k%C3%a4se k\\u00E4se a8Okc2U", "*** *** ***");
        check(&["abcd"], "abc abcde bcd", "abc ***e bcd");
    }

    #[test]
    fn values_that_overlap_are_masked_together() {
        check(&["abcd", "cdef"], "xabcdefx", "x***x");
        check(&["abcd", "abcdefgh"], "abcdefgh abcd", "*** ***");
        check(&["abcd"], "abcdabcd", "***");
    }

    #[test]
    fn short_values_are_masked_as_words() {
        check(&["abc"], "abc, xabc abc_ (abc)", "***, xabc abc_ (***)");
        check(&["1"], "1 of 10", "*** of 10");
        check(&[""], "nothing", "nothing");
    }

    #[test]
    fn parts_of_a_value_are_masked_by_themselves() {
        check(&["-----BEGIN\nMIIEvQIBADAN\nx\n"], "key: MIIEvQIBADAN x", "key: *** x");
        check(&[" s3cret "], "got (s3cret)", "got (***)");
        check(&["https://u:p%40ss@h/x"], "u:p@ss p%40ss dTpwQHNz h", "u:*** *** dT*** h");
        check(&["https://u:pw@h/x"], "pw https://u:pw@h/x", "pw ***");
    }

    #[test]
    fn keys_numbers_and_errors_are_masked() {
        let redactor = Redactor::new(["s3cret".to_owned(), "5432".to_owned()]);
        let masked = redactor.json(json!({"a s3cret": ["s3cret"], "a ***": 5432, "n": 54321, "t": true}));
        assert_eq!(masked, json!({"a ***": ["***"], "a *** (2)": "***", "n": 54321, "t": true}));
        let error = StepError::transient("http.status", "got s3cret").help("not s3cret");
        let masked = redactor.error(error);
        assert_eq!((masked.message.as_str(), masked.help.as_deref()), ("got ***", Some("not ***")));
        assert!(masked.transient);
    }

    #[test]
    fn a_detail_is_masked_and_then_cut() {
        let redactor = Redactor::new(["s3cret".to_owned()]);
        let told = |detail: String| redactor.error(StepError::new("x", "y").detail(detail)).detail.unwrap();
        assert_eq!(told("as s3cret".into()), "as ***");
        assert_eq!(told("ä".repeat(2_000)), "ä".repeat(2_000));
        assert_eq!(told("ä".repeat(2_001)), "ä".repeat(2_000) + "…");
        // A secret over the edge leaves none of its characters.
        assert_eq!(told("x".repeat(1_997) + "s3cret"), "x".repeat(1_997) + "***");
    }

    #[test]
    fn nothing_is_copied_where_nothing_is_found() {
        let redactor = Redactor::new(["s3cret".to_owned()]);
        assert!(matches!(redactor.text("a%20b \\n +"), Cow::Borrowed(_)));
        assert_eq!(format!("{redactor:?}"), "Redactor { values: 1, .. }");
    }
}
