//! The catalogue as a store's files give it: [`catalogue_of`]. A file that cannot be read is named, and the others count without it.

use std::collections::BTreeSet;

use drydock_recovery::catalogue::Catalogue;
use drydock_recovery::manifest::{FormatError, LogPoint, Manifest, PointId, PointMark};
use drydock_step::artifact::bytes_of;
use drydock_step::{ArtifactStore, StepError};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::layout::{Filed, POINTS};

/// The longest file of a catalogue that is read. A manifest of 10,000 collections has about 20 MB.
const FILE_LIMIT: usize = 64 * 1024 * 1024;

/// How many files are read side by side; a store may be far away.
const SIDE_BY_SIDE: usize = 8;

/// Everything that a store says about points.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The sealed points.
    pub points: Vec<Manifest>,
    /// The log points.
    pub log_points: Vec<LogPoint>,
    /// What was said about them afterwards.
    pub marks: Vec<PointMark>,
    /// Points that were begun and have no manifest.
    pub unsealed: Vec<PointId>,
    /// Files that should be one of these and cannot be read, by path.
    pub unreadable: Vec<Unreadable>,
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
    Point(Box<Manifest>),
    LogPoint(Box<LogPoint>),
    Mark(PointMark),
    Unreadable(Unreadable),
    Gone,
}

impl Found {
    /// The catalogue of all that could be read.
    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.points.clone(), self.log_points.clone(), self.marks.clone())
    }
}

/// What a store says about points, from its files alone.
///
/// # Errors
/// What the store says when it cannot be listed or read. A file that is no manifest, or one of a newer version, is no error: it is in
/// [`Found::unreadable`].
pub async fn catalogue_of(store: &dyn ArtifactStore) -> Result<Found, StepError> {
    let listed = store.list(POINTS).await?;
    let mut opened = BTreeSet::new();
    let mut files = Vec::new();
    for file in listed {
        match Filed::at(&file.path) {
            Some(Filed::Opened(id)) => drop(opened.insert(id)),
            Some(filed) => files.push((file.path, filed)),
            None => {}
        }
    }
    for (_, filed) in &files {
        if let Filed::Manifest(id) | Filed::LogPoint(id) = filed {
            opened.remove(id);
        }
    }
    let mut found = Found { unsealed: opened.into_iter().collect(), ..Found::default() };
    let reads = files.into_iter().map(|(path, filed)| entry(store, path, filed));
    let mut entries = stream::iter(reads).buffered(SIDE_BY_SIDE);
    while let Some(entry) = entries.try_next().await? {
        match entry {
            Entry::Point(point) => found.points.push(*point),
            Entry::LogPoint(log) => found.log_points.push(*log),
            Entry::Mark(mark) => found.marks.push(mark),
            Entry::Unreadable(file) => found.unreadable.push(file),
            Entry::Gone => {}
        }
    }
    Ok(found)
}

async fn entry(store: &dyn ArtifactStore, path: String, filed: Filed) -> Result<Entry, StepError> {
    let text = match text_of(store, &path).await {
        Ok(text) => text,
        // It went between the listing and now: whoever prunes may do so beside us.
        Err(error) if error.code == "artifact.absent" => return Ok(Entry::Gone),
        Err(error) if error.code == "artifact.large" => {
            return Ok(Entry::Unreadable(Unreadable { path, why: error.message }));
        }
        Err(error) => return Err(error),
    };
    Ok(parsed(&text, filed).unwrap_or_else(|why| Entry::Unreadable(Unreadable { path, why })))
}

/// A file of a store, as text; what is no text becomes one that no format fits.
async fn text_of(store: &dyn ArtifactStore, path: &str) -> Result<String, StepError> {
    let bytes = bytes_of(store.open(path, 0).await?, FILE_LIMIT).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parsed(text: &str, filed: Filed) -> Result<Entry, String> {
    let words = |error: FormatError| error.to_string();
    let (entry, names, place) = match filed {
        Filed::Manifest(id) => {
            let point = Manifest::parse(text).map_err(words)?;
            let names = point.id.clone();
            (Entry::Point(Box::new(point)), names, id)
        }
        Filed::LogPoint(id) => {
            let log = LogPoint::parse(text).map_err(words)?;
            let names = log.id.clone();
            (Entry::LogPoint(Box::new(log)), names, id)
        }
        Filed::Mark(id) => {
            let mark = PointMark::parse(text).map_err(words)?;
            let names = mark.point.clone();
            (Entry::Mark(mark), names, id)
        }
        Filed::Opened(_) => return Ok(Entry::Gone),
    };
    if names == place {
        Ok(entry)
    } else {
        Err(format!("it is about {names}, and lies in the folder of {place}"))
    }
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
