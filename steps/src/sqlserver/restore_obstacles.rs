//! What around a restore stands in its way, beside the backups themselves: what the database belongs to, who works on the server, files that
//! lie where others shall be made ([`obstacles`]), and the stripes of a set ([`stripes`]).

use drydock_recovery::backup::clock;
use drydock_step::{PreflightFinding, StepError};

use super::database::DatabaseFacts;
use super::files::FileStatus;
use super::finding::{fatal, warning};
use super::media::devices;
use super::paths::ServerPath;
use super::restore_chain::Piece;
use super::restore_files::Destination;
use super::restore_ready::Ready;
use super::server::ServerFacts;
use super::settings::marked;
use super::sql::{Identifier, quoted};
use super::target::SqlServerConnection;
use super::users::Entered;

/// The most data that a database of SQL Server Express may have.
const EXPRESS_LIMIT: i64 = 10 << 30;

/// What a restore is to one database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intent<'a> {
    /// The name that it is restored under.
    pub(super) database: &'a Identifier,
    /// Over what is there.
    pub(super) replace: bool,
    /// The undo file, where the database is left readable.
    pub(super) standby: Option<&'a str>,
    /// The attempt that asks.
    pub(super) attempt: &'a str,
}

/// Everything around the restore that stands in its way.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn obstacles(
    server: &SqlServerConnection,
    intent: Intent<'_>,
    ready: &Ready,
) -> Result<Vec<PreflightFinding>, StepError> {
    let facts = server.facts().await?;
    let mut findings = Vec::new();
    if let Some(existing) = &ready.existing {
        findings.extend(bonds(server, intent.database).await?);
        findings.extend(tail(server, intent, existing).await?);
        findings.extend(inside(server, intent.database).await?);
    }
    findings.extend(at_work(server, intent).await?);
    findings.extend(doubles(&ready.destinations));
    findings.extend(leftovers(server, intent, ready).await?);
    findings.extend(too_large(ready, facts));
    findings.extend(undo_file(server, intent).await?);
    Ok(findings)
}

/// What keeps a database from being replaced: it is mirrored, published, or there are snapshots of it.
async fn bonds(
    server: &SqlServerConnection,
    database: &Identifier,
) -> Result<Vec<PreflightFinding>, StepError> {
    let (session, name) = (server.session(), database.quoted());
    let doing = "asking what the database belongs to";
    let mut findings = Vec::new();
    let mirrored = format!(
        "SELECT mirroring_guid FROM sys.database_mirroring WHERE database_id = DB_ID({name}) AND mirroring_guid IS NOT NULL"
    );
    if session.ask(doing, &mirrored).await?.len() > 0 {
        let help = format!(
            "end the mirroring first: ALTER DATABASE {} SET PARTNER OFF; set it up anew from the restored database",
            database.bracketed()
        );
        findings.push(fatal("sqlserver.3104", format!("database {database} is mirrored"), help));
    }
    let published = format!("SELECT is_published FROM sys.databases WHERE name = {name}");
    let answer = session.ask(doing, &published).await?;
    if answer.rows().next().is_some_and(|row| row.flag("is_published").unwrap_or(false)) {
        let message = format!(
            "database {database} is published: replication loses its place when the database is replaced"
        );
        findings.push(warning("restore.replicated", message, "set replication up anew afterwards; on the same server `keep_replication: true` keeps its settings"));
    }
    let snapshots = format!("SELECT name FROM sys.databases WHERE source_database_id = DB_ID({name})");
    let answer = session.ask(doing, &snapshots).await?;
    let names: Vec<&str> = answer.rows().filter_map(|row| row.text("name").ok().flatten()).collect();
    if !names.is_empty() {
        let message = format!(
            "database {database} has snapshots, which keep it from being replaced: {}",
            names.join(", ")
        );
        findings.push(fatal("restore.snapshots", message, "drop the snapshots first: DROP DATABASE, each"));
    }
    Ok(findings)
}

/// How much of what the database has logged would be lost.
async fn tail(
    server: &SqlServerConnection,
    intent: Intent<'_>,
    existing: &DatabaseFacts,
) -> Result<Option<PreflightFinding>, StepError> {
    if existing.recovery_model == "SIMPLE" || existing.last_log_backup.is_none() {
        return Ok(None);
    }
    let sql = format!(
        "SELECT TOP (1) backup_finish_date, GETDATE() AS now FROM msdb.dbo.backupset WHERE database_name = {} AND type = N'L' ORDER BY backup_set_id DESC",
        intent.database.quoted()
    );
    let answer = server.session().ask("asking for the last log backup", &sql).await?;
    let times = answer
        .rows()
        .next()
        .map(|row| Ok::<_, StepError>((row.time("backup_finish_date")?, row.time("now")?)));
    let since = match times.transpose()? {
        Some((Some(last), Some(now))) => {
            let facts = server.facts().await?;
            let minutes = (now - last).num_minutes().max(0);
            format!("since its last log backup at {}, {minutes} minutes ago,", clock(facts.utc(last, None)))
        }
        _ => "since its last full backup, for msdb knows no log backup of it,".to_owned(),
    };
    let (database, bracketed) = (intent.database, intent.database.bracketed());
    let message = format!("what database {database} has logged {since} is in no backup");
    let help = format!("save it first, if it is worth anything: BACKUP LOG {bracketed} TO … WITH NORECOVERY");
    Ok(Some(match intent.replace {
        true => warning("sqlserver.3159", message + " and will be lost", help),
        false => fatal("sqlserver.3159", message, help + ", or say `replace: true` to lose it"),
    }))
}

/// Who is in the database and will be thrown out.
async fn inside(
    server: &SqlServerConnection,
    database: &Identifier,
) -> Result<Option<PreflightFinding>, StepError> {
    let all = Entered::all(server.session(), database).await?;
    let told: Vec<String> = all.iter().take(5).map(ToString::to_string).collect();
    let more = if all.len() > 5 { format!(" and {} more", all.len() - 5) } else { String::new() };
    let message = format!("in database {database} is {}{more}", told.join(", "));
    let help = "the restore ends them; fence the application first";
    Ok((!all.is_empty()).then(|| warning("sqlserver.3101", message, help)))
}

/// Backups and restores that run now: one of the same database would be waited for, or refuse this one.
async fn at_work(
    server: &SqlServerConnection,
    intent: Intent<'_>,
) -> Result<Vec<PreflightFinding>, StepError> {
    let sql = format!(
        "SELECT r.session_id, r.command, s.program_name, s.host_name FROM sys.dm_exec_requests AS r JOIN sys.dm_exec_sessions AS s \
         ON s.session_id = r.session_id WHERE (r.command LIKE N'BACKUP%' OR r.command LIKE N'RESTORE%') AND r.session_id <> @@SPID \
         AND s.program_name <> {}",
        quoted(&marked(intent.attempt))
    );
    let answer = server.session().ask("asking which backups and restores run", &sql).await?;
    let mut findings = Vec::new();
    for row in answer.rows() {
        let text = |column: &str| Ok::<_, StepError>(row.text(column)?.unwrap_or("?").to_owned());
        let id = row.number("session_id")?.unwrap_or_default();
        let message = format!(
            "session {id} (`{}` on {}) is in the middle of {}",
            text("program_name")?,
            text("host_name")?,
            text("command")?
        );
        findings.push(warning(
            "sqlserver.3023",
            message,
            "if it is about the same database, wait for its end; sys.dm_exec_requests shows how far it is",
        ));
    }
    Ok(findings)
}

/// Two files at one place.
fn doubles(destinations: &[Destination]) -> Vec<PreflightFinding> {
    let double = |(at, file): (usize, &Destination)| {
        let other = destinations.get(..at)?.iter().find(|other| other.path.is(&file.path))?;
        let message = format!("the files {} and {} would both be {}", other.logical, file.logical, file.path);
        Some(fatal("sqlserver.3176", message, "give one of them another place with `move`"))
    };
    destinations.iter().enumerate().filter_map(double).collect()
}

/// Files that lie where the database's shall be made and that are not its own. Which of them belong to other databases is asked elsewhere.
async fn leftovers(
    server: &SqlServerConnection,
    intent: Intent<'_>,
    ready: &Ready,
) -> Result<Vec<PreflightFinding>, StepError> {
    let facts = server.facts().await?;
    let own = |path: &ServerPath| {
        let files = ready.existing.iter().flat_map(|existing| &existing.files);
        let paths = files.filter_map(|file| ServerPath::parse(facts.style, &file.path).ok());
        paths.into_iter().any(|own| own.is(path))
    };
    let mut findings = Vec::new();
    for file in ready.destinations.iter().filter(|file| facts.is_sysadmin && !own(&file.path)) {
        if ready.taken.iter().any(|taken| taken.is(&file.path))
            || !FileStatus::ask(server.session(), &file.path).await?.is_file
        {
            continue;
        }
        let message =
            format!("a file {} lies there already, and no database of this server has it", file.path);
        findings.push(match intent.replace {
            true => warning(
                "sqlserver.3142",
                message + "; it will be overwritten",
                "move it away if it is worth anything",
            ),
            false => {
                fatal("sqlserver.3142", message, "move it away, or give the file another place with `move`")
            }
        });
    }
    Ok(findings)
}

/// Express opens no database beyond its limit.
fn too_large(ready: &Ready, facts: &ServerFacts) -> Option<PreflightFinding> {
    let size: i64 = ready.files.iter().filter(|file| file.kind == 'D').map(|file| file.size).sum();
    let message = format!(
        "the data files need {size} bytes, and this edition opens no database of more than {EXPRESS_LIMIT}"
    );
    (facts.is_express && size > EXPRESS_LIMIT)
        .then(|| fatal("sqlserver.1827", message, "restore it on another edition: Express refuses it"))
}

/// Whether the undo file can be made.
async fn undo_file(
    server: &SqlServerConnection,
    intent: Intent<'_>,
) -> Result<Option<PreflightFinding>, StepError> {
    let Some(undo) = intent.standby else { return Ok(None) };
    let facts = server.facts().await?;
    let refused = |message: String| {
        Some(fatal(
            "sqlserver.3170",
            message,
            "name an absolute path in a folder that the server's service account may write",
        ))
    };
    let path = match ServerPath::parse(facts.style, undo) {
        Ok(path) => path,
        Err(error) => return Ok(refused(format!("`standby`: {}", error.message))),
    };
    let Some(folder) = path.folder().filter(|_| facts.is_sysadmin) else { return Ok(None) };
    let is_there = FileStatus::ask(server.session(), &folder).await?.is_folder;
    Ok(refused(format!("the server sees no folder {folder} for the undo file")).filter(|_| !is_there))
}

/// Whether the files of a striped set are all of its stripes, each once. `label` names the set.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn stripes(
    server: &SqlServerConnection,
    piece: &Piece,
    media: &[ServerPath],
    label: &str,
) -> Result<Option<PreflightFinding>, StepError> {
    if media.len() < 2 && piece.backup.media.len() < 2 {
        return Ok(None);
    }
    let mut found: Vec<(i64, i64, Option<String>)> = Vec::new();
    for path in media {
        let sql = format!("RESTORE LABELONLY FROM {}", devices([quoted(path.as_str()).as_str()]));
        let answer = server.session().ask(&format!("reading the label of {path}"), &sql).await?;
        let row = answer.first()?;
        let count = row.number("FamilyCount")?.unwrap_or(1);
        let number = row.number("FamilySequenceNumber")?.unwrap_or(1);
        found.push((count, number, row.guid("MediaSetId")?.map(|guid| guid.as_str().to_owned())));
    }
    Ok(stripes_finding(&found, label))
}

fn stripes_finding(found: &[(i64, i64, Option<String>)], label: &str) -> Option<PreflightFinding> {
    let (count, _, set) = found.first()?;
    let numbers: std::collections::BTreeSet<i64> = found.iter().map(|(_, number, _)| *number).collect();
    let help = "give all files of the set, each once, as the backup wrote them";
    if found.iter().any(|(other, _, other_set)| other != count || other_set != set) {
        let message = format!("the files of the {label} belong to different media sets");
        return Some(fatal("sqlserver.3231", message, help));
    }
    if numbers.len() < found.len() {
        let message = format!("one stripe of the {label} is given twice");
        return Some(fatal("sqlserver.3227", message, help));
    }
    let missing: Vec<String> =
        (1..=*count).filter(|number| !numbers.contains(number)).map(|number| number.to_string()).collect();
    let message =
        format!("the {label} is striped over {count} files, and number {} is not given", missing.join(", "));
    (!missing.is_empty()).then(|| fatal("sqlserver.3132", message, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_are_all_there_each_once_and_of_one_set() {
        let stripe = |count, number, set: &str| (count, number, Some(set.to_owned()));
        let check = |found: &[(i64, i64, Option<String>)], expected: Option<(&str, &str)>| {
            let found = stripes_finding(found, "full backup");
            let found = found.as_ref().map(|finding| (finding.code.as_str(), finding.message.as_str()));
            match (found, expected) {
                (None, None) => {}
                (Some((code, message)), Some((expected, words))) => {
                    assert_eq!(code, expected);
                    assert!(message.contains(words), "{message}");
                }
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        };
        check(&[stripe(2, 1, "a"), stripe(2, 2, "a")], None);
        check(&[stripe(2, 2, "a"), stripe(2, 1, "a")], None);
        check(&[stripe(3, 1, "a"), stripe(3, 3, "a")], Some(("sqlserver.3132", "number 2 is not given")));
        check(&[stripe(2, 1, "a"), stripe(2, 1, "a")], Some(("sqlserver.3227", "given twice")));
        check(&[stripe(2, 1, "a"), stripe(2, 2, "b")], Some(("sqlserver.3231", "different media sets")));
    }

    #[test]
    fn two_files_cannot_be_one() {
        use crate::sqlserver::paths::PathStyle;
        let file = |logical: &str, path: &str| Destination {
            logical: logical.into(),
            path: ServerPath::parse(PathStyle::Windows, path).unwrap(),
            size: 0,
        };
        let found = doubles(&[file("a", r"D:\x.mdf"), file("b", r"d:\X.mdf")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].code == "sqlserver.3176" && found[0].message.contains("a and b"), "{found:?}");
    }
}
