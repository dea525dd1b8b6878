//! A folder that an `archive_command` copies WAL into: [`found_in`]. It is read and nothing in it is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use drydock_step::StepError;

use super::archive_found::{Backup, Found};
use super::segment::{Origin, SegmentSize, WalFile};
use super::segment_header::{ENOUGH, checked, headed};
use super::wal_faults::Check;

/// How compressed files end, each with what gives their content.
const COMPRESSED: [(&str, &str); 4] = [(".gz", "gzip"), (".zst", "zstd"), (".lz4", "lz4"), (".bz2", "bzip2")];
/// Folders in folders: some commands put the files of each timeline or each log apart.
const DEPTH: usize = 4;
/// The most that a history or a note of a backup has, in bytes.
const SMALL: u64 = 64 << 10;
/// Any length: names are read before it is known.
const ANY: u64 = 1 << 20;

/// A file of the archive.
struct Filed {
    path: PathBuf,
    length: u64,
    /// What it is compressed by.
    compressed: Option<&'static str>,
}

/// What lies in a folder.
///
/// # Errors
/// `postgres.archive`, when it cannot be read.
pub(super) fn found_in(folder: &Path, check: Check) -> Result<Found, StepError> {
    let mut files = BTreeMap::new();
    collect(folder, 0, &mut files).map_err(|error| unread(folder, &error))?;
    let any = SegmentSize::parse(ANY).ok_or_else(|| StepError::internal("no length of a segment"))?;
    let mut found = Found { tool: "folder".into(), ..Found::default() };
    let mut whole: Vec<(&str, &Filed)> = Vec::new();
    let mut packed = BTreeSet::new();
    for (name, file) in &files {
        let text = || small(&file.path).map_err(|error| unread(&file.path, &error));
        match (WalFile::parse(name, any), file.compressed) {
            (Some(WalFile::Segment(_)), None) => whole.push((name, file)),
            (Some(WalFile::Segment(_)), Some(_)) if file.length == 0 => {
                found.faults.push(damaged(name, "its compressed file is empty"));
            }
            (Some(WalFile::Segment(_)), Some(_)) => drop(packed.insert(name.clone())),
            (Some(WalFile::Partial(_)), _) => found.partial.push(name.clone()),
            (Some(WalFile::History(timeline)), None) => {
                found.origins.extend(Origin::parse(&text()?).map(|origin| (timeline, origin)));
            }
            (Some(WalFile::Backup), None) => found.backups.extend(backup(name, &text()?)),
            _ => {}
        }
    }
    found.restore_command = restore_command(folder, &files, any);
    look_into(&mut found, &whole, check)?;
    found.by_name = packed.len();
    found.segments.extend(packed);
    found.backups.sort_by(|one, other| one.first_wal.cmp(&other.first_wal));
    Ok(found)
}

/// Looks into the files that are not compressed: of which system they are, and whether they are whole.
fn look_into(found: &mut Found, files: &[(&str, &Filed)], check: Check) -> Result<(), StepError> {
    let mut systems: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
    for (name, file) in files {
        let read = |limit: u64| begins(&file.path, limit).map_err(|error| unread(&file.path, &error));
        let seen = match check {
            Check::Whole => checked(name, &read(u64::MAX)?),
            // A name alone does not tell how long a segment is, so that the beginning is read all the same.
            Check::Names | Check::Headers => {
                headed(name, &read(ENOUGH as u64)?, file.length).map(|head| head.facts)
            }
        };
        match seen {
            Ok(facts) => {
                *sizes.entry(facts.size.bytes()).or_default() += 1;
                systems.entry(facts.system_identifier).or_default().push(name);
            }
            Err(error) => found.faults.push(error.help(HELP)),
        }
    }
    let size = sizes.into_iter().max_by_key(|(_, count)| *count).map(|(bytes, _)| bytes);
    found.segment_size = size.and_then(SegmentSize::parse);
    // Most of an archive is its own cluster's; of two that have as much, the one with the newest segment.
    let own = systems.iter().max_by_key(|(_, names)| (names.len(), names.last().copied()));
    let own = own.map(|(system, _)| system.clone());
    for (system, names) in systems {
        if Some(&system) == own.as_ref() {
            found.segments.extend(names.into_iter().map(str::to_owned));
            continue;
        }
        for name in names {
            let message = format!(
                "{name} is of system {system}, and most of the archive is of system {}",
                own.as_deref().unwrap_or_default()
            );
            found.faults.push(StepError::new("postgres.wal_foreign", message).help(
                "two clusters archive into one folder: give each its own, and bring this segment anew from its own server, or take a new base backup",
            ));
        }
    }
    found.system_identifier = own;
    Ok(())
}

/// What to do about a file that is not whole.
const HELP: &str = "an archive_command that ended in the middle has left it, or the disk was full: put the server's own file there while it still has it, or take a new base backup; a backup from before can be recovered up to here and no further";

fn damaged(name: &str, why: &str) -> StepError {
    StepError::new("postgres.wal_damaged", format!("{name} is no whole segment of the WAL: {why}")).help(HELP)
}

fn unread(path: &Path, error: &std::io::Error) -> StepError {
    StepError::new("postgres.archive", format!("the archive cannot be read at {}: {error}", path.display()))
        .help("`at.folder` is the folder that the archive_command copies into, where the runner may read it")
}

fn collect(folder: &Path, depth: usize, files: &mut BTreeMap<String, Filed>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let facts = match std::fs::metadata(&path) {
            // It got its last name meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            facts => facts?,
        };
        if facts.is_dir() {
            if depth < DEPTH {
                collect(&path, depth + 1, files)?;
            }
            continue;
        }
        let packed = COMPRESSED.iter().find_map(|(ends, by)| Some((name.strip_suffix(ends)?, *by)));
        let (name, compressed) = packed.map_or((name, None), |(name, by)| (name, Some(by)));
        let filed = Filed { length: facts.len(), compressed, path: path.clone() };
        // Where one lies there twice, the plain one can be looked into.
        if compressed.is_none() || !files.contains_key(name) {
            files.insert(name.to_owned(), filed);
        }
    }
    Ok(())
}

/// The first so many bytes of a file.
fn begins(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn small(path: &Path) -> std::io::Result<String> {
    begins(path, SMALL).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// What a server's note tells of a base backup, whose files are elsewhere.
fn backup(name: &str, text: &str) -> Option<Backup> {
    let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
    // `0/F00028 (file 00000001000000000000000F)`
    let place = |key: &str| {
        let (lsn, file) = field(key)?.split_once(" (file ")?;
        Some((lsn.to_owned(), file.trim_end_matches(')').to_owned()))
    };
    let (start_lsn, first_wal) = place("START WAL LOCATION")?;
    let stop = place("STOP WAL LOCATION");
    let kind = if field("INCREMENTAL FROM LSN").is_some() { "incr" } else { "full" };
    Some(Backup {
        label: field("LABEL").unwrap_or(name).to_owned(),
        kind: kind.into(),
        // Nobody writes the note before the backup is taken.
        usable: stop.is_some(),
        start_lsn: Some(start_lsn),
        first_wal: Some(first_wal),
        stop_lsn: stop.as_ref().map(|(lsn, _)| lsn.clone()),
        last_wal: stop.map(|(_, file)| file),
        started_at: field("START TIME").and_then(rfc3339),
        stopped_at: field("STOP TIME").and_then(rfc3339),
        ..Backup::default()
    })
}

/// A time of a server whose zone is UTC; in other zones nobody can tell what their short names mean.
fn rfc3339(text: &str) -> Option<String> {
    let (day, time) = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT"))?.split_once(' ')?;
    Some(format!("{day}T{time}Z"))
}

/// One command for all of it, where there is one: every file lies in the folder itself and is stored in the same way.
fn restore_command(folder: &Path, files: &BTreeMap<String, Filed>, any: SegmentSize) -> Option<String> {
    let mut ways = BTreeSet::new();
    for (name, file) in files {
        if WalFile::parse(name, any).is_some() {
            let is_here = file.path.parent() == Some(folder);
            ways.insert(is_here.then_some(file.compressed)?);
        }
    }
    // What a server archives now and then, histories above all, may be stored in another way than the segments.
    if ways.len() > 1 {
        return None;
    }
    // A shell reads it, and the server replaces what stands behind `%`.
    let quoted = folder.to_str()?.replace('%', "%%").replace('\'', "'\\''");
    match ways.into_iter().next().flatten() {
        None => Some(format!("cp '{quoted}'/%f \"%p\"")),
        Some(by) => {
            let ends = COMPRESSED.iter().find(|(_, of)| *of == by).map(|(ends, _)| *ends)?;
            Some(format!("{by} -dc '{quoted}'/%f{ends} > \"%p\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::segment_header::tests::segment;
    use super::*;

    fn name(number: u64) -> String {
        format!("0000000100000000{number:08X}")
    }

    #[test]
    fn what_is_wrong_is_named_and_the_rest_counts() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("it's 100%");
        std::fs::create_dir_all(folder.join("later")).unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
        for number in 3..=5 {
            write(&name(number), &segment(number, 77));
        }
        write(&name(6), &segment(6, 77)[..4096]);
        write(&name(7), &segment(7, 78));
        write(&(name(8) + ".partial"), &segment(8, 77));
        write("00000002.history", b"1\t0/500000\tno recovery target specified\n");
        write("notes.txt", b"by hand");
        write(
            &(name(4) + ".00000028.backup"),
            b"START WAL LOCATION: 0/400028 (file 000000010000000000000004)\nSTOP WAL LOCATION: 0/400100 (file 000000010000000000000004)\nSTART TIME: 2026-11-27 11:59:18 UTC\nLABEL: nightly\nSTART TIMELINE: 1\nSTOP TIME: 2026-11-27 11:59:20 CET\n",
        );
        let found = found_in(&folder, Check::Headers).unwrap();
        assert_eq!(found.system_identifier.as_deref(), Some("77"));
        assert_eq!(found.segments.iter().cloned().collect::<Vec<_>>(), (3..=5).map(name).collect::<Vec<_>>());
        assert_eq!(found.partial, [name(8) + ".partial"]);
        assert_eq!(found.origins.get(&2), Some(&Origin { parent: 1, lsn: 0x50_0000 }));
        let codes: Vec<(&str, bool)> = found
            .faults
            .iter()
            .map(|fault| (fault.code.as_str(), fault.message.starts_with("00000001000000000000000")))
            .collect();
        assert_eq!(codes, [("postgres.wal_damaged", true), ("postgres.wal_foreign", true)]);
        assert!(found.faults[0].message.ends_with("it has 4096 bytes of 1048576"), "{:?}", found.faults);
        let words = "is of system 78, and most of the archive is of system 77";
        assert!(found.faults[1].message.ends_with(words), "{:?}", found.faults);
        let backup = &found.backups[0];
        assert_eq!((backup.label.as_str(), backup.kind.as_str(), backup.usable), ("nightly", "full", true));
        assert_eq!(backup.started_at.as_deref(), Some("2026-11-27T11:59:18Z"));
        assert_eq!(backup.stopped_at, None, "nobody knows what CET means to whoever set the server up");
        let place = folder.display().to_string().replace('%', "%%").replace('\'', "'\\''");
        assert_eq!(found.restore_command.unwrap(), format!("cp '{place}'/%f \"%p\""));
        let error = found_in(&dir.path().join("none"), Check::Headers).unwrap_err();
        assert_eq!(error.code, "postgres.archive");
    }

    #[test]
    fn compressed_files_count_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: String, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write(name(3) + ".gz", b"x");
        write(name(4) + ".gz", b"");
        let found = found_in(dir.path(), Check::Whole).unwrap();
        assert_eq!((found.by_name, found.segments.len()), (1, 1));
        assert!(found.faults[0].message.contains("its compressed file is empty"), "{:?}", found.faults);
        let command = found.restore_command.unwrap();
        assert_eq!(command, format!("gzip -dc '{}'/%f.gz > \"%p\"", dir.path().display()));
        write(name(5), &segment(5, 77));
        let found = found_in(dir.path(), Check::Whole).unwrap();
        assert_eq!(found.restore_command, None, "no one command brings both");
        assert_eq!(found.segment_size.map(SegmentSize::bytes), Some(1 << 20));
    }
}
