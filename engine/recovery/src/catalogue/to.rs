//! [`To`]: what a restore is asked to go back to.

use crate::Time;

/// The `to:` of a restore; it has no default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// The newest good point of the current line of history.
    Latest,
    /// The newest good point or log point of it: the last provable moment.
    End,
    /// The newest point or log point at or before a time.
    At(Time),
    /// A point or log point by its id, or the beginning of it that no other has.
    Id(String),
}

impl To {
    /// What a text asks for: `point:latest`, `end`, an RFC 3339 time, or else an id or the beginning of one.
    pub fn parse(text: &str) -> To {
        match text {
            "point:latest" => To::Latest,
            "end" => To::End,
            _ => match text.parse::<Time>() {
                Ok(at) => To::At(at),
                Err(_) => To::Id(text.strip_prefix("point:").unwrap_or(text).to_ascii_uppercase()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_spelling_is_told_apart() {
        let at = "2026-07-14T03:00:00Z".parse().expect("a time");
        assert_eq!(To::parse("point:latest"), To::Latest);
        assert_eq!(To::parse("end"), To::End);
        assert_eq!(To::parse("2026-07-14T05:00:00+02:00"), To::At(at));
        assert_eq!(To::parse("01k0abc"), To::Id("01K0ABC".into()));
        assert_eq!(To::parse("point:01K0ABC"), To::Id("01K0ABC".into()));
    }
}
