//! An artifact store that is a folder: [`FolderStore`].
//!
//! Bytes are written under a temporary name beside their own, synced, and then get their name in one step, so that a name is there
//! with all its bytes or not at all. A temporary file is locked for as long as somebody writes it; the system frees the lock of a
//! process that died, which is how a left one is told from one in use.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use drydock_step::artifact::{Leftover, Listed, path_parts, stream_of};
use drydock_step::{ArtifactStore, ByteStream, StepError, Stored};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter};
use tokio_util::io::ReaderStream;
use url::Url;

use super::durable::{make_folders, sync_folder};
use crate::rehash::hex;

/// How temporary names end.
const UNFINISHED: &str = ".drydock-part";

/// Bytes that are written or read at once.
const PIECE: usize = 256 * 1024;

/// So many folders beside each other are listed by several threads.
const MANY: usize = 256;

/// How many threads list them.
const SHARED_BY: usize = 4;

/// Folders in folders; more of them are links that lead in a circle.
const MAX_DEPTH: usize = 64;

/// A folder on the runner, or one that it reaches by a path.
#[derive(Debug, Clone)]
pub struct FolderStore {
    root: PathBuf,
    /// The address that something serves the folder at.
    served_at: Option<Url>,
}

/// A temporary file, removed unless it got its name.
struct Unfinished {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename nothing has this name; else it is rubbish, which the next put of its name removes as well.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Where an artifact lies.
struct Place<'p> {
    folders: Vec<&'p str>,
    name: &'p str,
    path: PathBuf,
}

impl FolderStore {
    /// The store in this folder, which is made when something is stored.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), served_at: None }
    }

    /// The same, which something serves at this address.
    #[must_use]
    pub fn served_at(self, url: Option<Url>) -> Self {
        Self { served_at: url, ..self }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn place<'p>(&self, path: &'p str) -> Result<Place<'p>, StepError> {
        let mut folders = path_parts(path)?;
        let name = folders.pop().unwrap_or_default();
        if is_unfinished(name) {
            let why = format!(
                "`{path}` is no path in an artifact store: names that end in {UNFINISHED} are temporary"
            );
            return Err(StepError::new("artifact.path", why));
        }
        let mut full = self.root.clone();
        full.extend(path.split('/'));
        Ok(Place { folders, name, path: full })
    }

    /// A new temporary file for an artifact; those that dead processes left of the same name are removed.
    async fn begin(&self, place: &Place<'_>) -> Result<Unfinished, StepError> {
        let (root, name) = (self.root.clone(), place.name.to_owned());
        let folders: Vec<String> = place.folders.iter().map(|&folder| folder.to_owned()).collect();
        let folder = place.folder().to_owned();
        let begun = on_thread(move || {
            make_folders(&root, &folders.iter().map(String::as_str).collect::<Vec<_>>())?;
            remove_left(&folder, &name)?;
            begin_in(&folder, &name)
        });
        begun.await.map_err(|error| place.failed("storing", &error))
    }

    /// Writes a temporary file to its end; it is on disk then.
    async fn write(
        &self,
        place: &Place<'_>,
        mut body: ByteStream,
    ) -> Result<(Unfinished, u64, String), StepError> {
        let failed = |error: io::Error| place.failed("storing", &error);
        let unfinished = self.begin(place).await?;
        let file = unfinished.file.try_clone().map_err(failed)?;
        let mut out = BufWriter::with_capacity(PIECE, tokio::fs::File::from_std(file));
        let (mut hash, mut size) = (Sha256::new(), 0);
        while let Some(piece) = body.next().await {
            let piece = piece?;
            hash.update(&piece);
            size += piece.len() as u64;
            out.write_all(&piece).await.map_err(failed)?;
        }
        out.flush().await.map_err(failed)?;
        out.get_ref().sync_all().await.map_err(failed)?;
        Ok((unfinished, size, hex(&hash.finalize())))
    }
}

impl Place<'_> {
    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    fn failed(&self, doing: &str, error: &io::Error) -> StepError {
        let failed = StepError::new("artifact.io", format!("{doing} {}: {error}", self.path.display()));
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => failed.help("free some space, then resume"),
            io::ErrorKind::NotFound => failed.help(
                "the folder above the store is not there; is its volume mounted? Only the last folder of a store's path is made",
            ),
            _ => failed,
        }
    }
}

fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

/// A file that nobody else has, locked.
fn begin_in(folder: &Path, name: &str) -> io::Result<Unfinished> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{name}.{}-{number}{UNFINISHED}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => {
                let unfinished = Unfinished { path, file };
                unfinished.file.lock()?;
                // Before it was locked somebody may have taken it for one that was left, and removed it.
                if unfinished.path.try_exists()? {
                    return Ok(unfinished);
                }
            }
            // Another runner that shares the folder may have the same process id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes temporary files of this name that nobody writes any more.
fn remove_left(folder: &Path, name: &str) -> io::Result<()> {
    let begins = format!(".{name}.");
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.file_name();
        let is_of_name = |found: &str| found.starts_with(&begins) && is_unfinished(found);
        if !found.to_str().is_some_and(is_of_name) {
            continue;
        }
        remove_dead(&entry.path())?;
    }
    Ok(())
}

/// A temporary file that nobody writes any more, locked; nothing where somebody does, or on a file system without locks, where nobody can tell.
fn dead(path: &Path) -> Option<File> {
    let file = OpenOptions::new().write(true).open(path).ok()?;
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
    }
}

/// Removes a temporary file, unless somebody writes it.
fn remove_dead(path: &Path) -> io::Result<bool> {
    let Some(_locked) = dead(path) else { return Ok(false) };
    match std::fs::remove_file(path) {
        // It has got its name meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// The temporary files under `folder` that nobody writes any more.
fn left(folder: &Path, path: &str, depth: usize, found: &mut Vec<Leftover>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| path_parts(name).is_ok()) else { continue };
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        match std::fs::metadata(entry.path()) {
            Ok(facts) if facts.is_dir() => left(&entry.path(), &path, depth + 1, found)?,
            Ok(facts) if facts.is_file() && is_unfinished(name) && dead(&entry.path()).is_some() => {
                found.push(Leftover { path, size: facts.len(), written_ms: None });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The files under `folder`, whose path in the store is `path`.
fn collect(folder: &Path, path: &str, depth: usize, found: &mut Vec<Listed>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!(
            "{} lies too deep; do links lead in a circle?",
            folder.display()
        )));
    }
    let folders = match level(folder, path, found) {
        // It went while the list was made.
        Err(error) if depth > 0 && is_absence(&error) => return Ok(()),
        listed => listed?,
    };
    folders.iter().try_for_each(|(folder, path)| collect(folder, path, depth + 1, found))
}

/// The same; where there are many folders, as of points, some threads share them.
fn collect_shared(folder: &Path, path: &str, found: &mut Vec<Listed>) -> io::Result<()> {
    let folders = level(folder, path, found)?;
    let share = |share: &[(PathBuf, String)]| {
        let mut found = Vec::new();
        share.iter().try_for_each(|(folder, path)| collect(folder, path, 1, &mut found)).map(|()| found)
    };
    if folders.len() < MANY {
        found.extend(share(&folders)?);
        return Ok(());
    }
    let each = folders.len().div_ceil(SHARED_BY);
    let shares = std::thread::scope(|scope| {
        let begun: Vec<_> = folders.chunks(each).map(|some| scope.spawn(|| share(some))).collect();
        let ended = begun.into_iter().map(|one| one.join());
        ended
            .map(|one| one.unwrap_or_else(|_| Err(io::Error::other("a thread ended early"))))
            .collect::<Vec<_>>()
    });
    for share in shares {
        found.extend(share?);
    }
    Ok(())
}

/// What lies in a folder itself: its files are added to those that were found, and its folders are given.
fn level(folder: &Path, path: &str, found: &mut Vec<Listed>) -> io::Result<Vec<(PathBuf, String)>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !is_unfinished(name) && path_parts(name).is_ok()) else {
            continue;
        };
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        // The entry itself says what it is. Only links are asked for what they lead to: the folder that a server writes its backups to is
        // often one.
        let facts = match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                folders.push((entry.path(), path));
                continue;
            }
            Ok(kind) if kind.is_file() => entry.metadata(),
            _ => std::fs::metadata(entry.path()),
        };
        match facts {
            Ok(facts) if facts.is_dir() => folders.push((entry.path(), path)),
            Ok(facts) if facts.is_file() => found.push(Listed { path, size: facts.len() }),
            Ok(_) => {}
            // It went while the list was made, or its link leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(folders)
}

async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Whether this says that there is nothing of a name: a file in the place of one of its folders says so too.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[async_trait]
impl ArtifactStore for FolderStore {
    async fn put(&self, path: &str, body: ByteStream) -> Result<Stored, StepError> {
        let place = self.place(path)?;
        let (unfinished, size, sha256) = self.write(&place, body).await?;
        let (target, folder) = (place.path.clone(), place.folder().to_owned());
        let named = on_thread(move || {
            std::fs::rename(&unfinished.path, target)?;
            sync_folder(&folder)
        });
        named.await.map_err(|error| place.failed("storing", &error))?;
        Ok(Stored { path: path.to_owned(), size, sha256 })
    }

    async fn put_new(&self, path: &str, body: Bytes) -> Result<Stored, StepError> {
        let place = self.place(path)?;
        let (unfinished, size, sha256) = self.write(&place, stream_of(body)).await?;
        let (target, folder) = (place.path.clone(), place.folder().to_owned());
        let named = on_thread(move || {
            // A second name for the same file is refused where the name is taken; a rename would replace what is there.
            std::fs::hard_link(&unfinished.path, target)?;
            drop(unfinished);
            sync_folder(&folder)
        });
        match named.await {
            Ok(()) => Ok(Stored { path: path.to_owned(), size, sha256 }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(StepError::new("artifact.exists", format!("there is already an artifact {path}")))
            }
            Err(error) => Err(place.failed("storing", &error)),
        }
    }

    async fn open(&self, path: &str, offset: u64) -> Result<ByteStream, StepError> {
        let place = self.place(path)?;
        let failed = |error: io::Error| match is_absence(&error) {
            true => StepError::new(
                "artifact.absent",
                format!("there is no artifact {path} in {}", self.root.display()),
            ),
            false => place.failed("reading", &error),
        };
        let mut file = tokio::fs::File::open(&place.path).await.map_err(failed)?;
        if !file.metadata().await.map_err(failed)?.is_file() {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        file.seek(io::SeekFrom::Start(offset)).await.map_err(failed)?;
        let shown = place.path.display().to_string();
        let pieces = ReaderStream::with_capacity(file, PIECE);
        Ok(Box::pin(pieces.map(move |piece| {
            piece.map_err(|error| StepError::new("artifact.io", format!("reading {shown}: {error}")))
        })))
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StepError> {
        let place = self.place(path)?;
        match tokio::fs::metadata(&place.path).await {
            Ok(facts) => Ok(facts.is_file().then_some(facts.len())),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(place.failed("looking at", &error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StepError> {
        if !prefix.is_empty()
            && let Some(size) = self.size(prefix).await?
        {
            return Ok(vec![Listed { path: prefix.to_owned(), size }]);
        }
        let (mut folder, path) = (self.root.clone(), prefix.to_owned());
        folder.extend(prefix.split('/').filter(|part| !part.is_empty()));
        let shown = folder.display().to_string();
        let listed = on_thread(move || {
            let mut found = Vec::new();
            match collect_shared(&folder, &path, &mut found) {
                Err(error) if is_absence(&error) => {}
                other => other?,
            }
            found.sort();
            Ok(found)
        });
        listed.await.map_err(|error| StepError::new("artifact.io", format!("listing {shown}: {error}")))
    }

    async fn delete(&self, path: &str) -> Result<bool, StepError> {
        let place = self.place(path)?;
        if self.size(path).await?.is_none() {
            return Ok(false);
        }
        let (target, folder) = (place.path.clone(), place.folder().to_owned());
        let removed = on_thread(move || match std::fs::remove_file(target) {
            Ok(()) => sync_folder(&folder).map(|()| true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(error),
        });
        removed.await.map_err(|error| place.failed("removing", &error))
    }

    async fn written_ms(&self, path: &str) -> Result<Option<i64>, StepError> {
        let place = self.place(path)?;
        let written = match tokio::fs::metadata(&place.path).await {
            Ok(facts) => facts.modified().ok(),
            Err(error) if is_absence(&error) => None,
            Err(error) => return Err(place.failed("looking at", &error)),
        };
        let since = written.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        Ok(since.and_then(|since| i64::try_from(since.as_millis()).ok()))
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, StepError> {
        let folder = self.root.clone();
        let shown = folder.display().to_string();
        let looked = on_thread(move || {
            let mut found = Vec::new();
            match left(&folder, "", 0, &mut found) {
                Err(error) if is_absence(&error) => {}
                other => other?,
            }
            found.sort_by(|one, other| one.path.cmp(&other.path));
            Ok(found)
        });
        looked
            .await
            .map_err(|error| StepError::new("artifact.io", format!("looking through {shown}: {error}")))
    }

    async fn clear(&self, left: &Leftover) -> Result<bool, StepError> {
        let name = path_parts(&left.path)?.pop().unwrap_or_default();
        if !is_unfinished(name) {
            return Ok(false);
        }
        let path = self.root.join(&left.path);
        let shown = path.display().to_string();
        let removed = on_thread(move || remove_dead(&path)).await;
        removed.map_err(|error| StepError::new("artifact.io", format!("removing {shown}: {error}")))
    }

    fn url(&self, path: &str) -> Option<String> {
        let mut url = self.served_at.clone()?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(path_parts(path).ok()?);
        Some(url.into())
    }

    fn local_path(&self, path: &str) -> Option<PathBuf> {
        self.place(path).ok().map(|place| place.path)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::artifact::{bytes_of, conformance};
    use futures_util::stream;
    use tokio::sync::Notify;

    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect::<Vec<_>>());
        let mut names: Vec<String> = entries
            .unwrap_or_default()
            .iter()
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn it_conforms() {
        let dir = tempfile::tempdir().unwrap();
        conformance::passes(&FolderStore::new(dir.path().join("made on demand"))).await.unwrap();
    }

    #[test]
    fn a_store_that_is_served_has_addresses() {
        let store = |url: &str| FolderStore::new("/x").served_at(Some(Url::parse(url).unwrap()));
        let address = |store: FolderStore, path: &str| store.url(path);
        assert_eq!(
            address(store("https://h/backups/"), "q/a b.snapshot").as_deref(),
            Some("https://h/backups/q/a%20b.snapshot")
        );
        assert_eq!(address(store("https://h"), "q/../x"), None);
        assert_eq!(address(FolderStore::new("/x"), "q"), None);
    }

    /// One piece, a word to the test, and then nothing for ever.
    fn stuck(half: Arc<Notify>) -> ByteStream {
        let first = stream::iter([Ok(Bytes::from("half"))]);
        Box::pin(first.chain(stream::once(async move {
            half.notify_one();
            std::future::pending().await
        })))
    }

    #[tokio::test]
    async fn a_dropped_put_leaves_nothing_and_the_old_bytes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path());
        store.put("a/x", stream_of("old")).await.unwrap();
        let half = Arc::new(Notify::new());
        {
            let put = store.put("a/x", stuck(half.clone()));
            tokio::pin!(put);
            tokio::select! {
                _ = &mut put => panic!("it cannot end"),
                () = half.notified() => {}
            }
            assert_eq!(files(&dir.path().join("a")).len(), 2, "the old one and a temporary one");
            assert_eq!(store.list("").await.unwrap().len(), 1, "which no list shows");
        }
        assert_eq!(files(&dir.path().join("a")), ["x"]);
        assert_eq!(bytes_of(store.open("a/x", 0).await.unwrap(), 9).await.unwrap(), b"old");
    }

    #[tokio::test]
    async fn what_dead_processes_left_goes_and_what_lives_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path());
        std::fs::write(dir.path().join(format!(".x.1-0{UNFINISHED}")), "half").unwrap();
        std::fs::write(dir.path().join(format!(".xy.1-0{UNFINISHED}")), "of another name").unwrap();
        let alive = begin_in(dir.path(), "x").unwrap();
        let alive_name = alive.path.file_name().unwrap().to_str().unwrap().to_owned();
        store.put("x", stream_of("whole")).await.unwrap();
        assert_eq!(files(dir.path()), [alive_name, format!(".xy.1-0{UNFINISHED}"), "x".to_owned()]);
        assert_eq!(store.list("").await.unwrap(), [Listed { path: "x".into(), size: 5 }]);

        // What nobody puts again is found, and goes when that is wanted; what somebody writes is not found.
        let left = Leftover { path: format!(".xy.1-0{UNFINISHED}"), size: 15, written_ms: None };
        assert_eq!(store.leftovers().await.unwrap(), std::slice::from_ref(&left));
        let in_use = alive.path.file_name().unwrap().to_str().unwrap().to_owned();
        for path in [in_use, "x".to_owned()] {
            assert_eq!(store.clear(&Leftover { path, ..left.clone() }).await, Ok(false));
        }
        assert_eq!((store.clear(&left).await, store.clear(&left).await), (Ok(true), Ok(false)));
        assert_eq!(files(dir.path()).len(), 2);
    }

    #[tokio::test]
    async fn many_folders_are_listed_as_few_are() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..=MANY {
            let folder = dir.path().join(format!("points/{n:04}"));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("a"), "x").unwrap();
        }
        std::fs::write(dir.path().join("points/z"), "xy").unwrap();
        let listed = FolderStore::new(dir.path()).list("points").await.unwrap();
        assert_eq!(listed.len(), MANY + 2);
        assert!(listed.is_sorted());
        assert_eq!(listed[0], Listed { path: "points/0000/a".into(), size: 1 });
        assert_eq!(listed[MANY + 1], Listed { path: "points/z".into(), size: 2 });
    }

    #[tokio::test]
    async fn of_many_who_put_the_same_new_name_one_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path());
        for round in 0..50 {
            let name = format!("n{round}");
            let puts = (0..8).map(|_| store.put_new(&name, Bytes::from_static(b"1")));
            let answers = futures_util::future::join_all(puts).await;
            let lost: Vec<String> =
                answers.into_iter().filter_map(Result::err).map(|error| error.code).collect();
            assert_eq!(lost, vec!["artifact.exists"; 7]);
        }
        assert_eq!(files(dir.path()).len(), 50, "and nothing is left");
    }

    #[tokio::test]
    async fn many_may_put_the_same_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path());
        for _ in 0..50 {
            let answers =
                futures_util::future::join_all((0..8).map(|_| store.put("x", stream_of("1")))).await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
        assert_eq!(files(dir.path()), ["x"]);
    }

    #[tokio::test]
    async fn a_volume_that_is_not_mounted_is_not_written_beside() {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path().join("nas/octopus"));
        let error = store.put("x", stream_of("1")).await.unwrap_err();
        assert_eq!(error.code, "artifact.io");
        assert!(error.help.unwrap().contains("is its volume mounted?"));
        assert_eq!(files(dir.path()), Vec::<String>::new());
        let error = store.put(".x.drydock-part", stream_of("1")).await.unwrap_err();
        assert_eq!(error.code, "artifact.path");
        assert!(error.message.contains("are temporary"), "{error}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn links_are_followed_and_circles_told() {
        let (dir, media) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(media.path().join("full.bak"), "12345").unwrap();
        std::os::unix::fs::symlink(media.path(), dir.path().join("sql")).unwrap();
        std::os::unix::fs::symlink("/nowhere at all", dir.path().join("dead")).unwrap();
        let store = FolderStore::new(dir.path());
        assert_eq!(store.list("").await.unwrap(), [Listed { path: "sql/full.bak".into(), size: 5 }]);
        assert_eq!(store.list("sql/full.bak").await.unwrap().len(), 1, "a whole path is a prefix of itself");
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        let error = store.list("").await.unwrap_err();
        assert_eq!(error.code, "artifact.io");
    }
}
