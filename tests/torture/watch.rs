//! Somebody who looks at the archive all the while: [`Watch`] remembers each segment as it was when it came, and what has changed since.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Which file it is and when its bytes were last written.
type Identity = (u64, u64, i64, i64);

/// A segment as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    identity: Identity,
    sha256: String,
}

#[derive(Default)]
struct Book {
    seen: BTreeMap<String, Seen>,
    /// What must not be: a segment that changed, was put again or went.
    wrong: Vec<String>,
}

/// It looks until it is dropped.
pub(crate) struct Watch {
    folder: PathBuf,
    book: Arc<Mutex<Book>>,
    ends: Arc<AtomicBool>,
    looks: Option<JoinHandle<()>>,
}

/// The digests of files, by a program that is not ours.
fn digests(paths: &[PathBuf]) -> Vec<String> {
    let mut found = Vec::new();
    for some in paths.chunks(200) {
        let output = Command::new("sha256sum").args(some).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        found.extend(String::from_utf8(output.stdout).unwrap().lines().map(|line| line[..64].to_owned()));
    }
    found
}

fn identity(path: &Path) -> Option<Identity> {
    let facts = std::fs::metadata(path).ok()?;
    Some((facts.ino(), facts.len(), facts.mtime(), facts.mtime_nsec()))
}

/// The files that bear the name of a segment.
fn segments(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.len() == 24 && !name.contains('.')).collect();
    names.sort();
    names
}

impl Watch {
    /// Begins to look at this folder of segments.
    pub(crate) fn begin(folder: PathBuf) -> Self {
        let (book, ends) = (Arc::new(Mutex::new(Book::default())), Arc::new(AtomicBool::new(false)));
        let (of_thread, asked, place) = (book.clone(), ends.clone(), folder.clone());
        let looks = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                look(&place, &of_thread);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { folder, book, ends, looks: Some(looks) }
    }

    /// How many segments have come.
    pub(crate) fn count(&self) -> usize {
        self.book.lock().unwrap().seen.len()
    }

    /// Whether this one has come.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.book.lock().unwrap().seen.contains_key(name)
    }

    /// All that have come, by name, once everything has been read once more and is what it was.
    pub(crate) fn proved(mut self) -> Vec<String> {
        self.ends.store(true, Ordering::Relaxed);
        self.looks.take().map(|looks| looks.join().unwrap()).unwrap_or_default();
        look(&self.folder, &self.book);
        let book = self.book.lock().unwrap();
        assert!(book.wrong.is_empty(), "{}", book.wrong.join("\n"));
        let paths: Vec<PathBuf> = book.seen.keys().map(|name| self.folder.join(name)).collect();
        for ((name, seen), now) in book.seen.iter().zip(digests(&paths)) {
            assert_eq!(now, seen.sha256, "{name} is not what it was when it came");
        }
        // Nothing unfinished is left, and nothing else either.
        let mut all: Vec<String> = std::fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        let names: Vec<String> = book.seen.keys().cloned().collect();
        assert_eq!(all, names);
        names
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn look(folder: &Path, book: &Mutex<Book>) {
    let names = segments(folder);
    let mut book = book.lock().unwrap();
    let new: Vec<&String> = names.iter().filter(|name| !book.seen.contains_key(*name)).collect();
    let paths: Vec<PathBuf> = new.iter().map(|name| folder.join(name)).collect();
    let came: Vec<Option<Identity>> = paths.iter().map(|path| identity(path)).collect();
    for ((name, identity), sha256) in new.iter().zip(came).zip(digests(&paths)) {
        match identity {
            Some(identity) => drop(book.seen.insert((*name).clone(), Seen { identity, sha256 })),
            None => book.wrong.push(format!("{name} came and went")),
        }
    }
    let changed: Vec<String> = book
        .seen
        .iter()
        .filter(|(name, seen)| identity(&folder.join(name)) != Some(seen.identity))
        .map(|(name, _)| format!("{name} was put again, changed or removed"))
        .collect();
    book.wrong.extend(changed);
}
