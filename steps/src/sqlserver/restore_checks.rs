//! Whether a restore can work: [`checked`] asks everything that it would otherwise fail with in the middle.

use drydock_step::{PreflightFinding, RoomNeeded, StepError};

use super::database::DatabaseFacts;
use super::files::FileStatus;
use super::finding::{fatal, found, warning};
use super::history::Recorded;
use super::paths::ServerPath;
use super::restore_certificates;
use super::restore_chain::{Piece, RestoreChain};
use super::restore_files::Destination;
use super::restore_obstacles::{Intent, obstacles, stripes};
use super::restore_ready::{OWNERS, Ready};
use super::server::ServerFacts;
use super::sql::Identifier;
use super::target::SqlServerConnection;

/// What the plan wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The database's name afterwards.
    pub(super) database: &'a Identifier,
    /// Over what is there.
    pub(super) replace: bool,
    /// With checksums.
    pub(super) checksum: bool,
    /// The undo file, where the database is left readable.
    pub(super) standby: Option<&'a str>,
    /// The attempt that asks.
    pub(super) attempt: &'a str,
}

/// What a restore without room is refused with.
const NO_ROOM: &str = "sqlserver.3257";

const VOLUMES: &str = "SELECT DISTINCT v.volume_mount_point, v.available_bytes FROM sys.master_files AS f \
    CROSS APPLY sys.dm_os_volume_stats(f.database_id, f.file_id) AS v";

const RIGHTS: &str = "SELECT IS_SRVROLEMEMBER(N'dbcreator') AS is_creator, HAS_PERMS_BY_NAME(NULL, NULL, N'CREATE ANY DATABASE') AS may_create";

/// Everything that stands in the way.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn checked(
    server: &SqlServerConnection,
    wanted: Wanted<'_>,
    chain: &RestoreChain,
    ready: &Ready,
) -> Result<Vec<PreflightFinding>, StepError> {
    let facts = server.facts().await?;
    let mut findings: Vec<PreflightFinding> = Vec::new();
    for (piece, media) in chain.pieces.iter().zip(&ready.media) {
        findings.extend(set_findings(server, wanted, piece, media).await?);
    }
    findings.extend(target_findings(wanted, chain, ready.existing.as_ref()));
    findings.extend(edition_finding(&chain.pieces, facts));
    let intent = Intent {
        database: wanted.database,
        replace: wanted.replace,
        standby: wanted.standby,
        attempt: wanted.attempt,
    };
    findings.extend(obstacles(server, intent, ready).await?);
    findings.extend(rights(server, facts).await?);
    findings.extend(certificates(server, ready).await?);
    findings.extend(places(server, wanted.database, ready).await?);
    findings.extend(chain.problems.iter().map(|problem| {
        warning("restore.chain", problem.clone(), "`drydock chain --history` explains the choice of backups")
    }));
    Ok(findings)
}

/// What is wrong with one set: each file is read on its own, so that a bad one does not hide the next.
async fn set_findings(
    server: &SqlServerConnection,
    wanted: Wanted<'_>,
    piece: &Piece,
    media: &[ServerPath],
) -> Result<Vec<PreflightFinding>, StepError> {
    let (facts, label) = (server.facts().await?, piece.backup.label());
    for path in media {
        if facts.is_sysadmin && !FileStatus::ask(server.session(), path).await?.is_file {
            let message = format!("the server sees no file {path}, which holds the {label}");
            let help = "bring it there; may the server's service account read it, and does `sees` name the folder right?";
            return Ok(vec![fatal("sqlserver.3201", message, help)]);
        }
    }
    match stripes(server, piece, media, &label).await {
        Ok(None) => {}
        Ok(Some(finding)) => return Ok(vec![finding]),
        Err(error) if error.transient => return Err(error),
        Err(error) => return Ok(vec![found(error)]),
    }
    let recorded = match Recorded::in_media(server.session(), facts, media, piece.backup.position).await {
        Ok(recorded) => recorded,
        Err(error) if error.transient => return Err(error),
        Err(error) => return Ok(vec![found(error)]),
    };
    let mut findings = header_findings(&recorded, piece, wanted, facts);
    findings.extend(restore_certificates::missing(server, &recorded).await?);
    Ok(findings)
}

fn header_findings(
    recorded: &Recorded,
    piece: &Piece,
    wanted: Wanted<'_>,
    server: &ServerFacts,
) -> Vec<PreflightFinding> {
    let (label, backup) = (piece.backup.label(), &recorded.backup);
    let mut findings = Vec::new();
    if backup.backup_set_guid != piece.backup.backup_set_guid {
        let message =
            format!("{} holds set {} and not the {label}", backup.media.join(", "), backup.backup_set_guid);
        findings.push(fatal(
            "restore.other_set",
            message,
            "the file was replaced; find the one that the manifest names",
        ));
    }
    if backup.is_damaged == Some(true) {
        let message = format!("the {label} was made of a damaged database");
        findings.push(fatal("sqlserver.3182", message, "take an older chain"));
    }
    if recorded.set["has_incomplete_metadata"] == true {
        findings.push(warning(
            "restore.metadata",
            format!("the {label} was taken while the database's files could not be read"),
            "what became of its files and filegroups since the log before is not in it; restore it as the last one and look at the result before others do",
        ));
    }
    if wanted.checksum && !recorded.has_checksums {
        let message = format!("the {label} has no checksums");
        findings.push(fatal("sqlserver.3187", message, "say `checksum: false` to restore it all the same"));
    }
    if backup.software_major.is_some_and(|major| major > server.major()) {
        let major = backup.software_major.unwrap_or_default();
        let message =
            format!("the {label} comes from version {major}, and this server is {}", server.version);
        findings.push(fatal("sqlserver.3169", message, "restore it on that version or a newer one"));
    }
    findings
}

/// What every edition has since 2016 SP1.
const EVERYWHERE: [&str; 5] =
    ["ChangeCapture", "ColumnStoreIndex", "Compression", "InMemoryOLTP", "Partitioning"];

/// What the database used and this edition may not have: it would fail at the end, when the database is recovered.
fn edition_finding(pieces: &[Piece], server: &ServerFacts) -> Option<PreflightFinding> {
    if !server.is_express && !server.is_standard {
        return None;
    }
    let is_here = |feature: &&String| {
        (server.major() >= 13 && EVERYWHERE.contains(&feature.as_str()))
            || (server.major() >= 15 && server.is_standard && *feature == "TransparentDataEncryption")
    };
    let mut missing: Vec<&str> = Vec::new();
    for feature in pieces.iter().flat_map(|piece| &piece.edition_features).filter(|feature| !is_here(feature))
    {
        if !missing.contains(&feature.as_str()) {
            missing.push(feature);
        }
    }
    let message = format!(
        "the database uses {}, which this edition of SQL Server {} may not have",
        missing.join(", "),
        server.version
    );
    (!missing.is_empty()).then(|| {
        warning("restore.edition", message, "restore it on an Enterprise or Developer edition: elsewhere the restore fails at its end, when the database is recovered")
    })
}

/// What is at the place of the database now.
fn target_findings(
    wanted: Wanted<'_>,
    chain: &RestoreChain,
    existing: Option<&DatabaseFacts>,
) -> Vec<PreflightFinding> {
    let Some(existing) = existing else { return Vec::new() };
    let database = wanted.database;
    let mut findings = Vec::new();
    if !wanted.replace {
        let message = format!("database {database} is there already, {}", existing.state_word);
        findings.push(fatal(
            "restore.exists",
            message,
            "say `replace: true` to destroy it, or restore `into:` another name",
        ));
    }
    if existing.is_replica {
        let message = format!("database {database} belongs to an availability group");
        let help = format!(
            "take it out first: ALTER AVAILABILITY GROUP … REMOVE DATABASE {0} on the primary; restore it here; then ADD DATABASE {0}, and \
             restore it WITH NORECOVERY on each secondary or let it be seeded, before it joins again",
            database.bracketed()
        );
        findings.push(fatal("sqlserver.3104", message, help));
    }
    let family = chain.pieces.first().and_then(|piece| piece.backup.family_guid.as_ref());
    if let (Some(own), Some(family)) = (&existing.family, family)
        && own != family
    {
        let message = format!(
            "database {database} is of another family than the backups: it was never the same database"
        );
        findings.push(warning("sqlserver.3154", message, "is it the right server, and the right name?"));
    }
    findings
}

async fn rights(
    server: &SqlServerConnection,
    facts: &ServerFacts,
) -> Result<Option<PreflightFinding>, StepError> {
    if facts.is_sysadmin {
        return Ok(None);
    }
    let answer = server.session().ask("asking for the login's rights", RIGHTS).await?;
    let row = answer.first()?;
    let may = row.flag("is_creator")? || row.flag("may_create")?;
    let message = "the login may not create databases, which restoring one needs";
    Ok((!may).then(|| fatal("sqlserver.3110", message, "make it a member of the server role dbcreator")))
}

/// Whether the certificates are there that encrypt the database or the backups.
async fn certificates(
    server: &SqlServerConnection,
    ready: &Ready,
) -> Result<Vec<PreflightFinding>, StepError> {
    let needed: Vec<&String> = ready.files.iter().filter_map(|file| file.tde_thumbprint.as_ref()).collect();
    if needed.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT thumbprint FROM master.sys.certificates";
    let answer = server.session().ask("asking for certificates", sql).await?;
    let own = answer.rows().map(|row| row.hex("thumbprint")).collect::<Result<Vec<_>, _>>()?;
    let mut missing: Vec<&String> =
        needed.into_iter().filter(|needed| !own.iter().flatten().any(|own| own == *needed)).collect();
    missing.dedup();
    let finding = |thumbprint: &String| {
        let message = format!(
            "the server has no certificate with thumbprint {thumbprint}, which encrypts the database"
        );
        fatal("sqlserver.33111", message, "restore the certificate with its private key into `master` first")
    };
    Ok(missing.into_iter().map(finding).collect())
}

/// Whether the files can be made where they should lie.
async fn places(
    server: &SqlServerConnection,
    database: &Identifier,
    ready: &Ready,
) -> Result<Vec<PreflightFinding>, StepError> {
    let (session, style) = (server.session(), server.facts().await?.style);
    let mut findings = Vec::new();
    let owners = session.ask("asking for the files of all databases", OWNERS).await?;
    for row in owners.rows() {
        let (owner, path) =
            (row.text("owner")?.unwrap_or_default(), row.text("physical_name")?.unwrap_or_default());
        let Ok(path) = ServerPath::parse(style, path) else { continue };
        let is_other = owner.to_lowercase() != database.as_str().to_lowercase();
        if is_other && ready.destinations.iter().any(|file| file.path.is(&path)) {
            let message = format!("the file {path} is in use by database {owner}");
            findings.push(fatal("sqlserver.1834", message, "give the file another place with `move`"));
        }
    }
    let mut folders: Vec<ServerPath> =
        ready.destinations.iter().filter_map(|file| file.path.folder()).collect();
    folders.dedup_by(|a, b| a.is(b));
    for folder in folders {
        if server.facts().await?.is_sysadmin && !FileStatus::ask(session, &folder).await?.is_folder {
            let message = format!("the server sees no folder {folder} for the database's files");
            findings.push(fatal(
                "sqlserver.5133",
                message,
                "make it, or give the files another place with `move`",
            ));
        }
    }
    if let Some(free) = free_space(server).await? {
        findings.extend(space(&ready.destinations, ready.existing.as_ref(), &free));
    }
    Ok(findings)
}

/// The volumes that hold database files, with what is free on each; nothing for a login that may not see the server's state.
async fn free_space(server: &SqlServerConnection) -> Result<Option<Vec<(ServerPath, i64)>>, StepError> {
    let style = server.facts().await?.style;
    let Ok(volumes) = server.session().ask("asking for free space", VOLUMES).await else { return Ok(None) };
    let mut free = Vec::new();
    for row in volumes.rows() {
        let volume = ServerPath::parse(style, row.text("volume_mount_point")?.unwrap_or_default());
        free.extend(volume.ok().zip(row.number("available_bytes")?));
    }
    Ok(Some(free))
}

/// Why there is no room for new files beside all that is there; nothing where there is.
///
/// # Errors
/// What the server says.
pub(super) async fn missing_room(
    server: &SqlServerConnection,
    destinations: &[Destination],
) -> Result<Option<String>, StepError> {
    let Some(free) = free_space(server).await? else {
        return Ok(Some("the login may not see how much room there is".into()));
    };
    let unseen =
        destinations.iter().find(|file| !free.iter().any(|(volume, _)| file.path.below(volume).is_some()));
    if let Some(file) = unseen {
        return Ok(Some(format!("the server does not tell how much room there is for {}", file.path)));
    }
    Ok(space(destinations, None, &free).into_iter().next().map(|finding| finding.message))
}

/// What is needed on each volume. What the database takes that is replaced becomes free.
fn needs(
    destinations: &[Destination],
    existing: Option<&DatabaseFacts>,
    free: &[(ServerPath, i64)],
) -> Vec<RoomNeeded> {
    let on = |path: &ServerPath| {
        let holds = |volume: &ServerPath| path.below(volume).map(|_| volume.as_str().len());
        free.iter()
            .enumerate()
            .filter_map(|(at, (volume, _))| Some((holds(volume)?, at)))
            .max()
            .map(|(_, at)| at)
    };
    let needed = |at: usize| -> i64 {
        let new = destinations.iter().filter(|file| on(&file.path) == Some(at)).map(|file| file.size);
        let is_replaced = |path: &str| destinations.iter().any(|file| file.path.as_str() == path);
        let old = existing.into_iter().flat_map(|facts| &facts.files).filter(|file| is_replaced(&file.path));
        let there: Vec<&Destination> =
            destinations.iter().filter(|file| on(&file.path) == Some(at)).collect();
        let old =
            old.filter(|file| there.iter().any(|new| new.path.as_str() == file.path)).map(|file| file.size);
        new.sum::<i64>() - old.sum::<i64>()
    };
    let needs = |(at, (volume, available)): (usize, &(ServerPath, i64))| RoomNeeded {
        place: volume.to_string(),
        needed: needed(at),
        free: *available,
        code: NO_ROOM.to_owned(),
    };
    free.iter().enumerate().map(needs).collect()
}

/// Volumes that are too small.
fn space(
    destinations: &[Destination],
    existing: Option<&DatabaseFacts>,
    free: &[(ServerPath, i64)],
) -> Vec<PreflightFinding> {
    let finding = |one: RoomNeeded| {
        let RoomNeeded { place, needed, free, code } = one;
        let message = format!("{place} has {free} bytes free, and the database's files need {needed}");
        (needed > free).then(|| fatal(&code, message, "free space, or give files another place with `move`"))
    };
    needs(destinations, existing, free).into_iter().filter_map(finding).collect()
}

/// The room that a restore takes on each volume; nothing for a login that may not see it.
///
/// # Errors
/// What the server says.
pub(super) async fn room(server: &SqlServerConnection, ready: &Ready) -> Result<Vec<RoomNeeded>, StepError> {
    let Some(free) = free_space(server).await? else { return Ok(Vec::new()) };
    let needs = needs(&ready.destinations, ready.existing.as_ref(), &free);
    Ok(needs.into_iter().filter(|one| one.needed > 0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlserver::database::{FileFacts, State};
    use crate::sqlserver::paths::PathStyle;
    use crate::sqlserver::restore_chain::GivenChain;
    use crate::sqlserver::restore_chain::tests::chain;
    use crate::sqlserver::server::tests::on_windows;

    fn path(text: &str) -> ServerPath {
        ServerPath::parse(PathStyle::Windows, text).unwrap()
    }

    fn existing() -> DatabaseFacts {
        let file = FileFacts {
            logical: "x".into(),
            path: r"E:\data\x.mdf".into(),
            is_data: true,
            redo_start: None,
            redo_fork: None,
            has_base: false,
            size: 60,
        };
        DatabaseFacts {
            state: State::Online,
            state_word: "ONLINE".into(),
            is_multi_user: true,
            is_standby: false,
            recovery_model: "FULL".into(),
            is_replica: false,
            is_snapshot: false,
            family: Some(drydock_recovery::guid::Guid::new("other")),
            fork: None,
            last_log_backup: Some(drydock_recovery::lsn::Lsn::from(1)),
            files: vec![file],
        }
    }

    #[test]
    fn space_is_counted_by_volume_and_with_what_is_replaced() {
        let file = |at: &str, size| Destination { logical: "x".into(), path: path(at), size };
        let files = [file(r"E:\data\x.mdf", 100), file(r"E:\data\mnt\y.ndf", 50), file(r"F:\x.ldf", 10)];
        let free = [(path(r"E:\"), 90), (path(r"E:\data\mnt"), 49), (path(r"F:\"), 10)];
        let codes = |existing: Option<&DatabaseFacts>| -> Vec<String> {
            space(&files, existing, &free).into_iter().map(|finding| finding.message).collect()
        };
        assert_eq!(codes(None).len(), 2);
        assert!(codes(None)[0].starts_with(r"E:\ has 90 bytes free"), "{:?}", codes(None));
        assert_eq!(codes(Some(&existing())).len(), 1, "60 bytes of the old file become free");
    }

    #[test]
    fn what_only_a_larger_edition_has_is_told() {
        let mut told = chain();
        told["backups"][0]["edition_features"] =
            serde_json::json!(["Compression", "TransparentDataEncryption"]);
        let given: GivenChain = serde_json::from_value(told).unwrap();
        let chain = given.needed(None).unwrap();
        let said = |version: &str, is_express: bool, is_standard: bool| {
            let facts =
                ServerFacts { version: version.into(), is_express, is_standard, ..on_windows("sql01") };
            edition_finding(&chain.pieces, &facts).map(|finding| finding.message)
        };
        assert_eq!(said("16.0.1", false, false), None, "an Enterprise edition has everything");
        assert_eq!(said("15.0.1", false, true), None, "Standard encrypts since 2019");
        let express = said("16.0.1", true, false).unwrap();
        assert!(
            express.starts_with("the database uses TransparentDataEncryption, which this edition"),
            "{express}"
        );
        let old = said("12.0.1", false, true).unwrap();
        assert!(old.starts_with("the database uses Compression, TransparentDataEncryption, which"), "{old}");
    }

    #[test]
    fn what_is_destroyed_is_told() {
        let given: GivenChain = serde_json::from_value(chain()).unwrap();
        let chain = given.needed(None).unwrap();
        let database = Identifier::parse("Octopus").unwrap();
        let check = |replace: bool, existing: Option<DatabaseFacts>, expected: &[(&str, bool)]| {
            let wanted =
                Wanted { database: &database, replace, checksum: true, standby: None, attempt: "r/step/1" };
            let found = target_findings(wanted, &chain, existing.as_ref());
            let found: Vec<_> = found.iter().map(|finding| (finding.code.as_str(), finding.fatal)).collect();
            assert_eq!(found, expected);
        };
        check(false, None, &[]);
        check(true, Some(existing()), &[("sqlserver.3154", false)]);
        check(false, Some(existing()), &[("restore.exists", true), ("sqlserver.3154", false)]);
        let replica = DatabaseFacts { is_replica: true, family: None, last_log_backup: None, ..existing() };
        check(true, Some(replica), &[("sqlserver.3104", true)]);
    }
}
