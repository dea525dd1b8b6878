//! A script as it is sent: [`ScriptText`], its batches with their values bound, and what in it could not be done.

use drydock_step::StepError;
use indexmap::{IndexMap, IndexSet};

use super::batches::batches;
use super::lexer::{Token, TokenKind, tokens};
use super::parameters::numbered;
use super::session::Parameter;

/// Statements that the server refuses inside a transaction, by the words that they begin with.
const ALONE: &[&[&str]] = &[
    &["ALTER", "DATABASE"],
    &["ALTER", "SERVER", "CONFIGURATION"],
    &["BACKUP"],
    &["CREATE", "DATABASE"],
    &["CREATE", "FULLTEXT"],
    &["DROP", "DATABASE"],
    &["KILL"],
    &["RECONFIGURE"],
    &["RESTORE"],
];

/// What follows CREATE, ALTER or CREATE OR ALTER where the variables of a batch are the module's own.
const MODULES: &[&str] = &["FUNCTION", "PROC", "PROCEDURE", "TRIGGER", "VIEW"];

/// One batch, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BoundBatch {
    /// Which one of the script it is, counted from 1.
    pub(super) number: usize,
    /// The line of the script that it begins on, counted from 1.
    pub(super) line: usize,
    /// Its text, with `@P1`, `@P2` … for the variables that have a value.
    pub(super) text: String,
    /// Their values.
    pub(super) values: Vec<Parameter>,
    /// How often it is run.
    pub(super) times: u32,
    /// The words of a statement in it that cannot stand in a transaction.
    pub(super) alone: Option<String>,
}

/// A script, cut at its GO lines.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ScriptText {
    /// Its batches, in order.
    pub(super) batches: Vec<BoundBatch>,
}

impl ScriptText {
    /// The script of this text, with these values for its variables.
    ///
    /// # Errors
    /// `script.sqlcmd` for what only sqlcmd understands, `script.empty`, `query.parameter` for a value that no batch uses.
    pub(super) fn parse(
        text: &str,
        values: &IndexMap<String, Parameter>,
        variables: SqlcmdVariables,
    ) -> Result<Self, StepError> {
        // Such a file often begins with a mark of its encoding, which is no T-SQL.
        let text = text.trim_start_matches('\u{feff}');
        refuse_sqlcmd(text, variables)?;
        let names: Vec<&str> = values.keys().map(String::as_str).collect();
        let mut unused: IndexSet<&str> = names.iter().copied().collect();
        let mut found = Vec::new();
        for (at, batch) in batches(text).iter().enumerate() {
            let tokens = words(batch.text);
            let (text, used) = if is_module(&tokens) {
                (batch.text.to_owned(), Vec::new())
            } else {
                numbered(batch.text, &tokens, &names)
            };
            for name in &used {
                unused.swap_remove(name.as_str());
            }
            let values = used.iter().filter_map(|name| values.get(name).cloned()).collect();
            let alone = alone(&tokens);
            found.push(BoundBatch {
                number: at + 1,
                line: batch.line,
                text,
                values,
                times: batch.times,
                alone,
            });
        }
        if found.is_empty() {
            return Err(StepError::new("script.empty", "the script has no statement")
                .help("is it the right file? A GO line with count 0 leaves its batch out"));
        }
        match unused.first() {
            None => Ok(Self { batches: found }),
            Some(name) => {
                let message =
                    format!("`parameters` gives `{name}`, and no batch of the script has `@{name}`");
                Err(StepError::new("query.parameter", message))
            }
        }
    }

    /// The first batch with a statement that cannot stand in a transaction.
    ///
    /// # Errors
    /// `script.transaction`, naming it.
    pub(super) fn fits_a_transaction(&self) -> Result<(), StepError> {
        let found = self.batches.iter().find_map(|batch| Some((batch, batch.alone.as_ref()?)));
        let Some((batch, words)) = found else { return Ok(()) };
        let message = format!(
            "batch {}, which begins on line {}, says {words}, which no transaction can hold",
            batch.number, batch.line
        );
        Err(StepError::new("script.transaction", message).help(
            "where running the script twice does no harm, say `idempotent: true`: it then runs without a transaction around it",
        ))
    }
}

/// What `$(name)` in a script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SqlcmdVariables {
    /// A variable of sqlcmd, which nobody would fill in: refused.
    Refused,
    /// Text like any other.
    Text,
}

fn words(text: &str) -> Vec<Token<'_>> {
    tokens(text).into_iter().filter(|token| token.kind != TokenKind::Comment).collect()
}

fn begins(tokens: &[Token<'_>], words: &[&str]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.is_word(word))
}

/// Whether the batch makes a procedure or the like, which stands alone in it.
fn is_module(tokens: &[Token<'_>]) -> bool {
    let rest = [&["CREATE", "OR", "ALTER"][..], &["CREATE"], &["ALTER"]]
        .into_iter()
        .find(|words| begins(tokens, words))
        .and_then(|words| tokens.get(words.len()));
    rest.is_some_and(|next| MODULES.iter().any(|module| next.is_word(module)))
}

/// The words of a statement that cannot stand in a transaction. Where a statement begins is told by the words before it alone: `KILL` in
/// the middle of a line is one only after a `;`, a line's beginning, or `BEGIN`, `ELSE` and `THEN`.
fn alone(tokens: &[Token<'_>]) -> Option<String> {
    if is_module(tokens) {
        return None;
    }
    (0..tokens.len()).find_map(|at| {
        let here = tokens.get(at..)?;
        let words = ALONE.iter().find(|words| begins(here, words))?;
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let starts = before.is_none_or(|before| {
            before.text == ";"
                || before.text == ")"
                || before.kind == TokenKind::Quoted
                || (before.kind == TokenKind::Word && !before.is_word("GRANT") && !before.is_word("DENY"))
        });
        starts.then(|| words.join(" "))
    })
}

/// sqlcmd's own commands and variables: to the server they are text, and a backup to `…_$(date).bak` makes a file of that very name.
fn refuse_sqlcmd(text: &str, variables: SqlcmdVariables) -> Result<(), StepError> {
    let refused = |at: usize, what: &str| {
        let line = 1 + text[..at].matches('\n').count();
        let message = format!("line {line} says `{what}`, which only sqlcmd understands");
        Err(StepError::new("script.sqlcmd", message).help(
            "give values by `parameters` (`@name`), or render the name in the plan; `sqlcmd_variables: text` sends `$(…)` as it stands",
        ))
    };
    let found = tokens(text);
    for (at, token) in found.iter().enumerate() {
        if token.kind == TokenKind::Comment {
            continue;
        }
        let line_begin = text[..token.at].rfind('\n').map_or(0, |end| end + 1);
        let is_first = text[line_begin..token.at].trim().is_empty();
        let next = found.get(at + 1);
        if is_first && token.text == ":" && next.is_some_and(|next| next.kind == TokenKind::Word) {
            let command = next.map_or("", |next| next.text);
            return refused(token.at, &format!(":{command}"));
        }
        if is_first && token.text == "!" && next.is_some_and(|next| next.text == "!") {
            return refused(token.at, "!!");
        }
        if variables == SqlcmdVariables::Refused
            && let Some((offset, variable)) = variable_in(text, token)
        {
            return refused(token.at + offset, variable);
        }
    }
    Ok(())
}

/// The first `$(name)` that a token holds or begins.
fn variable_in<'t>(text: &'t str, token: &Token<'_>) -> Option<(usize, &'t str)> {
    let rest = text.get(token.at..)?;
    let within = match token.kind {
        TokenKind::Quoted => rest.get(..token.text.len())?,
        // A bare `$` is a word of its own, and the bracket behind it a symbol.
        _ if token.text.ends_with('$') => rest,
        _ => return None,
    };
    let begin = within.find("$(")?;
    if token.kind != TokenKind::Quoted && begin + 1 != token.text.len() {
        return None;
    }
    let name = within.get(begin + 2..)?;
    let end = name.find(')')?;
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let is_name = end > 0 && name.get(..end)?.chars().all(fits);
    is_name.then(|| within.get(begin..begin + 3 + end).map(|variable| (begin, variable)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, given: &[(&str, i64)]) -> Result<ScriptText, StepError> {
        let given = given.iter().map(|(name, n)| ((*name).to_owned(), Parameter::Whole(*n))).collect();
        ScriptText::parse(text, &given, SqlcmdVariables::Refused)
    }

    #[test]
    fn values_are_bound_batch_by_batch() {
        let script = "\u{feff}DELETE FROM t WHERE x = @a AND y = @b -- @a\nGO\nDECLARE @own int = @b\nGO 3\n\
                      CREATE PROCEDURE p @a int AS SELECT @a\nGO\nSELECT '@a', @@ROWCOUNT\nGO 0\n";
        let read = parse(script, &[("b", 2), ("a", 1)]).unwrap();
        let told: Vec<_> =
            read.batches.iter().map(|b| (b.number, b.line, b.text.as_str(), b.times)).collect();
        assert_eq!(
            told,
            [
                (1, 1, "DELETE FROM t WHERE x = @P1 AND y = @P2 -- @a", 1),
                (2, 3, "DECLARE @own int = @P1", 3),
                (3, 5, "CREATE PROCEDURE p @a int AS SELECT @a", 1),
            ]
        );
        assert_eq!(read.batches[0].values, [Parameter::Whole(1), Parameter::Whole(2)]);
        assert_eq!((read.batches[1].values.len(), read.batches[2].values.len()), (1, 0));
        let unused = parse("SELECT '@a'", &[("a", 1)]).unwrap_err();
        assert_eq!(unused.message, "`parameters` gives `a`, and no batch of the script has `@a`");
        for nothing in ["", "-- only words\nGO\n", "SELECT 1\nGO 0"] {
            assert_eq!(parse(nothing, &[]).unwrap_err().code, "script.empty", "{nothing}");
        }
    }

    #[test]
    fn what_only_sqlcmd_understands_is_refused_with_its_line() {
        for (script, words) in [
            ("SELECT 1\nGO\n:setvar date x\n", "line 3 says `:setvar`"),
            ("  :r other.sql", "line 1 says `:r`"),
            ("!! dir", "line 1 says `!!`"),
            ("BACKUP DATABASE x TO DISK = N'x_$(date).bak'", "line 1 says `$(date)`"),
            ("SELECT 1\nUSE [$(Database-Name)]", "line 2 says `$(Database-Name)`"),
            ("SELECT * FROM $(schema).t", "line 1 says `$(schema)`"),
        ] {
            let error = parse(script, &[]).unwrap_err();
            assert!(error.code == "script.sqlcmd" && error.message.starts_with(words), "{script}: {error}");
        }
        for fine in [
            "-- $(date)\nSELECT 1",
            "/* :setvar */ SELECT 1",
            "SELECT '$(a b)', '$()', $, $5.00",
            "SELECT 1 WHERE 2 !< 1 -- !!",
            "SELECT geography::Point(1, 2, 4326)",
        ] {
            assert!(parse(fine, &[]).is_ok(), "{fine}");
        }
        let text = SqlcmdVariables::Text;
        assert!(ScriptText::parse("SELECT '$(a)'", &IndexMap::new(), text).is_ok());
        assert!(ScriptText::parse(":on error exit", &IndexMap::new(), text).is_err());
    }

    #[test]
    fn what_no_transaction_holds_is_found() {
        for (script, words) in [
            ("ALTER DATABASE x SET RECOVERY FULL", Some("ALTER DATABASE")),
            ("SELECT 1\nGO\nIF 1 = 1 BEGIN BACKUP LOG x TO DISK = 'y' END", Some("BACKUP")),
            ("EXEC sp_configure 'x', 1 RECONFIGURE", Some("RECONFIGURE")),
            ("SELECT 1; kill 53", Some("KILL")),
            ("ALTER TABLE database_x ADD y int", None),
            ("GRANT BACKUP DATABASE TO x", None),
            ("GRANT CREATE DATABASE TO x", None),
            ("CREATE PROCEDURE p AS BACKUP LOG x TO DISK = 'y'", None),
            ("SELECT 'ALTER DATABASE' -- BACKUP", None),
            ("SELECT x.backup FROM x", None),
        ] {
            let found = parse(script, &[]).unwrap().fits_a_transaction();
            match words {
                None => assert_eq!(found, Ok(()), "{script}"),
                Some(words) => {
                    let error = found.unwrap_err();
                    assert!(
                        error.code == "script.transaction" && error.message.contains(words),
                        "{script}: {error}"
                    );
                }
            }
        }
    }
}
