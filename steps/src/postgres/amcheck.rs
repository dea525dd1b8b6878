//! pg_amcheck, which reads every table and every B-tree index of a database and says what is damaged: [`checked`].

use std::path::PathBuf;

use drydock_step::{ChildOutput, ChildSpec, Ctx, StepError};

use super::program_access::ProgramAccess;
use super::program_end::ended_badly;
use super::programs::Program;
use super::target::PostgresConnection;

/// Its name.
pub(super) const PROGRAM: &str = "pg_amcheck";

/// How much of its words is kept: damage makes thousands of lines.
const KEPT: usize = 256 * 1024;

/// What it answers when it has found damage.
const FOUND: i32 = 2;

/// Its arguments. Where and as whom it connects stands in its environment.
pub(super) const ARGUMENTS: [&str; 2] = ["--no-password", "--heapallindexed"];

/// What it said of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checked {
    /// The program that said it.
    pub(super) program: Program,
    /// What is damaged, at most so many.
    pub(super) findings: Vec<String>,
    /// How many it told of, as far as its words were kept.
    pub(super) told: usize,
}

/// The program that fits the server.
///
/// # Errors
/// `postgres.programs`, or what the server says.
pub(super) async fn program(ctx: &Ctx, connection: &PostgresConnection) -> Result<Program, StepError> {
    let major = connection.facts().await?.major();
    Program::find(ctx, &connection.settings().programs, PROGRAM, major).await
}

/// Has it check a database.
///
/// # Errors
/// `postgres.programs`, when it is not there; `postgres.program`, when it could not check.
pub(super) async fn checked(
    ctx: &Ctx,
    connection: &PostgresConnection,
    database: &str,
    most: usize,
) -> Result<Checked, StepError> {
    let program = program(ctx, connection).await?;
    let access = ProgramAccess::of(ctx.host.scratch(), connection.settings(), database)?;
    ctx.log(format!("{} checks the database {database}", program.version));
    let end = ctx.spawn(command(&program, &access, ctx.folder.to_path_buf())).await?;
    drop(access);
    let said = String::from_utf8_lossy(&end.stdout);
    let findings = findings_of(&said);
    if end.code == Some(FOUND) || (end.code == Some(0) && findings.is_empty()) {
        let told = findings.len();
        return Ok(Checked { program, findings: findings.into_iter().take(most).collect(), told });
    }
    Err(ended_badly(PROGRAM, &end).help(
        "its words say why; it needs the extension amcheck in the database, and a superuser or EXECUTE on its functions",
    ))
}

fn command(program: &Program, access: &ProgramAccess, cwd: PathBuf) -> ChildSpec {
    let mut argv = vec![program.path.clone()];
    argv.extend(ARGUMENTS.map(str::to_owned));
    let stdout = ChildOutput::Kept { limit: KEPT };
    ChildSpec { argv, env: access.variables(), cwd, stdin: Vec::new(), stdout }
}

/// One text for each finding: a line that says where, and lines that begin with a space and say what.
fn findings_of(said: &str) -> Vec<String> {
    let mut findings: Vec<String> = Vec::new();
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        match findings.last_mut().filter(|_| line.starts_with(' ')) {
            Some(finding) => *finding = format!("{finding} {}", line.trim()),
            None => findings.push(line.trim().to_owned()),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_where_and_what() {
        let said = "heap table \"o.public.t\", block 0, offset 1:\n    xmin 3 precedes\nbtree index \"o.public.i\":\n    ERROR:  page 2\n    DETAIL:  d\n";
        assert_eq!(
            findings_of(said),
            [
                "heap table \"o.public.t\", block 0, offset 1: xmin 3 precedes",
                "btree index \"o.public.i\": ERROR:  page 2 DETAIL:  d"
            ]
        );
    }
}
