//! Backups that another run took and a point's chain needs: [`with_awaited`] finds them in the catalogue. A log point that is made between a
//! full backup and the mark holds a part of the log that leads there.

use std::time::Duration;

use drydock_recovery::catalogue::{Catalogue, Record};
use drydock_recovery::chain::{Chain, ChainRequest, Goal, choose};
use drydock_recovery::history::History;
use drydock_recovery::manifest::{DatabasePart, StoredBackup};
use drydock_step::{Connection, Ctx, StepError};
use indexmap::IndexMap;

use super::catalogue::catalogue_of;
use super::given::{BackupGiven, MarkGiven, MarkedDatabase};

/// By the plan's names for the databases.
type Backups = IndexMap<String, Vec<BackupGiven>>;

/// How often a log point looks for the record of another run that has taken the log which holds its mark, and how long it waits in between:
/// that run comes to its own end in a moment, or has an hour of downloads before it.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);

/// [`with_adopted`], where a log point waits a while for a log that another run has taken and not sealed yet.
///
/// # Errors
/// What the store says; `cancelled`.
pub(super) async fn with_awaited(
    ctx: &Ctx,
    connection: &dyn Connection,
    given: &Backups,
    mark: &MarkGiven,
    between: bool,
) -> Result<Backups, StepError> {
    for look in 0..LOOKS {
        let all = with_adopted(ctx, connection, given, mark, between).await?;
        let awaited = if between { awaited(&all, mark) } else { Vec::new() };
        if awaited.is_empty() {
            return Ok(all);
        }
        if look == 0 {
            let of = awaited.join(", ");
            ctx.log(format!(
                "another run has taken the log of {of} that holds the mark: its record is waited for"
            ));
        }
        let pause = async {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            Ok(())
        };
        ctx.or_cancelled(pause).await?;
    }
    with_adopted(ctx, connection, given, mark, between).await
}

/// The backups that were given, and for each database that they do not lead to its mark, those of the catalogue that they lack. Where
/// nothing leads there, nothing is added: then the seal says what is missing.
///
/// # Errors
/// What the store says.
async fn with_adopted(
    ctx: &Ctx,
    connection: &dyn Connection,
    given: &Backups,
    mark: &MarkGiven,
    between: bool,
) -> Result<Backups, StepError> {
    let leads = |backups: &[BackupGiven], place: &MarkedDatabase| {
        if between { holds(backups, place) } else { chain(backups, place).is_some() }
    };
    let lacking = |(name, backups): (&String, &Vec<BackupGiven>)| {
        let place = mark.databases.get(name)?;
        (!leads(backups, place)).then(|| (name.clone(), place))
    };
    let lacking: Vec<(String, &MarkedDatabase)> = given.iter().filter_map(lacking).collect();
    let mut all = given.clone();
    if lacking.is_empty() {
        return Ok(all);
    }
    let catalogue = catalogue_of(connection).await?.taken_catalogue();
    for (name, place) in lacking {
        let Some(own) = all.get_mut(&name) else { continue };
        let mut every = own.clone();
        every.extend(of_others(&catalogue, &name, own));
        let needed: Vec<BackupGiven> = match (between, chain(&every, place)) {
            (true, _) => {
                let fork = own.first().map(|one| one.recovery_fork.clone());
                let same = |one: &BackupGiven| Some(&one.recovery_fork) == fork.as_ref();
                every.into_iter().filter(|one| same(one) && holds(std::slice::from_ref(one), place)).collect()
            }
            (false, Some(chain)) => every.into_iter().filter(|one| is_in(one, &chain)).collect(),
            (false, None) => continue,
        };
        for one in needed.into_iter().filter(|one| one.adopted) {
            ctx.log(format!("{name}: the {} of another run is adopted", one.backup.label()));
            own.push(one);
        }
    }
    Ok(all)
}

/// The databases of a log point whose own log begins behind the mark: another run has taken the one that holds it, and has not sealed it yet.
/// Its record will be there in a moment.
fn awaited<'m>(all: &Backups, mark: &'m MarkGiven) -> Vec<&'m str> {
    let is_awaited = |(name, place): &(&'m String, &MarkedDatabase)| {
        let own = all.get(*name).map(Vec::as_slice).unwrap_or_default();
        let behind = |one: &BackupGiven| one.backup.range().first > place.lsn;
        !holds(own, place) && own.iter().any(behind)
    };
    mark.databases.iter().filter(is_awaited).map(|(name, _)| name.as_str()).collect()
}

/// Whether one of them is a log that holds the mark.
fn holds(backups: &[BackupGiven], place: &MarkedDatabase) -> bool {
    let log = |one: &&BackupGiven| one.backup.kind.as_str() == "log";
    backups.iter().filter(log).any(|one| one.backup.range().holds(place.lsn))
        || backups.iter().any(|one| one.backup.kind.as_str() == "differential")
}

/// The chain that leads to the mark, where there is one.
fn chain(backups: &[BackupGiven], place: &MarkedDatabase) -> Option<Chain> {
    let own = backups.iter().filter(|one| !one.adopted).max_by_key(|one| one.backup.finished_at)?;
    let history = History::from(backups.iter().map(|one| one.backup.clone()).collect::<Vec<_>>());
    let request = ChainRequest {
        database: Some(own.backup.database.clone()),
        goal: Goal::Mark { lsn: place.lsn, at: place.at },
        fork: Some(own.recovery_fork.clone()),
        ..ChainRequest::default()
    };
    choose(&history, &request).ok()
}

fn is_in(one: &BackupGiven, chain: &Chain) -> bool {
    chain.backups.iter().any(|set| set.backup_set_guid == one.backup.backup_set_guid)
}

/// What other runs have sealed of the same database.
fn of_others(catalogue: &Catalogue, name: &str, own: &[BackupGiven]) -> Vec<BackupGiven> {
    let family = own.first().map(|one| &one.family_guid);
    let mut found: Vec<BackupGiven> = Vec::new();
    let good = |record: &Record<'_>| catalogue.barred(record.id()).is_none();
    for record in catalogue.records().into_iter().filter(good) {
        let part = record.databases().get(name).filter(|part| Some(&part.family_guid) == family);
        for (part, stored) in
            part.into_iter().flat_map(|part| part.backups.iter().map(move |one| (part, one)))
        {
            let same = |one: &BackupGiven| one.backup.backup_set_guid == stored.backup.backup_set_guid;
            if !own.iter().any(same) && !found.iter().any(same) {
                found.push(adopted(part, stored));
            }
        }
    }
    found
}

fn adopted(part: &DatabasePart, stored: &StoredBackup) -> BackupGiven {
    BackupGiven {
        backup: stored.backup.clone(),
        artifacts: stored.artifacts.iter().map(|one| one.path.clone()).collect(),
        has_checksums: stored.checksums,
        encryptor_thumbprint: stored.encryptor_thumbprint.clone(),
        server: part.server.clone(),
        recovery_model: part.recovery_model.clone(),
        family_guid: part.family_guid.clone(),
        recovery_fork: part.recovery_fork.clone(),
        adopted: true,
    }
}
