//! A program of PostgreSQL that works on files alone, [`done`], and how any of them ended: [`ended_badly`], [`last_words`].

use drydock_step::{ChildEnd, ChildOutput, ChildSpec, Ctx, StepError};

/// How many lines of its words are told.
const LINES: usize = 5;

/// Runs a program that reaches no server, and whose words on its standard output nobody needs.
///
/// # Errors
/// Those of [`Ctx::spawn`].
pub(super) async fn done(ctx: &Ctx, argv: Vec<String>) -> Result<ChildEnd, StepError> {
    let spec = ChildSpec {
        argv,
        env: vec![("LC_ALL".into(), "C".into())],
        cwd: ctx.folder.to_path_buf(),
        stdin: Vec::new(),
        stdout: ChildOutput::Dropped,
    };
    ctx.spawn(spec).await
}

/// What is said of a program that has failed, with its last words; `postgres.program`.
pub(super) fn ended_badly(name: &str, end: &ChildEnd) -> StepError {
    let how = match (end.code, end.signal) {
        (Some(code), _) => format!("ended with {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended for no known reason".into(),
    };
    StepError::new("postgres.program", format!("{name} {how}: {}", last_words(&end.stderr)))
}

/// The last lines of a program's standard error, in one.
pub(super) fn last_words(stderr: &str) -> String {
    let last: Vec<&str> =
        stderr.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(LINES).collect();
    match last.as_slice() {
        [] => "without a word".into(),
        lines => lines.iter().rev().copied().collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_last_words_are_told_in_their_order() {
        let end = |code, signal, stderr: &str| ChildEnd {
            code,
            signal,
            stdout: Vec::new(),
            truncated: false,
            stderr: stderr.into(),
        };
        let error = ended_badly("pg_basebackup", &end(Some(1), None, "1\n2\n\n3\n4\n5\n6\n"));
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("postgres.program", "pg_basebackup ended with 1: 2; 3; 4; 5; 6")
        );
        let error = ended_badly("pg_dump", &end(None, Some(9), ""));
        assert_eq!(error.message, "pg_dump was ended by signal 9: without a word");
    }
}
