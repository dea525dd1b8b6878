//! A text seen without an encoding: [`View`], whose bytes remember where in the text they came from.

/// An encoding that texts may have parts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `%20`, upper or lower hex (RFC 3986).
    Percent,
    /// The same, and `+` for a space (HTML forms).
    Form,
    /// `\n`, `\"`, `\/`, `\u00e4` (RFC 8259).
    Escapes,
}

/// The ways in which a secret may be wrapped, outermost first, that are looked through. Twice is what a URL within a URL and JSON within
/// JSON have.
pub(super) const WRAPPINGS: [&[Encoding]; 6] = [
    &[Encoding::Percent],
    &[Encoding::Percent, Encoding::Percent],
    &[Encoding::Form],
    &[Encoding::Escapes],
    &[Encoding::Escapes, Encoding::Escapes],
    &[Encoding::Escapes, Encoding::Percent],
];

/// Decoded bytes, each with its place in the original text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// The decoded bytes.
    pub(super) bytes: Vec<u8>,
    /// For each byte the place where its original begins, and the end of the whole at last.
    starts: Vec<usize>,
}

impl View {
    /// The text without these encodings; `None` when one of them is not in it.
    pub(super) fn of(text: &str, wrapping: &[Encoding]) -> Option<Self> {
        let mut view: Option<Self> = None;
        for encoding in wrapping {
            let bytes = view.as_ref().map_or(text.as_bytes(), |view| &view.bytes);
            let decoded = encoding.decoded(bytes)?;
            view = Some(match view {
                Some(outer) => decoded.through(&outer),
                None => decoded,
            });
        }
        view
    }

    /// Where decoded bytes lie in the original text.
    pub(super) fn place(&self, start: usize, end: usize) -> (usize, usize) {
        let at = |index: usize| self.starts.get(index).copied().unwrap_or(usize::MAX);
        (at(start), at(end))
    }

    fn through(self, outer: &Self) -> Self {
        let starts = self.starts.iter().map(|start| outer.place(*start, *start).0).collect();
        Self { bytes: self.bytes, starts }
    }
}

impl Encoding {
    /// The text without this encoding; `None` when nothing in it is encoded so.
    fn decoded(self, text: &[u8]) -> Option<View> {
        let first = match self {
            Self::Percent => text.iter().position(|byte| *byte == b'%')?,
            // Without a `+` it is nothing else than percent-encoded.
            Self::Form => {
                text.contains(&b'+').then(|| text.iter().position(|byte| b"+%".contains(byte)))??
            }
            Self::Escapes => text.iter().position(|byte| *byte == b'\\')?,
        };
        let mut view = View { bytes: text[..first].to_vec(), starts: (0..first).collect() };
        let mut at = first;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let (read, decoded) = self.one(rest);
            view.bytes.extend_from_slice(&decoded.bytes[..decoded.len]);
            view.starts.extend(std::iter::repeat_n(at, decoded.len));
            at += read;
        }
        view.starts.push(text.len());
        Some(view)
    }

    /// The first character of a text: how many bytes it takes, and what it stands for.
    fn one(self, text: &[u8]) -> (usize, Decoded) {
        match (self, text) {
            (Self::Form, [b'+', ..]) => (1, Decoded::byte(b' ')),
            (Self::Form | Self::Percent, [b'%', high, low, ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (3, Decoded::byte(high << 4 | low)),
                _ => (1, Decoded::byte(b'%')),
            },
            (Self::Escapes, [b'\\', b'u', rest @ ..]) => match unicode(rest) {
                Some((read, char)) => (2 + read, Decoded::char(char)),
                None => (1, Decoded::byte(b'\\')),
            },
            (Self::Escapes, [b'\\', escaped, ..]) => match escape(*escaped) {
                Some(byte) => (2, Decoded::byte(byte)),
                None => (1, Decoded::byte(b'\\')),
            },
            (_, [byte, ..]) => (1, Decoded::byte(*byte)),
            (_, []) => (1, Decoded { bytes: [0; 4], len: 0 }),
        }
    }
}

/// What one encoded character stands for: up to four bytes of UTF-8.
struct Decoded {
    bytes: [u8; 4],
    len: usize,
}

impl Decoded {
    fn byte(byte: u8) -> Self {
        Self { bytes: [byte, 0, 0, 0], len: 1 }
    }

    fn char(char: char) -> Self {
        let mut bytes = [0; 4];
        let len = char.encode_utf8(&mut bytes).len();
        Self { bytes, len }
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn escape(escaped: u8) -> Option<u8> {
    Some(match escaped {
        b'"' | b'\\' | b'/' => escaped,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'f' => 0x0c,
        _ => return None,
    })
}

/// The character of `XXXX` or `XXXX\uXXXX` (a surrogate pair), and how many bytes that takes.
fn unicode(text: &[u8]) -> Option<(usize, char)> {
    let unit =
        |digits: &[u8]| digits.iter().try_fold(0u32, |unit, digit| Some(unit << 4 | u32::from(hex(*digit)?)));
    let first = unit(text.get(..4)?)?;
    if let Some(char) = char::from_u32(first) {
        return Some((4, char));
    }
    let second = unit(text.get(4..10)?.strip_prefix(b"\\u")?)?;
    let pair = char::decode_utf16([u16::try_from(first).ok()?, u16::try_from(second).ok()?]).next()?;
    pair.ok().map(|char| (10, char))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wrapping: &[Encoding], expected: Option<&str>) {
        let found = View::of(text, wrapping).map(|view| String::from_utf8(view.bytes).unwrap());
        assert_eq!(found.as_deref(), expected, "{text:?} {wrapping:?}");
    }

    #[test]
    fn encodings_are_looked_through() {
        use Encoding::{Escapes, Form, Percent};
        check("a%20b%2f%2F%C3%A4", &[Percent], Some("a b//ä"));
        check("100% %zz %4", &[Percent], Some("100% %zz %4"));
        check("plain", &[Percent], None);
        check("a+b%2B", &[Form], Some("a b+"));
        check("a%2520b", &[Percent, Percent], Some("a b"));
        check(r#"a\"b\\c\nd\/e"#, &[Escapes], Some("a\"b\\c\nd/e"));
        check(r"\u00e4\ud83d\ude00\ud83d \x \u12", &[Escapes], Some("ä😀\\ud83d \\x \\u12"));
        check(r#"{\"a\":\"\\n\"}"#, &[Escapes, Escapes], Some("{\"a\":\"\n\"}"));
        check(r"a\/%20", &[Escapes, Percent], Some("a/ "));
        check("\\", &[Escapes], Some("\\"));
    }

    #[test]
    fn decoded_bytes_know_their_places() {
        let text = r"x\u00e4%2541z";
        let view = View::of(text, &[Encoding::Escapes, Encoding::Percent, Encoding::Percent]).unwrap();
        assert_eq!(view.bytes, "xäAz".as_bytes());
        assert_eq!(view.place(1, 3), (1, 7));
        assert_eq!(view.place(3, 4), (7, 12));
        assert_eq!(view.place(4, 5), (12, 13));
    }
}
