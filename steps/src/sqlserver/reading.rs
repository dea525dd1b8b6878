//! A query that only reads, and its parameters: [`ReadingQuery`]. The server runs it in a transaction that is rolled back; what could
//! end that transaction or reach beyond it is refused here.

use drydock_step::StepError;

use super::lexer::{Token, TokenKind, tokens};
use super::parameters::{numbered, variables};

/// Procedures that only tell.
const TELLING: &[&str] = &[
    "sp_columns",
    "sp_databases",
    "sp_help",
    "sp_helpdb",
    "sp_helpfile",
    "sp_helpindex",
    "sp_helptext",
    "sp_server_info",
    "sp_spaceused",
    "sp_tables",
    "sp_who",
    "sp_who2",
];

/// Words that no reading query has outside of quotes: all are reserved, or begin what changes another server.
const CHANGING: &[&str] = &[
    "ALTER",
    "BACKUP",
    "BEGIN",
    "COMMIT",
    "CREATE",
    "DBCC",
    "DECLARE",
    "DELETE",
    "DENY",
    "DROP",
    "EXEC",
    "EXECUTE",
    "GRANT",
    "INSERT",
    "INTO",
    "KILL",
    "MERGE",
    "OPENDATASOURCE",
    "OPENQUERY",
    "OPENROWSET",
    "RECONFIGURE",
    "RESTORE",
    "REVERT",
    "REVOKE",
    "ROLLBACK",
    "SAVE",
    "SET",
    "SHUTDOWN",
    "TRUNCATE",
    "UPDATE",
    "UPDATETEXT",
    "USE",
    "WAITFOR",
    "WRITETEXT",
];

/// What may follow such a word where it only gives advice: `INNER MERGE JOIN`, `OPTION (MERGE UNION)`, `OPTION (USE HINT(…))`.
const ADVISING: &[(&str, &[&str])] = &[("MERGE", &["JOIN", "UNION"]), ("USE", &["HINT", "PLAN"])];

/// A query, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadingQuery {
    /// Its text, with `@P1`, `@P2` … for the named parameters.
    pub(super) text: String,
    /// The names of the parameters in the order of their numbers.
    pub(super) parameters: Vec<String>,
}

impl ReadingQuery {
    /// The query of this text, whose parameters may be these.
    ///
    /// # Errors
    /// `query.writes` when it is not one statement that only reads; `query.parameter` when a parameter has no value or no use.
    pub(super) fn parse(text: &str, given: &[&str]) -> Result<Self, StepError> {
        let tokens: Vec<_> =
            tokens(text).into_iter().filter(|token| token.kind != TokenKind::Comment).collect();
        judge(&tokens)?;
        bound(text, &tokens, given)
    }
}

fn judge(tokens: &[Token<'_>]) -> Result<(), StepError> {
    let refused = |why: String| {
        let message = format!("this is no query that only reads: {why}");
        Err(StepError::new("query.writes", message).help(
            "a query is one SELECT (or WITH … SELECT), or EXEC of a procedure that only tells; to change something, run a script",
        ))
    };
    let Some(first) = tokens.first() else { return refused("it is empty".into()) };
    let rest = if first.is_word("SELECT") || first.is_word("WITH") {
        tokens.get(1..)
    } else if first.is_word("EXEC") || first.is_word("EXECUTE") {
        let procedure = tokens.get(1).map_or("", |token| token.text);
        if !TELLING.iter().any(|known| known.eq_ignore_ascii_case(procedure)) {
            return refused(format!("`{procedure}` is no procedure that is known to only tell"));
        }
        tokens.get(2..)
    } else {
        return refused(format!("it begins with `{}`", first.text));
    };
    let rest = rest.unwrap_or_default();
    for (at, token) in rest.iter().enumerate() {
        let next = rest.get(at + 1);
        if token.text == ";" && next.is_some() {
            return refused("it has more than one statement".into());
        }
        let Some(word) = CHANGING.iter().find(|word| token.is_word(word)) else { continue };
        let advice = ADVISING.iter().find(|(advised, _)| advised == word).map_or(&[][..], |(_, words)| words);
        if !advice.iter().any(|advice| next.is_some_and(|next| next.is_word(advice))) {
            return refused(format!("it says {word}"));
        }
    }
    Ok(())
}

/// The query with its parameters numbered, as the server takes them.
fn bound(text: &str, tokens: &[Token<'_>], given: &[&str]) -> Result<ReadingQuery, StepError> {
    let bad = |message: String| Err(StepError::new("query.parameter", message));
    if let Some((token, name)) = variables(tokens).find(|(_, name)| !given.contains(name)) {
        return bad(format!("`{}` has no value: `parameters` does not give `{name}`", token.text));
    }
    let (text, parameters) = numbered(text, tokens, given);
    if let Some(unused) = given.iter().find(|name| !parameters.iter().any(|used| used == *name)) {
        return bad(format!("`parameters` gives `{unused}`, and the query has no `@{unused}`"));
    }
    Ok(ReadingQuery { text, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_that_read_are_let_through() {
        for query in [
            "SELECT 1",
            "-- how many\nselect COUNT_BIG(*) AS n FROM Octopus_Episodes;",
            "WITH a AS (SELECT 1 AS x) SELECT x FROM a OPTION (MERGE JOIN, USE HINT('x'))",
            "SELECT [update], 'DELETE; DROP', \"insert\" FROM t /* INTO */",
            "SELECT a FROM b INNER MERGE JOIN c ON b.x = c.x",
            "EXEC sp_spaceused N'Octopus_Episodes'",
            "SELECT @@SERVERNAME AS s",
        ] {
            assert_eq!(ReadingQuery::parse(query, &[]).unwrap().text, query);
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_word() {
        for (query, why) in [
            ("", "it is empty"),
            ("-- nothing", "it is empty"),
            ("DELETE FROM t", "it begins with `DELETE`"),
            ("SELECT 1; SELECT 2", "more than one statement"),
            ("SELECT 1 DELETE FROM t", "it says DELETE"),
            ("SELECT * INTO copy FROM t", "it says INTO"),
            ("WITH a AS (SELECT 1 AS x) UPDATE t SET y = 1", "it says UPDATE"),
            ("SELECT 1\nEXEC xp_cmdshell 'x'", "it says EXEC"),
            ("SELECT 1 COMMIT", "it says COMMIT"),
            ("SELECT * FROM OPENQUERY(far, 'DELETE t')", "it says OPENQUERY"),
            ("EXEC sp_executesql N'DELETE t'", "`sp_executesql` is no procedure"),
            ("EXEC sp_who DROP TABLE t", "it says DROP"),
            ("SELECT 1 USE master", "it says USE"),
        ] {
            let error = ReadingQuery::parse(query, &[]).unwrap_err();
            assert_eq!(error.code, "query.writes", "{query}");
            assert!(error.message.ends_with(why) || error.message.contains(why), "{query}: {error}");
        }
    }

    #[test]
    fn parameters_are_numbered_and_accounted_for() {
        let query = "SELECT '@a', @b, @@SPID FROM t WHERE x = @a AND y = @b -- @c";
        let read = ReadingQuery::parse(query, &["a", "b"]).unwrap();
        assert_eq!(read.text, "SELECT '@a', @P1, @@SPID FROM t WHERE x = @P2 AND y = @P1 -- @c");
        assert_eq!(read.parameters, ["b", "a"]);
        let missing = ReadingQuery::parse("SELECT @a", &[]).unwrap_err();
        assert_eq!(missing.code, "query.parameter");
        assert_eq!(missing.message, "`@a` has no value: `parameters` does not give `a`");
        let unused = ReadingQuery::parse("SELECT 1", &["a"]).unwrap_err();
        assert_eq!(unused.message, "`parameters` gives `a`, and the query has no `@a`");
    }
}
