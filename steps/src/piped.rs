//! What a program writes, on its way into an artifact store: [`stored`].

use bytes::Bytes;
use drydock_step::{ArtifactStore, ChildEnd, ChildOutput, ChildPipe, ChildSpec, Ctx, StepError, Stored};
use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;

/// Pieces that wait for the store.
const PIECES: usize = 8;

/// Starts a program and stores what it writes to its standard output, hashing on the way. Only if `judge` finds its end good does the
/// artifact get its name; `seen` hears the length of every piece.
///
/// # Errors
/// What `judge` says, what the store says, or that of [`Ctx::spawn`]. Nothing is stored then.
pub async fn stored(
    ctx: &Ctx,
    spec: ChildSpec,
    store: &dyn ArtifactStore,
    path: &str,
    judge: impl FnOnce(&ChildEnd) -> Result<(), StepError>,
    seen: impl Fn(u64) + Send + 'static,
) -> Result<(Stored, ChildEnd), StepError> {
    let (pipe, pieces) = ChildPipe::holding(PIECES);
    let (verdict, judged) = oneshot::channel::<Result<(), StepError>>();
    let run = async {
        let ended = ctx.spawn(ChildSpec { stdout: ChildOutput::Piped(pipe), ..spec }).await;
        let ended = ended.and_then(|end| judge(&end).map(|()| end));
        // Where the store has given up already, nobody hears it.
        let _ = verdict.send(ended.as_ref().map(drop).map_err(Clone::clone));
        ended
    };
    let pieces = stream::unfold(pieces, |mut pieces| async move { Some((pieces.recv().await?, pieces)) });
    let pieces = pieces.map(move |piece: Bytes| {
        seen(piece.len() as u64);
        Ok(piece)
    });
    // The last word is the program's end: only then is it known whether what came is all.
    let end = stream::once(judged).filter_map(async |judged| match judged {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(Err(error)),
        Err(_) => Some(Err(StepError::internal("the end of a program was never judged"))),
    });
    let body = Box::pin(pieces.chain(end));
    match tokio::join!(run, store.put(path, body)) {
        (Ok(end), Ok(stored)) => Ok((stored, end)),
        // A store that gives up makes the program fail as well; why it did comes first.
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use drydock_step::test_host::TestHost;

    use super::*;
    use crate::artifact::folder::FolderStore;
    use crate::rehash::hex;

    async fn outcome(script: &str, path: &str) -> (Result<(Stored, ChildEnd), StepError>, u64, usize) {
        let folder = tempfile::tempdir().unwrap();
        let store = FolderStore::new(folder.path().join("store"));
        let ctx = Arc::new(TestHost::new(folder.path())).ctx(None);
        let spec = ChildSpec {
            argv: ["sh", "-c", script].map(String::from).to_vec(),
            env: Vec::new(),
            cwd: folder.path().into(),
            stdin: Vec::new(),
            stdout: ChildOutput::Dropped,
        };
        let judge = |end: &ChildEnd| match end.code {
            Some(0) => Ok(()),
            code => Err(StepError::new("test.end", format!("{code:?}: {}", end.stderr))),
        };
        let seen = Arc::new(AtomicU64::new(0));
        let hears = seen.clone();
        let found = stored(&ctx, spec, &store, path, judge, move |more| {
            hears.fetch_add(more, Ordering::Relaxed);
        });
        let found = found.await;
        let files = store.list("").await.unwrap().len();
        (found, seen.load(Ordering::Relaxed), files)
    }

    #[tokio::test]
    async fn what_it_writes_is_stored_whole() {
        let (found, seen, files) = outcome("head -c 3000000 /dev/zero; echo told >&2", "a/zeros").await;
        let (stored, end) = found.unwrap();
        let expected = hex(&<sha2::Sha256 as sha2::Digest>::digest(vec![0; 3_000_000]));
        assert_eq!((stored.path.as_str(), stored.size, stored.sha256), ("a/zeros", 3_000_000, expected));
        assert_eq!((end.stderr.as_str(), seen, files), ("told\n", 3_000_000, 1));
    }

    #[tokio::test]
    async fn what_ended_badly_is_not_stored() {
        let (found, seen, files) = outcome("echo half; echo why >&2; exit 3", "a/half").await;
        let error = found.unwrap_err();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("test.end", "Some(3): why\n"));
        assert_eq!((seen, files), (5, 0));
    }

    #[tokio::test]
    async fn a_store_that_gives_up_ends_the_program() {
        let (found, _, files) = outcome("exec yes", "../out").await;
        assert_eq!((found.unwrap_err().code.as_str(), files), ("artifact.path", 0));
    }
}
