//! YAML text to a [`Node`]: the one file that names the YAML crates. `saphyr-parser` gives the places and finds what breaks our rules;
//! `serde_yaml` gives the values; both are walked together, and where they disagree the file is refused.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde::de::DeserializeSeed;

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::source::{Place, SourceFile, Span};

use super::arena::{Arena, Flat, FlatKind};
use super::tree::{Node, Style};
use super::trouble::{self, Trouble};
use super::walk::{Notes, Walk};

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 10 * 1024 * 1024;
/// How many bytes of a plan make a node, roughly and rather too few: space for the nodes is taken once.
const BYTES_PER_NODE: usize = 10;
/// How many syntax errors of the kinds that can be stepped over are reported at once.
const MAX_REPAIRS: usize = 20;

/// The source that these bytes are; what keeps them from being one is found.
pub fn decode(name: &str, bytes: &[u8], index: u16, findings: &mut Findings) -> SourceFile {
    let source = SourceFile::of_bytes(name, bytes);
    match unreadable(&source, index) {
        Some(finding) => {
            findings.push(finding);
            SourceFile::new(name, "")
        }
        None => source,
    }
}

/// The finding for a source that is too large, or no UTF-8.
fn unreadable(source: &SourceFile, index: u16) -> Option<Finding> {
    if source.text.len() > MAX_BYTES {
        let start = Place::new(index, Span::default());
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are read", source.text.len());
        let help = "keep data in files of their own and name them in inputs";
        return Some(Finding::error(codes::TOO_LARGE, start, message).help(help));
    }
    let place = Place::new(index, source.invalid_at()?);
    let finding = Finding::error(codes::NOT_UTF8, place, "the file is not UTF-8");
    Some(finding.label("no character of UTF-8").help("save the file as UTF-8"))
}

/// The document that a source holds; `None` when something was found that makes its meaning uncertain.
pub fn read(source: &SourceFile, index: u16, findings: &mut Findings) -> Option<Node> {
    if let Some(finding) = unreadable(source, index) {
        findings.push(finding);
        return None;
    }
    let mut found = trouble::control_characters(&source.text, index);
    if !found.is_empty() {
        findings.extend(found);
        return None;
    }
    let node = match places(&source.text, index, &mut found) {
        Ok(arena) => {
            arena.check(&source.text, index, &mut found);
            if found.is_empty() { values(&arena, &source.text, index, &mut found) } else { None }
        }
        Err(error) => {
            troubles(&source.text, error, index, &mut found);
            None
        }
    };
    findings.extend(found);
    node
}

/// A value as YAML text, for everything that we print.
pub fn write(value: &serde_json::Value) -> String {
    serde_yaml::to_string(value).unwrap_or_else(|_| value.to_string())
}

/// Where the first reader stopped.
struct Stopped<'t> {
    /// What it had read, every node closed.
    arena: Arena<'t>,
    /// The byte.
    at: usize,
    /// Its words.
    info: String,
}

/// All syntax errors: those that can be stepped over are masked and the rest is read again, so that one check finds all.
fn troubles(source: &str, first: Stopped<'_>, index: u16, findings: &mut Findings) {
    let mut masked = source.to_owned();
    let (mut trouble, mut arena_findings) = judged(source, first, index);
    for _ in 0..MAX_REPAIRS {
        findings.push(trouble.finding);
        let Some((span, fill)) = trouble.mask else { break };
        masked.replace_range(span.range(), &fill.repeat(span.range().len()));
        let mut found = Findings::new();
        match places(&masked, index, &mut found) {
            Ok(arena) => {
                arena.check(&masked, index, &mut found);
                arena_findings = found;
                break;
            }
            Err(error) => (trouble, arena_findings) = judged(&masked, error, index),
        }
    }
    findings.extend(arena_findings);
}

/// What stopped the first reader, and what is wrong before that place.
fn judged(text: &str, stopped: Stopped<'_>, index: u16) -> (Trouble, Findings) {
    let mut found = Findings::new();
    let trouble = trouble::diagnose(text, &stopped.arena, stopped.at, &stopped.info, index);
    stopped.arena.check(text, index, &mut found);
    (trouble, found)
}

/// The arena of a text.
fn places<'t>(text: &'t str, index: u16, findings: &mut Findings) -> Result<Arena<'t>, Stopped<'t>> {
    let mut builder = Builder {
        text,
        index,
        arena: Arena { nodes: Vec::with_capacity(text.len() / BYTES_PER_NODE) },
        open: Vec::new(),
        anchors: HashMap::new(),
        at: Cursor::default(),
    };
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::DocumentStart(_), span)) => {
                documents += 1;
                if documents > 1 {
                    let place = builder.place(span);
                    findings.push(
                        Finding::error(codes::SEVERAL_DOCUMENTS, place, "a file holds one document")
                            .label("a second one begins here")
                            .help("remove the `---`, or put what follows into a file of its own"),
                    );
                    break;
                }
            }
            Ok((event, span)) => builder.event(event, span, findings),
            // The iterator gives its error for ever.
            Err(error) => {
                let at = builder.at.byte(text, error.marker().index());
                builder.close_all();
                return Err(Stopped { arena: builder.arena, at, info: error.info().to_owned() });
            }
        }
    }
    builder.close_all();
    if builder.arena.nodes.is_empty() {
        let place = Place::new(index, Span::default());
        findings.push(
            Finding::error(codes::EMPTY, place, "the file is empty").help("a plan begins with `drydock: v1`"),
        );
    }
    Ok(builder.arena)
}

/// From an index in characters to one in bytes, by walking from the last one asked for: the events come in order.
#[derive(Default)]
struct Cursor {
    chars: usize,
    bytes: usize,
}

impl Cursor {
    fn byte(&mut self, text: &str, chars: usize) -> usize {
        while self.chars > chars {
            self.bytes = text[..self.bytes].char_indices().next_back().map_or(0, |(at, _)| at);
            self.chars -= 1;
        }
        while self.chars < chars {
            let Some(next) = text[self.bytes..].chars().next() else { break };
            self.bytes += next.len_utf8();
            self.chars += 1;
        }
        self.bytes
    }
}

/// Events to an arena.
struct Builder<'t> {
    text: &'t str,
    index: u16,
    arena: Arena<'t>,
    open: Vec<usize>,
    /// Anchor number and the node that bears it.
    anchors: HashMap<usize, usize>,
    at: Cursor,
}

impl<'t> Builder<'t> {
    fn span(&mut self, span: saphyr_parser::Span) -> Span {
        let start = self.at.byte(self.text, span.start.index());
        let end = self.at.byte(self.text, span.end.index());
        Span::new(start, end)
    }

    fn place(&mut self, span: saphyr_parser::Span) -> Place {
        Place::new(self.index, self.span(span))
    }

    fn event(&mut self, event: Event<'t>, span: saphyr_parser::Span, findings: &mut Findings) {
        let span = self.span(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = style_of(style);
                let ix = self.push(FlatKind::Scalar(text, style), span, anchor, tag.is_some());
                let node = &mut self.arena.nodes[ix];
                let raw = &self.text[node.span.range()];
                if raw.is_empty()
                    || matches!(&node.kind, FlatKind::Scalar(text, Style::Plain) if text.is_empty())
                {
                    node.span.end = node.span.start;
                } else if style == Style::Block {
                    node.span = node.span.part(0, raw.trim_end().len());
                }
                node.end = ix + 1;
            }
            Event::SequenceStart(anchor, tag) => self.begin(FlatKind::List, span, anchor, tag.is_some()),
            Event::MappingStart(anchor, tag) => self.begin(FlatKind::Map, span, anchor, tag.is_some()),
            Event::SequenceEnd | Event::MappingEnd => self.close(Some(span)),
            Event::Alias(anchor) => self.alias(anchor, span, findings),
            _ => {}
        }
    }

    fn begin(&mut self, kind: FlatKind<'t>, span: Span, anchor: usize, tagged: bool) {
        let ix = self.push(kind, span, anchor, tagged);
        self.open.push(ix);
    }

    fn push(&mut self, kind: FlatKind<'t>, span: Span, anchor: usize, tagged: bool) -> usize {
        let ix = self.arena.nodes.len();
        let (mut span, mut tag) = (span, None);
        if anchor != 0 || tagged {
            (span, tag) = without_properties(self.text, span);
        }
        if anchor != 0 {
            self.anchors.insert(anchor, ix);
        }
        self.add(Flat { kind, span, tag, end: 0, children: 0 });
        ix
    }

    fn alias(&mut self, anchor: usize, span: Span, findings: &mut Findings) {
        let ix = self.arena.nodes.len();
        let target = self.anchors.get(&anchor).copied();
        let kind = match target {
            Some(target) if self.arena.nodes[target].end != 0 => FlatKind::Alias(target),
            _ => {
                findings.push(
                    Finding::error(
                        codes::ALIAS,
                        Place::new(self.index, span),
                        "an alias cannot stand inside the value that it names",
                    )
                    .label("inside its own value")
                    .help("write the value out"),
                );
                FlatKind::Scalar(Cow::Borrowed(""), Style::Plain)
            }
        };
        self.add(Flat { kind, span, tag: None, end: ix + 1, children: 0 });
    }

    fn add(&mut self, node: Flat<'t>) {
        if let Some(parent) = self.open.last() {
            self.arena.nodes[*parent].children += 1;
        }
        self.arena.nodes.push(node);
    }

    /// Close the innermost open node. Of one in braces the end is where they close; of others where their last value ends.
    fn close(&mut self, end: Option<Span>) {
        let Some(ix) = self.open.pop() else { return };
        let count = self.arena.nodes.len();
        let start = self.arena.nodes[ix].span.start;
        let braces =
            self.text[start as usize..].starts_with(['{', '[']) && self.arena.nodes[ix].span.end > start;
        let last = self.arena.nodes[ix..].iter().map(|node| node.span.end).max().unwrap_or(start);
        let node = &mut self.arena.nodes[ix];
        node.span.end = match end {
            Some(end) if braces => {
                let closed = &self.text[start as usize..end.end as usize];
                start + Span::new(0, closed.trim_end().len()).end
            }
            _ => last.max(start),
        };
        node.end = count;
    }

    fn close_all(&mut self) {
        while !self.open.is_empty() {
            self.close(None);
        }
    }
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::Single,
        ScalarStyle::DoubleQuoted => Style::Double,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    }
}

/// A span without the anchor and the tag before the value, and the tag's own.
fn without_properties(text: &str, span: Span) -> (Span, Option<Span>) {
    let (mut start, end) = (span.start as usize, span.end as usize);
    let mut tag = None;
    while start < end && text[start..end].starts_with(['&', '!']) {
        let word = text[start..end].find(char::is_whitespace).unwrap_or(end - start);
        if text[start..].starts_with('!') {
            tag = Some(Span::new(start, start + word));
        }
        start += word;
        start += text[start..end].len() - text[start..end].trim_start().len();
    }
    (Span::new(start, end), tag)
}

/// The values of a text, each at its place in the arena; `None` where the second reader does not read the same.
fn values(arena: &Arena<'_>, text: &str, index: u16, findings: &mut Findings) -> Option<Node> {
    let notes = Notes::default();
    let walk = Walk::over(arena, index, &notes);
    // The second reader takes a byte order mark for a column.
    let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
    match walk.deserialize(serde_yaml::Deserializer::from_str(unmarked)) {
        Ok(node) => Some(node),
        Err(error) => {
            let at =
                error.location().map_or(0, |location| Cursor::default().byte(unmarked, location.index()));
            let at = at + text.len() - unmarked.len();
            let place = Place::new(index, notes.differ.get().unwrap_or(Span::new(at, at)));
            findings.push(
                Finding::error(codes::READERS_DIFFER, place, "two YAML readers do not read this alike")
                    .label(if notes.differ.get().is_some() { String::new() } else { error.to_string() })
                    .help("write it in a simpler way: quote the text, or give each value a line of its own"),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::offsets::offsets;
    use crate::syntax::tree::Value;
    use serde_json::json;

    /// Reading `text` finds these codes, each at the text underlined.
    fn check(text: &str, expected: &[(&str, &str)]) {
        let mut findings = Findings::new();
        let node = read(&SourceFile::new("t.yaml", text), 0, &mut findings);
        let found: Vec<_> = findings.into_sorted();
        let found: Vec<_> =
            found.iter().map(|finding| (finding.code.0, &text[finding.place.span.range()])).collect();
        assert_eq!(found, expected, "{text:?}");
        assert_eq!(node.is_none(), !expected.is_empty(), "{text:?}");
    }

    fn value(text: &str) -> serde_json::Value {
        let mut findings = Findings::new();
        let node = read(&SourceFile::new("t.yaml", text), 0, &mut findings);
        node.unwrap_or_else(|| panic!("{:?}", findings.into_sorted())).json()
    }

    #[test]
    fn values_are_strict_and_plain() {
        assert_eq!(
            value(
                "a: yes\nb: [1, 0x1F, 1.5, true, ~]\nc: 007\nd: 'it''s'\ne: |\n  x\n  y\nf:\ng: 2025-01-01\n"
            ),
            json!({"a": "yes", "b": [1, 31, 1.5, true, null], "c": "007", "d": "it's", "e": "x\ny\n", "f": null, "g": "2025-01-01"})
        );
        assert_eq!(value("\u{feff}a: b\r\nc: d\r\n"), json!({"a": "b", "c": "d"}));
        assert_eq!(
            value("base: &x {k: [1]}\na: *x\nb: *x\n"),
            json!({"base": {"k": [1]}, "a": {"k": [1]}, "b": {"k": [1]}})
        );
        assert_eq!(
            value("a: '{{ x }}/b'\nb: a {{ x }} {{ y }}\n"),
            json!({"a": "{{ x }}/b", "b": "a {{ x }} {{ y }}"})
        );
    }

    #[test]
    fn each_broken_rule_is_found_at_its_place() {
        check(
            "a: b\u{1}\nc: '\u{7f}\u{85}\u{9f}'\n",
            &[("DD103", "\u{1}"), ("DD103", "\u{7f}"), ("DD103", "\u{9f}")],
        );
        check("", &[("DD115", "")]);
        check("# only a comment\n", &[("DD115", "")]);
        check("a: b\nc: d\na: e\n", &[("DD105", "a")]);
        check("a: 1\n---\nb: 2\n", &[("DD108", "---")]);
        check("a: !!str 1\nb: !x {c: d}\n", &[("DD107", "!!str"), ("DD107", "!x")]);
        check("x: &x {a: 1}\ny:\n  <<: *x\n", &[("DD106", "<<")]);
        check(
            "a: 123456789012345678901234567890\nb: .inf\n",
            &[("DD111", "123456789012345678901234567890"), ("DD111", ".inf")],
        );
        check(
            "1: a\ntrue: b\n~: c\n[x]: d\n",
            &[("DD112", "1"), ("DD112", "true"), ("DD112", "~"), ("DD112", "[x]")],
        );
        check("a: &x [1, *x]\n", &[("DD109", "*x")]);
        check("a: *x\n", &[("DD103", "*")]);
        check("a: 'b\n", &[("DD103", "'")]);
        check("a: b: c\n", &[("DD103", ":")]);
        check("a: @b\n", &[("DD103", "@")]);
    }

    #[test]
    fn unquoted_braces_are_named_wherever_they_stand() {
        check("a: {{ x }}\n", &[("DD113", "{{ x }}")]);
        check("a: {{ x }}/b\n", &[("DD113", "{{ x }}/b")]);
        check("a: {{ x }}-{{ y }}  # why\n", &[("DD113", "{{ x }}-{{ y }}")]);
        check("a: {{ x.y[0] }}\n", &[("DD113", "{{ x.y[0] }}")]);
        check("a: {{ x | default(\"y\") }}\n", &[("DD113", "{{ x | default(\"y\") }}")]);
        check("a: {{ \"y\" }}\n", &[("DD113", "{{ \"y\" }}")]);
        check("w: { a: {{ x }}, b: {{ y }}/z, c: 1 }\n", &[("DD113", "{{ x }}"), ("DD113", "{{ y }}/z")]);
        check("w: [ab {{ x }}, \"{{ fine }}\"]\n", &[("DD113", "ab {{ x }}")]);
        check("- {{ a }}\n- {{ b }}\n- é {{ b }}\n", &[("DD113", "{{ a }}"), ("DD113", "{{ b }}")]);
    }

    #[test]
    fn all_errors_come_at_once() {
        let text = "a:\tb\nc: {{ x }}/b\nd:\n\te: f\nd: 2\ng: 'h\n";
        check(
            text,
            &[("DD104", "\t"), ("DD113", "{{ x }}/b"), ("DD104", "\t"), ("DD105", "d"), ("DD103", "'")],
        );
    }

    #[test]
    fn depth_and_aliases_are_bounded() {
        let deep = |n: usize| format!("{}{}\n", "[".repeat(n), "]".repeat(n));
        check(&deep(64), &[]);
        let text = deep(65);
        check(&text, &[("DD110", &text[64..66])]);
        let many = |n: usize| format!("a: &a x\nb: [{}]\n", vec!["*a"; n].join(", "));
        check(&many(1_000), &[]);
        check(&many(1_001), &[("DD109", "*a")]);
        let laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n";
        check(laughs, &[("DD109", "*c")]);
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let mut findings = Findings::new();
        decode("t.yaml", b"a: \xff\n", 0, &mut findings);
        decode("t.yaml", &vec![b'a'; MAX_BYTES + 1], 0, &mut findings);
        let codes: Vec<_> = findings.into_sorted().into_iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [codes::TOO_LARGE, codes::NOT_UTF8]);
    }

    /// The place of every part of a text that is found again in the source.
    #[test]
    fn parts_of_texts_are_found_where_they_were_written() {
        for (source, part) in [
            ("a: é {{ x }}", "{{ x }}"),
            ("a: \"é \\\"q\\\" {{ x }}\"", "{{ x }}"),
            ("a: 'it''s {{ x }}'", "{{ x }}"),
            ("a: \"\\u00e9\\n {{ x }}\"", "{{ x }}"),
            ("a: \"b \\\n   {{ x }}\"", "{{ x }}"),
            ("a: |\n  one\n  two {{ x }}\n", "{{ x }}"),
            ("a: >-\n  one\n  two\n\n  {{ x }}\n", "{{ x }}"),
            ("a: |2\n    one\n   {{ x }}\n", "{{ x }}"),
            ("a: one\n  two\n  {{ x }} y\n", "{{ x }}"),
            ("a: |\r\n  one\r\n  {{ x }}\r\n", "{{ x }}"),
        ] {
            let node = read(&SourceFile::new("t", source), 0, &mut Findings::new()).expect("it reads");
            let entry = node.entry("a").expect("it is there");
            let Value::Text(text) = &entry.value.value else { panic!("text") };
            let at = text.text.find(part).expect("it is in the text");
            let runs = offsets(text, source, entry.value.place.span);
            let (from, to) = runs.iter().rev().find(|(from, _)| *from as usize <= at).expect("a run");
            let found = *to as usize + (at - *from as usize);
            assert_eq!(&source[found..found + part.len()], part, "{source:?}");
        }
    }
}
