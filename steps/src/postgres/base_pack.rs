//! A data folder on its way into an artifact store as one tar, in the form that pg_basebackup gives it: [`packed`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use drydock_recovery::manifest::Artifact;
use drydock_step::{ArtifactStore, Ctx, StepError};
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use tokio::sync::{mpsc, oneshot};

use super::base_compress::Compression;

/// Bytes that are handed on at once.
const PIECE: usize = 256 * 1024;

/// Pieces that wait for the store.
const PIECES: usize = 8;

/// What stands first: recovery cannot begin without it.
const FIRST: &str = "backup_label";

/// What stands last, so that a tar that has it is whole.
const LAST: &str = "backup_manifest";

/// Packs everything in a folder into one tar, `backup_label` first and `backup_manifest` last, and stores it; compressed by gzip where its
/// name ends so.
///
/// # Errors
/// `postgres.unpack` when the folder cannot be read, or what the store says. Nothing is stored then.
pub(super) async fn packed(
    ctx: &Ctx,
    store: &dyn ArtifactStore,
    folder: &Path,
    path: &str,
    level: Option<u32>,
) -> Result<Artifact, StepError> {
    let is_gzip = Compression::of(path) == Compression::Gzip;
    let (pieces, waiting) = mpsc::channel(PIECES);
    let (verdict, judged) = oneshot::channel::<Result<(), StepError>>();
    let (telling, from) = (ctx.clone(), folder.to_owned());
    tokio::task::spawn_blocking(move || {
        let sent = Sent { pieces, piece: Vec::with_capacity(PIECE) };
        let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
        let sent = if is_gzip { Out::Gzip(Box::new(GzEncoder::new(sent, level))) } else { Out::Plain(sent) };
        let ended = write_tar(&from, sent, &telling).map_err(|error| {
            let message = format!("{} cannot be packed: {error}", from.display());
            StepError::new("postgres.unpack", message)
                .help("the runner must be allowed to read what it has put there itself; look for what else works in its scratch")
        });
        // Where the store has given up already, nobody hears it.
        let _ = verdict.send(ended);
    });
    let waiting =
        stream::unfold(waiting, |mut waiting| async move { Some((waiting.recv().await?, waiting)) });
    // The last word is how the packing ended: only then is it known whether what came is all.
    let end = stream::once(judged).filter_map(async |judged| match judged {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(Err(error)),
        Err(_) => Some(Err(StepError::internal("the packing of a folder has no end"))),
    });
    let stored = store.put(path, Box::pin(waiting.map(Ok).chain(end))).await?;
    Ok(Artifact { path: stored.path, size: stored.size, sha256: stored.sha256 })
}

/// Hands on what is written to it, piece by piece.
struct Sent {
    pieces: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the store takes no more");
        self.pieces.blocking_send(piece.into()).map_err(gone)
    }
}

/// The tar as it is, or compressed.
enum Out {
    Plain(Sent),
    Gzip(Box<GzEncoder<Sent>>),
}

impl Out {
    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(mut sent) => sent.flush(),
            Self::Gzip(encoder) => encoder.finish()?.flush(),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(sent) => sent.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(sent) => sent.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
}

/// Something in the folder, by its path there.
struct Inside {
    path: PathBuf,
    is_folder: bool,
    size: u64,
}

fn write_tar(folder: &Path, sent: Out, telling: &Ctx) -> io::Result<()> {
    let mut all = Vec::new();
    listed(folder, Path::new(""), &mut all)?;
    let place = |inside: &Inside| match inside.path.to_str() {
        Some(FIRST) => 0,
        Some(LAST) => 2,
        _ => 1,
    };
    // What is in a folder comes after it: the sort leaves the order of equals as it is.
    all.sort_by_key(place);
    let total: u64 = all.iter().map(|inside| inside.size).sum();
    let mut made = tar::Builder::new(sent);
    let mut done = 0_u64;
    for inside in &all {
        let from = folder.join(&inside.path);
        let modified = std::fs::metadata(&from)?.modified()?.duration_since(std::time::UNIX_EPOCH);
        let mut header = tar::Header::new_gnu();
        header.set_mtime(modified.map_or(0, |since| since.as_secs()));
        header.set_size(inside.size);
        if inside.is_folder {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o700);
            made.append_data(&mut header, &inside.path, io::empty())?;
            continue;
        }
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o600);
        made.append_data(&mut header, &inside.path, std::fs::File::open(&from)?)?;
        let before = done;
        done += inside.size;
        if (before >> 24) != (done >> 24) {
            telling.progress(done, Some(total), "bytes", "packing it");
        }
    }
    made.into_inner()?.finish()
}

/// Everything below a folder, each folder before what is in it, by name.
fn listed(root: &Path, below: &Path, found: &mut Vec<Inside>) -> io::Result<()> {
    let mut names: Vec<_> = std::fs::read_dir(root.join(below))?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let path = below.join(name);
        let facts = std::fs::symlink_metadata(root.join(&path))?;
        let is_folder = facts.is_dir();
        if !is_folder && !facts.is_file() {
            return Err(io::Error::other(format!("`{}` is neither a file nor a folder", path.display())));
        }
        let size = if is_folder { 0 } else { facts.len() };
        found.push(Inside { path: path.clone(), is_folder, size });
        if is_folder {
            listed(root, &path, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::TestHost;

    use super::super::base_contents::contents;
    use super::*;
    use crate::artifact::folder::FolderStore;

    #[tokio::test]
    async fn a_folder_comes_out_as_it_went_in_and_its_manifest_is_last() {
        let dir = tempfile::tempdir().unwrap();
        let (data, store) = (dir.path().join("data"), FolderStore::new(dir.path().join("store")));
        let large = vec![7_u8; 3 * PIECE + 11];
        let files: [(&str, &[u8]); 4] = [
            ("backup_label", b"START\n"),
            ("backup_manifest", b"{}"),
            ("PG_VERSION", b"18\n"),
            ("base/1/2", &large),
        ];
        std::fs::create_dir_all(data.join("base/1")).unwrap();
        std::fs::create_dir_all(data.join("pg_notify")).unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(data.join(name), bytes).unwrap());
        let ctx = Arc::new(TestHost::new(dir.path())).ctx(None);
        let stored = packed(&ctx, &store, &data, "a/base.tar", None).await.unwrap();
        let bytes = std::fs::read(dir.path().join("store/a/base.tar")).unwrap();
        assert_eq!(stored.size, bytes.len() as u64);
        let mut read = tar::Archive::new(bytes.as_slice());
        let names: Vec<String> =
            read.entries().unwrap().map(|one| one.unwrap().path().unwrap().display().to_string()).collect();
        let names: Vec<&str> = names.iter().map(|name| name.trim_end_matches('/')).collect();
        assert_eq!(
            names,
            ["backup_label", "PG_VERSION", "base", "base/1", "base/1/2", "pg_notify", "backup_manifest"]
        );
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let found = contents(&store, "a/base.tar", Some(&out), |_| {}).await.unwrap();
        assert_eq!((found.files, found.sha256), (4, stored.sha256));
        files
            .iter()
            .for_each(|(name, bytes)| assert_eq!(std::fs::read(out.join(name)).unwrap(), *bytes, "{name}"));
        assert!(out.join("pg_notify").is_dir());
        let small = packed(&ctx, &store, &data, "a/base.tar.gz", Some(9)).await.unwrap();
        assert!(small.size * 10 < stored.size, "{} of {}", small.size, stored.size);
        let again = contents(&store, "a/base.tar.gz", None, |_| {}).await.unwrap();
        assert_eq!((again.files, again.bytes, again.sha256), (4, found.bytes, small.sha256));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_cannot_be_packed_is_not_stored() {
        let dir = tempfile::tempdir().unwrap();
        let (data, store) = (dir.path().join("data"), FolderStore::new(dir.path().join("store")));
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink("/etc", data.join("elsewhere")).unwrap();
        let ctx = Arc::new(TestHost::new(dir.path())).ctx(None);
        let error = packed(&ctx, &store, &data, "a/base.tar", None).await.unwrap_err();
        assert_eq!(error.code, "postgres.unpack");
        assert!(error.message.ends_with("`elsewhere` is neither a file nor a folder"), "{error}");
        assert_eq!(store.list("").await.unwrap(), []);
    }
}
