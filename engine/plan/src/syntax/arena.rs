//! All nodes of a document in the order in which they stand, with their spans and nothing resolved: [`Arena`]. Here live the rules that
//! make our YAML strict: no key twice, no merge keys, no tags, text keys, bounded depth and aliases, quoted `{{ }}`.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::source::{Place, Span};

use super::scalar::Plain;
use super::tree::Style;

/// How deep values may be nested.
const MAX_DEPTH: usize = 64;
/// How often aliases may be expanded in one file.
const MAX_EXPANSIONS: usize = 1_000;
/// How many values a file may have once its aliases are expanded.
const MAX_EXPANDED_NODES: usize = 2_000_000;

/// The nodes of one document; a subtree is a range of indices.
#[derive(Debug, Default)]
pub(super) struct Arena<'t> {
    /// In the order of the text; children follow their parent, of a mapping keys and values in turn.
    pub(super) nodes: Vec<Flat<'t>>,
}

/// One node.
#[derive(Debug)]
pub(super) struct Flat<'t> {
    /// What it is.
    pub(super) kind: FlatKind<'t>,
    /// Where it stands, without anchor and tag.
    pub(super) span: Span,
    /// Where its tag stands.
    pub(super) tag: Option<Span>,
    /// The index after its last descendant; 0 while it is open.
    pub(super) end: usize,
    /// How many children it has; keys and values count each.
    pub(super) children: usize,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum FlatKind<'t> {
    /// Text, or what a plain scalar means.
    Scalar(Cow<'t, str>, Style),
    /// A list.
    List,
    /// A mapping.
    Map,
    /// The node of this index again.
    Alias(usize),
}

impl<'t> Arena<'t> {
    /// The indices of a node's children.
    pub(super) fn children(&self, ix: usize) -> Children<'_, 't> {
        Children { arena: self, next: ix + 1, end: self.nodes[ix].end }
    }

    /// The node itself, or what it is an alias of.
    pub(super) fn resolved(&self, mut ix: usize) -> usize {
        while let FlatKind::Alias(target) = self.nodes[ix].kind {
            ix = target;
        }
        ix
    }

    /// Everything that breaks a rule.
    pub(super) fn check(&self, source: &str, index: u16, findings: &mut Findings) {
        let rules = Rules { arena: self, source, index };
        let bounded = rules.expansions(findings);
        let mut skip_to = 0;
        for ix in 0..self.nodes.len() {
            if ix >= skip_to && rules.node(ix, findings) == Then::SkipChildren {
                skip_to = self.nodes[ix].end;
            }
        }
        if bounded && !self.nodes.is_empty() {
            rules.depth(0, 1, findings);
        }
    }
}

/// The indices of a node's children, in order.
pub(super) struct Children<'a, 't> {
    arena: &'a Arena<'t>,
    next: usize,
    end: usize,
}

impl Iterator for Children<'_, '_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let ix = self.next;
        if ix >= self.end {
            return None;
        }
        self.next = self.arena.nodes[ix].end;
        Some(ix)
    }
}

/// Whether a node's children are worth looking at.
#[derive(PartialEq)]
enum Then {
    GoOn,
    SkipChildren,
}

/// The rules, over one arena.
struct Rules<'a, 't> {
    arena: &'a Arena<'t>,
    source: &'a str,
    index: u16,
}

impl Rules<'_, '_> {
    fn place(&self, ix: usize) -> Place {
        Place::new(self.index, self.arena.nodes[ix].span)
    }

    /// The rules that ask one node and its keys.
    fn node(&self, ix: usize, findings: &mut Findings) -> Then {
        let node = &self.arena.nodes[ix];
        if let Some(tag) = node.tag {
            let place = Place::new(self.index, tag);
            findings.push(
                Finding::error(codes::TAG, place, "tags are not part of the plan language")
                    .label("remove this")
                    .help("a value is read by its shape alone; put text in quotes where it must stay text"),
            );
        }
        match &node.kind {
            FlatKind::Map if self.source[node.span.range()].starts_with("{{") => {
                findings.push(unquoted_braces(self.source, self.place(ix)));
                return Then::SkipChildren;
            }
            FlatKind::Map => self.keys(ix, findings),
            FlatKind::Scalar(text, Style::Plain) => self.number(text, ix, findings),
            _ => {}
        }
        Then::GoOn
    }

    /// A plain number must be one that JSON holds exactly.
    fn number(&self, text: &str, ix: usize, findings: &mut Findings) {
        match Plain::of(text) {
            Plain::TooLarge => findings.push(
                Finding::error(codes::NUMBER, self.place(ix), format!("`{text}` does not fit 64 bits"))
                    .label("too large for a number")
                    .help(format!("write it as text: `\"{text}\"`; a log sequence number is text of digits"))
                    .suggestion(format!("\"{text}\"")),
            ),
            Plain::NotFinite => findings.push(
                Finding::error(codes::NUMBER, self.place(ix), format!("`{text}` is not a finite number"))
                    .label("no number that can be kept")
                    .help(format!("write it as text: `\"{text}\"`"))
                    .suggestion(format!("\"{text}\"")),
            ),
            _ => {}
        }
    }

    /// Keys are text, stand once, and do not merge.
    fn keys(&self, map: usize, findings: &mut Findings) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for key in self.arena.children(map).step_by(2) {
            let place = self.place(key);
            let FlatKind::Scalar(text, style) = &self.arena.nodes[self.arena.resolved(key)].kind else {
                if !self.source[place.span.range()].starts_with("{{") {
                    findings.push(
                        Finding::error(codes::KEY_NOT_TEXT, place, "a key must be text")
                            .label("this is no text")
                            .help("write a name before the `:`"),
                    );
                }
                continue;
            };
            if *style == Style::Plain && text == "<<" {
                findings.push(
                    Finding::error(codes::MERGE_KEY, place, "merge keys are not part of the plan language")
                        .label("`<<` merges nothing here")
                        .help("write the keys out, or give the whole value by an alias: `key: *name`"),
                );
            } else if *style == Style::Plain && Plain::of(text) != Plain::Text {
                let help = if text.is_empty() {
                    "write a name before the `:`".to_owned()
                } else {
                    format!("put it in quotes: `\"{text}\"`")
                };
                findings.push(
                    Finding::error(codes::KEY_NOT_TEXT, place, "a key must be text")
                        .label("this is no text")
                        .help(help),
                );
            } else if let Some(first) = seen.insert(text, key) {
                seen.insert(text, first);
                findings.push(
                    Finding::error(
                        codes::DUPLICATE_KEY,
                        place,
                        format!("the key `{text}` stands twice in one mapping"),
                    )
                    .label("the second one")
                    .help("remove one of the two, or rename it")
                    .related(self.place(first), "the first one"),
                );
            }
        }
    }

    /// Whether aliases expand to a bounded number of values.
    fn expansions(&self, findings: &mut Findings) -> bool {
        let nodes = &self.arena.nodes;
        // Both per subtree, aliases followed; an alias names an earlier node, so one pass backwards over each subtree's end will do.
        let mut totals: Vec<(usize, usize)> = vec![(0, 0); nodes.len()];
        let mut open: Vec<usize> = Vec::new();
        for ix in 0..=nodes.len() {
            while let Some(&top) = open.last()
                && nodes[top].end <= ix
            {
                open.pop();
                let done = totals[top];
                if let Some(&parent) = open.last() {
                    totals[parent].0 = totals[parent].0.saturating_add(done.0);
                    totals[parent].1 = totals[parent].1.saturating_add(done.1);
                }
            }
            let Some(node) = nodes.get(ix) else { break };
            totals[ix] = match node.kind {
                FlatKind::Alias(target) => (totals[target].0.saturating_add(1), totals[target].1),
                _ => (0, 1),
            };
            open.push(ix);
        }
        let Some(&(aliases, values)) = totals.first() else { return true };
        let last_alias =
            || (0..nodes.len()).rev().find(|ix| matches!(nodes[*ix].kind, FlatKind::Alias(_))).unwrap_or(0);
        let bounded = aliases <= MAX_EXPANSIONS && (aliases == 0 || values <= MAX_EXPANDED_NODES);
        if !bounded {
            findings.push(
                Finding::error(
                    codes::ALIAS,
                    self.place(last_alias()),
                    "the aliases of this file expand too often",
                )
                .label("the last alias")
                .help(format!("at most {MAX_EXPANSIONS} expansions are followed; write the values out")),
            );
        }
        bounded
    }

    /// Nothing is nested deeper than the limit, aliases followed. Reported once, at the first node that is too deep.
    fn depth(&self, ix: usize, depth: usize, findings: &mut Findings) -> bool {
        if depth > MAX_DEPTH {
            let message = format!("values are nested more than {MAX_DEPTH} deep");
            findings.push(
                Finding::error(codes::DEPTH, self.place(ix), message)
                    .label("too deep")
                    .help("flatten this value"),
            );
            return true;
        }
        let ix = self.arena.resolved(ix);
        if matches!(self.arena.nodes[ix].kind, FlatKind::Scalar(..)) {
            return false;
        }
        self.arena.children(ix).any(|child| self.depth(child, depth + 1, findings))
    }
}

/// The finding for `{{ … }}` outside quotes at this place.
pub(super) fn unquoted_braces(source: &str, place: Place) -> Finding {
    let text = source.get(place.span.range()).unwrap_or("");
    let quoted =
        if text.contains('"') { format!("'{}'", text.replace('\'', "''")) } else { format!("\"{text}\"") };
    Finding::error(codes::UNQUOTED_BRACES, place, "`{{ }}` must stand in quotes")
        .label("YAML reads this as a mapping")
        .help(format!("quote it: `{quoted}`"))
        .suggestion(quoted)
}
