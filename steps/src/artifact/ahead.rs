//! What can be told of artifacts before anything is brought or read: [`Ahead`] looks and gathers findings, and changes nothing.
//!
//! Whether an identity may write to a bucket is told by nobody but a put; of a folder the system says it.

use std::path::{Path, PathBuf};

use drydock_step::{ArtifactStore, Connection, Preflight, PreflightFinding, StepError};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::expected::Expected;
use super::target::usable;
use super::transfer::Going;
use crate::rehash::rehashed;
use crate::room::room_in;

/// How many names are looked at side by side; a store may be far away.
const SIDE_BY_SIDE: usize = 16;

/// How many artifacts are named one by one; of more of the same sort only the number is told.
const NAMED: usize = 8;

/// What was found so far.
#[derive(Default)]
pub(super) struct Ahead {
    findings: Vec<PreflightFinding>,
}

impl Ahead {
    /// The answer of a preflight.
    pub(super) fn told(self) -> Preflight {
        Preflight { findings: self.findings, ..Preflight::default() }
    }

    /// What a run would meet. What may pass by itself, or could not be asked, is no finding.
    ///
    /// # Errors
    /// Such an error itself.
    pub(super) fn meets(&mut self, error: StepError) -> Result<(), StepError> {
        if error.transient || error.code == "internal" {
            return Err(error);
        }
        self.found(&[error]);
        Ok(())
    }

    /// Errors of one sort that a run would meet.
    fn found(&mut self, all: &[StepError]) {
        let fatal = |error: &StepError| PreflightFinding {
            code: error.code.clone(),
            fatal: true,
            message: error.message.clone(),
            help: error.help.clone(),
        };
        self.findings.extend(all.iter().take(NAMED).map(fatal));
        if let Some(more) = all.get(NAMED) {
            let message = format!("and {} more like these", all.len() - NAMED);
            self.findings.push(PreflightFinding { message, ..fatal(more) });
        }
    }

    /// What is worth knowing and may be otherwise when the step runs.
    pub(super) fn notes(&mut self, error: StepError) {
        let StepError { code, message, help, .. } = error;
        self.findings.push(PreflightFinding { code, fatal: false, message, help });
    }

    /// Whether a store answers; what else is asked of one that does not would only say the same again.
    ///
    /// # Errors
    /// What may pass by itself.
    pub(super) async fn reaches(&mut self, connection: &dyn Connection) -> Result<bool, StepError> {
        match connection.ping().await {
            Ok(()) => Ok(true),
            Err(error) => self.meets(error).map(|()| false),
        }
    }

    /// Whether artifacts are there, as long as they should be. Gives how long each is, where it is there.
    ///
    /// # Errors
    /// What may pass by itself.
    pub(super) async fn sources(
        &mut self,
        store: &dyn ArtifactStore,
        all: &[Expected],
    ) -> Result<Vec<Option<u64>>, StepError> {
        let sizes = self.sizes(store, all.iter().map(|one| one.path.clone()).collect()).await?;
        let mut wrong = Vec::new();
        for (one, size) in all.iter().zip(&sizes) {
            let path = &one.path;
            wrong.extend(match (size, one.size) {
                (Some(None), _) => {
                    Some(StepError::new("artifact.absent", format!("there is no artifact {path}")))
                }
                (Some(Some(found)), Some(expected)) if *found != expected => {
                    let message = format!("{path} has {found} bytes, expected {expected}");
                    Some(StepError::new("artifact.damaged", message))
                }
                _ => None,
            });
        }
        self.found(&wrong);
        Ok(sizes.into_iter().map(Option::flatten).collect())
    }

    /// Whether artifacts are what they should be: reads them to their end. What is not there was found before.
    ///
    /// # Errors
    /// What may pass by itself.
    pub(super) async fn reads(
        &mut self,
        store: &dyn ArtifactStore,
        all: &[Expected],
    ) -> Result<(), StepError> {
        let mut wrong = Vec::new();
        for one in all {
            match rehashed(store, &one.path, |_| {}).await {
                Ok(found) => {
                    wrong.extend(one.compared(&found).map(|why| StepError::new("artifact.damaged", why)));
                }
                Err(error) if error.code == "artifact.absent" => {}
                Err(error) if error.transient || error.code == "internal" => return Err(error),
                Err(error) => wrong.push(error),
            }
        }
        self.found(&wrong);
        Ok(())
    }

    /// Whether something else stands where artifacts of these lengths go. Gives how many bytes are still to be brought.
    ///
    /// # Errors
    /// What may pass by itself.
    pub(super) async fn places(
        &mut self,
        store: &dyn ArtifactStore,
        going: &[Going],
        sizes: &[Option<u64>],
    ) -> Result<u64, StepError> {
        let there = self.sizes(store, going.iter().map(|one| one.to.clone()).collect()).await?;
        let (mut wrong, mut bytes) = (Vec::new(), 0);
        for ((one, size), there) in going.iter().zip(sizes).zip(&there) {
            match (size, there) {
                (Some(size), Some(None)) => bytes += size,
                (Some(size), Some(Some(there))) if size != there => {
                    let message = format!("another {} is there: it has {there} bytes, not {size}", one.to);
                    wrong.push(StepError::new("artifact.exists", message).help(
                        "nothing is written over: choose another place, or remove what is there by hand",
                    ));
                }
                _ => {}
            }
        }
        self.found(&wrong);
        Ok(bytes)
    }

    /// How long artifacts are, where they are there. Nothing is told of a path that cannot be looked at, which is a finding.
    async fn sizes(
        &mut self,
        store: &dyn ArtifactStore,
        paths: Vec<String>,
    ) -> Result<Vec<Option<Option<u64>>>, StepError> {
        let looks = paths.into_iter().map(|path| async move {
            match store.size(&path).await {
                Err(error) if error.transient || error.code == "internal" => Err(error),
                told => Ok(told),
            }
        });
        let told: Vec<Result<Option<u64>, StepError>> =
            stream::iter(looks.collect::<Vec<_>>()).buffered(SIDE_BY_SIDE).try_collect().await?;
        let mut wrong = Vec::new();
        let mut size = |told: Result<Option<u64>, StepError>| match told {
            Ok(size) => Some(size),
            Err(error) => {
                wrong.push(error);
                None
            }
        };
        let sizes = told.into_iter().map(&mut size).collect();
        self.found(&wrong);
        Ok(sizes)
    }

    /// Whether a folder can be made and written, where a store is one, and has room for so many bytes.
    ///
    /// # Errors
    /// What may pass by itself.
    pub(super) async fn room(
        &mut self,
        store: &dyn ArtifactStore,
        at: Option<&Going>,
        bytes: u64,
    ) -> Result<(), StepError> {
        let Some(file) = at.and_then(|at| store.local_path(&at.to)) else { return Ok(()) };
        let looked = tokio::task::spawn_blocking(move || roomy(&file, bytes)).await;
        match looked.unwrap_or_else(|error| Err(StepError::internal(error.to_string()))) {
            Ok(()) => Ok(()),
            Err(error) => self.meets(error),
        }
    }

    /// Whether a folder that is no store's is there, or can be made.
    ///
    /// # Errors
    /// What may pass by itself.
    pub(super) async fn folder(&mut self, root: &Path) -> Result<bool, StepError> {
        match usable(root).await {
            Ok(()) => Ok(true),
            Err(error) => {
                let message = error.message.replacen("the store", "the folder", 1);
                self.meets(StepError { message, ..error }).map(|()| false)
            }
        }
    }
}

/// Whether a file of so many bytes has room where it goes: in the nearest folder that is there already.
fn roomy(file: &Path, bytes: u64) -> Result<(), StepError> {
    let nearest: Option<PathBuf> =
        file.ancestors().skip(1).find(|folder| folder.exists()).map(Path::to_owned);
    let Some(folder) = nearest else { return Ok(()) };
    let failed = |why: String| StepError::new("artifact.io", format!("{} {why}", folder.display()));
    if !folder.is_dir() {
        return Err(failed("is no folder, and stands where one is needed".into()));
    }
    match room_in(&folder) {
        Err(error) => Err(failed(format!("cannot be written: {error}"))
            .help("may the user that Drydock runs as write there, and is it not mounted for reading only?")),
        Ok(Some(room)) if room < bytes => {
            Err(failed(format!("has {room} bytes left, and {bytes} are to be brought there"))
                .help("free some space, or choose another place"))
        }
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::artifact::stream_of;

    use super::*;
    use crate::artifact::folder::FolderStore;

    fn expected(path: &str, size: Option<u64>) -> Expected {
        Expected { path: path.into(), size, sha256: None }
    }

    fn codes(ahead: Ahead) -> Vec<String> {
        ahead.told().findings.into_iter().map(|one| one.code).collect()
    }

    #[tokio::test]
    async fn what_is_not_there_or_of_another_length_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path());
        store.put("a", stream_of("hello")).await.unwrap();
        let all =
            [expected("a", Some(5)), expected("a", Some(6)), expected("b", None), expected("../x", None)];
        let mut ahead = Ahead::default();
        let sizes = ahead.sources(&store, &all).await.unwrap();
        assert_eq!(sizes, [Some(5), Some(5), None, None]);
        let told = ahead.told().findings;
        let messages: Vec<&str> = told.iter().map(|one| one.message.as_str()).collect();
        assert_eq!(messages[1], "a has 5 bytes, expected 6");
        assert_eq!(messages[2], "there is no artifact b");
        assert!(messages[0].starts_with("`../x` is no path") && told.iter().all(|one| one.fatal), "{told:?}");
    }

    #[tokio::test]
    async fn of_many_that_are_missing_some_are_named_and_the_rest_counted() {
        let dir = tempfile::tempdir().unwrap();
        let all: Vec<Expected> = (0..20).map(|n| expected(&format!("{n}"), None)).collect();
        let mut ahead = Ahead::default();
        ahead.sources(&FolderStore::new(dir.path()), &all).await.unwrap();
        let told = ahead.told().findings;
        assert_eq!(told.len(), 9);
        assert_eq!(told[8].message, "and 12 more like these");
    }

    #[tokio::test]
    async fn what_stands_in_the_way_is_named_and_what_is_there_needs_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path());
        store.put("to/a", stream_of("hello")).await.unwrap();
        store.put("to/b", stream_of("hullo")).await.unwrap();
        let going =
            ["a", "b", "c"].map(|path| Going { what: expected(path, None), to: format!("to/{path}") });
        let mut ahead = Ahead::default();
        let bytes = ahead.places(&store, &going, &[Some(5), Some(7), Some(9)]).await.unwrap();
        assert_eq!(bytes, 9);
        assert_eq!(codes(ahead), ["artifact.exists"]);
    }

    #[tokio::test]
    async fn a_folder_without_room_or_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let store = FolderStore::new(dir.path());
        let check = async |to: &str, bytes: u64, words: &str| {
            let at = Going { what: expected("a", None), to: to.into() };
            let mut ahead = Ahead::default();
            ahead.room(&store, Some(&at), bytes).await.unwrap();
            let told = ahead.told().findings;
            assert_eq!(told.len(), usize::from(!words.is_empty()), "{told:?}");
            assert!(
                told.iter().all(|one| one.code == "artifact.io" && one.message.contains(words)),
                "{told:?}"
            );
        };
        check("new/a", 1, "").await;
        check("file/a", 1, "is no folder, and stands where one is needed").await;
        check("new/a", u64::MAX, "are to be brought there").await;
        let mut ahead = Ahead::default();
        assert!(!ahead.folder(&dir.path().join("no/new")).await.unwrap());
        assert!(
            ahead.told().findings[0].message.contains("cannot be used: nor is the folder above it there")
        );
    }
}
