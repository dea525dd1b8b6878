//! One pass of `pg_restore` over a dump: [`Pass`], and what its words mean.

use std::path::Path;
use std::time::Duration;

use drydock_step::{ChildEnd, ChildOutput, ChildSpec, Ctx, StepError};

use super::program_access::ProgramAccess;
use super::program_end::ended_badly;
use super::programs::Program;
use super::target::PostgresConnection;

/// Between two looks at how far the server is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How far the server is with the tables and indexes of a database.
const PROGRESS: &str = "SELECT 'copying ' || relid::regclass::text AS phase, tuples_processed AS done, NULL::bigint AS total \
    FROM pg_stat_progress_copy WHERE datname = current_database() UNION ALL \
    SELECT p.phase || ' of ' || p.index_relid::regclass::text, p.tuples_done, \
    CASE WHEN p.tuples_total > 0 THEN p.tuples_total ELSE c.reltuples::bigint END \
    FROM pg_stat_progress_create_index AS p JOIN pg_class AS c ON c.oid = p.relid WHERE p.datname = current_database() LIMIT 1";

/// A pass.
pub(super) struct Pass<'a> {
    /// The attempt.
    pub(super) ctx: &'a Ctx,
    /// The server.
    pub(super) connection: &'a PostgresConnection,
    /// pg_restore.
    pub(super) program: &'a Program,
    /// Where the dump is.
    pub(super) place: &'a Path,
    /// The database that it goes into.
    pub(super) database: &'a str,
    /// How many connections work at once, and what else the program is told.
    pub(super) arguments: &'a [String],
}

impl Pass<'_> {
    /// Restores one section.
    ///
    /// # Errors
    /// `postgres.program` with the server's own words, `postgres.space` where its volume is full.
    pub(super) async fn of(&self, section: &str, more: &[String], options: &str) -> Result<(), StepError> {
        let settings = self.connection.settings();
        let access = ProgramAccess::of(self.ctx.host.scratch(), settings, self.database)?;
        let mut argv = vec![self.program.path.clone(), format!("--dbname={}", conninfo(self.database))];
        argv.push(format!("--section={section}"));
        argv.extend(["--exit-on-error", "--no-password"].map(str::to_owned));
        argv.extend(self.arguments.iter().cloned());
        argv.extend(more.iter().cloned());
        argv.push(self.place.display().to_string());
        let mut env = access.variables();
        env.push(("PGOPTIONS".into(), options.to_owned()));
        let spec = ChildSpec {
            argv,
            env,
            cwd: self.ctx.folder.to_path_buf(),
            stdin: Vec::new(),
            stdout: ChildOutput::Dropped,
        };
        let end = tokio::select! {
            end = self.ctx.spawn(spec) => end?,
            () = self.told(section) => return Err(StepError::internal("progress has come to an end")),
        };
        judged(&end)
    }

    /// Tells how far the server is, again and again.
    async fn told(&self, section: &str) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            // What cannot be asked is not told.
            let Ok(session) = self.connection.in_database(Some(self.database)).await else { continue };
            let answer = session.ask("asking how far the load is", PROGRESS).await.ok();
            let row = answer.as_ref().and_then(|answer| answer.first().ok());
            let number = |column: &str| {
                let number = row.and_then(|row| row.number(column).ok().flatten());
                number.and_then(|number| u64::try_from(number).ok())
            };
            let phase = row.and_then(|row| row.text("phase").ok().flatten()).unwrap_or(section);
            self.ctx.progress(number("done").unwrap_or_default(), number("total"), "rows", phase);
        }
    }
}

/// A database's name as the program takes it: by itself one with `=` in it would be read as something else.
fn conninfo(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Nothing, when the program has done all.
fn judged(end: &ChildEnd) -> Result<(), StepError> {
    if end.code == Some(0) {
        return Ok(());
    }
    // Of what else it tells, its last words need not be those of the error.
    let errors: Vec<&str> = end
        .stderr
        .lines()
        .filter(|line| ["error:", "DETAIL:", "HINT:", "Command was:"].iter().any(|word| line.contains(word)))
        .collect();
    let told = if errors.is_empty() {
        ended_badly("pg_restore", end)
    } else {
        ended_badly("pg_restore", &ChildEnd { stderr: errors.join("\n"), ..end.clone() })
    };
    let words = &end.stderr;
    let (transient, help) = if words.contains("role \"") && words.contains("does not exist") {
        (
            false,
            "make the roles first, from the dump's `globals`, or say `owners: false` and `privileges: false`",
        )
    } else if words.contains("No space left") || words.contains("could not extend file") {
        let help = "free space on the server's volume, then resume; what was half loaded is dropped";
        return Err(StepError { code: "postgres.space".into(), ..told.help(help) });
    } else if words.contains("shared memory segment") {
        (false, "give the server more shared memory, or say `max_parallel_maintenance_workers: 0`")
    } else if words.contains("server closed the connection") || words.contains("connection to server") {
        (true, "the server was shut down or could not be reached; the next attempt begins anew")
    } else {
        (false, "its words say why; the database has not got its name, unless all of its rows were there")
    };
    Err(StepError { transient, ..told.help(help) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_told_and_not_the_programs_chatter() {
        let stderr = "pg_restore: creating TABLE \"public.t\"\npg_restore: error: could not execute query: ERROR:  role \"owner\" does not exist\n\
            Command was: ALTER TABLE public.t OWNER TO owner;\npg_restore: finished item 3\n";
        let end = ChildEnd {
            code: Some(1),
            signal: None,
            stdout: Vec::new(),
            truncated: false,
            stderr: stderr.into(),
        };
        let error = judged(&end).unwrap_err();
        assert_eq!(
            error.message,
            "pg_restore ended with 1: pg_restore: error: could not execute query: ERROR:  role \"owner\" does not exist; \
             Command was: ALTER TABLE public.t OWNER TO owner;"
        );
        assert!(error.help.unwrap().contains("`owners: false`"));
        let stderr = "pg_restore: error: COPY failed for table \"t\": ERROR:  could not extend file \"base/5/16385\": No space left on device\n";
        let error = judged(&ChildEnd { stderr: stderr.into(), ..end }).unwrap_err();
        assert_eq!((error.code.as_str(), error.transient), ("postgres.space", false), "{error}");
        assert_eq!(conninfo("a='b\\"), "dbname='a=\\'b\\\\'");
    }
}
