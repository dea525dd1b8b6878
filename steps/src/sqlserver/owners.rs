//! Who takes the log backups of a database: [`Owner`], [`owners`]. Two that do it independently each hold a part of the chain, and neither
//! can restore alone.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use drydock_recovery::backup::clock;
use serde::Serialize;

/// One log backup, as far as it tells whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogTaken {
    /// The set's name.
    pub(super) name: Option<String>,
    /// The login.
    pub(super) user: String,
    /// The server.
    pub(super) server: String,
    /// Its first file.
    pub(super) device: String,
    /// When it ended.
    pub(super) at: DateTime<Utc>,
}

/// Somebody who takes log backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Owner {
    /// The program, as far as its traces tell.
    pub(super) program: String,
    /// The login.
    pub(super) user_name: String,
    /// The server.
    pub(super) server: String,
    /// Where its files lie.
    pub(super) folder: String,
    /// Their names, with `#` for runs of digits.
    pub(super) pattern: String,
    /// How many there are.
    pub(super) count: usize,
    /// When the newest ended.
    pub(super) newest: String,
}

impl Owner {
    /// In a few words.
    pub(super) fn words(&self) -> String {
        let Self { program, user_name, folder, count, newest, .. } = self;
        format!("{program} as {user_name} ({count} into {folder}, the newest of {newest})")
    }
}

/// Ours, by the name that each of our sets bears.
const OURS: &str = "drydock";

/// The owners of these log backups, the one with the newest first.
pub(super) fn owners(logs: &[LogTaken]) -> Vec<Owner> {
    let mut found: BTreeMap<(String, String, String), (Owner, DateTime<Utc>)> = BTreeMap::new();
    for log in logs {
        let program = program(log);
        let (folder, file) = split(&log.device);
        // Our own files have names that differ by run; whose they are does not.
        let place = if program == OURS { String::new() } else { folder.to_lowercase() };
        let owner = || Owner {
            program: program.clone(),
            user_name: log.user.clone(),
            server: log.server.clone(),
            folder: folder.to_owned(),
            pattern: pattern(file),
            count: 0,
            newest: String::new(),
        };
        let key = (program.clone(), log.user.to_lowercase(), place);
        let (owner, newest) = found.entry(key).or_insert_with(|| (owner(), log.at));
        owner.count += 1;
        if log.at >= *newest {
            *newest = log.at;
            (owner.folder, owner.pattern) = (folder.to_owned(), pattern(file));
        }
    }
    let mut sorted: Vec<_> = found.into_values().collect();
    sorted.sort_by_key(|(_, newest)| std::cmp::Reverse(*newest));
    sorted.into_iter().map(|(owner, newest)| Owner { newest: clock(newest), ..owner }).collect()
}

/// What program took it, by its set's name, its file's name and its login.
fn program(log: &LogTaken) -> String {
    let marked = |name: &str| name.split(' ').any(|word| word == OURS);
    let file = split(&log.device).1;
    let user = log.user.to_lowercase();
    if log.name.as_deref().is_some_and(marked) {
        OURS.to_owned()
    } else if pattern(file).to_lowercase().contains("_log_#_#.") {
        "a job like Ola Hallengren's".to_owned()
    } else if user.contains("sqlserveragent") || user.contains("sqlagent$") {
        "SQL Server Agent".to_owned()
    } else if log.device.starts_with('{') {
        "a virtual device of a backup product".to_owned()
    } else {
        "somebody".to_owned()
    }
}

/// A device's folder and its file.
fn split(device: &str) -> (&str, &str) {
    device.rfind(['/', '\\']).map_or(("", device), |at| (&device[..at], &device[at + 1..]))
}

fn pattern(file: &str) -> String {
    let mut pattern = String::new();
    for c in file.chars() {
        if !c.is_ascii_digit() {
            pattern.push(c);
        } else if !pattern.ends_with('#') {
            pattern.push('#');
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str, user: &str, device: &str, second: i64) -> LogTaken {
        LogTaken {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            user: user.into(),
            server: "SQL01".into(),
            device: device.into(),
            at: DateTime::from_timestamp(1_784_000_000 + second, 0).unwrap(),
        }
    }

    #[test]
    fn two_who_back_up_one_log_are_told_apart() {
        let logs = [
            log("drydock r1/log/1", "drydock", "/b/X_log_20260714T033320Z_r1_log_1.trn", 1),
            log("nightly drydock r2/log/1", "Drydock", "/c/X_log_20260714T043320Z_r2_log_1.trn", 5),
            log("", r"NT SERVICE\SQLSERVERAGENT", r"D:\ola\SQL01_X_LOG_20260714_033500.trn", 3),
            log("", r"NT SERVICE\SQLSERVERAGENT", r"D:\ola\SQL01_X_LOG_20260714_034500.trn", 4),
            log("", r"NT SERVICE\SQLSERVERAGENT", r"D:\plan\X.trn", 2),
            log("", "sa", "{7F3A}1", 0),
        ];
        let found = owners(&logs);
        let told: Vec<_> = found.iter().map(|owner| (owner.program.as_str(), owner.count)).collect();
        assert_eq!(
            told,
            [
                ("drydock", 2),
                ("a job like Ola Hallengren's", 2),
                ("SQL Server Agent", 1),
                ("a virtual device of a backup product", 1)
            ]
        );
        assert_eq!((found[0].folder.as_str(), found[1].folder.as_str()), ("/c", r"D:\ola"));
        assert_eq!(found[1].pattern, "SQL#_X_LOG_#_#.trn");
        assert!(
            found[1].words().contains("2 into D:\\ola, the newest of 2026-07-14T03:33:24Z"),
            "{}",
            found[1].words()
        );
        assert_eq!(owners(&logs[..1]).len(), 1);
    }
}
