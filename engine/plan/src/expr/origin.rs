//! Where the bytes of a text stand in its source: [`Origin`].

use std::ops::Range;
use std::sync::Arc;

use crate::source::{Place, Span};

/// The place of a text, and how its bytes map to the bytes of the source.
///
/// Plain scalars map one to one. A quoted scalar with escapes or a block scalar has *breaks*: from the text's byte `at` on, its
/// bytes stand from the source's byte `source` on, until the next break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    place: Place,
    breaks: Arc<[(u32, u32)]>,
}

impl From<Place> for Origin {
    /// The text stands at this place, byte for byte.
    fn from(place: Place) -> Self {
        Self { place, breaks: Arc::new([]) }
    }
}

impl Origin {
    /// The text stands in this place; `breaks` are pairs (byte of the text, byte of the source), by the text's byte.
    pub fn with_breaks(place: Place, breaks: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { place, breaks: breaks.into_iter().map(|(at, source)| (narrow(at), narrow(source))).collect() }
    }

    /// The place of the whole text.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The byte of the source where the text's byte `at` stands.
    fn source_byte(&self, at: usize) -> usize {
        let next = self.breaks.partition_point(|(text, _)| *text as usize <= at);
        let (text, source) = match next.checked_sub(1).and_then(|last| self.breaks.get(last)) {
            Some(&(text, source)) => (text as usize, source as usize),
            None => (0, self.place.span.start as usize),
        };
        (source + (at - text)).min(self.place.span.end as usize)
    }

    /// The place of these bytes of the text.
    pub fn part(&self, bytes: Range<usize>) -> Place {
        let start = self.source_byte(bytes.start);
        // The last byte is mapped, not the one after it: that one may stand on another line.
        let end = if bytes.end > bytes.start { self.source_byte(bytes.end - 1) + 1 } else { start };
        Place::new(self.place.source, Span::new(start, end.min(self.place.span.end as usize)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: &Origin, bytes: Range<usize>, expected: Range<usize>) {
        assert_eq!(origin.part(bytes).span.range(), expected);
    }

    #[test]
    fn places_follow_the_breaks() {
        let place = Place::new(3, Span::new(100, 130));
        let plain = Origin::from(place);
        check(&plain, 2..5, 102..105);
        check(&plain, 2..2, 102..102);
        check(&plain, 28..99, 128..130);
        assert_eq!(plain.part(0..1).source, 3);
        // A block scalar: line one of the text at 104, line two (byte 6 of the text) at 114.
        let block = Origin::with_breaks(place, [(0, 104), (6, 114)]);
        check(&block, 0..3, 104..107);
        check(&block, 7..9, 115..117);
        check(&block, 4..6, 108..110);
        check(&block, 4..8, 108..116);
    }
}
