//! Secrets that stand in plain text where no secret is asked for, told by their form: [`plain_secret`].

use std::sync::LazyLock;

use regex::Regex;

use crate::codes;
use crate::finding::Finding;
use crate::source::Place;

/// A form that secrets have, in words, and what it looks like. What stands in braces or angle brackets is a place to fill in.
struct Form {
    words: &'static str,
    /// A part that every text of this form has, in lower case.
    has: &'static str,
    pattern: LazyLock<Option<Regex>>,
}

macro_rules! form {
    ($words:literal, $has:literal, $pattern:literal) => {
        Form { words: $words, has: $has, pattern: LazyLock::new(|| Regex::new($pattern).ok()) }
    };
}

static FORMS: [Form; 6] = [
    form!("a password in a URL", "://", r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/?#:@{}<>]+:[^\s/?#@{}<>*]+@[^\s@{]"),
    form!(
        "a password in a connection string",
        "=",
        r#"(?:^|;)\s*(?i-u:password|pwd)\s*=\s*[^\s;{}<>*"']+\s*(?:;|$)"#
    ),
    form!("a password in a statement", "'", r"\b(?i-u:with)\s+(?i-u:password)\s*=\s*N?'[^'{}<>*]+'"),
    form!("a private key", "-----begin", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----"),
    form!("an access key of AWS", "ia", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    form!("a token of a login", "bearer ", r"\b[Bb]earer [A-Za-z0-9._~+/-]{16,}=*(?:\s|$)"),
];

/// What secret a text holds, in words, told by its form alone.
pub(crate) fn plain_secret(text: &str) -> Option<&'static str> {
    // Nothing shorter has any of the forms, and most texts of a plan are that short.
    if text.len() < 8 || !text.contains(['=', ':', '\'', '-', 'A', ' ']) {
        return None;
    }
    let folded = text.to_ascii_lowercase();
    let holds = |form: &&Form| {
        folded.contains(form.has) && form.pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
    };
    FORMS.iter().find(holds).map(|form| form.words)
}

/// The finding for a text that holds a secret. The text itself is not repeated.
pub(crate) fn in_plain(place: Place, message: String) -> Finding {
    Finding::warning(codes::SECRET_IN_PLAIN, place, message)
        .label("anyone who reads this reads it")
        .help("take it out, and give it by a parameter of type secret: `\"{{ params.NAME }}\"`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_can_be_looked_for() {
        for form in &FORMS {
            assert!(form.pattern.is_some() && form.has == form.has.to_lowercase(), "{}", form.words);
        }
    }

    #[test]
    fn secrets_are_told_by_their_form() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(plain_secret(text), expected, "{text}");
        check("https://octopus:hunter2@qdrant:6333", Some("a password in a URL"));
        check("https://octopus:{{ params.p }}@qdrant:6333", None);
        check("https://octopus@qdrant:6333/a:b@c", None);
        check("https://qdrant:6333/x", None);
        check(
            "Server=sql01;User Id=sa;Password=hunter2;Encrypt=True",
            Some("a password in a connection string"),
        );
        check("Server=sql01;PWD = hunter2", Some("a password in a connection string"));
        check("Server=sql01;Password={{ params.p }};", None);
        check("Server=sql01;Password=***;", None);
        check("SELECT password = 1 FROM t WHERE password = @p", None);
        check("CREATE LOGIN a WITH PASSWORD = N'hunter2'", Some("a password in a statement"));
        check("CREATE LOGIN a WITH PASSWORD = '{{ params.p }}'", None);
        check("-----BEGIN RSA PRIVATE KEY-----\nMIIE", Some("a private key"));
        check("-----BEGIN CERTIFICATE-----\nMIIE", None);
        check("AKIAIOSFODNN7ABCDEFG", Some("an access key of AWS"));
        check("ASIAN restaurants of Vienna", None);
        check("Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", Some("a token of a login"));
        check("the bearer of this letter, of course", None);
        check("Bearer {{ params.token }}", None);
    }
}
