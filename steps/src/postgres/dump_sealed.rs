//! What lies beside each dump and says what it is: `backup.json`, put last ([`sealed`]), from which a load knows the dump by the store
//! alone ([`read`]). A dump without it was not finished.

use bytes::Bytes;
use drydock_step::artifact::bytes_of;
use drydock_step::{ArtifactStore, StepError};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::dump_entry::DumpEntry;
use crate::rehash::hex;

/// Its name.
pub(super) const NAME: &str = "backup.json";

/// The most bytes that are read of one.
const MOST: usize = 16 << 20;

/// How many dumps are named where another one was asked for.
const TOLD: usize = 5;

/// What one is called, with the version of its form: the dump's entry, and two keys about itself.
const FORM: &str = "postgres.dump v1";
/// The key of its form.
const FORM_KEY: &str = "drydock";
/// The key of the hash over all the rest.
const HASH_KEY: &str = "sha256";

/// Where it lies, of the dump in this folder of the store.
pub(super) fn path_in(folder: &str) -> String {
    format!("{folder}/{NAME}")
}

/// Says in the store what the dump is. From then on it counts.
///
/// # Errors
/// `artifact.exists`, or what the store says.
pub(super) async fn sealed(store: &dyn ArtifactStore, entry: &DumpEntry) -> Result<(), StepError> {
    store.put_new(&place_of(entry)?, Bytes::from(text(entry)?)).await.map(drop)
}

/// The same where an attempt that was lost may have done it.
///
/// # Errors
/// What the store says.
pub(super) async fn finished(store: &dyn ArtifactStore, entry: &DumpEntry) -> Result<(), StepError> {
    match store.size(&place_of(entry)?).await? {
        Some(_) => Ok(()),
        None => sealed(store, entry).await,
    }
}

fn place_of(entry: &DumpEntry) -> Result<String, StepError> {
    entry.folder().map(path_in).ok_or_else(|| StepError::internal("a dump lies in no folder of the store"))
}

fn text(entry: &DumpEntry) -> Result<String, StepError> {
    let mut said = Map::from_iter([(FORM_KEY.to_owned(), json!(FORM))]);
    if let Value::Object(fields) = json!(entry) {
        said.extend(fields);
    }
    let hash = hash_of(&said);
    said.insert(HASH_KEY.into(), json!(hash));
    let text = serde_json::to_string_pretty(&said);
    text.map_err(|error| StepError::internal(format!("a dump's entry is no JSON: {error}")))
}

/// The hash over what it says, whatever spaces are between.
fn hash_of(said: &Map<String, Value>) -> String {
    hex(&Sha256::digest(Value::Object(said.clone()).to_string()))
}

/// The dump that lies at this place of the store: its folder, or the file in it.
///
/// # Errors
/// `postgres.dump_unfinished` where there is none or one without an end, `postgres.dump_entry` where what is said of it is not what a dump
/// has said, or what the store says.
pub(super) async fn read(store: &dyn ArtifactStore, place: &str) -> Result<DumpEntry, StepError> {
    let folder = place.strip_suffix(&format!("/{NAME}")).unwrap_or(place).trim_end_matches('/');
    let path = path_in(folder);
    let bytes = match store.open(&path, 0).await {
        Ok(stream) => bytes_of(stream, MOST).await,
        Err(error) if error.code == "artifact.absent" => return Err(absent(store, folder).await?),
        Err(error) => Err(error),
    };
    let bytes = bytes.map_err(|error| match error.code.as_str() {
        "artifact.large" => refused(format!("{path} is no entry of a dump: {}", error.message)),
        _ => error,
    })?;
    understood(&path, folder, &bytes)
}

fn refused(message: String) -> StepError {
    StepError::new("postgres.dump_entry", message).help(
        "name the folder that postgres.dump has filled; what was changed or copied there counts as no dump",
    )
}

fn understood(path: &str, folder: &str, bytes: &[u8]) -> Result<DumpEntry, StepError> {
    let mut said: Map<String, Value> = serde_json::from_slice(bytes)
        .map_err(|error| refused(format!("{path} is no entry of a dump: {error}")))?;
    match said.get(FORM_KEY).and_then(Value::as_str) {
        Some(FORM) => {}
        Some(other) if other.starts_with("postgres.dump ") => {
            return Err(refused(format!("{path} is of the form `{other}`, and this Drydock reads `{FORM}`"))
                .help("load it with the version of Drydock that dumped it, or a later one"));
        }
        _ => return Err(refused(format!("{path} is no entry of a dump: its `{FORM_KEY}` is not `{FORM}`"))),
    }
    let hash = said.shift_remove(HASH_KEY);
    let found = hash_of(&said);
    if hash.as_ref().and_then(Value::as_str) != Some(found.as_str()) {
        let message =
            format!("{path} was changed after it was written: its sha256 is not that of what it says");
        return Err(refused(message));
    }
    let entry = DumpEntry::deserialize(Value::Object(said))
        .map_err(|error| refused(format!("{path} is no entry of a dump: {error}")))?;
    let mut files = entry.artifacts.iter().chain(&entry.globals);
    if let Some(strange) = files.find(|file| !file.path.starts_with(&format!("{folder}/"))) {
        let message = format!("{path} is of a dump that lies elsewhere: it names {}", strange.path);
        return Err(refused(message));
    }
    Ok(entry)
}

/// That there is no dump, with those that are near.
async fn absent(store: &dyn ArtifactStore, folder: &str) -> Result<StepError, StepError> {
    let files = store.list(folder).await?;
    let end = format!("/{NAME}");
    let near: Vec<&str> = files.iter().filter_map(|file| file.path.strip_suffix(end.as_str())).collect();
    if !near.is_empty() {
        let more = near.len().saturating_sub(TOLD);
        let told = near.iter().rev().take(TOLD).copied().collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!("there is no dump in {folder} itself, but below it: {told}{more}");
        return Ok(StepError::new("postgres.dump_unfinished", message).help("name the folder of one dump"));
    }
    Ok(match files.len() {
        0 => StepError::new("postgres.dump_unfinished", format!("there is no dump in {folder}"))
            .help("is it the right store, and the path of the dump's own folder? `prefix` and `label` of postgres.dump make it"),
        some => StepError::new(
            "postgres.dump_unfinished",
            format!("the dump in {folder} was not finished: {some} files lie there, and no {NAME}, which is written last"),
        )
        .help("load another dump; this one is removed when its step is resumed or its run abandoned"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> DumpEntry {
        let entry = json!({
            "label": "one", "database": "octopus", "format": "custom", "server_version": "18.6", "server_major": 18,
            "tool": { "path": "/usr/bin/pg_dump", "version": "pg_dump (PostgreSQL) 18.6" }, "tool_major": 18,
            "snapshot": { "at": "2026-11-22T06:19:33.66Z", "lsn": "0/8348C48" },
            "made": { "encoding": "UTF8", "collate": "C", "ctype": "C" },
            "extensions": [], "vectors": [], "bytes": 3, "proved": true,
            "artifacts": [{ "path": "pg/one/database.dump", "size": 3, "sha256": "00" }],
        });
        serde_json::from_value(entry).unwrap()
    }

    /// As version 1 was first written: it must be read for ever.
    const FIRST: &str = include_str!("dump_sealed_v1.json");

    #[test]
    fn what_was_written_is_read_also_when_spaces_differ() {
        let text = text(&entry()).unwrap();
        assert_eq!(text, FIRST.trim_end());
        let narrow = serde_json::from_str::<Value>(FIRST).unwrap().to_string();
        for text in [&text, &narrow] {
            assert_eq!(understood("pg/one/backup.json", "pg/one", text.as_bytes()).unwrap(), entry());
        }
    }

    #[test]
    fn what_is_not_what_was_written_is_refused() {
        let text = text(&entry()).unwrap();
        let with = |from: &str, to: &str| {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            text.replace(from, to)
        };
        let unsealed = |of: &str| {
            let mut said: Map<String, Value> = serde_json::from_str(&text).unwrap();
            said.shift_remove("sha256");
            said.shift_remove(of);
            let hash = hash_of(&said);
            said.insert("sha256".into(), json!(hash));
            Value::Object(said).to_string()
        };
        for (folder, text, words) in [
            ("pg/one", with("octopus", "squid"), "pg/one/backup.json was changed after it was written"),
            (
                "pg/one",
                with("dump v1", "dump v2"),
                "of the form `postgres.dump v2`, and this Drydock reads `postgres.dump v1`",
            ),
            ("pg/one", unsealed("made"), "is no entry of a dump: missing field `made`"),
            ("pg/one", unsealed("drydock"), "its `drydock` is not `postgres.dump v1`"),
            ("pg/one", text[..40].to_owned(), "is no entry of a dump: EOF"),
            ("pg/one", "[]".into(), "is no entry of a dump: "),
            (
                "pg/two",
                text.clone(),
                "pg/two/backup.json is of a dump that lies elsewhere: it names pg/one/database.dump",
            ),
        ] {
            let error = understood(&path_in(folder), folder, text.as_bytes()).unwrap_err();
            assert!(error.code == "postgres.dump_entry" && error.message.contains(words), "{error}");
        }
    }
}
