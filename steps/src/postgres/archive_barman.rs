//! A catalogue of Barman's, as its own program tells of it: [`kept`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use drydock_step::{Ctx, StepError};
use serde_json::Value;

use super::archive_at::Named;
use super::archive_found::{Backup, Found, time_of};
use super::archive_program::Keeper;
use super::segment::{Origin, SegmentSize, WalFile};

/// Its name.
const PROGRAM: &str = "barman";

/// What it keeps.
///
/// # Errors
/// `postgres.archive`.
pub(super) async fn kept(ctx: &Ctx, folders: &[PathBuf], named: &Named) -> Result<Found, StepError> {
    let config = |path: &str| vec!["-c".to_owned(), path.to_owned()];
    let keeper = Keeper::find(ctx, folders, PROGRAM, "--version", named, config).await?;
    let server = named.name.as_str();
    let list = keeper.told(&["-f", "json", "list-backups", server]).await?;
    let mut found = Found { tool: format!("Barman {}", keeper.version), ..Found::default() };
    // Only a server that answers tells it.
    if let Ok(told) = keeper.told(&["-f", "json", "show-server", server]).await {
        let told = &told[server];
        found.segment_size = told["xlog_segment_size"].as_u64().and_then(SegmentSize::parse);
        let system = text(&told["streaming_systemid"]).or_else(|| text(&told["postgres_systemid"]));
        found.system_identifier = system.filter(|system| system != "None");
    }
    let mut paths = BTreeSet::new();
    for id in backup_ids(&list, server) {
        let told = keeper.told(&["-f", "json", "show-backup", server, &id]).await?;
        let restore = keeper.argv(&["recover", server, &id, "{into}"]);
        found.backups.push(Backup { restore, ..backup(&id, &told[server]) });
        // The WAL from it up to the next one. Of one that failed there is none.
        if let Ok(files) = keeper.asked(&["list-files", "--target", "wal", server, &id]).await {
            paths.extend(String::from_utf8_lossy(&files).lines().map(|line| line.trim().to_owned()));
        }
    }
    files_into(&mut found, &paths);
    // A shell empties the file before Barman is asked; the server takes it only where Barman ends well.
    found.restore_command = Some(keeper.shell(&format!("get-wal {server} %f > \"%p\"")));
    Ok(found)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The ids of the backups, the oldest first.
fn backup_ids(list: &Value, server: &str) -> Vec<String> {
    let backups = list[server].as_array().into_iter().flatten();
    let ids: BTreeSet<String> = backups.filter_map(|backup| text(&backup["backup_id"])).collect();
    // A name that begins like an option would be taken for one.
    ids.into_iter().filter(|id| !id.starts_with('-')).collect()
}

fn backup(id: &str, told: &Value) -> Backup {
    let base = &told["base_backup_information"];
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.split('.').next()?.parse().ok());
    let time = |key: &str| number(&base[key]).and_then(time_of);
    let parent =
        text(&told["catalog_information"]["parent_backup"]).or_else(|| text(&told["parent_backup_id"]));
    let is_incremental = text(&base["backup_type"]).is_some_and(|kind| kind == "incremental");
    Backup {
        label: id.to_owned(),
        kind: if is_incremental { "incr" } else { "full" }.into(),
        usable: told["status"] == "DONE",
        start_lsn: text(&base["begin_lsn"]).or_else(|| text(&base["begin_xlog"])),
        stop_lsn: text(&base["end_lsn"]).or_else(|| text(&base["end_xlog"])),
        started_at: time("begin_time_timestamp"),
        stopped_at: time("end_time_timestamp"),
        first_wal: text(&base["begin_wal"]),
        last_wal: text(&base["end_wal"]),
        size: base["disk_usage_bytes"].as_u64(),
        needs: parent.filter(|_| is_incremental).into_iter().collect(),
        restore: Vec::new(),
    }
}

/// Takes the names of the WAL from the files that Barman lists. Where this is Barman's own machine the histories of timelines are read.
fn files_into(found: &mut Found, paths: &BTreeSet<String>) {
    let Some(any) = SegmentSize::parse(1 << 20) else { return };
    for path in paths {
        let path = Path::new(path);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match WalFile::parse(name, any) {
            Some(WalFile::Segment(_)) => drop(found.segments.insert(name.to_owned())),
            Some(WalFile::Partial(_)) => found.partial.push(name.to_owned()),
            Some(WalFile::History(timeline)) => {
                let text = std::fs::read_to_string(path).unwrap_or_default();
                found.origins.extend(Origin::parse(&text).map(|origin| (timeline, origin)));
            }
            _ => {}
        }
    }
    found.by_name = found.segments.len();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn backups_and_files_are_read_as_barman_writes_them() {
        let list = json!({ "main": [{ "backup_id": "20261127T115916" }, { "backup_id": "20261126T000000" }, { "other": 1 }] });
        assert_eq!(backup_ids(&list, "main"), ["20261126T000000", "20261127T115916"]);
        assert_eq!(backup_ids(&list, "none"), [""; 0]);
        let told = json!({
            "base_backup_information": {
                "begin_lsn": "0/F00028", "begin_time_timestamp": "1795780756", "begin_wal": "00000001000000000000000F",
                "disk_usage_bytes": 23146877, "end_lsn": "0/1000000", "end_time_timestamp": "1795780760",
                "end_wal": "00000001000000000000000F",
            },
            "status": "DONE",
        });
        let found = backup("20261127T115916", &told);
        assert_eq!((found.kind.as_str(), found.usable, found.size), ("full", true, Some(23_146_877)));
        assert_eq!(found.started_at.as_deref(), Some("2026-11-27T11:59:16Z"));
        assert_eq!(found.last_wal.as_deref(), Some("00000001000000000000000F"));
        let failed = backup("x", &json!({ "status": "FAILED" }));
        assert!(!failed.usable && failed.start_lsn.is_none());
        let mut found = Found::default();
        let paths = [
            "/b/wals/0000000100000000/00000001000000000000000F",
            "/b/wals/00000002.history",
            "/b/wals/xlog.db",
        ];
        files_into(&mut found, &paths.map(str::to_owned).into());
        assert_eq!((found.segments.len(), found.by_name), (1, 1));
    }
}
