//! Locks that every runner sees: application locks in `master`, held by the very session that works, so that one whose runner died is
//! held for exactly as long as its work goes on at the server. Main functions: [`wanted`], [`take`].

use drydock_step::StepError;
use drydock_step::target::LockClass;

use super::session::Session;
use super::sql::quoted;

/// Who holds which application lock.
const HOLDERS: &str = "SELECT l.resource_description AS resource, s.session_id AS session_id, s.program_name AS program_name, \
    s.host_name AS host_name FROM sys.dm_tran_locks AS l JOIN sys.dm_exec_sessions AS s ON s.session_id = l.request_session_id \
    WHERE l.resource_type = N'APPLICATION' AND l.request_status = N'GRANT' AND l.request_session_id <> @@SPID";

/// How long a lock is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Not at all.
    None,
    /// Until the server has noticed that a connection is gone which held it a moment ago.
    Short,
}

/// How much of a resource's name `sys.dm_tran_locks` shows.
const SHOWN: usize = 32;

/// The application locks that stand for one lock on a database: its name, and the mode. All work holds the database's own, shared or
/// alone; a class that has room for one has a lock of its own beside it.
pub(super) fn wanted(database: &str, class: LockClass) -> Vec<(String, &'static str)> {
    // Names of databases usually count in any case, names of application locks never do.
    let whole = format!("drydock:{}", database.to_lowercase());
    match class {
        LockClass::Exclusive => vec![(whole, "Exclusive")],
        LockClass::Data => vec![(whole.clone(), "Shared"), (format!("{whole}:data"), "Exclusive")],
        LockClass::Log => vec![(whole.clone(), "Shared"), (format!("{whole}:log"), "Exclusive")],
    }
}

fn statement(resource: &str, mode: &str, patience: Patience) -> String {
    let resource = quoted(resource);
    let timeout = if patience == Patience::Short { 2000 } else { 0 };
    format!(
        "DECLARE @result int; EXEC @result = sp_getapplock @Resource = {resource}, @LockMode = N'{mode}', \
         @LockOwner = N'Session', @LockTimeout = {timeout}; SELECT @result AS result"
    )
}

/// Takes a lock for as long as the session lives.
///
/// # Errors
/// `locked` (transient), with who holds it where the login may see that.
pub(super) async fn take(
    session: &Session,
    database: &str,
    class: LockClass,
    patience: Patience,
) -> Result<(), StepError> {
    let doing = format!("locking database {database}");
    for (resource, mode) in wanted(database, class) {
        let answer = session.ask(&doing, &statement(&resource, mode, patience)).await?;
        if answer.first()?.number("result")?.is_none_or(|result| result < 0) {
            let holder = holder(session, &resource).await.unwrap_or_default();
            let message = format!("database {database} is locked by another run{holder}");
            return Err(StepError::transient("locked", message)
                .help("wait until that run has ended; it holds the lock at the server for as long as its session works"));
        }
    }
    Ok(())
}

/// That another run works on a database, as far as the login may see that; nothing is locked. It may be over in a moment.
pub(super) async fn held(session: &Session, database: &str) -> Option<StepError> {
    let (whole, _) = wanted(database, LockClass::Exclusive).into_iter().next()?;
    let holder = holder(session, &whole).await?;
    let message = format!("database {database} is locked by another run{holder}");
    Some(StepError::transient("locked", message).help("wait until that run has ended"))
}

/// Who holds an application lock, in words after a colon; nothing where the login may not see that.
async fn holder(session: &Session, resource: &str) -> Option<String> {
    let shown: String = resource.chars().take(SHOWN).collect();
    let holders = session.ask("asking who holds a lock", HOLDERS).await.ok()?;
    holders.rows().find_map(|row| {
        let held = row.text("resource").ok().flatten()?;
        let program = row.text("program_name").ok().flatten()?;
        let host = row.text("host_name").ok().flatten()?;
        let id = row.number("session_id").ok().flatten()?;
        held.contains(&shown).then(|| format!(": session {id}, `{program}` on {host}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether two classes can be held by two sessions at once, by the rules of application locks.
    fn together(a: LockClass, b: LockClass) -> bool {
        let (a, b) = (wanted("X", a), wanted("x", b));
        a.iter().all(|(resource, mode)| {
            b.iter().all(|(other, other_mode)| {
                resource != other || (*mode == "Shared" && *other_mode == "Shared")
            })
        })
    }

    #[test]
    fn a_log_runs_beside_a_full_and_a_restore_beside_nothing() {
        use LockClass::*;
        for (a, b, expected) in [
            (Log, Data, true),
            (Log, Log, false),
            (Data, Data, false),
            (Exclusive, Log, false),
            (Exclusive, Data, false),
            (Exclusive, Exclusive, false),
        ] {
            assert_eq!((together(a, b), together(b, a)), (expected, expected), "{a:?} {b:?}");
        }
        let statement = statement("it's", "Shared", Patience::None);
        assert!(statement.contains("@Resource = N'it''s', @LockMode = N'Shared'"), "{statement}");
    }
}
