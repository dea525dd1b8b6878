//! Source texts and places in them: [`SourceFile`], [`Span`], [`Place`].

use std::sync::Arc;

/// A text that was read, with the name under which findings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path as the user gave it, or a word such as `-p` for text that came from a flag.
    pub name: Arc<str>,
    /// The whole text, UTF-8.
    pub text: Arc<str>,
    /// The byte of the text where the file's bytes are no UTF-8; what stands there is shown as the replacement character.
    invalid_at: Option<usize>,
}

impl SourceFile {
    /// A source of this name and text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into(), invalid_at: None }
    }

    /// A source of this name with the text that these bytes are. Bytes that are no UTF-8 are found when it is read.
    pub fn of_bytes(name: impl Into<Arc<str>>, bytes: &[u8]) -> Self {
        let invalid_at = std::str::from_utf8(bytes).err().map(|error| error.valid_up_to());
        Self { invalid_at, ..Self::new(name, String::from_utf8_lossy(bytes)) }
    }

    /// Where the bytes of the file are no UTF-8, when they are not.
    pub fn invalid_at(&self) -> Option<Span> {
        self.invalid_at.map(|at| Span::new(at, at + char::REPLACEMENT_CHARACTER.len_utf8()))
    }

    /// Line and column of a byte offset, both from 1; the column counts characters. Offsets past the end, or inside a character,
    /// mean the nearest place before.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before[start..].chars().count() + 1)
    }
}

/// A range of bytes in one source; `start <= end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The span of these byte offsets. Sources are at most 10 MiB, so 32 bits hold them.
    pub fn new(start: usize, end: usize) -> Self {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end.max(start)) }
    }

    /// The span as a byte range.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// A part of this span: `from..to` counted from its start.
    pub fn part(self, from: usize, to: usize) -> Self {
        Self::new(self.start as usize + from, self.start as usize + to)
    }
}

/// Which of the sources of one check, and where in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Place {
    /// Index into the sources of the check: 0 is the plan, others as the check was given them.
    pub source: u16,
    /// The range of bytes.
    pub span: Span,
}

impl Place {
    /// A place in the source of this index.
    pub fn new(source: u16, span: Span) -> Self {
        Self { source, span }
    }
}
