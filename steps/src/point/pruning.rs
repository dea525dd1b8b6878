//! Removing points that no rule keeps: [`planned`] says what would go, [`pruned`] removes it.
//!
//! A point's folder gets `pruning.json` before the first file goes, and from then on the point is none any more: not listed, not restored
//! from. All that go get theirs before anything is removed, the newest first, so that nothing is left that needs what is gone. The manifest
//! goes after the files, `pruning.json` last, so that whoever comes after a kill goes on where it was.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::TimeDelta;
use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_recovery::catalogue::{Catalogue, Record};
use drydock_recovery::manifest::{Opened, PointId, PointMark, PointMarkKind};
use drydock_recovery::pruning::{Guards, Outlook, wal_floors};
use drydock_recovery::retention::Retention;
use drydock_step::artifact::Leftover;
use drydock_step::{ArtifactStore, Connection, StepError};
use serde::{Deserialize, Serialize};

use super::catalogue::{Found, catalogue_of, manifest_text};
use super::prune_bases::spare_bases;
use super::said::{signed, store_of};
use super::{layout, resolved::record_of};

/// Under which rules points are removed.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// What stays.
    pub retention: Retention,
    /// When it is rather stopped.
    pub guards: Guards,
    /// Whether files that no sealed point has go too: of points that were never sealed, and WAL that leads nowhere any more.
    pub orphans: bool,
    /// How much older than the newest point a point must be that was opened and never sealed, to count as one that never will be.
    pub unsealed_after: TimeDelta,
}

/// What becomes of one point or log point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Its id.
    pub id: PointId,
    /// `point`, `log` or `differential`; `unsealed` for one that was opened and never sealed.
    pub kind: String,
    /// The moment that it stands for.
    pub at: Option<Time>,
    /// Whether it stays.
    pub keep: bool,
    /// Why.
    pub why: String,
}

/// What a pruning would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Every point and log point, newest first.
    pub points: Vec<Told>,
    /// Points that were opened and never sealed.
    pub unsealed: Vec<Told>,
    /// Points whose removal was begun before and has not come to its end.
    pub interrupted: Vec<PointId>,
    /// How many segments of WAL lead nowhere any more.
    pub spent_wal: usize,
    /// How many files are left of puts that were cut; they are among those that would go.
    #[serde(default)]
    pub leftovers: usize,
    /// How many files would go.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Base backups that stay though their points go, and why.
    pub spared: Vec<String>,
    /// Why nothing is removed as it was asked for; empty where it may be.
    pub stops: Vec<String>,
}

/// What is to be removed, decided.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Doomed {
    /// Points and log points.
    pub points: Vec<PointId>,
    /// Points that were never sealed.
    pub unsealed: Vec<PointId>,
}

impl Doomed {
    /// The same without what has to stay by now: somebody may have held it since it was decided.
    #[must_use]
    pub(super) fn still(mut self, now: &Planned) -> Self {
        let stays = |told: &[Told], id: &PointId| told.iter().any(|one| one.id == *id && one.keep);
        self.points.retain(|id| !stays(&now.points, id));
        self.unsealed.retain(|id| !stays(&now.unsealed, id));
        self
    }
}

impl Planned {
    /// What is to be removed.
    pub fn doomed(&self) -> Doomed {
        let going = |told: &[Told]| told.iter().filter(|one| !one.keep).map(|one| one.id.clone()).collect();
        Doomed { points: going(&self.points), unsealed: going(&self.unsealed) }
    }

    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        let doomed = self.doomed();
        doomed.points.is_empty()
            && doomed.unsealed.is_empty()
            && self.interrupted.is_empty()
            && self.files == 0
    }
}

/// What would be removed.
///
/// # Errors
/// What the store says. What cannot be read, and whatever else stands against it, is in [`Planned::stops`].
pub async fn planned(connection: &dyn Connection, terms: &Terms, now: Time) -> Result<Planned, StepError> {
    let (store, found) = (store_of(connection)?, catalogue_of(connection).await?);
    let catalogue = found.catalogue();
    let outlook = Outlook::of(&catalogue, &terms.retention, terms.guards, now);
    let records = catalogue.records();
    let points: Vec<Told> = outlook
        .decisions
        .iter()
        .map(|one| Told {
            id: one.id.clone(),
            kind: record_of(&records, &one.id).map_or("point", |record| record.kind()).to_owned(),
            at: Some(one.at),
            keep: one.keep,
            why: one.why.to_string(),
        })
        .collect();
    let unsealed = unsealed(store, &found, &catalogue, terms).await?;
    let mut planned = Planned {
        points,
        unsealed,
        interrupted: found.pruning.keys().cloned().collect(),
        stops: outlook.stops.iter().map(ToString::to_string).collect(),
        ..Planned::default()
    };
    planned.stops.extend(found.unreadable.iter().map(|file| {
        format!("{file}: nobody knows what it needs; bring it back, or move it out of the store")
    }));
    let doomed = planned.doomed();
    let (files, spared) = going(store, &found, &doomed).await?;
    let spent = spent_wal(store, &found, &doomed, terms).await?;
    planned.spared = spared;
    planned.spent_wal = spent.len();
    let left = leftovers(store, &found, terms).await?;
    planned.leftovers = left.len();
    planned.files = files.len() + spent.len() + left.len();
    planned.bytes = files.values().chain(spent.values()).chain(left.iter().map(|one| &one.size)).sum();
    Ok(planned)
}

/// What becomes of points that were opened and never sealed.
async fn unsealed(
    store: &dyn ArtifactStore,
    found: &Found,
    catalogue: &Catalogue,
    terms: &Terms,
) -> Result<Vec<Told>, StepError> {
    let newest = catalogue.points().first().map(|point| point.marked_at);
    let mut all = Vec::new();
    for id in &found.unsealed {
        let text = manifest_text(store, &layout::opened(id)).await?;
        let at = text.and_then(|text| Opened::parse(&text).ok()).map(|opened| opened.opened_at);
        let old = |at: Time| newest.is_some_and(|newest| at + terms.unsealed_after < newest);
        let (keep, why) = match at {
            _ if found.doubted.contains_key(id) => (true, "what was said about it is not trusted".to_owned()),
            None => (true, "nobody can read when it was opened".to_owned()),
            Some(at) if !old(at) => {
                let why = format!("opened {}, it may still be sealed", clock(at));
                (true, why)
            }
            Some(at) if !terms.orphans => {
                (true, format!("opened {} and never sealed; it goes where orphans are asked for", clock(at)))
            }
            Some(at) => (false, format!("opened {} and never sealed", clock(at))),
        };
        all.push(Told { id: id.clone(), kind: "unsealed".into(), at, keep, why });
    }
    Ok(all)
}

/// The paths that what stays needs.
fn used<'f>(found: &'f Found, doomed: &Doomed) -> BTreeSet<&'f str> {
    let stays = |id: &PointId| !doomed.points.contains(id);
    let points = found.points.iter().filter(|point| stays(&point.id)).map(Record::Point);
    let logs = found.log_points.iter().filter(|log| stays(&log.id)).map(Record::Log);
    points.chain(logs).flat_map(Record::artifacts).map(|artifact| artifact.path.as_str()).collect()
}

/// The files that go, with their sizes, without those that tell of points; and the base backups that stay all the same.
async fn going(
    store: &dyn ArtifactStore,
    found: &Found,
    doomed: &Doomed,
) -> Result<(BTreeMap<String, u64>, Vec<String>), StepError> {
    let used = used(found, doomed);
    let goes = |id: &PointId| doomed.points.contains(id);
    let points: Vec<Record<'_>> =
        found.points.iter().filter(|point| goes(&point.id)).map(Record::Point).collect();
    let logs = found.log_points.iter().filter(|log| goes(&log.id)).map(Record::Log);
    let named = points.iter().copied().chain(logs).flat_map(Record::artifacts);
    let mut files: BTreeMap<String, u64> = named.map(|one| (one.path.clone(), one.size)).collect();
    // Of what is being removed some is gone.
    for one in found.pruning.values().flatten() {
        if let Some(size) = store.size(&one.path).await? {
            files.insert(one.path.clone(), size);
        }
    }
    let folders = doomed.points.iter().chain(&doomed.unsealed).chain(found.pruning.keys());
    let folders: BTreeSet<String> = folders.map(|id| format!("{}/", layout::prefix(id))).collect();
    let own = found.listed.iter().filter(|file| {
        folders.iter().any(|folder| file.path.starts_with(folder.as_str()))
            && layout::Filed::at(&file.path).is_none()
    });
    files.extend(own.map(|file| (file.path.clone(), file.size)));
    files.retain(|path, _| !used.contains(path.as_str()));
    let spared = spare_bases(store, &mut files).await?;
    Ok((files, spared))
}

/// Segments of WAL that no point has which stays, and from which recovery leads nowhere that the rules want; none unless they are asked for.
async fn spent_wal(
    store: &dyn ArtifactStore,
    found: &Found,
    doomed: &Doomed,
    terms: &Terms,
) -> Result<BTreeMap<String, u64>, StepError> {
    let mut spent = BTreeMap::new();
    if !terms.orphans {
        return Ok(spent);
    }
    let used = used(found, doomed);
    for floor in wal_floors(&found.catalogue(), &terms.retention) {
        let below = store.list(&floor.prefix).await?;
        let below = below.into_iter().filter(|file| floor.is_below(&file.path));
        spent.extend(
            below.filter(|file| !used.contains(file.path.as_str())).map(|file| (file.path, file.size)),
        );
    }
    Ok(spent)
}

/// What puts that were cut have left: where that is certain, and else what is older than the newest point by as much as a point that will never
/// be sealed. None unless they are asked for.
async fn leftovers(
    store: &dyn ArtifactStore,
    found: &Found,
    terms: &Terms,
) -> Result<Vec<Leftover>, StepError> {
    if !terms.orphans {
        return Ok(Vec::new());
    }
    let newest = found.points.iter().map(|point| point.marked_at).max();
    let old = |ms: i64| {
        let written = Time::from_timestamp_millis(ms);
        written.zip(newest).is_some_and(|(written, newest)| written + terms.unsealed_after < newest)
    };
    let left = store.leftovers().await?;
    Ok(left.into_iter().filter(|one| one.written_ms.is_none_or(old)).collect())
}

/// Who prunes, and when.
pub struct Pruner<'p> {
    /// Who, for the mark of a point that goes.
    pub by: &'p str,
    /// When.
    pub now: Time,
}

/// Removes what is doomed, and what an earlier pruning has begun to remove. A file that the store does not give up is no failure of the
/// whole: it is told, and the point's `pruning.json` stays, so that the next pruning tries again.
///
/// # Errors
/// What the store says that may be otherwise later; `point.prune` when the catalogue cannot be read any more.
pub async fn pruned(
    connection: &dyn Connection,
    doomed: &Doomed,
    terms: &Terms,
    pruner: &Pruner<'_>,
    told: &(dyn Fn(u64) + Send + Sync),
) -> Result<Vec<String>, StepError> {
    let store = store_of(connection)?;
    bury(connection, doomed, pruner).await?;
    // What was sealed meanwhile may need what was not needed before.
    let found = catalogue_of(connection).await?;
    if let Some(file) = found.unreadable.first() {
        let message = format!("{file}: nobody knows what it needs");
        return Err(StepError::new("point.prune", message).help("bring it back, or move it out of the store"));
    }
    let none = Doomed::default();
    let (files, _) = going(store, &found, &none).await?;
    let spent = spent_wal(store, &found, &none, terms).await?;
    let mut refused: Vec<String> = Vec::new();
    let mut stuck: BTreeSet<String> = BTreeSet::new();
    for (done, path) in files.keys().chain(spent.keys()).enumerate() {
        if let Some(why) = removed(store, path).await? {
            refused.push(why);
            stuck.insert(path.clone());
        }
        told(done as u64 + 1);
    }
    for left in leftovers(store, &found, terms).await? {
        match store.clear(&left).await {
            Ok(_) => {}
            Err(error) if error.transient || error.unknown => return Err(error),
            Err(error) => refused.push(format!("{} stays: {}", left.path, error.message)),
        }
    }
    for (id, artifacts) in &found.pruning {
        let folder = format!("{}/", layout::prefix(id));
        let is_stuck = artifacts.iter().any(|one| stuck.contains(&one.path))
            || stuck.iter().any(|path| path.starts_with(&folder));
        if !is_stuck {
            refused.extend(forgotten(store, &found, id).await?);
        }
    }
    Ok(refused)
}

/// Writes of each that goes that it does, the newest first.
async fn bury(connection: &dyn Connection, doomed: &Doomed, pruner: &Pruner<'_>) -> Result<(), StepError> {
    let store = store_of(connection)?;
    for id in doomed.points.iter().chain(&doomed.unsealed) {
        let said = PointMarkKind::Pruned { reason: "no rule keeps it".to_owned() };
        let mark = PointMark::new(id.clone(), pruner.now, pruner.by, said);
        let text = Bytes::from(signed(connection, &mark)?);
        // What an earlier attempt has wholly removed gets no grave again.
        let is_there = !store.list(&layout::prefix(id)).await?.is_empty();
        match if is_there { store.put_new(&layout::pruning(id), text).await.map(drop) } else { Ok(()) } {
            Err(error) if error.code != "artifact.exists" => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes what tells of a point, its manifest before the last, and why not where the store does not let it go.
async fn forgotten(
    store: &dyn ArtifactStore,
    found: &Found,
    id: &PointId,
) -> Result<Option<String>, StepError> {
    let folder = format!("{}/", layout::prefix(id));
    let own = found.listed.iter().map(|file| &file.path).filter(|path| path.starts_with(&folder));
    let last = [layout::manifest(id), layout::log_point(id), layout::pruning(id)];
    let tells = own.filter(|path| layout::Filed::at(path).is_some() && !last.contains(path));
    for path in tells.chain(&last) {
        if let Some(why) = removed(store, path).await? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// Removes a file; why not, where the store does not let it go: it may be locked there for some time.
async fn removed(store: &dyn ArtifactStore, path: &str) -> Result<Option<String>, StepError> {
    match store.delete(path).await {
        Ok(_) => Ok(None),
        Err(error) if error.transient || error.unknown => Err(error),
        Err(error) => Ok(Some(format!("{path} stays: {}", error.message))),
    }
}
