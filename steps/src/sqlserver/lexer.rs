//! T-SQL cut into [`Token`]s, as far as deciding needs it: what is a word and what stands inside a text, a name or a comment.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword, a bare name or a number.
    Word,
    /// `@name`.
    Variable,
    /// A text, or a name in brackets or double quotes, with its delimiters.
    Quoted,
    /// A comment.
    Comment,
    /// Any other character that is no blank.
    Symbol,
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// What it is.
    pub(super) kind: TokenKind,
    /// As written.
    pub(super) text: &'a str,
    /// Its first byte in the source.
    pub(super) at: usize,
}

impl Token<'_> {
    /// Whether it is this word, in any case of letters.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }
}

/// The tokens of a source; a text or comment that is not closed goes on to the end.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let rest = &source[at..];
        let (kind, length) = token_at(rest, first);
        found.push(Token { kind, text: &rest[..length], at });
        at += length;
    }
    found
}

/// The kind and length in bytes of the token that `rest` begins with.
fn token_at(rest: &str, first: char) -> (TokenKind, usize) {
    match first {
        '-' if rest.starts_with("--") => (TokenKind::Comment, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (TokenKind::Comment, block_comment(rest)),
        '\'' => (TokenKind::Quoted, quoted(rest, '\'')),
        '"' => (TokenKind::Quoted, quoted(rest, '"')),
        '[' => (TokenKind::Quoted, quoted(rest, ']')),
        'N' | 'n' if rest[1..].starts_with('\'') => (TokenKind::Quoted, 1 + quoted(&rest[1..], '\'')),
        '@' => (TokenKind::Variable, 1 + word(&rest[1..])),
        _ if is_word(first) => (TokenKind::Word, word(rest)),
        _ => (TokenKind::Symbol, first.len_utf8()),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '#' | '$')
}

fn word(rest: &str) -> usize {
    rest.find(|c| !is_word(c)).unwrap_or(rest.len())
}

/// The length of what is closed by `end`, where `end` twice stands for itself.
fn quoted(rest: &str, end: char) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == end {
            match chars.peek() {
                Some((_, next)) if *next == end => {
                    chars.next();
                }
                _ => return at + c.len_utf8(),
            }
        }
    }
    rest.len()
}

/// The length of a block comment; T-SQL nests them.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_of_something_is_no_word() {
        let check = |source: &str, expected: &[(TokenKind, &str)]| {
            let found: Vec<_> = tokens(source).iter().map(|token| (token.kind, token.text)).collect();
            assert_eq!(found, expected, "{source}");
        };
        use TokenKind::*;
        check("SELECT 1;", &[(Word, "SELECT"), (Word, "1"), (Symbol, ";")]);
        check("N'it''s' x", &[(Quoted, "N'it''s'"), (Word, "x")]);
        check("[a]]b]\"c\"\"d\"", &[(Quoted, "[a]]b]"), (Quoted, "\"c\"\"d\"")]);
        check("a--b\nc", &[(Word, "a"), (Comment, "--b"), (Word, "c")]);
        check("/* a /* b */ c */d", &[(Comment, "/* a /* b */ c */"), (Word, "d")]);
        check("@a=@@SPID", &[(Variable, "@a"), (Symbol, "="), (Variable, "@@SPID")]);
        check("'open", &[(Quoted, "'open")]);
        check("/* open é", &[(Comment, "/* open é")]);
        check("né'x'", &[(Word, "né"), (Quoted, "'x'")]);
        check("N", &[(Word, "N")]);
    }
}
