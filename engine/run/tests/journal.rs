//! The journal against a disk that fails and against machines that lose power: a batch counts whole or not at all, nothing is guessed,
//! and a failed write stays failed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use drydock_machine::{Moment, RunEvent};
use drydock_plan::name::Name;
use drydock_run::journal::{Damage, Disk, DiskFile, Ends, Journal, Journaled, Soundness, read};
use drydock_run::state::{Given, Start, StateDir};

/// A small seeded generator (xorshift), so that every case can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }
}

/// One file: what is durable, and what was only written.
#[derive(Default, Clone)]
struct Kept {
    durable: Vec<u8>,
    bytes: Vec<u8>,
    /// Where what was written and not synced begins.
    unsynced: usize,
}

/// A disk in memory that counts its calls and fails one of them.
#[derive(Default, Clone)]
struct FakeDisk(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    files: HashMap<PathBuf, Kept>,
    calls: usize,
    fail: Option<(usize, i32)>,
}

impl FakeDisk {
    /// Counts a call; the chosen one fails.
    fn call(&self) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.calls += 1;
        match inner.fail {
            Some((at, errno)) if at == inner.calls => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }

    fn file(&self, path: &Path) -> Kept {
        self.0.lock().unwrap().files.get(path).cloned().unwrap_or_default()
    }
}

struct FakeFile(FakeDisk, PathBuf);

impl Disk for FakeDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        self.call()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.call()?;
        self.0.lock().unwrap().files.insert(path.to_owned(), Kept::default());
        Ok(Box::new(FakeFile(self.clone(), path.to_owned())))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.call()?;
        Ok(Box::new(FakeFile(self.clone(), path.to_owned())))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.call()?;
        Ok(self.file(path).bytes)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.call()
    }
}

impl DiskFile for FakeFile {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let result = self.0.call();
        // A write that fails for want of space has often written a part.
        let len = if result.is_ok() { bytes.len() } else { bytes.len() / 2 };
        let mut inner = self.0.0.lock().unwrap();
        let file = inner.files.get_mut(&self.1).unwrap();
        let at = usize::try_from(at).unwrap();
        assert!(at <= file.bytes.len(), "a hole is left");
        file.bytes.resize(file.bytes.len().max(at + len), 0);
        file.bytes[at..at + len].copy_from_slice(&bytes[..len]);
        file.unsynced = file.unsynced.min(at);
        result
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.call()?;
        let mut inner = self.0.0.lock().unwrap();
        let file = inner.files.get_mut(&self.1).unwrap();
        file.durable = file.bytes.clone();
        file.unsynced = file.bytes.len();
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.call()?;
        let mut inner = self.0.0.lock().unwrap();
        inner.files.get_mut(&self.1).unwrap().bytes.truncate(usize::try_from(len).unwrap());
        Ok(())
    }
}

fn event(number: usize) -> RunEvent {
    let name = Name::parse(&format!("s{number}_{}", "x".repeat(number % 40))).unwrap();
    RunEvent::Stopping { step: name }
}

/// Batches of random sizes, some longer than a page.
fn batches(dice: &mut Dice) -> Vec<Vec<RunEvent>> {
    let mut number = 0;
    (0..1 + dice.roll(6))
        .map(|_| {
            let lines = if dice.roll(4) == 0 { 60 } else { 1 + dice.roll(8) };
            (0..lines)
                .map(|_| {
                    number += 1;
                    event(number)
                })
                .collect()
        })
        .collect()
}

fn folder() -> PathBuf {
    PathBuf::from("/state/run1")
}

fn write_all(disk: &FakeDisk, batches: &[Vec<RunEvent>]) -> Result<(), drydock_run::journal::JournalError> {
    let mut journal = Journal::create(disk, &folder(), "run1", None)?;
    for batch in batches {
        journal.push(Moment(1_000), batch.clone());
        journal.commit()?;
    }
    Ok(())
}

fn events_of(journaled: &Journaled) -> Vec<RunEvent> {
    journaled.events.iter().map(|(_, event)| event.clone()).collect()
}

/// A file after a crash. Of the sectors that were written and not synced some have what was written, some what was durable, some a part
/// of each; where the file grew, its new sectors may be zeroed instead, and its end anywhere.
fn after_crash(kept: &Kept, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = kept.bytes.clone();
    let mut old = kept.durable.clone();
    old.resize(bytes.len(), 0);
    let mut at = kept.unsynced;
    while at < bytes.len() {
        let end = (at / 512 * 512 + 512).min(bytes.len());
        let lost = match dice.roll(4) {
            0 => at..end,
            1 => at + dice.roll(end - at + 1)..end,
            2 => at..at + dice.roll(end - at + 1),
            _ => at..at,
        };
        bytes[lost.clone()].copy_from_slice(&old[lost]);
        at = end;
    }
    let grown = kept.durable.len().min(bytes.len());
    if dice.roll(3) == 0 {
        bytes.truncate(grown + dice.roll(bytes.len() - grown + 1));
    } else if dice.roll(8) == 0 {
        bytes.extend(std::iter::repeat_n(0, dice.roll(5000)));
    }
    bytes
}

#[test]
fn ten_thousand_crashes_are_read_back_and_never_guessed_at() {
    let mut dice = Dice(0x5EED_CAFE);
    let (mut torn, mut whole, mut never) = (0, 0, 0);
    for clone in 0..10_000 {
        let disk = FakeDisk::default();
        let all = batches(&mut dice);
        let mut journal = Journal::create(&disk, &folder(), "run1", None).unwrap();
        let synced = dice.roll(all.len());
        for batch in &all[..synced] {
            journal.push(Moment(1_000), batch.clone());
            journal.commit().unwrap();
        }
        // The next batch is written and its sync never returns.
        let calls = disk.0.lock().unwrap().calls;
        disk.0.lock().unwrap().fail = Some((calls + 2, 5));
        journal.push(Moment(1_000), all[synced].clone());
        journal.commit().unwrap_err();
        let bytes = after_crash(&disk.file(&folder().join("journal.jsonl")), &mut dice);
        let before: Vec<RunEvent> = all[..synced].concat();
        let with_last: Vec<RunEvent> = all[..=synced].concat();
        match read(&bytes) {
            Ok(journaled) => {
                let found = events_of(&journaled);
                assert!(
                    found == before || found == with_last,
                    "clone {clone}: {} events of {}",
                    found.len(),
                    before.len()
                );
                if found.len() == before.len() { torn += 1 } else { whole += 1 }
            }
            Err(Damage::NeverBegan) if synced == 0 => never += 1,
            Err(damage) => panic!("clone {clone}: {damage}"),
        }
    }
    assert!(
        torn > 1_000 && whole > 500 && never > 500,
        "the clones are too much alike: {torn} {whole} {never}"
    );
}

#[test]
fn every_call_that_fails_is_told_and_nothing_is_tried_again() {
    let all = batches(&mut Dice(7));
    let sound = FakeDisk::default();
    write_all(&sound, &all).unwrap();
    // The last call gives back the room that was not used; nothing depends on it.
    let calls = sound.0.lock().unwrap().calls - 1;
    for errno in [28, 5] {
        for at in 1..=calls {
            let disk = FakeDisk::default();
            disk.0.lock().unwrap().fail = Some((at, errno));
            let error = write_all(&disk, &all).unwrap_err();
            assert_eq!(error.error.raw_os_error(), Some(errno), "call {at}");
            assert!(error.what.starts_with("cannot "), "call {at}: {}", error.what);
            let bytes = disk.file(&folder().join("journal.jsonl")).bytes;
            match read(&bytes) {
                Ok(journaled) => {
                    let expected: Vec<RunEvent> = all.concat();
                    let found = events_of(&journaled);
                    assert!(expected.starts_with(&found), "call {at}");
                }
                Err(damage) => assert_eq!(damage, Damage::NeverBegan, "call {at}"),
            }
        }
    }
}

#[test]
fn room_is_made_ahead_and_what_is_left_of_it_is_sound() {
    let path = folder().join("journal.jsonl");
    let disk = FakeDisk::default();
    let mut journal = Journal::create(&disk, &folder(), "run1", None).unwrap();
    let mut lens = Vec::new();
    let mut expected = Vec::new();
    for number in 0..200 {
        journal.push(Moment(0), [event(number)]);
        journal.commit().unwrap();
        expected.push(event(number));
        let bytes = disk.file(&path).bytes;
        lens.push(bytes.len());
        let journaled = read(&bytes).unwrap();
        assert_eq!((events_of(&journaled), journaled.soundness), (expected.clone(), Soundness::Sound));
    }
    lens.dedup();
    assert!((2..=8).contains(&lens.len()), "the file grew {} times in 200 batches", lens.len());
    let left = disk.file(&path).bytes;
    assert_eq!(left.last(), Some(&b' '), "a process that is killed now leaves room behind");
    drop(journal);
    let given_back = disk.file(&path).bytes;
    assert_eq!(given_back.last(), Some(&b'\n'));
    assert!(left.starts_with(&given_back));
    // A run that goes on after the kill writes where the room began.
    let journaled = read(&left).unwrap();
    let disk = FakeDisk::default();
    disk.0
        .lock()
        .unwrap()
        .files
        .insert(path.clone(), Kept { durable: left.clone(), bytes: left.clone(), unsynced: left.len() });
    let mut journal = Journal::reopen(&disk, &folder(), &journaled, left.len() as u64, None).unwrap();
    journal.push(Moment(0), [event(200)]);
    journal.commit().unwrap();
    expected.push(event(200));
    assert_eq!(events_of(&read(&disk.file(&path).bytes).unwrap()), expected);
}

#[test]
fn after_a_failure_nothing_more_is_written() {
    let disk = FakeDisk::default();
    let mut journal = Journal::create(&disk, &folder(), "run1", None).unwrap();
    journal.push(Moment(0), [event(1)]);
    journal.commit().unwrap();
    let calls = disk.0.lock().unwrap().calls;
    disk.0.lock().unwrap().fail = Some((calls + 1, 28));
    journal.push(Moment(0), [event(2)]);
    journal.commit().unwrap_err();
    let after_failure = disk.0.lock().unwrap().calls;
    journal.push(Moment(0), [event(3)]);
    let error = journal.commit().unwrap_err();
    assert_eq!(error.error.to_string(), "an earlier write failed");
    assert_eq!(disk.0.lock().unwrap().calls, after_failure, "the disk was called again");
}

#[test]
fn a_run_whose_folder_cannot_be_made_does_not_exist() {
    let start = Start::new("/p.yaml".into(), None, Given::default(), vec!["p.yaml".into()]);
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path());
    let disk = FakeDisk::default();
    disk.0.lock().unwrap().fail = Some((1, 28));
    let error = state.create_run(&disk, "run1", &start, &[b"x".to_vec()]).unwrap_err();
    assert!(error.to_string().starts_with("cannot make "), "{error}");
    assert_eq!(state.run_ids().unwrap(), Vec::<String>::new());
}

/// A journal of three batches as bytes, and where each batch ends.
fn three_batches() -> (Vec<u8>, Vec<usize>) {
    let disk = FakeDisk::default();
    let mut journal = Journal::create(&disk, &folder(), "run1", None).unwrap();
    let path = folder().join("journal.jsonl");
    let mut ends = Vec::new();
    for batch in [vec![event(1)], vec![event(2), event(3)], vec![event(4), event(5)]] {
        journal.push(Moment(1_000), batch);
        journal.commit().unwrap();
        ends.push(disk.file(&path).bytes.trim_ascii_end().len() + 1);
    }
    drop(journal);
    (disk.file(&path).bytes, ends)
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn check_damage(bytes: &[u8], line: u64, words: &str) {
    match read(bytes) {
        Err(Damage::At { line: found, why, .. }) => {
            assert_eq!(found, line, "{why}");
            assert!(why.contains(words), "{why}");
        }
        other => panic!("expected damage at line {line} ({words}), found {other:?}"),
    }
}

#[test]
fn damage_before_the_last_batch_is_refused_with_its_place() {
    let (bytes, ends) = three_batches();
    assert_eq!(read(&bytes).unwrap().soundness, Soundness::Sound);
    let lines = lines(&bytes);
    assert_eq!(lines.len(), 6);
    let without = |at: usize| {
        lines
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != at)
            .flat_map(|(_, line)| line.clone())
            .collect::<Vec<u8>>()
    };
    let doubled = |at: usize| {
        lines
            .iter()
            .enumerate()
            .flat_map(|(n, line)| line.repeat(1 + usize::from(n == at)))
            .collect::<Vec<u8>>()
    };
    let mut flipped = bytes.clone();
    flipped[ends[0] + 12] ^= 4;
    check_damage(&flipped, 3, "checksum is missing or wrong");
    let mut zeroed = bytes.clone();
    zeroed[ends[0]..ends[1]].fill(0);
    check_damage(&zeroed, 3, "checksum is missing or wrong");
    check_damage(&without(2), 3, "line 3 of the run stands where line 2 should");
    check_damage(&doubled(2), 4, "line 2 of the run stands where line 3 should");
    check_damage(&doubled(5), 7, "line 5 of the run stands where line 6 should");
    let (other, _) = {
        let disk = FakeDisk::default();
        let mut journal = Journal::create(&disk, &folder(), "run2", None).unwrap();
        for batch in [vec![event(9)], vec![event(8), event(7)], vec![event(6), event(5)]] {
            journal.push(Moment(1_000), batch);
            journal.commit().unwrap();
        }
        (disk.file(&folder().join("journal.jsonl")).bytes, ())
    };
    let mut foreign = bytes[..ends[0]].to_vec();
    foreign.extend(self::lines(&other)[2..].concat());
    check_damage(&foreign, 3, "comes from another file");
}

#[test]
fn the_last_batch_is_cut_where_it_is_torn() {
    let (bytes, ends) = three_batches();
    for cut in ends[1] + 1..ends[2] {
        let journaled = read(&bytes[..cut]).unwrap();
        assert_eq!(journaled.events.len(), 3, "cut at {cut}");
        assert_eq!(journaled.soundness, Soundness::Torn { at: ends[1] as u64 }, "cut at {cut}");
    }
    for cut in 0..ends[0] {
        assert_eq!(read(&bytes[..cut]), Err(Damage::NeverBegan), "cut at {cut}");
    }
}

#[test]
fn a_cut_journal_goes_on_where_it_was_cut() {
    let (bytes, ends) = three_batches();
    let disk = FakeDisk::default();
    let path = folder().join("journal.jsonl");
    let torn = bytes[..ends[2] - 3].to_vec();
    disk.0
        .lock()
        .unwrap()
        .files
        .insert(path.clone(), Kept { durable: torn.clone(), bytes: torn.clone(), unsynced: torn.len() });
    let journaled = read(&torn).unwrap();
    let mut journal = Journal::reopen(&disk, &folder(), &journaled, torn.len() as u64, None).unwrap();
    journal.push(Moment(2_000), [event(6)]);
    journal.commit().unwrap();
    let after = read(&disk.file(&path).bytes).unwrap();
    assert_eq!(events_of(&after), [event(1), event(2), event(3), event(6)]);
    assert_eq!(after.soundness, Soundness::Sound);
}

#[test]
fn the_ends_tell_of_a_whole_journal_alone() {
    let (bytes, ends) = three_batches();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.jsonl");
    let ends_of = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Ends::of(&path).unwrap()
    };
    assert_eq!(ends_of(&bytes), Some(Ends { first: (Moment(1_000), event(1)), last: event(5) }));
    let first_batch = Some(Ends { first: (Moment(1_000), event(1)), last: event(1) });
    assert_eq!(ends_of(&bytes[..ends[0]]), first_batch);
    for cut in 0..bytes.len() {
        if !ends.contains(&cut) {
            assert_eq!(ends_of(&bytes[..cut]), None, "cut at {cut}");
        }
    }
    // With room behind the last line a process works on it, or was killed.
    assert_eq!(ends_of(&[&bytes[..], b"    "].concat()), None);
    let mut spoilt = bytes.clone();
    spoilt[20] ^= 1;
    assert_eq!(ends_of(&spoilt), None);
    // Much may lie between.
    let disk = FakeDisk::default();
    let long: Vec<Vec<RunEvent>> = (1..1_000).map(|number| vec![event(number)]).collect();
    write_all(&disk, &long).unwrap();
    let ends = ends_of(&disk.file(&folder().join("journal.jsonl")).bytes);
    assert_eq!(ends, Some(Ends { first: (Moment(1_000), event(1)), last: event(999) }));
}

#[test]
fn a_newer_version_is_refused_and_unknown_events_are_kept_for_showing() {
    let (bytes, _) = three_batches();
    let text = String::from_utf8(bytes).unwrap();
    let resealed = |text: &str| {
        let mut prev = 0;
        let mut out = String::new();
        for line in text.lines() {
            let body = &line[..line.rfind(",\"crc\":").unwrap()];
            let at = body.find("\"prev\":\"").unwrap() + 8;
            let body = format!("{}{prev:08x}{}", &body[..at], &body[at + 8..]);
            prev = crc32c::crc32c(body.as_bytes());
            out.push_str(&format!("{body},\"crc\":\"{prev:08x}\"}}\n"));
        }
        out
    };
    let newer = resealed(&text.replacen("\"version\":1", "\"version\":2", 1));
    assert_eq!(read(newer.as_bytes()), Err(Damage::Version { found: 2 }));
    let unknown = resealed(&text.replacen("\"event\":\"stopping\"", "\"event\":\"teleported\"", 1));
    let journaled = read(unknown.as_bytes()).unwrap();
    assert_eq!(journaled.unknown.len(), 1);
    assert_eq!((journaled.unknown[0].0, journaled.unknown[0].1.as_str()), (0, "teleported"));
    assert_eq!(journaled.events.len(), 4);
}
