//! The file that a sample of searches lies in, format `drydock.sample` version 1: [`SampleFile`]. Searches of a Qdrant collection
//! and of a PostgreSQL table lie in the same.

use drydock_recovery::Time;
use drydock_recovery::manifest::Artifact;
use drydock_step::artifact::bytes_of;
use drydock_step::{ArtifactStore, StepError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::rehash::hex;

/// The format's name.
pub const FORMAT: &str = "drydock.sample";

/// The newest version of it; it rises only when an older reader would be wrong.
pub const VERSION: u32 = 1;

/// The longest file, in bytes.
pub const LARGEST: usize = 64 * 1024 * 1024;

/// A point that was near, and how near.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its id.
    pub id: Value,
    /// How near it is, by the measure of the store.
    pub score: f64,
}

/// One search: by the vector of one point, past every index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampledQuery {
    /// The point whose vector it is.
    pub point: Value,
    /// The vector, so that the same can be asked when the point is gone; as the server stores it, normalised where it does that.
    pub vector: Value,
    /// The nearest of all points, best first: one more than `k`, since the point itself is among them as a rule.
    pub neighbours: Vec<Neighbour>,
    /// How many of the nearest `k` others the index found then.
    pub found: u64,
    /// Of how many.
    pub of: u64,
}

/// What stands before the searches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// [`FORMAT`].
    pub format: String,
    /// At most [`VERSION`].
    pub version: u32,
    /// The attempt that sampled, `run/step[key]/n`.
    pub attempt: String,
    /// The collection's real name, or the table's.
    pub collection: String,
    /// The vector's name, where it has one, or the column's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using: Option<String>,
    /// When it was begun, by the runner's clock.
    pub sampled_at: Time,
    /// How many points the collection had.
    pub points: u64,
    /// How many others are looked for around each point.
    pub k: u64,
    /// How the distance is measured, where the search itself has to say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The column that tells points apart, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A whole file, read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SampleFile {
    /// What stands before the searches.
    #[serde(flatten)]
    pub head: Head,
    /// The searches.
    pub queries: Vec<SampledQuery>,
}

impl Head {
    /// The beginning of a file, up to its first search.
    pub fn text(&self) -> Result<String, StepError> {
        let whole = serde_json::to_string(self).map_err(|error| StepError::internal(error.to_string()))?;
        // The searches follow as the last field of the same object.
        Ok(format!("{},\"queries\":[", whole.trim_end_matches('}')))
    }
}

/// The end of a file, after its last search.
pub const END: &str = "\n]}\n";

impl SampleFile {
    /// The file that a text is.
    ///
    /// # Errors
    /// Why it is none that can be read, in words.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Which {
            format: String,
            version: u32,
        }
        let which: Which = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if which.format != FORMAT {
            return Err(format!("it is a {:?}", which.format));
        }
        if which.version > VERSION {
            return Err(format!(
                "it has version {}, and this Drydock reads versions up to {VERSION}",
                which.version
            ));
        }
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// The sample as it lies in a store, with its place and content; nothing where there is no file, or another.
    ///
    /// # Errors
    /// What the store says.
    pub async fn stored(
        store: &dyn ArtifactStore,
        path: &str,
    ) -> Result<Option<(Self, Artifact)>, StepError> {
        let text = match bytes(store, path).await {
            Err(error) if matches!(error.code.as_str(), "artifact.absent" | "artifact.large") => {
                return Ok(None);
            }
            text => text?,
        };
        Ok(Self::parse(&text).ok().map(|file| (file, artifact(path, &text))))
    }

    /// How many points were searched around, and the share of the true neighbours that the index found then.
    pub fn found(&self) -> (u64, f64) {
        let sum = |of: fn(&SampledQuery) -> u64| self.queries.iter().map(of).sum();
        (self.queries.len() as u64, share(sum(|query| query.found), sum(|query| query.of)))
    }
}

/// The bytes of a file that may be a sample.
///
/// # Errors
/// `artifact.absent`, `artifact.large`, and what the store says.
pub async fn bytes(store: &dyn ArtifactStore, path: &str) -> Result<Vec<u8>, StepError> {
    bytes_of(store.open(path, 0).await?, LARGEST).await
}

/// These bytes as they lie at a path.
pub fn artifact(path: &str, bytes: &[u8]) -> Artifact {
    Artifact { path: path.to_owned(), size: bytes.len() as u64, sha256: hex(&Sha256::digest(bytes)) }
}

/// A part of a whole, to four digits and never rounded up: what falls short of a bound shows that it does.
pub fn share(found: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { (found as f64 / of as f64 * 10_000.0).floor() / 10_000.0 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn head() -> Head {
        Head {
            format: FORMAT.into(),
            version: VERSION,
            attempt: "r1/sample/1".into(),
            collection: "a}".into(),
            using: None,
            sampled_at: Time::UNIX_EPOCH,
            points: 3,
            k: 2,
            metric: None,
            key: None,
        }
    }

    #[test]
    fn what_is_written_piece_by_piece_is_one_document() {
        let query = SampledQuery {
            point: json!(7),
            vector: json!([0.5, 1.0]),
            neighbours: vec![Neighbour { id: json!(7), score: 1.25 }],
            found: 1,
            of: 2,
        };
        let line = serde_json::to_string(&query).unwrap();
        for queries in [vec![], vec![query.clone()], vec![query.clone(), query]] {
            let lines = vec![format!("\n{line}"); queries.len()].join(",");
            let text = head().text().unwrap() + &lines + END;
            let read = SampleFile::parse(text.as_bytes()).unwrap();
            assert_eq!(read, SampleFile { head: head(), queries });
        }
    }

    #[test]
    fn another_format_or_a_newer_version_is_refused() {
        let check = |text: &str, words: &str| {
            let why = SampleFile::parse(text.as_bytes()).unwrap_err();
            assert!(why.contains(words), "{why}");
        };
        check(r#"{"format":"drydock.point","version":1}"#, "it is a \"drydock.point\"");
        check(r#"{"format":"drydock.sample","version":2}"#, "it has version 2");
        check(r#"{"format":"drydock.sample","version":1}"#, "missing field");
        check("no", "expected");
    }

    #[test]
    fn shares_are_never_rounded_up() {
        assert_eq!([share(0, 0), share(1, 2), share(19_999, 20_000), share(0, 3)], [1.0, 0.5, 0.9999, 0.0]);
    }
}
