//! Finding the `{{ … }}` of a text: [`chunks`].

use crate::expr::codes;
use crate::expr::usage::problem;
use crate::finding::Finding;
use crate::source::Span;

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunk<'t> {
    /// Plain text.
    Text(&'t str),
    /// What stands between braces, without blanks around it.
    Expr {
        /// The expression.
        text: &'t str,
        /// Where it begins in the whole text.
        offset: usize,
    },
}

/// The pieces of a text, or what is wrong with its braces; places are bytes of the text.
pub(crate) fn chunks(text: &str) -> Result<Vec<Chunk<'_>>, Box<Finding>> {
    let mut chunks = Vec::new();
    let mut at = 0;
    while let Some(open) = text.get(at..).and_then(|rest| rest.find("{{")).map(|found| at + found) {
        plain(text, at, open, &mut chunks)?;
        let inner = open + 2;
        // Where its quotes or brackets do not close, the next braces end it, and the parser says what is missing.
        let next = || text.get(inner..).and_then(|rest| rest.find("}}")).map(|found| inner + found);
        let Some(close) = closing(text, inner).or_else(next) else {
            let finding = problem(codes::UNCLOSED, Span::new(open, inner), "this `{{` is never closed");
            return Err(Box::new(finding.help("close it with `}}`; as plain text write `{{ '{{' }}`")));
        };
        let between = text.get(inner..close).unwrap_or_default();
        if between.starts_with(['-', '+']) || between.ends_with(['-', '+']) {
            let message = "braces with `-` or `+` are not part of the language";
            let finding = problem(codes::STATEMENT, Span::new(open, close + 2), message);
            let help = "write `{{ … }}` with a blank after `{{`; blanks around it stay as they are";
            return Err(Box::new(finding.help(help)));
        }
        let offset = inner + (between.len() - between.trim_start().len());
        chunks.push(Chunk::Expr { text: between.trim(), offset });
        at = close + 2;
    }
    plain(text, at, text.len(), &mut chunks)?;
    Ok(chunks)
}

/// What stands between the braces of a text, without blanks around it, each with where it begins; or what is wrong with the braces.
///
/// # Errors
/// The finding, with a place in the text.
pub fn braces_of(text: &str) -> Result<Vec<(usize, &str)>, Box<Finding>> {
    let inside = |chunk| match chunk {
        Chunk::Expr { text, offset } => Some((offset, text)),
        Chunk::Text(_) => None,
    };
    Ok(chunks(text)?.into_iter().filter_map(inside).collect())
}

/// Plain text, which may not hold what looks like a statement or a comment of a template.
fn plain<'t>(text: &'t str, from: usize, to: usize, chunks: &mut Vec<Chunk<'t>>) -> Result<(), Box<Finding>> {
    let part = text.get(from..to).unwrap_or_default();
    for (open, close) in [("{%", "%}"), ("{#", "#}")] {
        if let Some(start) = part.find(open)
            && let Some(length) = part.get(start + 2..).and_then(|rest| rest.find(close))
        {
            let span = Span::new(from + start, from + start + 2 + length + 2);
            let message = format!("`{open} … {close}` is not part of the plan language");
            let help = format!("only `{{{{ … }}}}` is; as plain text write `{{{{ '{open}' }}}}`");
            return Err(Box::new(problem(codes::STATEMENT, span, message).help(help)));
        }
    }
    if !part.is_empty() {
        chunks.push(Chunk::Text(part));
    }
    Ok(())
}

/// Where the `}}` of an expression begins: outside its texts, and where all its own braces are closed.
fn closing(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut quote, mut depth, mut at) = (None, 0_usize, from);
    while let Some(&byte) = bytes.get(at) {
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => depth += 1,
            (None, b'}') if depth == 0 && bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[Chunk<'_>]) {
        assert_eq!(chunks(text).unwrap(), expected, "{text}");
    }

    fn expr(text: &str, offset: usize) -> Chunk<'_> {
        Chunk::Expr { text, offset }
    }

    #[test]
    fn texts_are_cut_at_their_braces() {
        check("", &[]);
        check("plain } }} { text", &[Chunk::Text("plain } }} { text")]);
        check("{{ a }}", &[expr("a", 3)]);
        check("x{{a}}{{  b }}y", &[Chunk::Text("x"), expr("a", 3), expr("b", 10), Chunk::Text("y")]);
        check("{{ '}}' ~ {'a': {'b': 1}} }}", &[expr("'}}' ~ {'a': {'b': 1}}", 3)]);
        check(r"{{ 'it\'s }}' }}!", &[expr(r"'it\'s }}'", 3), Chunk::Text("!")]);
        check("echo ${#list} 100{%", &[Chunk::Text("echo ${#list} 100{%")]);
        check("{{ (a }}", &[expr("(a", 3)]);
        check("{{ 'a }}", &[expr("'a", 3)]);
        check("é{{ a }}", &[Chunk::Text("é"), expr("a", 5)]);
    }

    #[test]
    fn wrong_braces_are_found() {
        for (text, code, span, words) in [
            ("ab{{ c", codes::UNCLOSED, 2..4, "this `{{` is never closed"),
            ("{{ 'a }", codes::UNCLOSED, 0..2, "this `{{` is never closed"),
            ("a {% if x %} b", codes::STATEMENT, 2..12, "`{% … %}` is not part of the plan language"),
            ("a {# x #}", codes::STATEMENT, 2..9, "`{# … #}` is not part of the plan language"),
            ("{{ a }}{% x %}", codes::STATEMENT, 7..14, "`{% … %}` is not part of the plan language"),
            ("a {{- b -}}", codes::STATEMENT, 2..11, "braces with `-` or `+` are not part of the language"),
        ] {
            let finding = chunks(text).unwrap_err();
            assert_eq!(
                (finding.code, finding.place.span.range(), finding.message.as_str()),
                (code, span, words),
                "{text}"
            );
        }
    }
}
