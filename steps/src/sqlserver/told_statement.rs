//! A statement as a failure tells it, without what must not be told. Main function: [`told`].

use super::lexer::{Token, TokenKind, tokens};

/// What stands where a password stood.
const MASK: &str = "***";

/// Words and variables after which a password stands.
const BEFORE: [&str; 7] =
    ["PASSWORD", "OLD_PASSWORD", "SECRET", "@password", "@passwd", "@rmtpassword", "@provstr"];

/// The statement with `***` for every password in it. A text within which one may be set, as of EXEC, is not told at all.
pub(super) fn told(sql: &str) -> String {
    let mut told = String::new();
    let mut copied = 0;
    let mut follows = false;
    for token in tokens(sql) {
        if follows && (token.text == "=" || token.kind == TokenKind::Comment) {
            continue;
        }
        if (follows && !names_one(&token)) || sets_one(&token) {
            told.push_str(&sql[copied..token.at]);
            told.push_str(MASK);
            copied = token.at + token.text.len();
        }
        follows = names_one(&token);
    }
    told.push_str(&sql[copied..]);
    told
}

fn names_one(token: &Token<'_>) -> bool {
    matches!(token.kind, TokenKind::Word | TokenKind::Variable)
        && BEFORE.iter().any(|word| token.text.eq_ignore_ascii_case(word))
}

/// Whether a text holds a statement in which a password may stand.
fn sets_one(token: &Token<'_>) -> bool {
    let text = token.text.to_uppercase();
    let is_text = token.kind == TokenKind::Quoted && (text.starts_with('\'') || text.starts_with("N'"));
    is_text && ["PASSWORD", "SECRET"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_told() {
        for (sql, expected) in [
            ("BACKUP LOG [x] TO DISK = N'a'", "BACKUP LOG [x] TO DISK = N'a'"),
            (
                "CREATE LOGIN [a] WITH PASSWORD = N'p''w', SID = 0x01",
                "CREATE LOGIN [a] WITH PASSWORD = ***, SID = 0x01",
            ),
            ("ALTER LOGIN a WITH PASSWORD=0x0200ab HASHED", "ALTER LOGIN a WITH PASSWORD=*** HASHED"),
            (
                "ALTER LOGIN a WITH password /* new */ = 'x' OLD_PASSWORD = 'y'",
                "ALTER LOGIN a WITH password /* new */ = *** OLD_PASSWORD = ***",
            ),
            ("(FILE = N'f', DECRYPTION BY PASSWORD = N'k')", "(FILE = N'f', DECRYPTION BY PASSWORD = ***)"),
            (
                "CREATE CREDENTIAL c WITH IDENTITY = 'i', SECRET = 's'",
                "CREATE CREDENTIAL c WITH IDENTITY = 'i', SECRET = ***",
            ),
            ("EXEC sp_addlinkedserver @provstr = N'p;q'", "EXEC sp_addlinkedserver @provstr = ***"),
            ("EXEC (N'CREATE LOGIN a WITH PASSWORD = ''x''') AT far", "EXEC (***) AT far"),
            ("CREATE LOGIN a WITH PASSWORD = 'never closed", "CREATE LOGIN a WITH PASSWORD = ***"),
        ] {
            assert_eq!(told(sql), expected);
        }
    }
}
