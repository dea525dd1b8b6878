//! [`clocks`]: how far the clocks of a point's servers were off, as far as what belongs to the point tells.

use indexmap::IndexMap;

use crate::manifest::clock_part::ClockPart;
use crate::manifest::draft::Marked;
use crate::manifest::evidence::QdrantEvidence;
use crate::manifest::postgres::RestorePointPart;
use crate::manifest::sqlserver::DatabasePart;

/// The clocks of a point's servers: those of SQL Server at the mark, by the servers' names; those of Qdrant's nodes at a snapshot, by the
/// nodes'; those of PostgreSQL clusters at their restore points, by the plan's names for them.
pub(crate) fn clocks<'e>(
    marked: &Marked,
    sqlserver: &IndexMap<String, DatabasePart>,
    qdrant: Option<&QdrantEvidence>,
    clusters: impl Iterator<Item = (&'e String, &'e RestorePointPart)>,
) -> IndexMap<String, ClockPart> {
    let mut found: IndexMap<String, ClockPart> = IndexMap::new();
    let mut look = |name: &str, one: ClockPart| {
        let kept = found.get(name).map_or(one, |known| known.clearer(one));
        found.insert(name.to_owned(), kept);
    };
    let (asked_at, answered_at) = (marked.sent_at, marked.answered_at);
    for part in sqlserver.values() {
        look(&part.server.name, ClockPart { told: part.mark.at, asked_at, answered_at });
    }
    let collections = qdrant.into_iter().flat_map(|found| &found.collections);
    for snapshot in collections.flat_map(|one| &one.snapshots) {
        if let Some(told) = snapshot.created_at {
            let (asked_at, answered_at) = (snapshot.started_at, snapshot.answered_at);
            look(&snapshot.node, ClockPart { told, asked_at, answered_at });
        }
    }
    for (name, point) in clusters {
        let (asked_at, answered_at) = (point.started_at, point.answered_at);
        look(name, ClockPart { told: point.at, asked_at, answered_at });
    }
    found
}
