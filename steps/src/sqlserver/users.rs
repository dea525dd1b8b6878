//! Who is in a database: [`Entered`]; how they are made to leave where the database cannot be closed: [`evicted`]; and how one that was
//! closed for nothing is opened again: [`put_back`].

use std::time::Duration;

use drydock_step::StepError;

use super::answer::present;
use super::database::{DatabaseFacts, State};
use super::session::Session;
use super::sql::Identifier;

/// How our own sessions begin their program's name.
const OWN: &str = "drydock ";

/// How often it is looked whether those who were ended have left, and between two looks.
const LEAVES: (u32, Duration) = (50, Duration::from_millis(100));

/// A session that is in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entered {
    /// Its number.
    pub(super) session_id: i64,
    /// Who logged in.
    pub(super) login: String,
    /// From which machine.
    pub(super) host: String,
    /// With which program.
    pub(super) program: String,
}

impl Entered {
    /// All sessions in a database but the one that asks.
    ///
    /// # Errors
    /// What the server says.
    pub(super) async fn all(session: &Session, database: &Identifier) -> Result<Vec<Self>, StepError> {
        let sql = format!(
            "SELECT session_id, login_name, host_name, program_name FROM sys.dm_exec_sessions \
             WHERE database_id = DB_ID({}) AND session_id <> @@SPID ORDER BY session_id",
            database.quoted()
        );
        let answer = session.ask("asking who is in the database", &sql).await?;
        let mut all = Vec::new();
        for row in answer.rows() {
            let text = |column: &str| Ok::<_, StepError>(row.text(column)?.unwrap_or("?").to_owned());
            all.push(Self {
                session_id: present(row.number("session_id")?, "session_id")?,
                login: text("login_name")?,
                host: text("host_name")?,
                program: text("program_name")?,
            });
        }
        Ok(all)
    }

    /// Whether it is a session of Drydock's own.
    pub(super) fn is_own(&self) -> bool {
        self.program.starts_with(OWN)
    }
}

impl std::fmt::Display for Entered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let own = if self.is_own() { ", one of Drydock's own" } else { "" };
        write!(
            f,
            "session {} (login {}, `{}` on {}{own})",
            self.session_id, self.login, self.program, self.host
        )
    }
}

/// Ends every session in a database; who was ended.
///
/// # Errors
/// What the server says; a session that is gone already is none.
pub(super) async fn evicted(session: &Session, database: &Identifier) -> Result<Vec<Entered>, StepError> {
    let all = Entered::all(session, database).await?;
    for entered in &all {
        let kill = format!("KILL {}", entered.session_id);
        match session.work(&kill, &kill).await {
            Err(error) if error.code == "sqlserver.6106" => {}
            done => done?,
        }
    }
    // A session that was ended leaves the database a moment later, and one that has to roll back later than that.
    for _ in 0..LEAVES.0 {
        let left = Entered::all(session, database).await?;
        if !left.iter().any(|one| all.iter().any(|ended| ended.session_id == one.session_id)) {
            break;
        }
        tokio::time::sleep(LEAVES.1).await;
    }
    Ok(all)
}

/// Opens a database again that was closed for nothing, where it was open: what fails in planning leaves it as it was. The error, with what
/// became of the database.
pub(super) async fn put_back(
    session: &Session,
    database: &Identifier,
    was: Option<&str>,
    error: StepError,
) -> StepError {
    let Some(was @ ("ONLINE" | "EMERGENCY")) = was else { return error };
    let Ok(Some(facts)) = DatabaseFacts::ask(session, database).await else { return error };
    let outcome = match facts.state {
        State::Offline => {
            let back = format!("ALTER DATABASE {} SET {was}", database.bracketed());
            match session.work(&back, &back).await {
                Ok(()) => format!("database {database} is as it was, and open again"),
                Err(_) => format!("database {database} is as it was, but closed: `{back}` opens it"),
            }
        }
        State::Online | State::Emergency => format!("database {database} is as it was"),
        _ => format!(
            "database {database} is now {}: the restore has begun and has to be finished",
            facts.state_word
        ),
    };
    let help = error.help.clone().map_or(outcome.clone(), |help| format!("{help}; {outcome}"));
    error.help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_told_with_all_that_finds_its_owner() {
        let entered = |program: &str| Entered {
            session_id: 57,
            login: "octopus".into(),
            host: "web1".into(),
            program: program.into(),
        };
        assert_eq!(entered("api").to_string(), "session 57 (login octopus, `api` on web1)");
        assert!(entered("drydock r1/step/1").to_string().ends_with("on web1, one of Drydock's own)"));
    }
}
