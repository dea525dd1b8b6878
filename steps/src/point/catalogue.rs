//! The catalogue as a store's files give it: [`catalogue_of`]. A file that cannot be read is named, and the others count without it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drydock_recovery::Time;
use drydock_recovery::catalogue::{Catalogue, Doubted, Record, Untrusted};
use drydock_recovery::manifest::{Artifact, FormatError, LogPoint, Manifest, PointId, PointMark};
use drydock_step::artifact::{Listed, bytes_of};
use drydock_step::target::Seals;
use drydock_step::{ArtifactStore, Connection, StepError};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::layout::{Filed, POINTS};
use super::said::store_of;

/// The longest file of a catalogue that is read. A manifest of 10,000 collections has about 20 MB.
const FILE_LIMIT: usize = 64 * 1024 * 1024;

/// How many files are read side by side; a store may be far away.
const SIDE_BY_SIDE: usize = 8;

/// How many files of a folder are read by one thread before it is asked for more.
const AT_ONCE: usize = 128;

/// Everything that a store says about points.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The sealed points.
    pub points: Vec<Manifest>,
    /// The log points.
    pub log_points: Vec<LogPoint>,
    /// What was said about them afterwards.
    pub marks: Vec<PointMark>,
    /// Points and log points that nobody may believe, and why. They are among the others too.
    pub untrusted: HashMap<PointId, Untrusted>,
    /// What was said about points and nobody may believe.
    pub doubted: HashMap<PointId, Vec<Doubted>>,
    /// Points that were begun and have no manifest.
    pub unsealed: Vec<PointId>,
    /// Points and log points whose removal has begun, with the files that they name. They are none any more.
    pub pruning: BTreeMap<PointId, Vec<Artifact>>,
    /// Files that should be one of these and cannot be read, by path.
    pub unreadable: Vec<Unreadable>,
    /// All files below the folder of points.
    pub listed: Vec<Listed>,
}

/// A file of the catalogue that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} cannot be read: {why}")]
pub struct Unreadable {
    /// Its path in the store.
    pub path: String,
    /// Why not.
    pub why: String,
}

/// One file, read.
enum Entry {
    Point(Box<Manifest>, Option<Untrusted>),
    LogPoint(Box<LogPoint>, Option<Untrusted>),
    Mark(PointMark),
    Doubted(PointId, Doubted),
    Unreadable(Unreadable),
    Gone,
}

impl Found {
    /// The catalogue of all that could be read.
    pub fn catalogue(&self) -> Catalogue {
        let catalogue = Catalogue::new(self.points.clone(), self.log_points.clone(), self.marks.clone());
        catalogue.with_untrusted(self.untrusted.clone()).with_doubted(self.doubted.clone())
    }

    /// The same without a copy of it, which leaves the rest: there may be ten thousand points.
    pub fn taken_catalogue(&mut self) -> Catalogue {
        let (points, log_points) = (std::mem::take(&mut self.points), std::mem::take(&mut self.log_points));
        let catalogue = Catalogue::new(points, log_points, std::mem::take(&mut self.marks));
        let doubted = std::mem::take(&mut self.doubted);
        catalogue.with_untrusted(std::mem::take(&mut self.untrusted)).with_doubted(doubted)
    }

    /// Passes over what is not believed where somebody who is has decided since.
    fn settle(&mut self) {
        for mark in &self.marks {
            if let Some(doubted) = self.doubted.get_mut(&mark.point) {
                doubted.retain(|one| !one.is_settled_by(mark));
            }
        }
        self.doubted.retain(|_, doubted| !doubted.is_empty());
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Point(point, untrusted) => {
                let believed = untrusted.is_none();
                self.untrusted.extend(untrusted.map(|why| (point.id.clone(), why)));
                match self.pruning.get_mut(&point.id) {
                    // What nobody believes names no file that may be removed.
                    Some(_) if !believed => {}
                    Some(files) => files.extend(Record::Point(&point).artifacts().into_iter().cloned()),
                    None => self.points.push(*point),
                }
            }
            Entry::LogPoint(log, untrusted) => {
                let believed = untrusted.is_none();
                self.untrusted.extend(untrusted.map(|why| (log.id.clone(), why)));
                match self.pruning.get_mut(&log.id) {
                    // What nobody believes names no file that may be removed.
                    Some(_) if !believed => {}
                    Some(files) => files.extend(Record::Log(&log).artifacts().into_iter().cloned()),
                    None => self.log_points.push(*log),
                }
            }
            Entry::Mark(mark) => self.marks.push(mark),
            Entry::Doubted(id, doubted) => self.doubted.entry(id).or_default().push(doubted),
            Entry::Unreadable(file) => self.unreadable.push(file),
            Entry::Gone => {}
        }
    }
}

/// What the artifact store of a connection says about points, from its files alone.
///
/// # Errors
/// What the store says when it cannot be listed or read. A file that is no manifest, or one of a newer version, is no error: it is in
/// [`Found::unreadable`].
pub async fn catalogue_of(connection: &dyn Connection) -> Result<Found, StepError> {
    let (store, seals) = (store_of(connection)?, connection.seals());
    let listed = store.list(POINTS).await?;
    let (mut opened, mut pruning) = (BTreeSet::new(), BTreeMap::new());
    let (mut files, mut doubted) = (Vec::new(), HashMap::new());
    for file in &listed {
        match Filed::at(&file.path) {
            Some(Filed::Opened(id)) => drop(opened.insert(id)),
            Some(Filed::Pruning(id)) => match doubted_pruning(store, &file.path, seals.as_deref()).await? {
                None => drop(pruning.insert(id, Vec::new())),
                Some(one) => drop(doubted.insert(id, vec![one])),
            },
            Some(filed) => files.push((file.path.clone(), filed)),
            None => {}
        }
    }
    for (_, filed) in &files {
        if let Filed::Manifest(id) | Filed::LogPoint(id) = filed {
            opened.remove(id);
        }
    }
    let unsealed = opened.into_iter().filter(|id| !pruning.contains_key(id)).collect();
    let mut found = Found { unsealed, pruning, listed, doubted, ..Found::default() };
    let is_folder = files.first().is_some_and(|(path, _)| store.local_path(path).is_some());
    if is_folder {
        let chunks = files.chunks(AT_ONCE).map(|some| {
            let placed = some
                .iter()
                .filter_map(|(path, filed)| Some((store.local_path(path)?, path.clone(), filed.clone())));
            from_folder(placed.collect(), seals.clone())
        });
        let mut chunks = stream::iter(chunks.collect::<Vec<_>>()).buffered(SIDE_BY_SIDE);
        while let Some(entries) = chunks.try_next().await? {
            entries.into_iter().for_each(|entry| found.take(entry));
        }
    } else {
        let reads = files.into_iter().map(|(path, filed)| entry(store, path, filed, seals.clone()));
        let mut entries = stream::iter(reads).buffered(SIDE_BY_SIDE);
        while let Some(entry) = entries.try_next().await? {
            found.take(entry);
        }
    }
    found.settle();
    Ok(found)
}

/// Files of a store that is a folder, read by a thread: a thread's turn for each piece of each of 10,000 files takes longer than reading
/// them.
async fn from_folder(
    files: Vec<(PathBuf, String, Filed)>,
    seals: Option<Arc<dyn Seals>>,
) -> Result<Vec<Entry>, StepError> {
    let read = move || {
        let entries = files.into_iter().map(|(local, path, filed)| match local_text(&local) {
            Ok(Some(text)) => Ok(understood(&text, path, filed, seals.as_deref())),
            Ok(None) => Ok(Entry::Gone),
            Err(LocalError::Long) => {
                let why = format!("it is longer than {FILE_LIMIT} bytes");
                Ok(Entry::Unreadable(Unreadable { path, why }))
            }
            Err(LocalError::Io(error)) => {
                Err(StepError::new("artifact.io", format!("reading {}: {error}", local.display())))
            }
        });
        entries.collect()
    };
    let ended = tokio::task::spawn_blocking(read).await;
    ended.unwrap_or_else(|error| Err(StepError::internal(error.to_string())))
}

enum LocalError {
    Long,
    Io(std::io::Error),
}

/// The text of a file; nothing where it went between the listing and now.
fn local_text(path: &Path) -> Result<Option<String>, LocalError> {
    use std::io::{ErrorKind, Read};
    let read = || -> std::io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        let limit = FILE_LIMIT as u64 + 1;
        // In one piece: a buffer that grows by itself takes ten reads for a manifest.
        let length = usize::try_from(file.metadata()?.len().min(limit)).unwrap_or(FILE_LIMIT);
        let mut bytes = Vec::with_capacity(length + 1);
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() > FILE_LIMIT => Err(LocalError::Long),
        Ok(bytes) => Ok(Some(text(bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LocalError::Io(error)),
    }
}

async fn entry(
    store: &dyn ArtifactStore,
    path: String,
    filed: Filed,
    seals: Option<Arc<dyn Seals>>,
) -> Result<Entry, StepError> {
    let text = match text_of(store, &path).await {
        Ok(text) => text,
        // It went between the listing and now: whoever prunes may do so beside us.
        Err(error) if error.code == "artifact.absent" => return Ok(Entry::Gone),
        Err(error) if error.code == "artifact.large" => {
            return Ok(Entry::Unreadable(Unreadable { path, why: error.message }));
        }
        Err(error) => return Err(error),
    };
    Ok(understood(&text, path, filed, seals.as_deref()))
}

/// A file of a store, as text.
async fn text_of(store: &dyn ArtifactStore, path: &str) -> Result<String, StepError> {
    Ok(text(bytes_of(store.open(path, 0).await?, FILE_LIMIT).await?))
}

/// What is no text becomes one that no format fits.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn understood(text: &str, path: String, filed: Filed, seals: Option<&dyn Seals>) -> Entry {
    let untrusted = || seals.and_then(|seals| seals.judge(text));
    parsed(text, &path, filed, untrusted).unwrap_or_else(|why| Entry::Unreadable(Unreadable { path, why }))
}

fn parsed(
    text: &str,
    path: &str,
    filed: Filed,
    untrusted: impl Fn() -> Option<Untrusted>,
) -> Result<Entry, String> {
    let words = |error: FormatError| error.to_string();
    let (entry, names, place) = match filed {
        Filed::Manifest(id) => {
            let point = Manifest::parse(text).map_err(words)?;
            let names = point.id.clone();
            (Entry::Point(Box::new(point), untrusted()), names, id)
        }
        Filed::LogPoint(id) => {
            let log = LogPoint::parse(text).map_err(words)?;
            let names = log.id.clone();
            (Entry::LogPoint(Box::new(log), untrusted()), names, id)
        }
        Filed::Mark(id) => {
            let mark = PointMark::parse(text).map_err(words)?;
            let names = mark.point.clone();
            let entry = match untrusted() {
                Some(why) => Entry::Doubted(names.clone(), not_believed(path, mark, why)),
                None => Entry::Mark(mark),
            };
            (entry, names, id)
        }
        Filed::Opened(_) | Filed::Pruning(_) => return Ok(Entry::Gone),
    };
    if names == place {
        Ok(entry)
    } else {
        Err(format!("it is about {names}, and lies in the folder of {place}"))
    }
}

fn not_believed(path: &str, mark: PointMark, why: Untrusted) -> Doubted {
    Doubted { path: path.to_owned(), word: mark.said.word().to_owned(), by: mark.by, at: mark.at, why }
}

/// What says that a point's files are being removed, where nobody may believe it: then they are not, and the point is one as before. The
/// file's being there counts wherever no key is named; it is written before anything goes.
async fn doubted_pruning(
    store: &dyn ArtifactStore,
    path: &str,
    seals: Option<&dyn Seals>,
) -> Result<Option<Doubted>, StepError> {
    let Some(text) = manifest_text(store, path).await? else { return Ok(None) };
    let Some(why) = seals.and_then(|seals| seals.judge(&text)) else { return Ok(None) };
    Ok(Some(match PointMark::parse(&text) {
        Ok(mark) => not_believed(path, mark, why),
        Err(_) => {
            let (word, by) = ("pruned".to_owned(), "nobody knows whom".to_owned());
            Doubted { path: path.to_owned(), word, by, at: Time::UNIX_EPOCH, why }
        }
    }))
}

/// A sealed point's manifest, as its text, where there is one.
pub(super) async fn manifest_text(
    store: &dyn ArtifactStore,
    path: &str,
) -> Result<Option<String>, StepError> {
    match text_of(store, path).await {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.code == "artifact.absent" => Ok(None),
        Err(error) => Err(error),
    }
}
