//! What lies in a base backup's tar, compressed or not: [`Contents`], read back from the store to its end, and unpacked where it is wanted.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use drydock_step::{ArtifactStore, StepError};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::base_compress::Decoded;
use crate::rehash::hex;

/// The most of a small file that is kept, in bytes: a `backup_manifest` has about 150 for each file of the cluster.
const LARGEST: u64 = 1024 * 1024 * 1024;

/// What a base backup's tar has.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Contents {
    /// `backup_manifest`.
    pub(super) manifest: Option<Vec<u8>>,
    /// `backup_label`.
    pub(super) label: Option<Vec<u8>>,
    /// How many files.
    pub(super) files: u64,
    /// Their length in bytes.
    pub(super) bytes: u64,
    /// The length of the tar itself, as it is stored.
    pub(super) size: u64,
    /// The SHA-256 of the tar, as it is stored.
    pub(super) sha256: String,
    /// The names of the WAL segments in it.
    pub(super) wal: BTreeSet<String>,
}

/// Reads a tar from the store to its end, hashing it; with `into` its files are written there as well.
///
/// # Errors
/// `postgres.base` when it is no whole tar, `postgres.unpack` when the files cannot be written, or what the store says.
pub(super) async fn contents(
    store: &dyn ArtifactStore,
    path: &str,
    into: Option<&Path>,
    seen: impl Fn(u64) + Send + 'static,
) -> Result<Contents, StepError> {
    let pieces = store.open(path, 0).await?;
    let reader = Box::pin(StreamReader::new(pieces.map_err(io::Error::other)));
    let (into, named) = (into.map(Path::to_owned), path.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let hashed = Hashed { inner: SyncIoBridge::new(reader), hash: Sha256::new(), size: 0, seen };
        read_to_end(Decoded::of(&named, hashed).map_err(Failed::Tar)?, into.as_deref())
    });
    match read.await.map_err(|error| StepError::internal(error.to_string()))? {
        Ok(contents) => Ok(contents),
        Err(Failed::Tar(error)) => {
            let message = format!("{path} is no whole base backup: {error}");
            Err(StepError::new("postgres.base", message).help(
                "nothing can be restored from it; take a new base backup, and find out what has damaged this one",
            ))
        }
        Err(Failed::Write(path, error)) => {
            let message = format!("{} cannot be written: {error}", path.display());
            Err(StepError::new("postgres.unpack", message).help(match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space, or unpack elsewhere, then resume"
                }
                _ => "the runner must be allowed to write in that folder",
            }))
        }
    }
}

enum Failed {
    Tar(io::Error),
    Write(PathBuf, io::Error),
}

/// Hashes what is read through it.
struct Hashed<R, F> {
    inner: R,
    hash: Sha256,
    size: u64,
    seen: F,
}

impl<R: Read, F: Fn(u64)> Read for Hashed<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..length).unwrap_or_default());
        self.size += length as u64;
        (self.seen)(length as u64);
        Ok(length)
    }
}

fn read_to_end<R: Read, F: Fn(u64)>(
    reader: Decoded<Hashed<R, F>>,
    into: Option<&Path>,
) -> Result<Contents, Failed> {
    let mut found = Contents::default();
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_permissions(true);
    for entry in archive.entries().map_err(Failed::Tar)? {
        let mut entry = entry.map_err(Failed::Tar)?;
        let path = entry.path().map_err(Failed::Tar)?.into_owned();
        let name = path.to_str().map(|name| name.trim_start_matches("./").to_owned()).unwrap_or_default();
        if entry.header().entry_type().is_file() {
            found.files += 1;
            found.bytes += entry.size();
        }
        if let Some(segment) = name.strip_prefix("pg_wal/").filter(|name| is_segment(name)) {
            found.wal.insert(segment.to_owned());
        }
        let kept = match name.as_str() {
            "backup_manifest" => Some(&mut found.manifest),
            "backup_label" => Some(&mut found.label),
            _ => None,
        };
        let Some(kept) = kept else {
            match into {
                // It refuses names that lead out of the folder.
                Some(folder) => match entry.unpack_in(folder) {
                    Ok(true) => {}
                    Ok(false) => {
                        return Err(Failed::Tar(io::Error::other(format!(
                            "`{name}` leads out of its folder"
                        ))));
                    }
                    Err(error) if is_of_the_tar(&error) => return Err(Failed::Tar(error)),
                    Err(error) => return Err(Failed::Write(folder.join(&path), error)),
                },
                None => {
                    io::copy(&mut entry, &mut io::sink()).map_err(Failed::Tar)?;
                }
            }
            continue;
        };
        let mut bytes = Vec::new();
        (&mut entry).take(LARGEST).read_to_end(&mut bytes).map_err(Failed::Tar)?;
        if bytes.len() as u64 != entry.size() {
            return Err(Failed::Tar(io::Error::other(format!("`{name}` is cut short"))));
        }
        if let Some(folder) = into {
            let path = folder.join(&name);
            std::fs::write(&path, &bytes).map_err(|error| Failed::Write(path, error))?;
        }
        *kept = Some(bytes);
    }
    // What follows the tar's end is a part of the artifact as well.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(Failed::Tar)?;
    let mut rest = rest.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(Failed::Tar)?;
    found.size = rest.size;
    found.sha256 = hex(&rest.hash.finalize());
    Ok(found)
}

/// Whether a file could not be unpacked because of what the tar is, rather than where it goes.
fn is_of_the_tar(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::Other)
}

/// Whether this is the name of a whole WAL segment.
fn is_segment(name: &str) -> bool {
    name.len() == 24 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use drydock_step::artifact::stream_of;

    use super::*;
    use crate::artifact::folder::FolderStore;

    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut made = tar::Builder::new(Vec::new());
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            made.append_data(&mut header, name, *bytes).unwrap();
        }
        made.into_inner().unwrap()
    }

    async fn read(bytes: Vec<u8>, unpack: bool) -> (Result<Contents, StepError>, tempfile::TempDir) {
        read_named("base.tar", bytes, unpack).await
    }

    async fn read_named(
        name: &str,
        bytes: Vec<u8>,
        unpack: bool,
    ) -> (Result<Contents, StepError>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path().join("store"));
        store.put(name, stream_of(bytes)).await.unwrap();
        let into = dir.path().join("data");
        std::fs::create_dir(&into).unwrap();
        let found = contents(&store, name, unpack.then_some(into.as_path()), |_| {}).await;
        (found, dir)
    }

    #[tokio::test]
    async fn what_lies_in_it_is_told_and_unpacked() {
        let files: [(&str, &[u8]); 4] = [
            ("PG_VERSION", b"18\n"),
            ("pg_wal/000000010000000000000002", b"wal"),
            ("backup_label", b"START\n"),
            ("backup_manifest", b"{}"),
        ];
        let bytes = tar_of(&files);
        let (found, dir) = read(bytes.clone(), true).await;
        let found = found.unwrap();
        assert_eq!((found.files, found.bytes, found.size), (4, 14, bytes.len() as u64));
        assert_eq!(found.sha256, hex(&Sha256::digest(&bytes)));
        assert_eq!(
            (found.manifest.as_deref(), found.label.as_deref()),
            (Some(&b"{}"[..]), Some(&b"START\n"[..]))
        );
        assert_eq!(found.wal.into_iter().collect::<Vec<_>>(), ["000000010000000000000002"]);
        for (name, bytes) in files {
            assert_eq!(std::fs::read(dir.path().join("data").join(name)).unwrap(), bytes, "{name}");
        }
        assert_eq!(read(tar_of(&files), false).await.0.unwrap().files, 4);
    }

    #[tokio::test]
    async fn a_compressed_tar_is_read_as_the_tar_in_it_and_hashed_as_it_is_stored() {
        use std::io::Write;
        let plain =
            tar_of(&[("PG_VERSION", b"18\n"), ("base/1/2", &[7; 90_000]), ("backup_manifest", b"{}")]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        gzip.write_all(&plain).unwrap();
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        lz4.write_all(&plain).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(
            plain.as_slice(),
            ruzstd::encoding::CompressionLevel::Uncompressed,
        );
        // The four bytes that end an lz4 are not asked for; the SHA-256 misses them.
        for (name, end, bytes) in [
            ("base.tar.gz", 0, gzip.finish().unwrap()),
            ("base.tar.lz4", 4, lz4.finish().unwrap()),
            ("base.tar.zst", 0, zstd),
        ] {
            let (found, dir) = read_named(name, bytes.clone(), true).await;
            let found = found.unwrap();
            assert_eq!((found.files, found.bytes, found.size), (3, 90_005, bytes.len() as u64), "{name}");
            assert_eq!(found.sha256, hex(&Sha256::digest(&bytes)), "{name}");
            assert_eq!(std::fs::read(dir.path().join("data/base/1/2")).unwrap(), [7; 90_000], "{name}");
            // Also where nothing but what ends the compression is missing.
            for cut in [bytes.len() / 2, bytes.len() - end - 2] {
                let (found, _dir) = read_named(name, bytes[..cut].to_vec(), true).await;
                assert_eq!(found.unwrap_err().code, "postgres.base", "{name} cut at {cut}");
            }
            let (found, _dir) = read_named(name, plain.clone(), false).await;
            assert_eq!(found.unwrap_err().code, "postgres.base", "{name} that is none");
        }
    }

    #[tokio::test]
    async fn what_is_no_whole_tar_is_refused() {
        let whole = tar_of(&[("PG_VERSION", b"18\n"), ("base/1/2", &[7; 9000])]);
        for cut in [700, 2000, 5000] {
            let (found, _dir) = read(whole[..cut].to_vec(), true).await;
            let error = found.unwrap_err();
            assert_eq!(error.code, "postgres.base", "{cut}: {error}");
            assert!(error.message.starts_with("base.tar is no whole base backup: "), "{error}");
        }
    }
}
