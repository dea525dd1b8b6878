//! T-SQL's LIKE. Main function: [`like`].

/// T-SQL's LIKE: `%`, `_`, `[a-z]`, `[^a-z]`, without regard to case.
#[must_use]
pub fn like(text: &str, pattern: &str, escape: Option<char>) -> bool {
    let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
    let pattern: Vec<char> = pattern.chars().flat_map(char::to_lowercase).collect();
    let parts = like_parts(&pattern, escape);
    // `fits[i]`: the parts so far match the first `i` characters.
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    for part in &parts {
        let mut next = vec![false; text.len() + 1];
        match part {
            Part::Any => {
                let mut seen = false;
                for (slot, fit) in next.iter_mut().zip(&fits) {
                    seen |= fit;
                    *slot = seen;
                }
            }
            Part::One(accepts) => {
                for (at, c) in text.iter().enumerate() {
                    next[at + 1] = fits[at] && accepts.contains(*c);
                }
            }
        }
        fits = next;
    }
    fits.last().copied().unwrap_or(false)
}

enum Part {
    Any,
    One(Class),
}

struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn contains(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

fn like_parts(pattern: &[char], escape: Option<char>) -> Vec<Part> {
    let exactly = |c: char| Part::One(Class { negated: false, ranges: vec![(c, c)] });
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let [c, after @ ..] = rest {
        rest = after;
        match (*c, rest) {
            (c, [literal, after @ ..]) if Some(c) == escape => {
                parts.push(exactly(*literal));
                rest = after;
            }
            ('%', _) => parts.push(Part::Any),
            ('_', _) => parts.push(Part::One(Class { negated: true, ranges: Vec::new() })),
            ('[', _) => match rest.iter().position(|c| *c == ']') {
                Some(end) => {
                    let (inside, after) = rest.split_at(end);
                    parts.push(Part::One(class(inside)));
                    rest = &after[1..];
                }
                None => parts.push(exactly('[')),
            },
            (c, _) => parts.push(exactly(c)),
        }
    }
    parts
}

fn class(inside: &[char]) -> Class {
    let (negated, mut rest) = match inside {
        ['^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut ranges = Vec::new();
    loop {
        rest = match rest {
            [low, '-', high, after @ ..] => {
                ranges.push((*low, *high));
                after
            }
            [one, after @ ..] => {
                ranges.push((*one, *one));
                after
            }
            [] => return Class { negated, ranges },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_knows_classes_and_escapes() {
        let cases = [
            ("dd_01ABC", "dd[_]%", None, true),
            ("ddx01ABC", "dd[_]%", None, false),
            ("BACKUP DATABASE", "backup%", None, true),
            ("a1", "a[0-9]", None, true),
            ("ab", "a[^0-9]", None, true),
            ("100%", "100!%", Some('!'), true),
            ("1000", "100!%", Some('!'), false),
            ("", "%", None, true),
        ];
        for (text, pattern, escape, expected) in cases {
            assert_eq!(like(text, pattern, escape), expected, "{text} LIKE {pattern}");
        }
    }
}
