//! A repository of pgBackRest's, as its own program tells of it: [`kept`]. `info` for its backups, `repo-ls` for the names of its WAL.

use std::collections::BTreeSet;
use std::path::PathBuf;

use drydock_step::{Ctx, StepError};
use serde_json::Value;

use super::archive_at::Named;
use super::archive_found::{Backup, Found, time_of};
use super::archive_program::Keeper;
use super::segment::{SegmentSize, WalFile};

/// Its name.
const PROGRAM: &str = "pgbackrest";

/// What it keeps.
///
/// # Errors
/// `postgres.archive`.
pub(super) async fn kept(ctx: &Ctx, folders: &[PathBuf], named: &Named) -> Result<Found, StepError> {
    let config = |path: &str| vec![format!("--config={path}")];
    let mut keeper = Keeper::find(ctx, folders, PROGRAM, "version", named, config).await?;
    keeper.options.push(format!("--stanza={}", named.name));
    let info =
        keeper.told(&["--output=json", "--log-level-console=off", "--log-level-file=off", "info"]).await?;
    let mut found = found_in(&info, &named.name)?;
    found.tool = keeper.version.clone();
    let place = format!("archive/{}", named.name);
    let list = keeper
        .told(&[
            "--output=json",
            "--log-level-console=off",
            "--log-level-file=off",
            "--recurse",
            "repo-ls",
            &place,
        ])
        .await?;
    list_into(&mut found, &list, archive_id(&info).as_deref());
    for backup in &mut found.backups {
        backup.restore = keeper.argv(&[&format!("--set={}", backup.label), "--pg1-path={into}", "restore"]);
    }
    // Its shell begins in the data folder, which need not be the one that the configuration names.
    found.restore_command = Some(keeper.shell("--pg1-path=\"$PWD\" archive-get %f \"%p\""));
    Ok(found)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The stanza of an answer.
fn stanza(info: &Value) -> &Value {
    info.get(0).unwrap_or(&Value::Null)
}

/// What `info` says.
///
/// # Errors
/// `postgres.archive`, when it knows of no such stanza.
fn found_in(info: &Value, name: &str) -> Result<Found, StepError> {
    let stanza = stanza(info);
    // 1: no stanza. Others, such as one without a backup, are stanzas all the same.
    let (code, databases) = (stanza["status"]["code"].as_i64(), stanza["db"].as_array());
    let Some(database) = databases.and_then(|databases| databases.last()).filter(|_| code != Some(1)) else {
        let said = text(&stanza["status"]["message"]).unwrap_or_else(|| "it tells nothing of it".into());
        let message = format!("pgBackRest has no stanza {name}: {said}");
        return Err(StepError::new("postgres.archive", message)
            .help("see `pgbackrest info`; `at.pgbackrest.config` names its configuration"));
    };
    let system = &database["system-id"];
    let of_now = |backup: &&Value| backup["database"]["id"] == database["id"];
    let backups = stanza["backup"].as_array().into_iter().flatten().filter(of_now).map(backup);
    Ok(Found {
        system_identifier: system.as_u64().map(|number| number.to_string()).or_else(|| text(system)),
        backups: backups.collect(),
        ..Found::default()
    })
}

fn backup(told: &Value) -> Backup {
    let time = |key: &str| told["timestamp"][key].as_i64().and_then(time_of);
    Backup {
        label: text(&told["label"]).unwrap_or_default(),
        kind: text(&told["type"]).unwrap_or_default(),
        // Pages that were wrong when it was taken.
        usable: told["error"] != true,
        start_lsn: text(&told["lsn"]["start"]),
        stop_lsn: text(&told["lsn"]["stop"]),
        started_at: time("start"),
        stopped_at: time("stop"),
        first_wal: text(&told["archive"]["start"]),
        last_wal: text(&told["archive"]["stop"]),
        size: told["info"]["size"].as_u64(),
        needs: told["reference"].as_array().into_iter().flatten().filter_map(text).collect(),
        restore: Vec::new(),
    }
}

/// The folder of the cluster as it is now: after an upgrade there are others beside it.
fn archive_id(info: &Value) -> Option<String> {
    let database = stanza(info)["db"].as_array()?.last()?;
    Some(format!("{}-{}", database["version"].as_str()?, database["id"].as_i64()?))
}

/// Takes the names of the WAL from a list of files: a segment's digest stands behind its name, and how it is compressed.
fn list_into(found: &mut Found, list: &Value, archive_id: Option<&str>) {
    let (mut names, mut plain): (BTreeSet<String>, BTreeSet<u64>) = Default::default();
    let any = SegmentSize::parse(1 << 20);
    for (path, facts) in list.as_object().into_iter().flatten() {
        if facts["type"] != "file" || archive_id.is_some_and(|id| !path.starts_with(&format!("{id}/"))) {
            continue;
        }
        let file = path.rsplit('/').next().unwrap_or_default();
        let Some((name, rest)) = file.split_once('-') else { continue };
        match any.and_then(|any| WalFile::parse(name, any)) {
            Some(WalFile::Segment(_)) => {
                names.insert(name.to_owned());
                if !rest.contains('.') {
                    plain.extend(facts["size"].as_u64());
                }
            }
            Some(WalFile::Partial(_)) => found.partial.push(name.to_owned()),
            _ => {}
        }
    }
    found.by_name = names.len();
    found.segments = names;
    // Those that are not compressed all have the length of a segment.
    found.segment_size = plain.into_iter().next_back().and_then(SegmentSize::parse);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn backups_and_the_names_of_the_wal_are_read_and_what_is_unknown_is_left_out() {
        let info = json!([{
            "name": "main", "status": { "code": 0 },
            "db": [{ "id": 1, "system-id": 7, "version": "15" }, { "id": 2, "system-id": 7712819330820758657_u64, "version": "16" }],
            "backup": [
                { "label": "old", "database": { "id": 1 } },
                {
                    "label": "20261127-115816F_20261127-115830I", "type": "incr", "error": false, "database": { "id": 2 },
                    "archive": { "start": "00000001000000000000000B", "stop": "00000001000000000000000C" },
                    "info": { "size": 23000746 }, "lsn": { "start": "0/B00028", "stop": "0/C00050" },
                    "reference": ["20261127-115816F"], "timestamp": { "start": 1795780710, "stop": 1795780712 },
                },
                { "label": "from a later version", "database": { "id": 2 } },
            ],
        }]);
        let mut found = found_in(&info, "main").unwrap();
        assert_eq!(found.system_identifier.as_deref(), Some("7712819330820758657"));
        let backup = &found.backups[0];
        assert_eq!((backup.kind.as_str(), backup.size, backup.usable), ("incr", Some(23_000_746), true));
        assert_eq!(backup.started_at.as_deref(), Some("2026-11-27T11:58:30Z"));
        assert_eq!(backup.needs, ["20261127-115816F"]);
        assert_eq!((found.backups.len(), found.backups[1].start_lsn.as_ref()), (2, None));
        let file = |size: u64| json!({ "type": "file", "size": size });
        let digest = "c971181847a76b7a5c021dd41a5c40d0e62dbae9";
        let list = json!({
            "16-2": { "type": "path" },
            format!("16-2/0000000100000000/00000001000000000000000B-{digest}.gz"): file(1962),
            format!("16-2/0000000100000000/00000001000000000000000C-{digest}"): file(1 << 20),
            format!("16-2/0000000100000000/00000001000000000000000D.partial-{digest}.gz"): file(9),
            "16-2/0000000100000000/00000001000000000000000B.00000028.backup": file(368),
            "16-2/00000002.history": file(40),
            format!("15-1/0000000100000000/000000010000000000000001-{digest}.gz"): file(1962),
        });
        list_into(&mut found, &list, archive_id(&info).as_deref());
        let names: Vec<&str> = found.segments.iter().map(String::as_str).collect();
        assert_eq!(names, ["00000001000000000000000B", "00000001000000000000000C"]);
        assert_eq!(found.partial, ["00000001000000000000000D.partial"]);
        assert_eq!(found.segment_size, SegmentSize::parse(1 << 20));
        for none in [
            json!([]),
            json!({}),
            json!([{ "db": [], "status": { "code": 1, "message": "missing stanza path" } }]),
        ] {
            let error = found_in(&none, "main").unwrap_err();
            assert_eq!(error.code, "postgres.archive");
            assert!(error.message.starts_with("pgBackRest has no stanza main: "), "{error}");
        }
    }
}
