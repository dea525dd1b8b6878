//! An archive of WAL in an artifact store: [`WalArchive`]. `<prefix>/<timeline>/<segment>` with the `.history` files beside the segments,
//! `<prefix>/system.json` for the cluster that it belongs to, `<prefix>/streaming.json` for who streams into it, and `<prefix>/stop.json`
//! for the wish that this one ends.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use drydock_step::artifact::{bytes_of, stream_of};
use drydock_step::{ArtifactStore, StepError};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::segment::{Gap, Origin, Segment, SegmentSize, WalFile, gaps};
use super::segment_header::checked;
use crate::rehash::{hex, rehashed};

/// The most that one of our own small files may have.
const SMALL: usize = 64 * 1024;

/// Whose WAL an archive has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct System {
    /// Made once by initdb.
    pub(super) system_identifier: String,
    /// The length of a segment in bytes.
    pub(super) segment_size: u64,
    /// When the first was stored, RFC 3339.
    pub(super) first_seen: String,
}

/// Who streams into an archive, as it says every few seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Streaming {
    pub(super) run: String,
    pub(super) step: String,
    /// Its attempt, as an id of its own.
    #[serde(default)]
    pub(super) attempt: String,
    /// The server, as `host:port`.
    pub(super) server: String,
    pub(super) slot: String,
    /// What has been stored by this step, over all of its attempts.
    pub(super) segments: u64,
    pub(super) bytes: u64,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    /// What the runner has on disk, stored or not.
    pub(super) flushed_lsn: Option<String>,
    pub(super) timeline: Option<u32>,
    pub(super) rpo_s: f64,
    pub(super) max_rpo_s: f64,
    /// Whether that has ever been more than was wished.
    #[serde(default)]
    pub(super) late: bool,
    /// How often the program was started again.
    pub(super) restarts: u64,
    /// When the step began, in milliseconds since 1970.
    pub(super) began_ms: i64,
    /// When this was written, in milliseconds since 1970.
    pub(super) at_ms: i64,
    /// Whether it has ended, and will not write again.
    pub(super) ended: bool,
    /// Whether what was asked of it is done.
    pub(super) done: bool,
}

impl Streaming {
    /// One more segment is stored.
    pub(super) fn counts(&mut self, name: &str, bytes: u64) {
        self.segments += 1;
        self.bytes += bytes;
        self.first.get_or_insert_with(|| name.to_owned());
        self.last = self.last.take().max(Some(name.to_owned()));
    }

    /// Counts what a killed attempt of this step has stored and did not live to tell: what is newer than the last that it told. For a step
    /// that has not told anything, what is there is another's.
    pub(super) fn caught_up(&mut self, holdings: &Holdings, size: SegmentSize) {
        let names: Vec<String> = holdings.segments.iter().map(|segment| segment.name(size)).collect();
        if self.at_ms == 0 {
            self.last = names.last().cloned();
            return;
        }
        let told = self.last.clone();
        self.timeline = holdings.newest().map(|newest| newest.timeline).or(self.timeline);
        for name in names.into_iter().filter(|name| told.as_ref().is_none_or(|told| name > told)) {
            self.counts(&name, size.bytes());
        }
    }
}

/// The wish that a streamer ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StopWish {
    /// Which run's.
    pub(super) run: String,
    /// Which step of it.
    pub(super) step: String,
    /// The attempt that asks.
    pub(super) asked_by: String,
}

/// What an archive has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Holdings {
    pub(super) segments: BTreeSet<Segment>,
    pub(super) origins: BTreeMap<u32, Origin>,
    /// Files that bear the name of a segment and have another length, in bytes.
    pub(super) short: BTreeMap<String, u64>,
}

impl Holdings {
    /// The newest on the newest timeline.
    pub(super) fn newest(&self) -> Option<Segment> {
        self.segments.last().copied()
    }

    /// Nothing, when nothing is missing between the newest and this segment.
    ///
    /// # Errors
    /// `postgres.wal_gap`.
    pub(super) fn lead_to(&self, segment: Segment, size: SegmentSize) -> Result<(), StepError> {
        match self.newest() {
            Some(newest) if segment.number > newest.number + 1 => Err(gap(&format!(
                "the newest segment in the archive is {}, and what comes next is {}",
                newest.name(size),
                Segment { timeline: segment.timeline.max(newest.timeline), ..segment }.name(size)
            ))),
            _ => Ok(()),
        }
    }

    /// What is missing.
    pub(super) fn gaps(&self, size: SegmentSize) -> Vec<Gap> {
        gaps(&self.segments, &self.origins, size)
    }
}

/// WAL is gone, for this reason.
pub(super) fn gap(why: &str) -> StepError {
    StepError::new("postgres.wal_gap", format!("WAL is missing that can no longer be had: {why}")).help(
        "take a new base backup: none before it can be recovered beyond the gap; then stream on with `accept_gap: true`, once",
    )
}

/// An archive.
#[derive(Clone, Copy)]
pub(super) struct WalArchive<'s> {
    pub(super) store: &'s dyn ArtifactStore,
    pub(super) prefix: &'s str,
}

impl<'s> WalArchive<'s> {
    /// The archive below this prefix.
    pub(super) fn of(store: &'s dyn ArtifactStore, prefix: &'s str) -> Self {
        Self { store, prefix: prefix.trim_end_matches('/') }
    }

    fn at(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) }
    }

    /// Where a file of the WAL lies.
    pub(super) fn path(&self, name: &str) -> String {
        let timeline = name.get(..8).unwrap_or(name);
        self.at(&format!("{timeline}/{name}"))
    }

    async fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StepError> {
        let path = self.at(name);
        let opened = match self.store.open(&path, 0).await {
            Ok(opened) => opened,
            Err(error) if error.code == "artifact.absent" => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = bytes_of(opened, SMALL).await?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            StepError::new("postgres.wal_foreign", format!("{path} is not one of Drydock's: {error}"))
                .help("give each cluster's WAL a `prefix` of its own, where nothing else is put")
        })
    }

    async fn write<T: Serialize + Sync>(&self, name: &str, value: &T) -> Result<(), StepError> {
        let bytes = serde_json::to_vec(value).map_err(|error| StepError::internal(error.to_string()))?;
        self.store.put(&self.at(name), stream_of(bytes)).await.map(drop)
    }

    /// Whose it is; nothing while nothing was stored.
    pub(super) async fn system(&self) -> Result<Option<System>, StepError> {
        self.read("system.json").await
    }

    /// Nothing, when the archive is this cluster's, or nobody's, and is this cluster's from now on.
    ///
    /// # Errors
    /// `postgres.wal_foreign`.
    pub(super) async fn claimed(&self, ours: &System) -> Result<(), StepError> {
        // Seldom more than once: a put writes a file before it sees that the name is taken.
        if let Some(theirs) = self.system().await? {
            return self.is_same(&theirs, ours);
        }
        let bytes = serde_json::to_vec(ours).map_err(|error| StepError::internal(error.to_string()))?;
        match self.store.put_new(&self.at("system.json"), Bytes::from(bytes)).await {
            Err(error) if error.code == "artifact.exists" => self.is_of(ours).await,
            stored => stored.map(drop),
        }
    }

    /// Nothing, when the archive is this cluster's, or nobody's.
    ///
    /// # Errors
    /// `postgres.wal_foreign`.
    pub(super) async fn is_of(&self, ours: &System) -> Result<(), StepError> {
        match self.system().await? {
            Some(theirs) => self.is_same(&theirs, ours),
            None => Ok(()),
        }
    }

    fn is_same(&self, theirs: &System, ours: &System) -> Result<(), StepError> {
        let of = |system: &System| (system.system_identifier.clone(), system.segment_size);
        if of(theirs) == of(ours) {
            return Ok(());
        }
        let words = |system: &System| {
            format!("system {} with segments of {} bytes", system.system_identifier, system.segment_size)
        };
        let message = format!(
            "the archive {} has the WAL of {}, and this is {}",
            self.at(""),
            words(theirs),
            words(ours)
        );
        Err(StepError::new("postgres.wal_foreign", message).help(
            "give each cluster a `prefix` of its own; a cluster that was made anew by initdb is another one",
        ))
    }

    /// Stores a segment under its name, once it is seen to be whole and of this cluster. `true` when it was not there.
    ///
    /// # Errors
    /// `postgres.wal_damaged`, `postgres.wal_foreign`, `postgres.wal_differs`, or what the store says.
    pub(super) async fn put_segment(&self, name: &str, bytes: Bytes, now: &str) -> Result<bool, StepError> {
        let facts = checked(name, &bytes)?;
        let ours = System {
            system_identifier: facts.system_identifier,
            segment_size: facts.size.bytes(),
            first_seen: now.to_owned(),
        };
        self.claimed(&ours).await.map_err(|error| {
            let message = format!("{name} is not stored: {}", error.message);
            StepError { message, ..error }
        })?;
        self.put_once(name, bytes).await
    }

    /// Stores a file that is never changed. `true` when it was not there.
    ///
    /// # Errors
    /// `postgres.wal_differs`, when there is another of its name; or what the store says.
    pub(super) async fn put_once(&self, name: &str, bytes: Bytes) -> Result<bool, StepError> {
        let path = self.path(name);
        let ours = hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        let stored = match self.store.put_new(&path, bytes).await {
            Ok(stored) => stored,
            Err(error) if error.code == "artifact.exists" => {
                let theirs = rehashed(self.store, &path, |_| {}).await?;
                if theirs.sha256 == ours {
                    return Ok(false);
                }
                let message = format!(
                    "{path} is there with sha256 {}, and what comes now has {ours}: it is not overwritten",
                    theirs.sha256
                );
                return Err(StepError::new("postgres.wal_differs", message).help(
                    "two servers write the same timeline: end one of them, or give each a `prefix` of its own; a promoted copy has its own timeline",
                ));
            }
            Err(error) => return Err(error),
        };
        if stored.sha256 == ours {
            return Ok(true);
        }
        let message = format!("{path} was stored with sha256 {}, and {ours} was sent", stored.sha256);
        Err(StepError::new("artifact.damaged", message))
    }

    /// The bytes of a segment as they lie there; nothing when it is not there.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn segment(&self, name: &str, size: SegmentSize) -> Result<Option<Vec<u8>>, StepError> {
        let limit = usize::try_from(size.bytes()).unwrap_or(usize::MAX);
        match self.store.open(&self.path(name), 0).await {
            Ok(opened) => bytes_of(opened, limit).await.map(Some),
            Err(error) if error.code == "artifact.absent" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How a file of the WAL begins: so many of its bytes, or all where it has fewer.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn beginning(&self, name: &str, bytes: usize) -> Result<Vec<u8>, StepError> {
        let path = self.path(name);
        let mut begun = Vec::with_capacity(bytes);
        // A store that is a folder reads much more of a file at once.
        if let Some(local) = self.store.local_path(&path) {
            use tokio::io::AsyncReadExt;
            let failed = |error: std::io::Error| {
                StepError::new("artifact.io", format!("reading {}: {error}", local.display()))
            };
            let file = tokio::fs::File::open(&local).await.map_err(failed)?;
            file.take(bytes as u64).read_to_end(&mut begun).await.map_err(failed)?;
            return Ok(begun);
        }
        let mut pieces = self.store.open(&path, 0).await?;
        while begun.len() < bytes {
            match pieces.next().await {
                Some(piece) => begun.extend_from_slice(&piece?),
                None => break,
            }
        }
        begun.truncate(bytes);
        Ok(begun)
    }

    /// What is there.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn holdings(&self, size: SegmentSize) -> Result<Holdings, StepError> {
        let mut found = Holdings::default();
        for listed in self.store.list(self.prefix).await? {
            let name = listed.path.rsplit('/').next().unwrap_or_default();
            match WalFile::parse(name, size) {
                Some(WalFile::Segment(segment)) if listed.size == size.bytes() => {
                    found.segments.insert(segment);
                }
                Some(WalFile::Segment(_)) => drop(found.short.insert(name.to_owned(), listed.size)),
                Some(WalFile::History(timeline)) => {
                    let bytes = bytes_of(self.store.open(&listed.path, 0).await?, SMALL).await?;
                    let origin = Origin::parse(&String::from_utf8_lossy(&bytes));
                    found.origins.extend(origin.map(|origin| (timeline, origin)));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Who streams, or has streamed last.
    pub(super) async fn streaming(&self) -> Result<Option<Streaming>, StepError> {
        self.read("streaming.json").await
    }

    /// Says that this one streams.
    pub(super) async fn tell(&self, streaming: &Streaming) -> Result<(), StepError> {
        self.write("streaming.json", streaming).await
    }

    /// The wish that somebody ends.
    pub(super) async fn stop_wish(&self) -> Result<Option<StopWish>, StepError> {
        self.read("stop.json").await
    }

    /// Wishes that somebody ends.
    pub(super) async fn wish_stop(&self, wish: &StopWish) -> Result<(), StepError> {
        self.write("stop.json", wish).await
    }

    /// Takes the wish away.
    pub(super) async fn forget_stop(&self) -> Result<(), StepError> {
        self.store.delete(&self.at("stop.json")).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment_header::tests::segment;
    use super::*;
    use drydock_step::Settings;

    async fn store(folder: &std::path::Path) -> std::sync::Arc<dyn drydock_step::Connection> {
        let values = serde_json::json!({ "url": folder }).as_object().unwrap().clone();
        let settings = Settings { values, folder: folder.into(), attempt: "r/s/1".into() };
        let mut registry = drydock_step::Registry::new();
        crate::register(&mut registry);
        registry.target_named("artifacts").unwrap().connect(settings).await.unwrap()
    }

    #[tokio::test]
    async fn a_segment_is_stored_once_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let connection = store(dir.path()).await;
        let archive = WalArchive::of(connection.store().unwrap(), "pg/wal/");
        let name = "000000010000000000000003";
        let put = async |name: &str, bytes: Vec<u8>| {
            archive.put_segment(name, bytes.into(), "2026-01-01T00:00:00Z").await
        };
        assert!(put(name, segment(3, 77)).await.unwrap(), "it was not there");
        assert!(!put(name, segment(3, 77)).await.unwrap(), "the same is there");
        let mut other = segment(3, 77);
        other[100] = 1;
        let error = put(name, other).await.unwrap_err();
        assert_eq!(error.code, "postgres.wal_differs");
        assert!(
            error.message.starts_with("pg/wal/00000001/000000010000000000000003 is there with sha256 "),
            "{error}"
        );
        let error = put("000000010000000000000004", segment(4, 78)).await.unwrap_err();
        assert_eq!(error.code, "postgres.wal_foreign");
        assert!(
            error.message.starts_with("000000010000000000000004 is not stored: the archive pg/wal/ has the WAL of system 77 with segments of 1048576 bytes"),
            "{error}"
        );
        let error = put("000000010000000000000004", segment(4, 77)[..4096].to_vec()).await.unwrap_err();
        assert_eq!(error.code, "postgres.wal_damaged");
        let lying = std::fs::read(dir.path().join("pg/wal/00000001").join(name)).unwrap();
        assert!(lying == segment(3, 77), "it lies there as it came first");
        let size = SegmentSize::parse(1 << 20).unwrap();
        put("000000010000000000000006", segment(6, 77)).await.unwrap();
        let holdings = archive.holdings(size).await.unwrap();
        let missing: Vec<String> = holdings.gaps(size).into_iter().map(|gap| gap.in_words(size)).collect();
        assert_eq!(missing, ["000000010000000000000004 to 000000010000000000000005 (2 segments)"]);
    }

    #[test]
    fn what_a_killed_attempt_stored_and_did_not_tell_counts_and_anothers_does_not() {
        let size = SegmentSize::parse(1 << 20).unwrap();
        let segments = (3..=6).map(|number| Segment { timeline: 1, number }).collect();
        let holdings = Holdings { segments, ..Holdings::default() };
        let mut first = Streaming::default();
        first.caught_up(&holdings, size);
        assert_eq!((first.segments, first.last.as_deref()), (0, Some("000000010000000000000006")));
        let mut second = Streaming { at_ms: 9, ..Streaming::default() };
        second.counts("000000010000000000000004", 1 << 20);
        second.caught_up(&holdings, size);
        assert_eq!((second.segments, second.bytes), (3, 3 << 20), "5 and 6 were put after the last word");
        assert_eq!(second.first.as_deref(), Some("000000010000000000000004"));
        assert_eq!(second.last.as_deref(), Some("000000010000000000000006"));
        assert_eq!((first.timeline, second.timeline), (None, Some(1)));
    }
}
