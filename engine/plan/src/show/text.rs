//! Findings as text, each with the lines that it is about and its place underlined.

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};

use crate::finding::{Finding, Severity};
use crate::source::{Place, SourceFile, Span};
use crate::syntax::tree::first_line;

use super::view::{Lines, plain_secrets};

/// How many further places of one finding are shown.
const MAX_RELATED: usize = 12;

/// How text looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// With colours.
    pub color: bool,
    /// The width of the terminal, when it is known.
    pub width: Option<usize>,
}

/// All findings, one after the other, an empty line between two.
pub fn text(findings: &[Finding], sources: &[SourceFile], look: Look) -> String {
    let mut renderer = if look.color { Renderer::styled() } else { Renderer::plain() };
    if let Some(width) = look.width {
        renderer = renderer.term_width(width);
    }
    let masked: Vec<SourceFile> = sources
        .iter()
        .enumerate()
        .map(|(index, source)| {
            without_secrets(source, &plain_secrets(findings, u16::try_from(index).unwrap_or(u16::MAX)))
        })
        .collect();
    let lines = Lines::of(&masked);
    let mut out = String::new();
    for finding in findings {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&renderer.render(&[group(finding, &masked, &lines)]));
        out.push('\n');
    }
    out
}

/// How many of what: `2 errors, 1 warning`; nothing where there are none.
pub fn summary(findings: &[Finding]) -> Option<String> {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let words = |count: usize, word: &str| {
        (count > 0).then(|| format!("{count} {word}{}", if count == 1 { "" } else { "s" }))
    };
    let parts: Vec<String> =
        [words(count(Severity::Error), "error"), words(count(Severity::Warning), "warning")]
            .into_iter()
            .flatten()
            .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn without_secrets(source: &SourceFile, secrets: &[Span]) -> SourceFile {
    if secrets.is_empty() {
        return source.clone();
    }
    let mut bytes = source.text.as_bytes().to_vec();
    for secret in secrets {
        for byte in bytes
            .iter_mut()
            .take(secret.end as usize)
            .skip(secret.start as usize)
            .filter(|byte| **byte != b'\n')
        {
            *byte = b'*';
        }
    }
    SourceFile::new(source.name.clone(), String::from_utf8_lossy(&bytes).into_owned())
}

/// A finding as the renderer wants it.
fn group<'a>(finding: &'a Finding, sources: &'a [SourceFile], lines: &Lines<'_>) -> Group<'a> {
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(&*finding.message)
        .id(finding.code.0)
        .elements(Vec::<Snippet<'a, Annotation<'a>>>::new());
    let mut shown: Vec<u16> = Vec::new();
    let related = || finding.related.iter().take(MAX_RELATED);
    for place in std::iter::once(&finding.place).chain(related().map(|(place, _)| place)) {
        if !shown.contains(&place.source) {
            shown.push(place.source);
            group = group.elements(snippet(finding, place.source, sources, lines));
        }
    }
    if let Some(more) = finding.related.len().checked_sub(MAX_RELATED).filter(|more| *more > 0) {
        group = group.element(Level::NOTE.message(format!("and {more} more places")));
    }
    match &finding.help {
        Some(help) => group.element(Level::HELP.message(&**help)),
        None => group,
    }
}

/// The lines of one source that a finding is about. The renderer gets these lines alone: a source may have 10 MiB.
fn snippet<'a>(
    finding: &'a Finding,
    index: u16,
    sources: &'a [SourceFile],
    lines: &Lines<'_>,
) -> Option<Snippet<'a, Annotation<'a>>> {
    let source = sources.get(usize::from(index))?;
    let text = &*source.text;
    let marks: Vec<(Span, &str, AnnotationKind)> =
        std::iter::once((finding.place, &*finding.label, AnnotationKind::Primary))
            .chain(
                finding
                    .related
                    .iter()
                    .take(MAX_RELATED)
                    .map(|(place, words)| (*place, &**words, AnnotationKind::Context)),
            )
            .filter(|(place, ..)| place.source == index)
            .map(|(place, words, kind)| (within(text, place), words, kind))
            .collect();
    let first = marks.iter().map(|(span, ..)| span.start as usize).min()?;
    let last = marks.iter().map(|(span, ..)| span.end as usize).max()?;
    let (line, start) = lines.line(usize::from(index), first);
    let end = text[last..].find('\n').map_or(text.len(), |at| last + at);
    let annotations = marks.into_iter().map(|(span, words, kind)| {
        let range = span.start as usize - start..span.end as usize - start;
        if words.is_empty() { kind.span(range) } else { kind.span(range).label(words) }
    });
    let annotations: Vec<Annotation<'a>> = annotations.collect();
    Some(Snippet::source(&text[start..end]).line_start(line).path(&*source.name).annotations(annotations))
}

/// The part of a place's first line, within the text and at whole characters.
fn within(text: &str, place: Place) -> Span {
    let at = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    first_line(text, Span::new(at(place.span.start as usize), at(place.span.end as usize)))
}
