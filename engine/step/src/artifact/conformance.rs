//! The suite that every [`ArtifactStore`] passes; each implementation's tests call [`passes`].

use bytes::Bytes;
use futures_util::stream;

use super::{ArtifactStore, ByteStream, Listed, bytes_of, stream_of};
use crate::error::StepError;

/// sha256 of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// Runs the whole suite on an empty store.
///
/// # Errors
/// In words, the first clause that does not hold.
pub async fn passes(store: &dyn ArtifactStore) -> Result<(), String> {
    stores_and_reads(store).await.map_err(|error| format!("store and read: {error}"))?;
    lists_by_whole_parts(store).await.map_err(|error| format!("list: {error}"))?;
    a_cut_put_leaves_nothing(store).await.map_err(|error| format!("cut put: {error}"))?;
    refuses(store).await
}

fn is<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), StepError> {
    if found == expected {
        Ok(())
    } else {
        Err(StepError::new("conformance", format!("{what}: {found:?}, not {expected:?}")))
    }
}

async fn stores_and_reads(store: &dyn ArtifactStore) -> Result<(), StepError> {
    let pieces: ByteStream = Box::pin(stream::iter([Ok(Bytes::from("hel")), Ok(Bytes::from("lo"))]));
    let stored = store.put("a/b/hello.txt", pieces).await?;
    is(
        "what was stored",
        (stored.size, stored.sha256.as_str(), stored.path.as_str()),
        (5, HELLO, "a/b/hello.txt"),
    )?;
    is("read whole", bytes_of(store.open("a/b/hello.txt", 0).await?, 64).await?, b"hello".to_vec())?;
    is("read from an offset", bytes_of(store.open("a/b/hello.txt", 3).await?, 64).await?, b"lo".to_vec())?;
    is("read from the end", bytes_of(store.open("a/b/hello.txt", 5).await?, 64).await?, Vec::new())?;
    is("size", store.size("a/b/hello.txt").await?, Some(5))?;
    is("size of nothing", store.size("a/b/none").await?, None)?;
    store.put("a/b/hello.txt", stream_of("other")).await?;
    is("replaced", bytes_of(store.open("a/b/hello.txt", 0).await?, 64).await?, b"other".to_vec())?;
    is(
        "deleted",
        (store.delete("a/b/hello.txt").await?, store.delete("a/b/hello.txt").await?),
        (true, false),
    )?;
    is("gone", store.size("a/b/hello.txt").await?, None)
}

async fn lists_by_whole_parts(store: &dyn ArtifactStore) -> Result<(), StepError> {
    for path in ["l/b", "l/a/2", "l/a/1", "la/3"] {
        store.put_new(path, Bytes::from("x")).await?;
    }
    let paths = |listed: Vec<Listed>| listed.into_iter().map(|item| item.path).collect::<Vec<_>>();
    is("under l", paths(store.list("l").await?), ["l/a/1", "l/a/2", "l/b"].map(String::from).to_vec())?;
    is("under nothing", paths(store.list("none").await?), Vec::new())?;
    for path in ["l/b", "l/a/2", "l/a/1", "la/3"] {
        store.delete(path).await?;
    }
    is("all", paths(store.list("").await?), Vec::new())
}

async fn a_cut_put_leaves_nothing(store: &dyn ArtifactStore) -> Result<(), StepError> {
    let cut: ByteStream = Box::pin(stream::iter([
        Ok(Bytes::from("half")),
        Err(StepError::transient("cut", "the line went dead")),
    ]));
    let error = store.put("c/half", cut).await.err();
    is("the stream's own error", error.map(|error| error.code), Some("cut".to_owned()))?;
    is("no name", store.size("c/half").await?, None)?;
    is("no listing", store.list("").await?, Vec::new())
}

async fn refuses(store: &dyn ArtifactStore) -> Result<(), String> {
    let code = |result: Result<super::Stored, StepError>| result.err().map(|error| error.code);
    let expect = |what: &str, found: Option<String>, expected: &str| {
        if found.as_deref() == Some(expected) {
            Ok(())
        } else {
            Err(format!("{what}: {found:?}, not {expected}"))
        }
    };
    for path in ["", "/abs", "a//b", "../up", "a/./b", "a\\b", "a\nb"] {
        expect(path, code(store.put(path, stream_of("x")).await), "artifact.path")?;
    }
    store.put_new("n/once", Bytes::from("1")).await.map_err(|error| error.to_string())?;
    expect("a second put_new", code(store.put_new("n/once", Bytes::from("2")).await), "artifact.exists")?;
    let absent = store.open("n/none", 0).await.err().map(|error| error.code);
    expect("open of nothing", absent, "artifact.absent")?;
    store.delete("n/once").await.map(|_| ()).map_err(|error| error.to_string())
}
