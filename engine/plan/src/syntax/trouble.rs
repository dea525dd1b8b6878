//! What stopped the YAML reader, in words that help: [`diagnose`] to a [`Trouble`].

use crate::codes;
use crate::finding::{Finding, Findings};
use crate::source::{Place, Span};

use super::arena::{Arena, FlatKind, unquoted_braces};
use super::tree::Style;

/// How many `{{` of one line are looked at for the one that the reader tripped over.
const MAX_BRACES: usize = 100;
/// How many control characters of one file are reported.
const MAX_CONTROL_CHARACTERS: usize = 20;

/// A syntax error and, where it can be stepped over, what to put over it so that the rest can be read.
pub(super) struct Trouble {
    /// The error.
    pub(super) finding: Finding,
    /// The bytes to cover, and with what.
    pub(super) mask: Option<(Span, &'static str)>,
}

/// The characters that may not stand in a YAML file, the first few of them.
pub(super) fn control_characters(text: &str, index: u16) -> Findings {
    let mut found = Findings::new();
    // Nearly all files have none; bytes are looked through faster than characters.
    let suspicious = |byte: u8| {
        (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || matches!(byte, 0x7f | 0xc2 | 0xef)
    };
    if !text.bytes().any(suspicious) {
        return found;
    }
    let forbidden = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}'))
            || matches!(c, '\u{fffe}' | '\u{ffff}')
    };
    for (at, c) in text.char_indices().filter(|(_, c)| forbidden(*c)).take(MAX_CONTROL_CHARACTERS) {
        let place = Place::new(index, Span::new(at, at + c.len_utf8()));
        found.push(
            Finding::error(codes::SYNTAX, place, "a control character stands in the file")
                .label(format!("U+{:04X}", u32::from(c)))
                .help("remove it; inside double quotes it can be written as an escape"),
        );
    }
    found
}

/// What stopped the reader at this byte, having read this much, with these words of its own.
pub(super) fn diagnose(text: &str, arena: &Arena<'_>, at: usize, info: &str, index: u16) -> Trouble {
    let line = line_of(text, at);
    let next = line_of(text, line.end as usize + 1);
    let found = tab(text, line, at)
        .map(|span| (span, line))
        .or_else(|| Some((tab(text, next, next.start as usize)?, next)));
    if let Some((span, line)) = found {
        // Nobody knows how deep a line with a tab was meant to be: it is covered whole.
        let indents = text[line.start as usize..span.start as usize].trim().is_empty();
        let covered = if indents { line } else { span };
        let finding =
            Finding::error(codes::TAB, Place::new(index, span), "a tab stands where YAML wants spaces")
                .label("a tab")
                .help("replace it with spaces; indentation is two spaces a level");
        return Trouble { finding, mask: Some((covered, " ")) };
    }
    if let Some(span) = braces(text, arena, line, at) {
        return Trouble { finding: unquoted_braces(text, Place::new(index, span)), mask: Some((span, "x")) };
    }
    Trouble { finding: syntax(text, line, at, info, index), mask: None }
}

/// The line around a byte, without its end.
fn line_of(text: &str, at: usize) -> Span {
    let at = at.min(text.len());
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    Span::new(start, end)
}

/// The tabs at the error: in the line's indentation, or just before the error.
fn tab(text: &str, line: Span, at: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let indent = text[line.range()].bytes().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let indent = line.start as usize..line.start as usize + indent;
    let first = indent.clone().find(|at| bytes[*at] == b'\t').or_else(|| {
        let from = text[..at.min(text.len())].trim_end_matches([' ', '\t']).len();
        (from..line.end as usize)
            .take_while(|at| matches!(bytes[*at], b' ' | b'\t'))
            .find(|at| bytes[*at] == b'\t')
    })?;
    let count = bytes[first..].iter().take_while(|b| **b == b'\t').count();
    Some(Span::new(first, first + count))
}

/// The value with the unquoted `{{ … }}` on the error's line that the reader tripped over.
fn braces(text: &str, arena: &Arena<'_>, line: Span, at: usize) -> Option<Span> {
    let upto = (at + 2).min(line.end as usize).max(line.start as usize);
    let upto = (upto..=line.end as usize).find(|at| text.is_char_boundary(*at))?;
    let quoted = |at: usize| {
        let inside = |span: Span| (span.start as usize) < at && at < span.end as usize;
        arena
            .nodes
            .iter()
            .rev()
            .take_while(|node| node.span.end >= line.start || node.span.start >= line.start)
            .any(|node| {
                matches!(&node.kind, FlatKind::Scalar(_, style) if *style != Style::Plain)
                    && inside(node.span)
            })
    };
    let open = text[line.start as usize..upto]
        .rmatch_indices("{{")
        .take(MAX_BRACES)
        .map(|(at, _)| line.start as usize + at)
        .find(|at| !quoted(*at))?;
    let start = text_before(text, arena, open);
    Some(Span::new(start, braces_end(text, open, line.end as usize)))
}

/// Where the plain text begins that stands directly before the braces, if there is some.
fn text_before(text: &str, arena: &Arena<'_>, open: usize) -> usize {
    let scalar = arena
        .nodes
        .iter()
        .rev()
        .find(|node| (node.span.end as usize) <= open && node.span.end > node.span.start);
    match scalar {
        Some(node)
            if matches!(&node.kind, FlatKind::Scalar(_, Style::Plain))
                && text[node.span.end as usize..open].chars().all(|c| c == ' ') =>
        {
            node.span.start as usize
        }
        _ => open,
    }
}

/// Where the value with braces ends: after the last `}}` that still belongs to it and what follows without a delimiter.
fn braces_end(text: &str, open: usize, line_end: usize) -> usize {
    let mut open = open;
    loop {
        let Some(close) = text[open..line_end].find("}}") else { return line_end };
        let from = open + close + 2;
        let rest = &text[from..line_end];
        let delimiter =
            rest.find([',', ']', '}']).into_iter().chain(rest.find(" #")).min().unwrap_or(rest.len());
        match rest[..delimiter].find("{{") {
            Some(next) => open = from + next,
            None => return from + rest[..delimiter].trim_end().len(),
        }
    }
}

/// The reader's own words, made ours where they are known.
fn syntax(text: &str, line: Span, at: usize, info: &str, index: u16) -> Finding {
    let start = at.clamp(line.start as usize, line.end as usize);
    let width = text[start..line.end as usize].chars().next().map_or(0, char::len_utf8);
    let place = Place::new(index, Span::new(start, start + width));
    let (message, label, help) =
        KNOWN.iter().find(|known| info.contains(known.info)).map_or(
            ("this is not YAML", info, "check the quotes and the indentation of this line"),
            |known| (known.message, known.label, known.help),
        );
    Finding::error(codes::SYNTAX, place, message).label(label).help(help)
}

/// What the reader says, and what we say.
struct Known {
    info: &'static str,
    message: &'static str,
    label: &'static str,
    help: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        info: "mapping values are not allowed",
        message: "a `:` stands where no mapping can begin",
        label: "this colon",
        help: "put the text in quotes if the colon belongs to it; else check the indentation of this line",
    },
    Known {
        info: "block sequence entries are not allowed",
        message: "a list item stands where no list can begin",
        label: "this dash",
        help: "begin the list on a line of its own, two spaces deeper than its key",
    },
    Known {
        info: "unknown anchor",
        message: "no value before this line bears this anchor",
        label: "unknown",
        help: "put the text in quotes if the `*` belongs to it",
    },
    Known {
        info: "scanning a quoted scalar",
        message: "a quote is opened and not closed",
        label: "opened here",
        help: "close it; a `'` inside single quotes is written twice",
    },
    Known {
        info: "unexpected character",
        message: "a text cannot begin with this character",
        label: "this character",
        help: "put the text in quotes",
    },
    Known {
        info: "invalid trailing content after",
        message: "text goes on after its closing quote",
        label: "after the quote",
        help: "a `'` inside single quotes is written twice; or put the text in double quotes",
    },
    Known {
        info: "invalid indentation in flow construct",
        message: "a list or a mapping in brackets is not closed",
        label: "before this, `]` or `}` is missing",
        help: "close it, or indent this line deeper than the line where it was opened",
    },
    Known {
        info: "parsing a flow sequence",
        message: "a list is opened with `[` and not closed properly",
        label: "`,` or `]` is missing before this",
        help: "separate the items by `,` and close the list with `]`",
    },
    Known {
        info: "parsing a flow mapping",
        message: "a mapping is opened with `{` and not closed properly",
        label: "`,` or `}` is missing before this",
        help: "separate the entries by `,` and close the mapping with `}`",
    },
    Known {
        info: "did not find expected key",
        message: "neither a key nor the end of a mapping stands here",
        label: "unexpected",
        help: "check the indentation of this line, and the quotes of the line before",
    },
    Known {
        info: "recursion limit",
        message: "values are nested too deep",
        label: "too deep",
        help: "flatten this value",
    },
];
