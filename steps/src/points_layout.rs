//! Where the files of recovery points lie in an artifact store: a folder a point under [`POINTS`], named for its id.

use drydock_recovery::Time;
use drydock_recovery::manifest::PointId;

/// The folder that all points and log points lie in.
pub const POINTS: &str = "points";

/// What a file under [`POINTS`] is, by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filed {
    /// `points/<id>/opened.json`: a point was begun.
    Opened(PointId),
    /// `points/<id>/manifest.json`: a sealed point.
    Manifest(PointId),
    /// `points/<id>/log_point.json`: a sealed log point.
    LogPoint(PointId),
    /// `points/<id>/marks/<name>.json`: something that was said about a point afterwards.
    Mark(PointId),
    /// `points/<id>/pruning.json`: its files are being removed.
    Pruning(PointId),
}

impl Filed {
    /// What a path names; `None` for an artifact, or for anything else that is not ours to read.
    pub fn at(path: &str) -> Option<Self> {
        let (id, file) = path.strip_prefix(POINTS)?.strip_prefix('/')?.split_once('/')?;
        let id = PointId::parse(id).ok()?;
        match file {
            "opened.json" => Some(Self::Opened(id)),
            "manifest.json" => Some(Self::Manifest(id)),
            "log_point.json" => Some(Self::LogPoint(id)),
            "pruning.json" => Some(Self::Pruning(id)),
            _ => match file.strip_prefix("marks/") {
                Some(name) if name.ends_with(".json") && !name.contains('/') => Some(Self::Mark(id)),
                _ => None,
            },
        }
    }
}

/// The folder of a point; its artifacts lie below it.
pub fn prefix(id: &PointId) -> String {
    format!("{POINTS}/{id}")
}

/// Where it is written that a point was begun.
pub fn opened(id: &PointId) -> String {
    format!("{POINTS}/{id}/opened.json")
}

/// Where a sealed point's manifest lies.
pub fn manifest(id: &PointId) -> String {
    format!("{POINTS}/{id}/manifest.json")
}

/// Where a log point's record lies.
pub fn log_point(id: &PointId) -> String {
    format!("{POINTS}/{id}/log_point.json")
}

/// Where it is written that a point's files are being removed. It is written before the first of them goes, and goes after the last.
pub fn pruning(id: &PointId) -> String {
    format!("{POINTS}/{id}/pruning.json")
}

/// Where the n-th thing of this kind lies that was said about a point at this moment. The names sort by time.
pub fn mark(id: &PointId, at: Time, word: &str, n: u32) -> String {
    format!("{POINTS}/{id}/marks/{}-{n:02}-{word}.json", at.format("%Y%m%dT%H%M%S%.3fZ"))
}

/// Where the n-th set of points that a run took out of a collection is kept.
pub fn quarantine(run: &str, collection: &str, n: u32) -> String {
    let again = if n > 1 { format!(".{n}") } else { String::new() };
    format!("quarantine/{run}/{collection}{again}.jsonl")
}

/// The folder that a whole collection is kept in, which a run took out.
pub fn quarantine_of_whole(run: &str, collection: &str) -> String {
    format!("quarantine/{run}/{collection}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_place() {
        let id = PointId::parse("01K00000000000000000000002").unwrap();
        assert_eq!(Filed::at(&opened(&id)), Some(Filed::Opened(id.clone())));
        assert_eq!(Filed::at(&manifest(&id)), Some(Filed::Manifest(id.clone())));
        assert_eq!(
            Filed::at("points/01K00000000000000000000002/marks/held-1.json"),
            Some(Filed::Mark(id.clone()))
        );
        assert_eq!(Filed::at(&log_point(&id)), Some(Filed::LogPoint(id.clone())));
        assert_eq!(Filed::at(&pruning(&id)), Some(Filed::Pruning(id.clone())));
        let at = "2026-11-27T15:06:50.120Z".parse().unwrap();
        let path = mark(&id, at, "held", 2);
        assert_eq!(path, "points/01K00000000000000000000002/marks/20261127T150650.120Z-02-held.json");
        assert_eq!(Filed::at(&path), Some(Filed::Mark(id)));
        for other in ["points/01K0/manifest.json", "points/manifest.json", "sql/manifest.json", "points"] {
            assert_eq!(Filed::at(other), None, "{other}");
        }
        assert_eq!(Filed::at("points/01K00000000000000000000002/qdrant/manifest.json"), None);
        assert_eq!(quarantine("r1", "agent_a", 1), "quarantine/r1/agent_a.jsonl");
        assert_eq!(quarantine("r1", "agent_a", 2), "quarantine/r1/agent_a.2.jsonl");
    }
}
