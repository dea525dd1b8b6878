//! Names and texts in T-SQL: [`Identifier`], [`bracketed`], [`quoted`]. Nothing else in this folder quotes.

use drydock_step::StepError;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name in UTF-16 units: `sysname` is nvarchar(128).
const LONGEST_NAME: usize = 128;

/// The name of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier(String);

impl Identifier {
    /// The name that this text is.
    ///
    /// # Errors
    /// `input`, when it is empty, longer than 128 UTF-16 units, or has control characters.
    pub fn parse(text: &str) -> Result<Self, StepError> {
        let bad =
            |why: &str| Err(StepError::new("input", format!("`{text}` is no name in SQL Server: {why}")));
        if text.is_empty() {
            return bad("it is empty");
        }
        if text.encode_utf16().count() > LONGEST_NAME {
            return bad("it is longer than 128 characters");
        }
        // A backslash before a line's end would join the lines of a literal.
        if text.chars().any(char::is_control) {
            return bad("control characters may not be in it");
        }
        Ok(Self(text.to_owned()))
    }

    /// As it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As a name in a statement: `[OctopusDB]`.
    pub fn bracketed(&self) -> String {
        bracketed(&self.0)
    }

    /// As a text in a statement: `N'OctopusDB'`.
    pub fn quoted(&self) -> String {
        quoted(&self.0)
    }
}

impl std::fmt::Display for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Identifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Identifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| D::Error::custom(error.message))
    }
}

/// A name in brackets, whatever is in it.
pub(super) fn bracketed(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// A text as a Unicode literal.
pub(super) fn quoted(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

/// The longest text in one literal, in UTF-16 units; longer ones are cut off when they are joined.
const LONGEST_LITERAL: usize = 4000;

/// A text of any length as an expression that stays on its line: a line's end within a literal would be taken for one of the script's.
pub(super) fn spelled(text: &str) -> String {
    if !text.chars().any(char::is_control) && text.encode_utf16().count() <= LONGEST_LITERAL {
        return quoted(text);
    }
    let (mut spelled, mut piece, mut units) = ("CAST(N'' AS nvarchar(max))".to_owned(), String::new(), 0);
    let flush = |spelled: &mut String, piece: &mut String| {
        if !piece.is_empty() {
            spelled.push_str(&format!(" + {}", quoted(piece)));
            piece.clear();
        }
    };
    for c in text.chars() {
        if c.is_control() {
            flush(&mut spelled, &mut piece);
            units = 0;
            spelled.push_str(&format!(" + NCHAR({})", u32::from(c)));
            continue;
        }
        if units + c.len_utf16() > LONGEST_LITERAL {
            flush(&mut spelled, &mut piece);
            units = 0;
        }
        piece.push(c);
        units += c.len_utf16();
    }
    flush(&mut spelled, &mut piece);
    spelled
}

/// The name of a table as a plan writes it, `Octopus_Episodes` or `drydock.marks`, in brackets within a database.
pub(super) fn table_in(database: &Identifier, table: &str) -> String {
    table_below(&database.bracketed(), table)
}

/// The same below a database's name that is in brackets already.
pub(super) fn table_below(database: &str, table: &str) -> String {
    let (schema, table) = table.split_once('.').unwrap_or(("dbo", table));
    format!("{database}.{}.{}", bracketed(schema), bracketed(table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_quotes() {
        for (name, as_name, as_text) in [
            ("OctopusDB", "[OctopusDB]", "N'OctopusDB'"),
            ("a]b[c", "[a]]b[c]", "N'a]b[c'"),
            ("it's; DROP", "[it's; DROP]", "N'it''s; DROP'"),
            ("Großes Ärgernis, 7", "[Großes Ärgernis, 7]", "N'Großes Ärgernis, 7'"),
            (" led and trailed ", "[ led and trailed ]", "N' led and trailed '"),
        ] {
            let name = Identifier::parse(name).unwrap();
            assert_eq!((name.bracketed().as_str(), name.quoted().as_str()), (as_name, as_text));
        }
        let database = Identifier::parse("a]b").unwrap();
        assert_eq!(table_in(&database, "drydock.marks"), "[a]]b].[drydock].[marks]");
        assert_eq!(table_in(&database, "Octopus_Episodes"), "[a]]b].[dbo].[Octopus_Episodes]");
    }

    #[test]
    fn a_long_text_of_many_lines_stays_on_one() {
        assert_eq!(spelled("it's"), "N'it''s'");
        assert_eq!(
            spelled("a\r\nGO\n"),
            "CAST(N'' AS nvarchar(max)) + N'a' + NCHAR(13) + NCHAR(10) + N'GO' + NCHAR(10)"
        );
        let long = spelled(&"é".repeat(4001));
        assert_eq!(long.matches(" + N'").count(), 2, "{long}");
        assert_eq!(long.matches('é').count(), 4001);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (name, words) in [
            ("", "it is empty"),
            ("a\\\nb", "control characters"),
            (&"x".repeat(129), "longer than 128"),
            (&"𝄞".repeat(65), "longer than 128"),
        ] {
            let error = Identifier::parse(name).unwrap_err();
            assert!(error.code == "input" && error.message.contains(words), "{error}");
        }
        assert!(Identifier::parse(&"𝄞".repeat(64)).is_ok());
    }
}
