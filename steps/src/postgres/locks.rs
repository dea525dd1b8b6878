//! Locks that every runner sees: advisory locks of the database `postgres`, for such locks are those of one database, and whoever works
//! on another one, or makes it anew, must find them all the same. Main functions: [`wanted`], [`take`].

use drydock_step::StepError;
use drydock_step::target::LockClass;
use sha2::Digest;

use super::session::Session;

/// The database whose advisory locks they are.
pub(super) const LOCK_DATABASE: &str = "postgres";

/// The advisory locks that stand for one lock on a resource: the name that is hashed, and whether it is shared. All work holds the
/// resource's own, shared or alone; a class that has room for one has a lock of its own beside it.
pub(super) fn wanted(resource: &str, class: LockClass) -> Vec<(String, bool)> {
    let whole = format!("drydock:{resource}");
    match class {
        LockClass::Exclusive => vec![(whole, false)],
        LockClass::Data => vec![(whole.clone(), true), (format!("{whole}:data"), false)],
        LockClass::Log => vec![(whole.clone(), true), (format!("{whole}:log"), false)],
    }
}

/// The number that stands for a name: the first eight bytes of its SHA-256.
fn key_of(name: &str) -> i64 {
    let digest = sha2::Sha256::digest(name.as_bytes());
    digest.iter().take(8).fold(0, |key: i64, byte| (key << 8) | i64::from(*byte))
}

/// Who holds an advisory lock: its number is shown in halves.
fn holder_of(key: i64) -> String {
    format!(
        "SELECT l.pid AS pid, a.application_name AS application_name, host(a.client_addr) AS client FROM pg_locks AS l \
         LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
         AND l.pid <> pg_backend_pid() AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND l.classid = {} AND l.objid = {} LIMIT 1",
        (key >> 32) & 0xffff_ffff,
        key & 0xffff_ffff
    )
}

/// Takes a lock for as long as the session lives, which is one of [`LOCK_DATABASE`].
///
/// # Errors
/// `locked` (transient), with who holds it.
pub(super) async fn take(session: &Session, resource: &str, class: LockClass) -> Result<(), StepError> {
    let doing = format!("locking {resource}");
    for (name, is_shared) in wanted(resource, class) {
        let (key, shared) = (key_of(&name), if is_shared { "_shared" } else { "" });
        let sql = format!("SELECT pg_try_advisory_lock{shared}({key}) AS taken");
        if session.ask(&doing, &sql).await?.first()?.flag("taken")? {
            continue;
        }
        let holder = holder(session, key).await.unwrap_or_default();
        let message = format!("{resource} is locked by another run{holder}");
        return Err(StepError::transient("locked", message).help(
            "wait until that run has ended; it holds the lock at the server for as long as its session lives",
        ));
    }
    Ok(())
}

/// Who holds a lock, in words after a colon; nothing where it is gone by now.
async fn holder(session: &Session, key: i64) -> Option<String> {
    let found = session.ask("asking who holds a lock", &holder_of(key)).await.ok()?;
    let row = found.rows().next()?;
    let (pid, name) = (row.number("pid").ok()??, row.text("application_name").ok()?.unwrap_or("?"));
    let client = row.text("client").ok()?.map_or(String::new(), |client| format!(" from {client}"));
    Some(format!(": backend {pid}, `{name}`{client}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_runs_beside_a_full_and_a_restore_beside_nothing() {
        use LockClass::*;
        let together = |a: LockClass, b: LockClass| {
            wanted("x", a).iter().all(|(name, shared)| {
                wanted("x", b).iter().all(|(other, also)| name != other || (*shared && *also))
            })
        };
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
    }

    #[test]
    fn a_key_never_changes() {
        // What a runner of another version holds must be found.
        assert_eq!(key_of("drydock:octopus"), -7_334_280_418_049_617_512);
        assert_ne!(key_of("drydock:octopus"), key_of("drydock:Octopus"));
        let asked = holder_of(-2);
        assert!(asked.contains("l.classid = 4294967295 AND l.objid = 4294967294"), "{asked}");
    }
}
