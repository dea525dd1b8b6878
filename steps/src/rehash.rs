//! What an artifact is now: [`rehashed`] reads one back to its end and hashes it, in constant memory.
//!
//! What is encrypted, and whose identity is not at hand, is hashed as it lies: it is what was put when it is what was written down
//! beside it. So a runner that can only encrypt still proves what it stored, and only who can decrypt proves that it can be used.

use drydock_recovery::manifest::Artifact;
use drydock_step::{ArtifactStore, ByteStream, PreflightFinding, Sealed, StepError, Stored};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

/// The artifact as its bytes are now. `seen` hears the length of every piece that was read.
///
/// # Errors
/// `artifact.absent` when there is none, `artifact.damaged` when what lies there encrypted is not what was stored, or what the store says.
pub async fn rehashed(
    store: &dyn ArtifactStore,
    path: &str,
    mut seen: impl FnMut(u64) + Send,
) -> Result<Stored, StepError> {
    match store.sealed(path).await? {
        Some(sealed) => as_it_lies(sealed, &mut seen).await,
        None => {
            let (size, sha256) = hashed(store.open(path, 0).await?, &mut seen).await?;
            Ok(Stored { path: path.to_owned(), size, sha256 })
        }
    }
}

/// Why an artifact cannot be read although it is there: it is encrypted, and no identity at hand opens it.
///
/// # Errors
/// What the store says, where that may pass by itself.
pub async fn closed(store: &dyn ArtifactStore, path: &str) -> Result<Option<StepError>, StepError> {
    match store.open(path, 0).await {
        Err(error) if error.code == "artifact.encrypted" => Ok(Some(error)),
        Err(error) if error.transient => Err(error),
        // That it is not there is said by whoever looks for it.
        Ok(_) | Err(_) => Ok(None),
    }
}

/// The artifacts that are not what they were when they were stored, as a look ahead finds them. One that is not there, or has another
/// length, is found without reading it.
///
/// # Errors
/// What the store says, where that may pass by itself.
pub async fn changed(
    store: &dyn ArtifactStore,
    artifacts: impl IntoIterator<Item = &Artifact> + Send,
) -> Result<Vec<PreflightFinding>, StepError> {
    let mut found = Vec::new();
    let artifacts: Vec<&Artifact> = artifacts.into_iter().collect();
    for artifact in artifacts {
        let (path, expected) = (&artifact.path, &artifact.sha256);
        let (code, message) = match rehashed(store, path, |_| {}).await {
            Ok(read) if read.size != artifact.size || read.sha256.eq_ignore_ascii_case(expected) => continue,
            Ok(read) => (
                "artifact.damaged".to_owned(),
                format!("{path} has sha256 {}, expected {expected}", read.sha256),
            ),
            Err(error) if error.code == "artifact.absent" => continue,
            Err(error) if error.transient => return Err(error),
            Err(error) => (error.code, error.message),
        };
        let help =
            "something has changed it since it was stored: bring back a copy of it, or choose another point";
        found.push(PreflightFinding { code, fatal: true, message, help: Some(help.to_owned()) });
    }
    Ok(found)
}

async fn as_it_lies(sealed: Sealed, seen: &mut (impl FnMut(u64) + Send)) -> Result<Stored, StepError> {
    let Sealed { content, lies, bytes } = sealed;
    let (size, sha256) = hashed(bytes, seen).await?;
    if size == lies.size && sha256.eq_ignore_ascii_case(&lies.sha256) {
        return Ok(content);
    }
    let message = format!(
        "{}: what lies there, {}, has {size} bytes and sha256 {sha256}, stored were {} and {}",
        content.path, lies.path, lies.size, lies.sha256
    );
    Err(StepError::new("artifact.damaged", message))
}

/// The length and the hash of a stream.
async fn hashed(
    mut pieces: ByteStream,
    seen: &mut (impl FnMut(u64) + Send),
) -> Result<(u64, String), StepError> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        hash.update(&piece);
        let length = piece.len() as u64;
        size += length;
        seen(length);
    }
    Ok((size, hex(&hash.finalize())))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn digits_are_lower_case_and_two_a_byte() {
        assert_eq!(hex(&[0, 0x0a, 0xff]), "000aff");
    }
}
