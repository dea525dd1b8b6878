//! What is written down beside an encrypted artifact, and the names of both: [`AgeSum`].

use drydock_step::{StepError, Stored};
use serde::{Deserialize, Serialize};

/// How the name of a sum ends.
const SUM: &str = ".age-sum";

/// How the name of an encrypted file ends.
const DATA: &str = ".age";

/// An artifact in both its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgeSum {
    /// As it was put.
    pub(super) content: Stored,
    /// As it lies there, under a name of its own.
    pub(super) lies: Stored,
}

/// The same as it is written; version 1.
#[derive(Serialize, Deserialize)]
struct Written {
    drydock_age_sum: u32,
    /// The name of the file, beside the sum.
    file: String,
    size: u64,
    sha256: String,
    file_size: u64,
    file_sha256: String,
}

impl AgeSum {
    pub(super) fn text(&self) -> String {
        let written = Written {
            drydock_age_sum: 1,
            file: self.lies.path.rsplit('/').next().unwrap_or_default().to_owned(),
            size: self.content.size,
            sha256: self.content.sha256.clone(),
            file_size: self.lies.size,
            file_sha256: self.lies.sha256.clone(),
        };
        // A struct of numbers and texts is always JSON.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// # Errors
    /// `artifact.damaged` when it is no sum.
    pub(super) fn parse(path: &str, bytes: &[u8]) -> Result<Self, StepError> {
        let damaged = |why: &str| StepError::new("artifact.damaged", format!("{} {why}", sum_path(path)));
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| damaged(&format!("is no sum: {error}")))?;
        if written.drydock_age_sum != 1 {
            return Err(damaged("was written by a newer Drydock"));
        }
        let at = match path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{}", written.file),
            None => written.file,
        };
        if data_of(&at).is_none_or(|(of, _)| of != path) {
            return Err(damaged("names a file that is not this artifact's"));
        }
        let content = Stored { path: path.to_owned(), size: written.size, sha256: written.sha256 };
        Ok(Self { content, lies: Stored { path: at, size: written.file_size, sha256: written.file_sha256 } })
    }
}

/// Where an artifact's sum is.
pub(super) fn sum_path(path: &str) -> String {
    format!("{path}{SUM}")
}

/// Whose sum this is.
pub(super) fn sum_of(path: &str) -> Option<&str> {
    path.strip_suffix(SUM)
}

/// Where what is encrypted lies.
pub(super) fn data_path(path: &str, header_length: u64, id: &str) -> String {
    format!("{path}.{header_length}-{id}{DATA}")
}

/// Whose encrypted file this is, and how long its header.
pub(super) fn data_of(path: &str) -> Option<(&str, u64)> {
    let (of, tag) = path.strip_suffix(DATA)?.rsplit_once('.')?;
    let (length, id) = tag.split_once('-')?;
    let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some((of, length.parse().ok()?)).filter(|_| is_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(path: &str, size: u64) -> Stored {
        Stored { path: path.into(), size, sha256: format!("{size:064x}") }
    }

    #[test]
    fn a_sum_names_its_file_and_both_forms() {
        let at = data_path("a/b", 200, "0123456789abcdef");
        assert_eq!((at.as_str(), data_of(&at)), ("a/b.200-0123456789abcdef.age", Some(("a/b", 200))));
        let sum = AgeSum { content: stored("a/b", 5), lies: stored(&at, 237) };
        assert_eq!(AgeSum::parse("a/b", sum.text().as_bytes()), Ok(sum.clone()));
        let check = |path: &str, text: &str, words: &str| {
            let error = AgeSum::parse(path, text.as_bytes()).unwrap_err();
            assert_eq!(error.code, "artifact.damaged");
            assert!(error.message.contains(words), "{error}");
        };
        check("a/c", &sum.text(), "a/c.age-sum names a file that is not this artifact's");
        check("a/b", "{}", "is no sum");
        check("a/b", &sum.text().replace(":1,", ":2,"), "was written by a newer Drydock");
    }

    #[test]
    fn version_1_is_written_and_read_as_ever() {
        let golden = include_str!("../../../tests/formats/age_sum-v1.json");
        let lies = stored(&data_path("a/b", 200, "0123456789abcdef"), 237);
        let sum = AgeSum { content: stored("a/b", 5), lies };
        assert_eq!(sum.text(), golden);
        assert_eq!(AgeSum::parse("a/b", golden.as_bytes()), Ok(sum));
    }

    #[test]
    fn other_names_are_not_taken_for_encrypted_files() {
        for path in ["a.age", "a.5-x.age", "a.x-0123456789abcdef.age", "a.5-0123456789abcdef"] {
            assert_eq!(data_of(path), None, "{path}");
        }
    }
}
