//! `backup.json`, which lies beside a base backup in the store and says what it is: [`text_of`], [`read`]. It is written last, so that a
//! base backup without it is unfinished; and its last line is the SHA-256 of all that stands before, so that nobody restores what was
//! edited.

use drydock_recovery::sealed;
use drydock_step::artifact::bytes_of;
use drydock_step::{ArtifactStore, StepError};
use serde::{Deserialize, Serialize};

use super::base_entry::BaseEntry;

/// Its name.
pub(super) const RECORD: &str = "backup.json";

/// Its format.
const FORMAT: &str = "drydock.base_backup";

/// The newest version of it.
const VERSION: u32 = 1;

/// The most that is read of one, in bytes.
const LARGEST: usize = 1024 * 1024;

/// What every version begins with.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

/// As it is written.
#[derive(Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u32,
    #[serde(flatten)]
    entry: &'a BaseEntry,
}

/// The path of the one in a folder.
pub(super) fn path_in(folder: &str) -> String {
    format!("{folder}/{RECORD}")
}

/// The text of one.
///
/// # Errors
/// `internal`, when it is no JSON.
pub(super) fn text_of(entry: &BaseEntry) -> Result<String, StepError> {
    let written = Written { format: FORMAT, version: VERSION, entry };
    sealed::text_of(&written, None).map_err(|e| StepError::internal(e.to_string()))
}

/// The base backup that lies in a folder of the store, by its `backup.json`.
///
/// # Errors
/// `artifact.absent` when nothing lies there, `postgres.base` when it is unfinished, `postgres.base_record` when its `backup.json` cannot be
/// believed, or what the store says.
pub(super) async fn read(store: &dyn ArtifactStore, folder: &str) -> Result<BaseEntry, StepError> {
    let path = path_in(folder);
    if store.size(&path).await?.is_none() {
        return Err(if store.list(folder).await?.is_empty() {
            StepError::new("artifact.absent", format!("there is no base backup in {folder}"))
                .help("name the folder of one backup in the store: its `prefix`, `/`, and its `label`")
        } else {
            let message = format!("the base backup in {folder} is unfinished: it has no {RECORD}");
            StepError::new("postgres.base", message)
                .help("take another one; or resume the run that was at it")
        });
    }
    let text = bytes_of(store.open(&path, 0).await?, LARGEST).await?;
    parsed(&text, folder)
}

/// The same of the text of a `backup.json`.
fn parsed(text: &[u8], folder: &str) -> Result<BaseEntry, StepError> {
    let path = path_in(folder);
    let refused = |why: String, help: &str| {
        Err(StepError::new("postgres.base_record", format!("{path} {why}")).help(help))
    };
    let no_record = |why: String| {
        refused(
            format!("cannot be read as what tells of a base backup: {why}"),
            "bring it back as it was written; or name the backup by the outputs of the step that took it",
        )
    };
    let head: Head = match serde_json::from_slice(text) {
        Ok(head) => head,
        Err(error) => return no_record(error.to_string()),
    };
    if head.format != FORMAT {
        return refused(
            format!("is of the format {:?}, not {FORMAT:?}", head.format),
            "name the folder of a base backup: its `prefix`, `/`, and its `label`",
        );
    }
    if head.version > VERSION {
        let why = format!("has version {}; this Drydock reads versions up to {VERSION}", head.version);
        return refused(why, "read it with a newer Drydock");
    }
    let text = String::from_utf8_lossy(text);
    if sealed::parts(&text).is_err() {
        return refused(
            "was changed after it was written: it is not what its `sha256` says".into(),
            "bring it back as it was; or name the backup by the outputs of the step that took it",
        );
    }
    let entry: BaseEntry = match serde_json::from_str(&text) {
        Ok(entry) => entry,
        Err(error) => return no_record(error.to_string()),
    };
    let lies_here = |path: &str| path.rsplit_once('/').is_some_and(|(there, _)| there == folder);
    if !lies_here(&entry.artifact.path) || !lies_here(&entry.manifest.path) {
        return refused(
            format!("is that of the base backup in {}", entry.folder()),
            "name that folder; a backup that was moved goes back to where it was taken",
        );
    }
    Ok(entry)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// A base backup in `pg/<label>`, whose manifest has the hash `m-<label>`.
    pub(in super::super) fn entry(label: &str, against: Option<&str>) -> BaseEntry {
        let artifact = |name: &str, sha256: &str| json!({ "path": format!("pg/{label}/{name}"), "size": 7, "sha256": sha256 });
        let mut entry = json!({
            "label": label, "started_at": "2026-11-27T01:00:00Z", "ended_at": "2026-11-27T01:05:00Z",
            "server_version": "18.6", "server_major": 18, "system_identifier": "7575000000000000001", "timeline": 1,
            "start_lsn": "0/4000028", "end_lsn": "0/4000120", "segment_size": 16_777_216, "bytes": 70, "files": 3,
            "artifact": artifact("base.tar", "t"), "manifest": artifact("backup_manifest", &format!("m-{label}")),
            "verified": true, "tool": { "path": "/bin/pg_basebackup", "version": "pg_basebackup (PostgreSQL) 18.6" },
        });
        if let Some(before) = against {
            entry["against"] = json!({ "label": before, "manifest_sha256": format!("m-{before}") });
        }
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn it_begins_with_its_format_and_is_read_as_it_was_written() {
        let (full, more) = (entry("full", None), entry("more", Some("full")));
        let text = text_of(&full).unwrap();
        assert!(
            text.starts_with(
                "{\n  \"format\": \"drydock.base_backup\",\n  \"version\": 1,\n  \"label\": \"full\",\n"
            ),
            "{text}"
        );
        for one in [full, more] {
            let text = text_of(&one).unwrap();
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
            assert_eq!(parsed(text.as_bytes(), &format!("pg/{}", one.label)), Ok(one));
        }
    }

    #[test]
    fn what_cannot_be_believed_is_refused() {
        let text = text_of(&entry("full", None)).unwrap();
        for (text, folder, words) in [
            (
                "{".to_owned(),
                "pg/full",
                "pg/full/backup.json cannot be read as what tells of a base backup: EOF",
            ),
            (
                text.replace("drydock.base_backup", "drydock.point"),
                "pg/full",
                "is of the format \"drydock.point\", not \"drydock.base_backup\"",
            ),
            (
                text.replace("\"version\": 1", "\"version\": 2"),
                "pg/full",
                "has version 2; this Drydock reads versions up to 1",
            ),
            (text.replace("0/4000120", "0/4000110"), "pg/full", "was changed after it was written"),
            (
                text.replace("\"sha256\": \"t\"", "\"sha256\": \"u\""),
                "pg/full",
                "was changed after it was written",
            ),
            (text.clone(), "pg/other", "pg/other/backup.json is that of the base backup in pg/full"),
        ] {
            let error = parsed(text.as_bytes(), folder).unwrap_err();
            assert!(error.code == "postgres.base_record" && error.message.contains(words), "{error}");
        }
        let newer = text.replace("\"timeline\": 1,", "\"timeline\": 1,\n  \"later\": true,");
        let newer: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&newer).unwrap();
        let fields: serde_json::Map<_, _> = newer.into_iter().filter(|(key, _)| key != "sha256").collect();
        let newer = sealed::text_of(&fields, None).unwrap();
        assert_eq!(
            parsed(newer.as_bytes(), "pg/full"),
            Ok(entry("full", None)),
            "a field that is not known is passed over"
        );
    }
}
