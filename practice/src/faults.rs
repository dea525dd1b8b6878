//! Faults that a practice server commits on purpose, by rules given before it starts. Main type: [`Faults`].

use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is dropped before anything is done.
    CutBefore,
    /// The work is done and recorded, then the connection is dropped instead of an answer.
    CutAfter,
    /// Nothing is done; this error is answered. `code` is an HTTP status or a SQL Server error number.
    Error {
        /// HTTP status, or error number of SQL Server.
        code: i64,
        /// The error's text.
        message: String,
    },
    /// The work is done and recorded as held; no answer comes until the peer goes away. A statement in a transaction is only done at the
    /// end of that, which is held then.
    Hold,
    /// The request waits this long, then proceeds.
    Slow {
        /// Milliseconds.
        ms: u64,
    },
    /// Whatever the request writes to disk fails as on a full one.
    DiskFull,
    /// The work is done and recorded; this much of the answer's body is sent, then the connection is dropped.
    /// HTTP servers alone.
    CutAt {
        /// Bytes of the body.
        bytes: u64,
    },
    /// The work is done and recorded, then this error is answered. HTTP servers alone.
    ErrorAfter {
        /// HTTP status.
        code: i64,
        /// The error's text.
        message: String,
    },
    /// Another SHA-256 than the file's is said of a snapshot: when it is made, then in every list as well; when
    /// snapshots are listed, in that list. Qdrant alone.
    Checksum,
    /// The work is done and recorded; then the server drops all connections without an answer, and refuses new
    /// ones for so long. HTTP servers alone.
    Away {
        /// Milliseconds.
        ms: u64,
    },
}

/// Why a text of fault rules is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FaultsError {
    /// The text is not a JSON array of rules, or a rule has an unknown key or a value of the wrong type.
    #[error("the fault rules are not a JSON array of rules: {0}")]
    Syntax(String),
    /// A rule is well-formed and makes no sense.
    #[error("fault rule {rule}: {why}")]
    Rule {
        /// Which rule, counted from 1.
        rule: usize,
        /// What is wrong with it.
        why: &'static str,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    #[serde(default = "anything")]
    server: String,
    #[serde(default = "anything")]
    op: String,
    attempt: Option<String>,
    nth: Option<u64>,
    times: Option<u64>,
    #[serde(rename = "do")]
    act: Act,
    code: Option<i64>,
    message: Option<String>,
    ms: Option<u64>,
    bytes: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Act {
    CutBefore,
    CutAfter,
    Error,
    Hold,
    Slow,
    DiskFull,
    CutAt,
    ErrorAfter,
    Checksum,
    Away,
}

#[derive(Debug)]
struct Rule {
    server: String,
    op: String,
    attempt: Option<String>,
    first: u64,
    last: u64,
    seen: u64,
    fault: Fault,
}

/// The rules, with how often each has matched; clones share the counts.
///
/// `[{"server": "qdrant*", "op": "POST */snapshots", "nth": 2, "do": "hold"}]`: in `server`, `op` and
/// `attempt`, `*` stands for any text and `?` for one character; `nth` (from 1) is the first match that the
/// rule acts on and `times` for how many in a row. Where several rules act on one request, the first wins.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    rules: Arc<Mutex<Vec<Rule>>>,
}

impl Faults {
    /// Reads a JSON array of rules.
    ///
    /// # Errors
    /// [`FaultsError::Syntax`] with line and column, or [`FaultsError::Rule`] with the rule's number.
    pub fn parse(text: &str) -> Result<Self, FaultsError> {
        let texts: Vec<RuleText> =
            serde_json::from_str(text).map_err(|error| FaultsError::Syntax(error.to_string()))?;
        let rules = texts
            .into_iter()
            .enumerate()
            .map(|(at, text)| text.rule().map_err(|why| FaultsError::Rule { rule: at + 1, why }))
            .collect::<Result<_, _>>()?;
        Ok(Self { rules: Arc::new(Mutex::new(rules)) })
    }

    /// The fault that this request meets, if any. Asking counts: ask once a request.
    #[must_use]
    pub fn hit(&self, server: &str, attempt: Option<&str>, op: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fault = None;
        for rule in rules.iter_mut().filter(|rule| rule.matches(server, attempt, op)) {
            rule.seen += 1;
            if fault.is_none() && (rule.first..=rule.last).contains(&rule.seen) {
                fault = Some(rule.fault.clone());
            }
        }
        fault
    }
}

impl Rule {
    fn matches(&self, server: &str, attempt: Option<&str>, op: &str) -> bool {
        let attempt_fits = match (&self.attempt, attempt) {
            (None, _) => true,
            (Some(glob), Some(attempt)) => glob_matches(glob, attempt),
            (Some(_), None) => false,
        };
        attempt_fits && glob_matches(&self.server, server) && glob_matches(&self.op, op)
    }
}

impl RuleText {
    fn rule(self) -> Result<Rule, &'static str> {
        let fault = self.fault()?;
        let first = self.nth.unwrap_or(1);
        let times = self.times.unwrap_or(1);
        if first == 0 {
            return Err("`nth` counts from 1");
        }
        if times == 0 {
            return Err("`times` is at least 1");
        }
        let last = first.saturating_add(times - 1);
        Ok(Rule { server: self.server, op: self.op, attempt: self.attempt, first, last, seen: 0, fault })
    }

    fn fault(&self) -> Result<Fault, &'static str> {
        let message = || self.message.clone().unwrap_or_else(|| "fault".into());
        let fault = match (self.act, self.code, self.ms, self.bytes) {
            (Act::Error, Some(code), ..) => Fault::Error { code, message: message() },
            (Act::Error, None, ..) => return Err("`do: error` needs a `code`"),
            (Act::ErrorAfter, Some(code), ..) => Fault::ErrorAfter { code, message: message() },
            (Act::ErrorAfter, None, ..) => return Err("`do: error_after` needs a `code`"),
            (Act::Slow, _, Some(ms), _) => Fault::Slow { ms },
            (Act::Slow, _, None, _) => return Err("`do: slow` needs `ms`"),
            (Act::Away, _, Some(ms), _) => Fault::Away { ms },
            (Act::Away, _, None, _) => return Err("`do: away` needs `ms`"),
            (Act::CutAt, _, _, Some(bytes)) => Fault::CutAt { bytes },
            (Act::CutAt, _, _, None) => return Err("`do: cut_at` needs `bytes`"),
            (Act::CutBefore, ..) => Fault::CutBefore,
            (Act::CutAfter, ..) => Fault::CutAfter,
            (Act::Hold, ..) => Fault::Hold,
            (Act::DiskFull, ..) => Fault::DiskFull,
            (Act::Checksum, ..) => Fault::Checksum,
        };
        let says = matches!(fault, Fault::Error { .. } | Fault::ErrorAfter { .. });
        if !says && (self.code.is_some() || self.message.is_some()) {
            return Err("`code` and `message` belong to `do: error` and `do: error_after` alone");
        }
        if !matches!(fault, Fault::Slow { .. } | Fault::Away { .. }) && self.ms.is_some() {
            return Err("`ms` belongs to `do: slow` and `do: away` alone");
        }
        if !matches!(fault, Fault::CutAt { .. }) && self.bytes.is_some() {
            return Err("`bytes` belongs to `do: cut_at` alone");
        }
        Ok(fault)
    }
}

fn anything() -> String {
    "*".into()
}

/// Whether `text` fits `glob`: `*` is any text (also with `/`), `?` any one character.
fn glob_matches(glob: &str, text: &str) -> bool {
    let glob: Vec<char> = glob.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // `fits[i]` says whether the glob read so far fits the first `i` characters.
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    for wanted in glob {
        let mut before = fits[0];
        fits[0] &= wanted == '*';
        for (at, found) in text.iter().enumerate() {
            let here = fits[at + 1];
            fits[at + 1] =
                if wanted == '*' { here || fits[at] } else { before && (wanted == '?' || wanted == *found) };
            before = here;
        }
    }
    fits[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rules: &str, requests: &[(&str, Option<&str>, &str)], expected: &[Option<Fault>]) {
        let faults = Faults::parse(rules).unwrap();
        let met: Vec<_> =
            requests.iter().map(|(server, attempt, op)| faults.clone().hit(server, *attempt, op)).collect();
        assert_eq!(met, expected);
    }

    #[test]
    fn a_rule_acts_on_its_nth_match_for_as_many_times() {
        let get = ("qdrant", None, "GET /");
        check(
            r#"[{"server": "qdrant*", "op": "GET *", "nth": 2, "times": 2, "do": "cut_before"}]"#,
            &[get, ("api", None, "GET /"), get, get, get],
            &[None, None, Some(Fault::CutBefore), Some(Fault::CutBefore), None],
        );
    }

    #[test]
    fn what_a_fault_needs_stands_beside_it() {
        check(
            r#"[{"do": "cut_at", "bytes": 7}, {"nth": 2, "do": "away", "ms": 5}, {"nth": 3, "do": "error_after", "code": 500}]"#,
            &[("api", None, "GET /"), ("api", None, "GET /"), ("api", None, "GET /")],
            &[
                Some(Fault::CutAt { bytes: 7 }),
                Some(Fault::Away { ms: 5 }),
                Some(Fault::ErrorAfter { code: 500, message: "fault".into() }),
            ],
        );
    }

    #[test]
    fn an_attempt_glob_needs_an_attempt() {
        check(
            r#"[{"op": "PUT *", "attempt": "*/restore/1", "do": "slow", "ms": 5}]"#,
            &[
                ("api", None, "PUT /x"),
                ("api", Some("r/restore/2"), "PUT /x"),
                ("api", Some("r/restore/1"), "PUT /x"),
            ],
            &[None, None, Some(Fault::Slow { ms: 5 })],
        );
    }

    #[test]
    fn the_first_of_two_rules_wins_and_both_count() {
        check(
            r#"[{"do": "hold"}, {"nth": 2, "do": "error", "code": 503, "message": "busy"}]"#,
            &[("api", None, "GET /a"), ("api", None, "GET /b"), ("api", None, "GET /c")],
            &[Some(Fault::Hold), Some(Fault::Error { code: 503, message: "busy".into() }), None],
        );
    }

    #[track_caller]
    fn refused(rules: &str, expected: &str) {
        let error = Faults::parse(rules).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }

    #[test]
    fn refusals_say_which_rule_and_why() {
        refused(r#"[{"do": "hold", "on": "x"}]"#, "unknown field `on`, expected one of `server`");
        refused(r#"[{"do": "explode"}]"#, "unknown variant `explode`");
        refused(r#"{"do": "hold"}"#, "not a JSON array of rules: invalid type: map");
        refused(r#"[{"do": "hold"}, {"do": "slow"}]"#, "fault rule 2: `do: slow` needs `ms`");
        refused(r#"[{"do": "error", "message": "x"}]"#, "fault rule 1: `do: error` needs a `code`");
        refused(r#"[{"do": "hold", "nth": 0}]"#, "`nth` counts from 1");
        refused(r#"[{"do": "hold", "code": 1}]"#, "belong to `do: error` and `do: error_after`");
        refused(r#"[{"do": "cut_at"}]"#, "`do: cut_at` needs `bytes`");
        refused(r#"[{"do": "error_after"}]"#, "`do: error_after` needs a `code`");
        refused(r#"[{"do": "away"}]"#, "`do: away` needs `ms`");
        refused(r#"[{"do": "hold", "ms": 1}]"#, "`ms` belongs to `do: slow` and `do: away` alone");
        refused(r#"[{"do": "checksum", "bytes": 1}]"#, "`bytes` belongs to `do: cut_at` alone");
    }

    #[test]
    fn globs() {
        let cases = [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("POST */snapshots", "POST /collections/x/snapshots", true),
            ("POST */snapshots", "POST /collections/x/snapshots/upload", false),
            ("qdrant-?", "qdrant-1", true),
            ("qdrant-?", "qdrant", false),
            ("", "x", false),
        ];
        for (glob, text, expected) in cases {
            assert_eq!(glob_matches(glob, text), expected, "{glob} on {text}");
        }
    }
}
