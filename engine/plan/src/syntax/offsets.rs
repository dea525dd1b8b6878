//! From a place in a text's value to the place in the file where it was written: [`origin`]. Quotes, escapes, folded lines and the
//! indentation of block texts make the two differ.

use crate::expr::Origin;
use crate::source::{Place, Span};

use super::tree::{Style, Text};

/// Where the bytes of the text that stands at this place of `source` were written.
pub fn origin(text: &Text, source: &str, place: Place) -> Origin {
    match offsets(text, source, place.span).as_slice() {
        [] => place.into(),
        runs => {
            Origin::with_breaks(place, runs.iter().map(|(at, written)| (*at as usize, *written as usize)))
        }
    }
}

/// For the text that stands at `span` of `source`: where each straight run begins, as (byte of the text, byte of the source). Empty
/// where the two cannot be laid beside each other.
pub(super) fn offsets(text: &Text, source: &str, span: Span) -> Vec<(u32, u32)> {
    let quote = usize::from(matches!(text.style, Style::Single | Style::Double));
    let (start, end) = (span.start as usize + quote, (span.end as usize).saturating_sub(quote));
    let Some(written) = source.get(start..end) else { return Vec::new() };
    if written == &*text.text {
        return vec![(0, Span::new(start, start).start)];
    }
    aligned(&text.text, written, text.style)
        .into_iter()
        .map(|(at, written)| (Span::new(at, at).start, Span::new(start + written, end).start))
        .collect()
}

/// The runs of a text beside what was written between the quotes.
fn aligned(text: &str, written: &str, style: Style) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut at = 0;
    for (offset, c) in text.char_indices() {
        at = skipped(written, at, c, style);
        if runs.last().is_none_or(|(from, to)| offset - from != at - to) {
            runs.push((offset, at));
        }
        at += width(&written[at..], c, style);
    }
    runs
}

/// The next byte that can stand for this character: line breaks with their indentation, and escaped line breaks, are passed over.
fn skipped(written: &str, mut at: usize, c: char, style: Style) -> usize {
    loop {
        let rest = &written[at..];
        let next = rest.chars().next();
        let escaped_break =
            style == Style::Double && (rest.starts_with("\\\n") || rest.starts_with("\\\r\n"));
        if escaped_break {
            at += rest.find('\n').map_or(1, |newline| newline + 1);
        } else if next.is_some_and(|next| next != c && next.is_whitespace() && !c.is_whitespace()) {
            at += next.map_or(0, char::len_utf8);
        } else {
            return at;
        }
    }
}

/// How many bytes were written for this character.
fn width(rest: &str, c: char, style: Style) -> usize {
    match (style, rest.as_bytes()) {
        (Style::Single, [b'\'', b'\'', ..]) => 2,
        (Style::Double, [b'\\', kind, ..]) => {
            let digits = match kind {
                b'x' => 2,
                b'u' => 4,
                b'U' => 8,
                _ => 0,
            };
            let end = (2 + digits).min(rest.len());
            if rest.is_char_boundary(end) { end } else { rest.len() }
        }
        _ => match rest.chars().next() {
            Some(next) if next == c || (next.is_whitespace() && c.is_whitespace()) => next.len_utf8(),
            _ => 0,
        },
    }
}
