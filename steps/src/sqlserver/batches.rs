//! A script cut at its GO lines into [`Batch`]es, as sqlcmd cuts it.

use super::lexer::{TokenKind, tokens};

/// One batch of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch<'a> {
    /// Its text, without the GO.
    pub(super) text: &'a str,
    /// The line of the script that it begins on, counted from 1.
    pub(super) line: usize,
    /// How often it is run: `GO 5` repeats what stands before it.
    pub(super) times: u32,
}

/// The batches of a script that have anything in them beside comments.
pub(super) fn batches(script: &str) -> Vec<Batch<'_>> {
    let mut found = Vec::new();
    let mut begin = 0;
    for token in tokens(script).iter().filter(|token| token.is_word("GO")) {
        if let Some(separator) = separator_at(script, token.at) {
            found.push((begin, separator.line_begin, separator.times));
            begin = separator.line_end;
        }
    }
    found.push((begin, script.len(), 1));
    let batch = |(from, to, times)| {
        let text: &str = &script[from..to];
        let something = tokens(text).iter().any(|token| token.kind != TokenKind::Comment);
        let blank = text.len() - text.trim_start().len();
        let line = 1 + script[..from + blank].matches('\n').count();
        (something && times > 0).then(|| Batch { text: text.trim(), line, times })
    };
    found.into_iter().filter_map(batch).collect()
}

struct Separator {
    line_begin: usize,
    line_end: usize,
    times: u32,
}

/// The separator whose GO stands at `at`, when nothing else but a count and a comment is on its line.
fn separator_at(script: &str, at: usize) -> Option<Separator> {
    let line_begin = script[..at].rfind('\n').map_or(0, |end| end + 1);
    let line_end = script[at..].find('\n').map_or(script.len(), |end| at + end);
    if !script[line_begin..at].trim().is_empty() {
        return None;
    }
    let after = &script[at + "GO".len()..line_end];
    let count = after.split("--").next().unwrap_or_default().trim();
    let times = if count.is_empty() { 1 } else { count.parse().ok()? };
    Some(Separator { line_begin, line_end, times })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, expected: &[(usize, u32, &str)]) {
        let found = batches(script);
        let found: Vec<_> = found.iter().map(|batch| (batch.line, batch.times, batch.text)).collect();
        assert_eq!(found, expected, "{script}");
    }

    #[test]
    fn go_separates_where_sqlcmd_separates() {
        check("SELECT 1", &[(1, 1, "SELECT 1")]);
        check("SELECT 1\nGO\nSELECT 2\ngo\n", &[(1, 1, "SELECT 1"), (3, 1, "SELECT 2")]);
        check("\n\n  A\r\n GO 3 -- thrice\r\n\r\nB", &[(3, 3, "A"), (6, 1, "B")]);
        check("GO\nGO\n-- nothing\nGO\n", &[]);
        check("A\nGO 0\nB", &[(3, 1, "B")]);
    }

    #[test]
    fn go_elsewhere_is_none() {
        for script in [
            "SELECT 'a\nGO\nb'",
            "SELECT [a\nGO\nb]",
            "/* a\nGO\n/* b */\nGO\n*/ SELECT 1",
            "SELECT 1 AS\nGO;",
            "SELECT GO",
            "EXEC a\nGO b",
            "SELECT 1 --\\\n'\nGO'",
            "GOTO x\nGONE",
        ] {
            assert_eq!(batches(script).len(), 1, "{script}");
        }
    }
}
