//! The suite that every [`ArtifactStore`] passes; each implementation's tests call [`passes`].

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

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
    refuses(store).await?;
    takes_odd_names(store).await.map_err(|error| format!("odd names: {error}"))?;
    stores_what_is_large(store).await.map_err(|error| format!("large: {error}"))?;
    one_of_two_wins(store).await.map_err(|error| format!("raced put_new: {error}"))?;
    lists_many(store).await.map_err(|error| format!("many: {error}"))
}

/// Longer than two parts of the least size that a bucket takes, and no multiple of anything.
const LARGE: usize = 12 * 1024 * 1024 + 4321;

/// In the third of its parts.
const CUT_AT: usize = 11 * 1024 * 1024;

/// More than a page of any listing.
const MANY: usize = 1_050;

/// How much is asked at a time where many are.
const AT_A_TIME: usize = 16;

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

/// Names with what URLs, XML and shells take for something else.
const ODD: [&str; 8] =
    ["o/a b", "o/100%", "o/%41", "o/ünï-日本", "o/a#b?c=d&e", "o/a+b~c", "o/<x>'\"", "o/.hidden/-*"];

async fn takes_odd_names(store: &dyn ArtifactStore) -> Result<(), StepError> {
    for (number, name) in ODD.iter().enumerate() {
        // By both ways, which a store may have apart.
        match number % 2 {
            0 => store.put(name, stream_of(name.as_bytes())).await?,
            _ => store.put_new(name, Bytes::from_static(name.as_bytes())).await?,
        };
        is("read", bytes_of(store.open(name, 0).await?, 64).await?, name.as_bytes().to_vec())?;
    }
    let mut expected = ODD.map(|path| Listed { path: path.to_owned(), size: path.len() as u64 }).to_vec();
    expected.sort();
    is("listed", store.list("o").await?, expected)?;
    is("below a folder", store.list("o/.hidden").await?.len(), 1)?;
    is("itself", store.list("o/a b").await?, vec![Listed { path: "o/a b".to_owned(), size: 5 }])?;
    for name in ODD {
        is(name, store.delete(name).await?, true)?;
    }
    is("removed", store.list("").await?, Vec::new())
}

/// Bytes that differ from place to place.
fn large() -> Bytes {
    (0..LARGE).map(|at| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]).collect::<Vec<u8>>().into()
}

/// The same in pieces of all lengths, with an error instead of what comes after `until`.
fn in_pieces(mut whole: Bytes, until: usize) -> ByteStream {
    let (mut pieces, mut gone, mut length) = (Vec::new(), 0, 1);
    while !whole.is_empty() && gone < until {
        let piece = whole.split_to(whole.len().min(length));
        gone += piece.len();
        pieces.push(Ok(piece));
        length = (length * 3) % 700_001 + 1;
    }
    if !whole.is_empty() {
        pieces.push(Err(StepError::transient("cut", "the line went dead")));
    }
    Box::pin(stream::iter(pieces))
}

async fn stores_what_is_large(store: &dyn ArtifactStore) -> Result<(), StepError> {
    let whole = large();
    let stored = store.put("g/large", in_pieces(whole.clone(), LARGE)).await?;
    is("its length", stored.size, LARGE as u64)?;
    let at_once = store.put_new("g/once", whole.clone()).await?;
    is("its hash", &stored.sha256, &at_once.sha256)?;
    is("its size", store.size("g/large").await?, Some(LARGE as u64))?;
    for offset in [0, 1, 65_535, 65_536, 5 * 1024 * 1024, 10 * 1024 * 1024 - 1, LARGE - 1, LARGE, LARGE + 9] {
        let read = bytes_of(store.open("g/large", offset as u64).await?, LARGE).await?;
        let expected = whole.get(offset..).unwrap_or_default();
        is("read from an offset", (offset, read == expected), (offset, true))?;
    }
    let error = store.put("g/cut", in_pieces(whole.clone(), CUT_AT)).await.err();
    is("the stream's own error", error.map(|error| error.code), Some("cut".to_owned()))?;
    is("nothing of it", (store.size("g/cut").await?, store.list("g").await?.len()), (None, 2))?;
    let error = store.put("g/once", in_pieces(whole, CUT_AT)).await.err();
    is("a cut replacement", error.map(|error| error.code), Some("cut".to_owned()))?;
    is("leaves what was there", store.size("g/once").await?, Some(LARGE as u64))?;
    store.delete("g/large").await?;
    store.delete("g/once").await.map(|_| ())
}

async fn one_of_two_wins(store: &dyn ArtifactStore) -> Result<(), StepError> {
    for round in 0..8 {
        let name = format!("r/{round}");
        let (one, other) = tokio::join!(
            store.put_new(&name, Bytes::from("one")),
            store.put_new(&name, Bytes::from("other"))
        );
        let (winner, lost) = match (one, other) {
            (Ok(_), Err(lost)) => ("one", lost),
            (Err(lost), Ok(_)) => ("other", lost),
            both => return is("who won", format!("{both:?}"), "exactly one".to_owned()),
        };
        is("the other's code", lost.code.as_str(), "artifact.exists")?;
        is("what is there", bytes_of(store.open(&name, 0).await?, 64).await?, winner.as_bytes().to_vec())?;
        store.delete(&name).await?;
    }
    Ok(())
}

async fn lists_many(store: &dyn ArtifactStore) -> Result<(), StepError> {
    let names: Vec<String> = (0..MANY).map(|number| format!("m/{}/{number:05}", number % 3)).collect();
    let put = |name: &'_ String| {
        let name = name.clone();
        async move { store.put_new(&name, Bytes::from("x")).await }
    };
    let all: Vec<_> = stream::iter(names.iter().map(put)).buffer_unordered(AT_A_TIME).try_collect().await?;
    is("stored", all.len(), MANY)?;
    let listed: Vec<String> = store.list("m").await?.into_iter().map(|one| one.path).collect();
    let mut expected = names.clone();
    expected.sort();
    is("all are listed, in order", listed == expected, true)?;
    is("a third", store.list("m/1").await?.len(), MANY / 3)?;
    let delete = |name: String| async move { store.delete(&name).await };
    let gone: Vec<_> =
        stream::iter(names.into_iter().map(delete)).buffer_unordered(AT_A_TIME).try_collect().await?;
    is("removed", gone.into_iter().all(|gone| gone), true)?;
    is("none is left", store.list("").await?, Vec::new())
}
