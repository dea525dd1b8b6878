//! What a server must have for a base backup to be taken of it, [`may_be_taken`], and what is made of how pg_basebackup ended, [`judged`].

use drydock_step::{ChildEnd, StepError};

use super::base_entry::BaseEntry;
use super::program_end::ended_badly;
use super::target::PostgresConnection;

/// Nothing, when the server can give such a backup.
///
/// # Errors
/// `postgres.tablespaces`, `postgres.incremental`, `postgres.unavailable`.
pub(super) async fn may_be_taken(
    connection: &PostgresConnection,
    against: Option<&BaseEntry>,
) -> Result<(), StepError> {
    let (session, facts) = (connection.session(), connection.facts().await?);
    let refused = |error: StepError, help: &str| Err(error.help(help));
    let sql = "SELECT string_agg(spcname, ', ') AS names FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')";
    let spaces = session.ask("asking for tablespaces", sql).await?;
    if let Some(names) = spaces.first()?.text("names")? {
        let message =
            format!("the cluster has tablespaces besides its own ({names}), which one tar cannot hold");
        return refused(
            StepError::new("postgres.tablespaces", message),
            "dump its databases with postgres.dump, or move the tables out of these tablespaces",
        );
    }
    if facts.wal_level == "minimal" {
        let message =
            "the server writes no WAL that a backup can be recovered with (wal_level is minimal)".to_owned();
        return refused(
            StepError::new("postgres.unavailable", message),
            "set wal_level = replica, and restart the server",
        );
    }
    let sql = "SELECT (SELECT setting::int FROM pg_settings WHERE name = 'max_wal_senders') \
        - (SELECT count(*) FROM pg_stat_replication) AS senders, \
        (SELECT setting::int FROM pg_settings WHERE name = 'max_replication_slots') \
        - (SELECT count(*) FROM pg_replication_slots) AS slots, \
        (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_replicate, \
        COALESCE((SELECT setting FROM pg_settings WHERE name = 'summarize_wal'), 'none') AS summarize_wal";
    let answer = session.ask("asking what a base backup needs", sql).await?;
    let row = answer.first()?;
    if !row.flag("may_replicate")? {
        let message = "the role may not replicate, which is how a base backup is taken".to_owned();
        return refused(
            StepError::new("postgres.unavailable", message),
            "ALTER ROLE … REPLICATION, and a `replication` line for it in pg_hba.conf",
        );
    }
    for (what, setting) in [("senders", "max_wal_senders"), ("slots", "max_replication_slots")] {
        if row.number(what)?.unwrap_or(0) < 1 {
            let message = format!("all of the server's {setting} are in use");
            return refused(
                StepError::new("postgres.unavailable", message),
                "end what uses them (pg_stat_replication, pg_replication_slots), or raise the setting and restart the server",
            );
        }
    }
    let Some(against) = against else { return Ok(()) };
    match row.known("summarize_wal")? {
        "on" => {}
        "none" => {
            let message = format!("version {} takes no incremental backups", facts.version);
            return refused(
                StepError::new("postgres.incremental", message),
                "from version 17 on; leave `against` out",
            );
        }
        _ => {
            let message = "the server keeps no summaries of its WAL (summarize_wal is off)".to_owned();
            return refused(
                StepError::new("postgres.incremental", message),
                "ALTER SYSTEM SET summarize_wal = on, reload, and take a full backup first",
            );
        }
    }
    match (&against.system_identifier, &facts.system_identifier.value) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            let message =
                format!("`against` is {}, of another cluster ({theirs}, this is {ours})", against.in_words());
            refused(
                StepError::new("postgres.incremental", message),
                "name a backup of this cluster, or leave `against` out",
            )
        }
        _ => Ok(()),
    }
}

/// Nothing, when pg_basebackup has done all.
pub(super) fn judged(program: &str, end: &ChildEnd) -> Result<(), StepError> {
    if end.code == Some(0) {
        return Ok(());
    }
    let error = ended_badly(program, end);
    let words = &end.stderr;
    let help = if words.contains("no pg_hba.conf entry for replication") {
        "add a `replication` line for the role to pg_hba.conf at the server, and reload it"
    } else if words.contains("max_wal_senders") || words.contains("too many") {
        "end what uses the server's walsenders (pg_stat_replication), or raise max_wal_senders"
    } else if words.contains("this build does not support") {
        "say `compress: gzip`, which every build can; or name the folder of another build in `programs` of the target"
    } else if words.contains("WAL summar") || words.contains("manifest") {
        "take a full backup: leave `against` out"
    } else {
        "its words say why; nothing of this backup is left in the store"
    };
    // A server that was shut down or a connection that was cut may do better next time.
    let transient = [
        "server closed the connection",
        "could not connect",
        "connection to server",
        "could not read COPY data",
    ]
    .iter()
    .any(|part| words.contains(part))
        && !words.contains("pg_hba.conf")
        && !words.contains("authentication failed");
    Err(StepError { transient, ..error.help(help) })
}
