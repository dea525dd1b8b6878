//! [`select`]: the point or log point that a restore goes back to.

use indexmap::IndexMap;

use crate::Time;
use crate::backup::clock;
use crate::catalogue::clocks::by_clock_of;
use crate::catalogue::clusters::{ClusterChoice, to_log_point, to_moment};
use crate::catalogue::record::Record;
use crate::catalogue::selection::{ChainPart, Price, Selection, StopAtMark};
use crate::catalogue::store::Catalogue;
use crate::catalogue::to::To;
use crate::chain::Chain;
use crate::guid::Guid;
use crate::manifest::{Band, ClockPart, DatabasePart, Manifest, StoredBackup};

/// Why nothing was chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The store holds no point at all.
    #[error("the store holds no recovery point")]
    Empty,
    /// No point has this id.
    #[error("no point's id begins with {id}; `drydock points list` shows them")]
    NoSuchId {
        /// The id asked for.
        id: String,
    },
    /// Several have.
    #[error("{id} is the beginning of several points' ids: {}; write more of it", .ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// The ids that begin so.
        ids: Vec<String>,
    },
    /// Everything is later.
    #[error("no point or log point stands at or before {}; the oldest is {oldest} of {}", clock(*.at), clock(*.oldest_at))]
    NoneBefore {
        /// The time asked for.
        at: Time,
        /// The oldest one's id.
        oldest: String,
        /// Its moment.
        oldest_at: Time,
    },
    /// The one asked for cannot be used.
    #[error("{id} cannot be used: {why}")]
    Unusable {
        /// Its id.
        id: String,
        /// Why.
        why: String,
    },
    /// None of those asked for can be used.
    #[error("nothing that was asked for can be used: {}", .passed_over.join("; "))]
    AllUnusable {
        /// Each, and why, newest first.
        passed_over: Vec<String>,
    },
}

/// Chooses a point or log point. What is newest and cannot be used is passed over, with why; one asked for by its id
/// is refused instead. `accept_missing` names what an incomplete one may lack.
///
/// # Errors
/// When there is nothing to choose, or nothing that can be used.
pub fn select(
    catalogue: &Catalogue,
    to: &To,
    accept_missing: &[String],
    now: Time,
) -> Result<Selection, SelectError> {
    let records = catalogue.records();
    let Some(oldest) = records.last() else { return Err(SelectError::Empty) };
    let current = catalogue.current();
    let candidates: Vec<Record<'_>> = match to {
        To::Latest => records.iter().copied().filter(|one| matches!(one, Record::Point(_))).collect(),
        To::End => records.clone(),
        To::At(at) => records.iter().copied().filter(|one| one.at() <= *at).collect(),
        To::Id(id) => vec![by_id(&records, id)?],
    };
    if let (To::At(at), []) = (to, candidates.as_slice()) {
        let (oldest, oldest_at) = (oldest.id().to_string(), oldest.at());
        return Err(SelectError::NoneBefore { at: *at, oldest, oldest_at });
    }
    let choice = Choice { catalogue, accept_missing, now, good: good(catalogue, &records) };
    let mut passed_over = Vec::new();
    for record in candidates {
        let off_line = matches!(to, To::Latest | To::End) && !current.has(record);
        let tried = if off_line {
            Err("it lies on an abandoned line of history".to_owned())
        } else {
            choice.of(record)
        };
        match (tried, to) {
            (Ok(selection), To::At(at)) => return Ok(choice.nearest(record, *at, selection, passed_over)),
            (Ok(selection), _) => return Ok(Selection { passed_over, ..selection }),
            (Err(why), To::Id(_)) => return Err(SelectError::Unusable { id: record.id().to_string(), why }),
            (Err(why), _) => passed_over.push(format!("{} of {}: {why}", record.id(), clock(record.at()))),
        }
    }
    if passed_over.is_empty() {
        Err(SelectError::Empty)
    } else {
        Err(SelectError::AllUnusable { passed_over })
    }
}

fn by_id<'c>(records: &[Record<'c>], id: &str) -> Result<Record<'c>, SelectError> {
    let matching: Vec<Record<'c>> =
        records.iter().copied().filter(|one| one.id().as_str().starts_with(id)).collect();
    match matching.as_slice() {
        [only] => Ok(*only),
        [] => Err(SelectError::NoSuchId { id: id.to_owned() }),
        several => {
            let ids = several.iter().map(|one| one.id().to_string()).collect();
            Err(SelectError::Ambiguous { id: id.to_owned(), ids })
        }
    }
}

/// What the clock of a database's server told when a record was made. A record that says nothing of clocks tells it by its mark alone.
fn look(record: Record<'_>, name: &str, server: &str) -> Option<ClockPart> {
    let by_mark = || {
        let part = record.databases().get(name).filter(|part| part.server.name == server)?;
        Some(ClockPart::ended(part.mark.at, record.at()))
    };
    record.clocks().get(server).copied().or_else(by_mark)
}

fn good<'c>(catalogue: &Catalogue, records: &[Record<'c>]) -> Vec<Record<'c>> {
    records.iter().copied().filter(|record| catalogue.barred(record.id()).is_none()).collect()
}

/// What a choice needs beside the record.
struct Choice<'c> {
    catalogue: &'c Catalogue,
    accept_missing: &'c [String],
    now: Time,
    good: Vec<Record<'c>>,
}

impl<'c> Choice<'c> {
    /// The selection of a record, or why it cannot be used.
    fn of(&self, record: Record<'c>) -> Result<Selection, String> {
        if let Some(why) = self.catalogue.barred(record.id()) {
            return Err(why);
        }
        let missing: Vec<&str> = record
            .incomplete()
            .iter()
            .filter(|name| !self.accept_missing.contains(name))
            .map(String::as_str)
            .collect();
        if !missing.is_empty() {
            let names = missing.join(", ");
            return Err(format!("it is incomplete ({names}); `accept_missing` takes it without"));
        }
        let mut sqlserver = IndexMap::new();
        for (name, part) in record.databases() {
            if let Some(outcome) = self.catalogue.chain(record, name, &self.good) {
                let chain = outcome.map_err(|refusal| format!("{name}: {refusal}"))?;
                sqlserver.insert(name.clone(), self.chain_part(record, name, part, chain)?);
            }
        }
        let base = self.vector_base(record)?;
        let mut qdrant = base.and_then(|point| point.qdrant.clone()).unwrap_or_default();
        // What an incomplete point has no snapshot of cannot be recovered, and was accepted as missing.
        qdrant.collections.retain(|one| !one.snapshots.is_empty());
        let postgres = self.clusters(record, base)?;
        let before = base.or_else(|| self.point_before(record.at()));
        // The pause was around this very mark.
        let paused = base.is_some_and(|point| point.id == *record.id() && point.pause.is_some());
        Ok(Selection {
            id: record.id().clone(),
            kind: record.kind(),
            mark: record.mark().clone(),
            at: record.at(),
            sqlserver,
            vector_base: base.filter(|point| point.has_vectors()).map(|point| point.id.clone()),
            server_objects: before.map(|point| point.server_objects.clone()).unwrap_or_default(),
            rows: record.rows().clone(),
            migrations: before.map(|point| point.migrations.clone()).unwrap_or_default(),
            versions: before.map(|point| point.versions.clone()).unwrap_or_default(),
            incomplete: record.incomplete().to_vec(),
            clocks: record.clocks_off(),
            price: Price::of(record.at(), self.now, &qdrant.collections, &postgres, paused),
            qdrant,
            postgres,
            passed_over: Vec::new(),
        })
    }

    /// The clusters of a record: a point's own; a log point's by its WAL, and where it has none, those of its vector base.
    fn clusters(
        &self,
        record: Record<'c>,
        base: Option<&Manifest>,
    ) -> Result<IndexMap<String, ClusterChoice>, String> {
        let of_base = base.into_iter().flat_map(|point| &point.postgres);
        let mut clusters: IndexMap<String, ClusterChoice> =
            of_base.map(|(name, part)| (name.clone(), ClusterChoice::of_point(part))).collect();
        if let Record::Log(log) = record {
            for name in log.postgres.keys() {
                clusters.insert(name.clone(), to_log_point(&self.good, log, name)?);
            }
        }
        Ok(clusters)
    }

    /// The very moment, where backups lead there; else the newest record before it, and why.
    fn nearest(
        &self,
        record: Record<'c>,
        at: Time,
        before: Selection,
        mut passed_over: Vec<String>,
    ) -> Selection {
        let mut databases = record.databases().iter();
        let exact = match (databases.next(), databases.next()) {
            (Some((name, part)), None) if record.at() < at => self.exactly(record, (name, part), at, &before),
            // Several databases have no common moment but their marks.
            _ => return Selection { passed_over, ..before },
        };
        match exact {
            Ok(selection) => Selection { passed_over, ..selection },
            Err(why) => {
                passed_over.push(format!("exactly {}: {why}", clock(at)));
                Selection { passed_over, ..before }
            }
        }
    }

    /// A moment after a record's mark: everything that its one database had committed until then.
    fn exactly(
        &self,
        record: Record<'c>,
        (name, part): (&String, &DatabasePart),
        at: Time,
        before: &Selection,
    ) -> Result<Selection, String> {
        let server = &part.server.name;
        let shown = by_clock_of(server, &self.good, |one| look(one, name, server), at)?;
        if shown.at <= part.mark.at {
            return Err(format!("by the clock of {server} it is not after the mark"));
        }
        let chain = self.catalogue.chain_to(record, name, &self.good, shown.at);
        let chain = chain.map_err(|refusal| format!("{name}: {refusal}"))?;
        let mut chain = self.chain_part(record, name, part, chain)?;
        chain.problems.extend(shown.told);
        let base = self.good.iter().find_map(|one| match one {
            Record::Point(point) if point.is_fixed_before(at) => Some(*point),
            _ => None,
        });
        let qdrant = base.and_then(|point| point.qdrant.clone()).unwrap_or_default();
        let names = base.into_iter().flat_map(|point| point.postgres.keys());
        let clusters = names.map(|name| Ok((name.clone(), to_moment(&self.good, name, at)?)));
        let postgres = clusters.collect::<Result<IndexMap<String, ClusterChoice>, String>>()?;
        let price = Price::of(at, self.now, &qdrant.collections, &postgres, false);
        Ok(Selection {
            kind: "time",
            at,
            sqlserver: [(name.clone(), chain)].into_iter().collect(),
            vector_base: base.filter(|point| point.has_vectors()).map(|point| point.id.clone()),
            // Nobody counted at that moment.
            rows: before.rows.keys().map(|table| (table.clone(), Band::any())).collect(),
            price,
            qdrant,
            postgres,
            ..before.clone()
        })
    }

    fn chain_part(
        &self,
        record: Record<'c>,
        name: &str,
        part: &DatabasePart,
        chain: Chain,
    ) -> Result<ChainPart, String> {
        let stored = |guid: &Guid| {
            self.stored(record, name, guid).ok_or(format!("{name}: nothing says where backup {guid} lies"))
        };
        let backups =
            chain.backups.iter().map(|set| stored(&set.backup_set_guid)).collect::<Result<_, _>>()?;
        Ok(ChainPart {
            database: chain.database,
            server: part.server.clone(),
            family_guid: part.family_guid.clone(),
            recovery_fork: part.recovery_fork.clone(),
            stop_at: chain.stop_at,
            stop_at_mark: chain.stop_at_lsn.map(|lsn| StopAtMark { name: record.mark().clone(), lsn }),
            recovers_to: chain.recovers_to,
            backups,
            problems: chain.problems.iter().map(ToString::to_string).collect(),
        })
    }

    fn stored(&self, record: Record<'c>, name: &str, guid: &Guid) -> Option<StoredBackup> {
        let parts = std::iter::once(record)
            .chain(self.good.iter().copied())
            .filter_map(|one| one.databases().get(name));
        parts.flat_map(|part| &part.backups).find(|stored| stored.backup.backup_set_guid == *guid).cloned()
    }

    /// The point whose snapshots go with a record.
    fn vector_base(&self, record: Record<'c>) -> Result<Option<&'c Manifest>, String> {
        let log = match record {
            Record::Point(point) => return Ok(Some(point)),
            Record::Log(log) => log,
        };
        let Some(id) = &log.vector_base else { return Ok(None) };
        let named = self.catalogue.points().iter().find(|point| point.id == *id);
        let usable = |point: &&Manifest| self.catalogue.barred(&point.id).is_none();
        match named.filter(usable).or_else(|| self.point_before(log.marked_at)) {
            Some(point) => Ok(Some(point)),
            None => Err(format!("its vector base {id} is gone or bad, and no point stands before it")),
        }
    }

    fn point_before(&self, at: Time) -> Option<&'c Manifest> {
        self.good.iter().find_map(|record| match record {
            Record::Point(point) if point.marked_at <= at => Some(*point),
            _ => None,
        })
    }
}
