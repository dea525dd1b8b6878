//! How migrations are run: [`Way`].

use std::path::Path;

use drydock_step::{ChildEnd, ChildOutput, ChildSpec, Connection, Ctx, PlanPath, StepError};

use super::told::Told;

/// The most of a program's output that is kept, in bytes.
const LIMIT: usize = 1024 * 1024;

/// What runs the migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// An idempotent script.
    Script(PlanPath),
    /// A program with its arguments, which connects by itself.
    Program {
        /// Program and arguments, without the connection.
        argv: Vec<String>,
        /// The variable that it reads its connection string from; without one it is an argument.
        variable: Option<String>,
    },
}

impl Way {
    /// As a dry run shows it.
    pub(super) fn line(&self, database: &str) -> String {
        match self {
            Self::Script(path) => format!("run {path} in database {database}, batch by batch"),
            Self::Program { argv, variable: Some(variable) } => format!("{variable}=*** {}", argv.join(" ")),
            Self::Program { argv, variable: None } => format!("{} --connection ***", argv.join(" ")),
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// `ef.script` for a script that cannot be read; what the server says of it; `ef.exit` for a program that failed.
    pub(super) async fn run(
        &self,
        ctx: &Ctx,
        connection: &dyn Connection,
        database: &str,
    ) -> Result<(), StepError> {
        match self {
            Self::Script(path) => {
                let script = script_text(&path.resolved(&ctx.folder))?;
                let runs =
                    connection.script().ok_or_else(|| StepError::internal("the target runs no scripts"))?;
                let ran = runs.run_script(database, &script).await?;
                ctx.log(format!("{ran} batches were run"));
                Ok(())
            }
            Self::Program { argv, variable } => {
                let spec = spec(argv, variable.as_deref(), connection, database, &ctx.folder)?;
                let told = ended_well(argv, &ctx.spawn(spec).await?)?;
                told.lines.iter().for_each(|line| ctx.log(line));
                told.applying.iter().for_each(|id| ctx.log(format!("applied {id}")));
                Ok(())
            }
        }
    }
}

/// The text of a script.
///
/// # Errors
/// `ef.script`, when it cannot be read.
pub(super) fn script_text(path: &Path) -> Result<String, StepError> {
    let failed = |error| StepError::new("ef.script", format!("{} cannot be read: {error}", path.display()));
    std::fs::read_to_string(path).map_err(failed)
}

/// Runs a program of EF that asks no database; what it tells.
///
/// # Errors
/// `ef.exit`, when it failed.
pub(super) async fn asked(ctx: &Ctx, argv: &[String]) -> Result<Told, StepError> {
    ended_well(argv, &ctx.spawn(in_folder(argv, Vec::new(), &ctx.folder)).await?)
}

fn in_folder(argv: &[String], env: Vec<(String, String)>, folder: &Path) -> ChildSpec {
    let mut argv = argv.to_vec();
    if let Some(program) = argv.first_mut().filter(|program| program.contains('/')) {
        *program = folder.join(&*program).to_string_lossy().into_owned();
    }
    let stdout = ChildOutput::Kept { limit: LIMIT };
    ChildSpec { argv, env, cwd: folder.to_owned(), stdin: Vec::new(), stdout }
}

fn spec(
    argv: &[String],
    variable: Option<&str>,
    connection: &dyn Connection,
    database: &str,
    folder: &Path,
) -> Result<ChildSpec, StepError> {
    let text = connection.connection_string(database);
    let text = text.ok_or_else(|| StepError::internal("the target has no connection string"))?;
    let (mut argv, mut env) = (argv.to_vec(), Vec::new());
    match variable {
        Some(variable) => env.push((variable.to_owned(), text)),
        None => argv.extend(["--connection".to_owned(), text]),
    }
    Ok(in_folder(&argv, env, folder))
}

/// The tools end with 0 or 1, and tell on either stream why. One that ends with 0 and tells of errors has not done well either.
fn ended_well(argv: &[String], end: &ChildEnd) -> Result<Told, StepError> {
    let told = Told::of(&String::from_utf8_lossy(&end.stdout), &end.stderr);
    let how = match (end.code, end.signal) {
        (Some(0), _) if told.errors.is_empty() => return Ok(told),
        (Some(0), _) => "ended with exit code 0 and told of errors".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "was ended from outside".to_owned(),
    };
    let program = argv.first().map(String::as_str).unwrap_or_default();
    Err(StepError::new("ef.exit", format!("`{program}` {how}{}", told.words()))
        .help("migrations that were applied before the failed one stay applied; the next attempt goes on after them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_never_shown() {
        let argv = vec!["./efbundle".to_owned(), "--verbose".to_owned()];
        let by_variable =
            Way::Program { argv: argv.clone(), variable: Some("ConnectionStrings__Octopus".into()) };
        assert_eq!(by_variable.line("X"), "ConnectionStrings__Octopus=*** ./efbundle --verbose");
        let by_argument = Way::Program { argv, variable: None };
        assert_eq!(by_argument.line("X"), "./efbundle --verbose --connection ***");
        let script = Way::Script(PlanPath("./m.sql".into()));
        assert_eq!(script.line("X"), "run ./m.sql in database X, batch by batch");
    }

    #[test]
    fn a_failed_tool_is_told_with_its_last_words() {
        let end = |code, signal| ChildEnd {
            code,
            signal,
            stdout: b"Build started...\n\nApplying migration 'x'.\n".to_vec(),
            truncated: false,
            stderr: "Invalid column name 'y'.\n".into(),
        };
        let check = |end: &ChildEnd| {
            ended_well(&["efbundle".to_owned()], end).map(|_| ()).map_err(|error| error.message)
        };
        assert_eq!(check(&end(Some(0), None)), Ok(()));
        let words = "Build started... / Applying migration 'x'. / Invalid column name 'y'.";
        assert_eq!(check(&end(Some(1), None)), Err(format!("`efbundle` ended with exit code 1: {words}")));
        assert_eq!(check(&end(None, Some(9))), Err(format!("`efbundle` was ended by signal 9: {words}")));
        let quiet = ChildEnd { stderr: "error:   Invalid column name 'y'.\n".into(), ..end(Some(0), None) };
        let told = "`efbundle` ended with exit code 0 and told of errors: Invalid column name 'y'.";
        assert_eq!(check(&quiet), Err(told.to_owned()));
    }
}
