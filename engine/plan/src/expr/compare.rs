//! Comparing values strictly: [`Comparison`], [`holds`], [`is_within`]. minijinja orders everything somehow and finds `'5' == 5`
//! false; a restore must not be decided that way, so comparing what cannot be compared is an error here.

use std::cmp::Ordering;

use chrono::DateTime;
use minijinja::Value;
use minijinja::value::ValueKind;

use crate::expr::decimal::Decimal;

/// What is asked of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the signs'")]
pub(crate) enum Comparison {
    Equal,
    Different,
    Less,
    AtMost,
    More,
    AtLeast,
    In,
}

/// The types of values, as far as comparing goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the types'")]
pub(crate) enum Class {
    Null,
    Boolean,
    Number,
    Text,
    /// What `| decimal` gives.
    Decimal,
    List,
    Map,
}

impl Class {
    /// The class of a value; `None` for what is no value of the language.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        Some(match value.kind() {
            ValueKind::None => Self::Null,
            ValueKind::Bool => Self::Boolean,
            ValueKind::Number => Self::Number,
            ValueKind::String => Self::Text,
            ValueKind::Seq | ValueKind::Iterable => Self::List,
            ValueKind::Map => Self::Map,
            ValueKind::Plain if value.downcast_object_ref::<Decimal>().is_some() => Self::Decimal,
            _ => return None,
        })
    }

    /// In a few words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Null => "nothing (null)",
            Self::Boolean => "true or false",
            Self::Number => "a number",
            Self::Text => "text",
            Self::Decimal => "a decimal",
            Self::List => "a list",
            Self::Map => "a mapping",
        }
    }
}

/// What a value is, in a few words.
pub(crate) fn class_words(value: &Value) -> &'static str {
    Class::of(value).map_or("no value", Class::words)
}

impl Comparison {
    /// The same question with its sides exchanged; `None` where there is none.
    pub(crate) fn mirrored(self) -> Option<Self> {
        match self {
            Self::Equal | Self::Different => Some(self),
            Self::Less => Some(Self::More),
            Self::AtMost => Some(Self::AtLeast),
            Self::More => Some(Self::Less),
            Self::AtLeast => Some(Self::AtMost),
            Self::In => None,
        }
    }

    /// Whether it asks which of the two is larger.
    pub(crate) fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::AtMost | Self::More | Self::AtLeast)
    }
}

/// Whether the comparison holds.
///
/// # Errors
/// In words, when the two cannot be compared.
pub(crate) fn holds(comparison: Comparison, left: &Value, right: &Value) -> Result<bool, String> {
    match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::Different => equal(left, right).map(|equal| !equal),
        Comparison::Less => order(left, right).map(Ordering::is_lt),
        Comparison::AtMost => order(left, right).map(Ordering::is_le),
        Comparison::More => order(left, right).map(Ordering::is_gt),
        Comparison::AtLeast => order(left, right).map(Ordering::is_ge),
        Comparison::In => contains(right, left),
    }
}

fn equal(left: &Value, right: &Value) -> Result<bool, String> {
    match (Class::of(left), Class::of(right)) {
        (Some(Class::Null), _) | (_, Some(Class::Null)) => Ok(left.is_none() && right.is_none()),
        (Some(a), Some(b)) if a == b && a != Class::Decimal => Ok(left == right),
        (Some(Class::Decimal), _) | (_, Some(Class::Decimal)) => {
            match (decimal_of(left), decimal_of(right)) {
                (Some(a), Some(b)) => Ok(a == b),
                _ => Err(unlike(left, right)),
            }
        }
        _ => Err(unlike(left, right)),
    }
}

/// Texts of digits are ordered as numbers and texts that are times as times, because nobody means anything else by it; other texts
/// are ordered by their characters.
fn order(left: &Value, right: &Value) -> Result<Ordering, String> {
    if let (Some(a), Some(b)) = (left.as_str(), right.as_str()) {
        if let (Some(a), Some(b)) = (Decimal::parse(a), Decimal::parse(b)) {
            return Ok(a.cmp(&b));
        }
        if let (Ok(a), Ok(b)) = (DateTime::parse_from_rfc3339(a), DateTime::parse_from_rfc3339(b)) {
            return Ok(a.cmp(&b));
        }
        return Ok(a.cmp(b));
    }
    match (Class::of(left), Class::of(right)) {
        (Some(Class::Number), Some(Class::Number)) => Ok(left.cmp(right)),
        (Some(Class::Decimal), _) | (_, Some(Class::Decimal)) => {
            match (decimal_of(left), decimal_of(right)) {
                (Some(a), Some(b)) => Ok(a.cmp(&b)),
                _ => Err(unlike(left, right)),
            }
        }
        (Some(a), Some(b)) if a == b => Err(format!("{} has no order", a.words())),
        _ => Err(unlike(left, right)),
    }
}

fn contains(whole: &Value, part: &Value) -> Result<bool, String> {
    match Class::of(whole) {
        Some(Class::Text) => match part.as_str() {
            Some(part) => Ok(whole.as_str().is_some_and(|whole| whole.contains(part))),
            None => Err(format!("{} cannot be in text", class_words(part))),
        },
        Some(Class::Map) => Ok(whole.get_item(part).is_ok_and(|found| !found.is_undefined())),
        Some(Class::List) => {
            let mut unlike = None;
            for item in whole.try_iter().map_err(|error| error.to_string())? {
                match equal(&item, part) {
                    Ok(true) => return Ok(true),
                    Ok(false) => unlike = Some(None),
                    Err(why) => unlike = unlike.or(Some(Some(why))),
                }
            }
            // A list of nothing but other types is a slip, such as `5 in ['5', '6']`; a mixed list is not.
            unlike.flatten().map_or(Ok(false), Err)
        }
        _ => Err(format!("nothing can be `in` {}", class_words(whole))),
    }
}

/// Whether a value lies in a band, `{low, high}` or `[low, high]`, both included. Numbers and texts of digits may meet here.
///
/// # Errors
/// In words, when the band is none, or the value cannot be compared with its ends.
pub(crate) fn is_within(value: &Value, band: &Value) -> Result<bool, String> {
    let (low, high) = ends(band)?;
    let side = |end: &Value| {
        let mixed = value.is_number() != end.is_number();
        match (decimal_of(value), decimal_of(end)) {
            (Some(value), Some(end)) if mixed => Ok(value.cmp(&end)),
            _ => order(value, end),
        }
    };
    Ok(side(&low)?.is_ge() && side(&high)?.is_le())
}

/// The two ends of a band.
pub(crate) fn ends(band: &Value) -> Result<(Value, Value), String> {
    let found = match Class::of(band) {
        Some(Class::Map) => (band.get_attr("low"), band.get_attr("high")),
        Some(Class::List) if band.len() == Some(2) => (band.get_item_by_index(0), band.get_item_by_index(1)),
        _ => return Err(format!("a band is {{low, high}} or [low, high], not {}", class_words(band))),
    };
    match found {
        (Ok(low), Ok(high)) if !low.is_undefined() && !high.is_undefined() => Ok((low, high)),
        _ => Err("a band has the keys `low` and `high`".to_owned()),
    }
}

/// The decimal that a value is: what `| decimal` gave, text of digits, or a whole number.
pub(crate) fn decimal_of(value: &Value) -> Option<Decimal> {
    if let Some(decimal) = value.downcast_object_ref::<Decimal>() {
        return Some(decimal.clone());
    }
    match value.as_str() {
        Some(text) => Decimal::parse(text),
        None if value.is_number() => Decimal::parse(&value.to_string()),
        None => None,
    }
}

fn unlike(left: &Value, right: &Value) -> String {
    format!("{} cannot be compared with {}", class_words(left), class_words(right))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::expr::datum::value_of;

    fn check(left: serde_json::Value, sign: &str, right: serde_json::Value, expected: Result<bool, &str>) {
        use Comparison::{AtLeast, AtMost, Different, Equal, In, Less, More};
        let all = [
            ("==", Equal),
            ("!=", Different),
            ("<", Less),
            ("<=", AtMost),
            (">", More),
            (">=", AtLeast),
            ("in", In),
        ];
        let comparison = all.into_iter().find(|(written, _)| *written == sign).unwrap().1;
        let found = holds(comparison, &value_of(&left), &value_of(&right));
        assert_eq!(found, expected.map_err(str::to_owned), "{left} {sign} {right}");
    }

    #[test]
    fn like_is_compared_with_like() {
        check(json!(1), "==", json!(1.0), Ok(true));
        check(json!("a"), "!=", json!("b"), Ok(true));
        check(json!(null), "==", json!("a"), Ok(false));
        check(json!({"a": [1]}), "==", json!({"a": [1]}), Ok(true));
        check(json!(2), "<", json!(10), Ok(true));
        check(json!("44000000037600005"), "<", json!("100000000000000000000000000"), Ok(true));
        check(json!("9"), ">=", json!("10"), Ok(false));
        check(json!("9a"), ">=", json!("10a"), Ok(true));
        check(json!("2026-01-01T00:30:00+01:00"), "<", json!("2026-01-01T00:00:00Z"), Ok(true));
        check(json!("b"), "in", json!(["a", "b"]), Ok(true));
        check(json!("b"), "in", json!("abc"), Ok(true));
        check(json!("b"), "in", json!({"b": 1}), Ok(true));
        check(json!("b"), "in", json!([1, "a"]), Ok(false));
        check(json!("b"), "in", json!([]), Ok(false));
    }

    #[test]
    fn unlike_things_are_refused() {
        check(json!("5"), "==", json!(5), Err("text cannot be compared with a number"));
        check(json!(true), "==", json!(1), Err("true or false cannot be compared with a number"));
        check(json!(5), "<", json!("10"), Err("a number cannot be compared with text"));
        check(json!([1]), "<", json!([2]), Err("a list has no order"));
        check(json!(null), "<", json!(null), Err("nothing (null) has no order"));
        check(json!(5), "in", json!(["5", "6"]), Err("text cannot be compared with a number"));
        check(json!(5), "in", json!("5"), Err("a number cannot be in text"));
        check(json!(5), "in", json!(5), Err("nothing can be `in` a number"));
    }

    #[test]
    fn bands_include_both_ends() {
        let within = |value, band| is_within(&value_of(&value), &value_of(&band));
        for (value, band, expected) in [
            (json!(1), json!({"low": 1, "high": 5}), true),
            (json!(5), json!([1, 5]), true),
            (json!(0), json!([1, 5]), false),
            (json!(5.5), json!([1, 5]), false),
            (json!("9"), json!({"low": "8", "high": "10"}), true),
            (json!(9), json!({"low": "8", "high": "10"}), true),
            (json!("9"), json!([8, 10]), true),
        ] {
            assert_eq!(within(value.clone(), band.clone()), Ok(expected), "{value} {band}");
        }
        for (value, band, why) in [
            (json!(1), json!(5), "a band is {low, high} or [low, high], not a number"),
            (json!(1), json!([1]), "a band is {low, high} or [low, high], not a list"),
            (json!(1), json!({"low": 1}), "a band has the keys `low` and `high`"),
            (json!("x"), json!([1, 5]), "text cannot be compared with a number"),
            (json!(1), json!([null, 5]), "a number cannot be compared with nothing (null)"),
        ] {
            assert_eq!(within(value, band), Err(why.to_owned()));
        }
    }
}
