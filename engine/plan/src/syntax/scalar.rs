//! What a plain scalar of YAML means in our files: [`Plain`]. This is our own reading; the values come from the other reader, and
//! where the two differ the file is refused.

use serde_json::Number;

/// What an unquoted scalar is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plain {
    /// Empty, `~` or `null`.
    Null,
    /// `true` or `false`; `yes`, `no`, `on` and `off` are text.
    Boolean(bool),
    /// A number that JSON can hold.
    Number(Number),
    /// A whole number beyond 64 bits.
    TooLarge,
    /// `.inf` or `.nan`.
    NotFinite,
    /// Anything else, also `0755`, `1_000` and dates.
    Text,
}

impl Plain {
    /// What this text is, unquoted.
    pub(super) fn of(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Null,
            "true" | "True" | "TRUE" => return Self::Boolean(true),
            "false" | "False" | "FALSE" => return Self::Boolean(false),
            _ => {}
        }
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Self::Text;
        }
        if matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
            return Self::NotFinite;
        }
        integer(text, digits).unwrap_or_else(|| float(text, digits))
    }
}

/// The whole number that this is, too large or not; `None` when it is none.
fn integer(text: &str, digits: &str) -> Option<Plain> {
    let (radix, rest) = match digits.get(..2) {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        _ => (10, digits),
    };
    if rest.is_empty() || !rest.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    if radix == 10 && rest.len() > 1 && rest.starts_with('0') {
        return Some(Plain::Text);
    }
    let magnitude = u64::from_str_radix(rest, radix).ok();
    let negative = text.starts_with('-');
    Some(match magnitude {
        Some(value) if negative => {
            0_i64.checked_sub_unsigned(value).map_or(Plain::TooLarge, |value| Plain::Number(value.into()))
        }
        Some(value) => Plain::Number(value.into()),
        None => Plain::TooLarge,
    })
}

/// The fraction that this is, or text.
fn float(text: &str, digits: &str) -> Plain {
    let shaped = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let value = shaped.then(|| text.parse::<f64>().ok()).flatten().filter(|value| value.is_finite());
    value.and_then(Number::from_f64).map_or(Plain::Text, Plain::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_are_what_they_look_like() {
        let cases = [
            ("", Plain::Null),
            ("Null", Plain::Null),
            ("True", Plain::Boolean(true)),
            ("yes", Plain::Text),
            ("off", Plain::Text),
            ("007", Plain::Text),
            ("1_000", Plain::Text),
            ("12:30", Plain::Text),
            ("2025-01-02", Plain::Text),
            ("-", Plain::Text),
            ("0x", Plain::Text),
            ("0x1F", Plain::Number(31.into())),
            ("0o17", Plain::Number(15.into())),
            ("-0b11", Plain::Number((-3).into())),
            ("+5", Plain::Number(5.into())),
            ("-9223372036854775808", Plain::Number(i64::MIN.into())),
            ("-9223372036854775809", Plain::TooLarge),
            ("18446744073709551616", Plain::TooLarge),
            ("1e3", Plain::Number(Number::from_f64(1000.0).unwrap())),
            (".5", Plain::Number(Number::from_f64(0.5).unwrap())),
            ("1e999", Plain::Text),
            ("-.inf", Plain::NotFinite),
            (".nan", Plain::NotFinite),
        ];
        for (text, expected) in cases {
            assert_eq!(Plain::of(text), expected, "{text}");
        }
    }
}
