//! `postgres.wal` on disks that are full for real: nothing is lost, and it goes on where it was.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use drydock_step::context::Sample;
use drydock_step::test_host::{TestHost, given};
use drydock_step::{Kind, Reconciled};
use drydock_steps::postgres::wal::Wal;
use serde_json::json;

use crate::server::{BOTH, Major};
use crate::wal::{World, there};

/// A small disk in this folder; it is gone with this value.
struct Disk(PathBuf);

impl Disk {
    /// Nothing, and a word why, where the system lets nobody mount one.
    fn mounted(folder: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&folder)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            refused => {
                println!("skipped: a small disk is only mounted by root on Linux: {refused:?}");
                None
            }
        }
    }

    /// Takes all of the space that is left.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Returns when the step has logged these words.
async fn logged(host: &TestHost, words: &str) {
    let says = |sample: &Sample| matches!(sample, Sample::Log(line) if line.contains(words));
    for _ in 0..1200 {
        if host.samples().iter().any(says) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never said {words:?}: {:?}", host.samples());
}

/// The segments in a folder.
fn segments(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.file_name().len() == 24).count()
}

#[tokio::test]
async fn a_full_store_leaves_wal_in_the_spool_until_there_is_room() {
    let world = World::small(Major::Eighteen);
    let Some(disk) = Disk::mounted(world.dir.path().join("store"), "12m") else { return };
    let host = world.host("r1/stream/1").await;
    let streamer = world.streaming(host.clone(), world.with(json!({})));
    world.streams().await;
    let (first, _) = world.switched().await;
    there(&world.stored(&first)).await;
    disk.fill();
    let mut names = Vec::new();
    for _ in 0..4 {
        names.push(world.switched().await.0);
    }
    logged(&host, "the store takes no WAL, which stays in the spool until it does: storing ").await;
    logged(&host, "free some space").await;
    let spool = world.dir.path().join("spool");
    for name in &names {
        there(&spool.join(name)).await;
        assert!(!world.stored(name).exists());
    }
    assert!(!streamer.is_finished(), "it streams on: {:?}", streamer.await);
    disk.free();
    for name in &names {
        there(&world.stored(name)).await;
    }
    logged(&host, "the store takes WAL again").await;
    host.cancel();
    assert_eq!(streamer.await.unwrap().unwrap_err().code, "cancelled");
    let status = world.status_with(json!({ "check": "whole" })).await.unwrap();
    assert_eq!((&status["gaps"], &status["faults"]), (&json!([]), &json!([])), "{status}");
    assert_eq!(status["newest"], json!(names[3]));
    assert_eq!(segments(&spool), 1, "the newest alone stays");
}

#[tokio::test]
async fn a_full_spool_ends_it_with_a_word_and_the_next_attempt_goes_on_without_a_gap() {
    for major in BOTH {
        let world = World::small(major);
        let Some(disk) = Disk::mounted(world.dir.path().join("spool"), "8m") else { return };
        let host = world.host("r1/stream/1").await;
        let streamer = world.streaming(host.clone(), world.with(json!({})));
        world.streams().await;
        let (first, _) = world.switched().await;
        there(&world.stored(&first)).await;
        disk.fill();
        for _ in 0..4 {
            world.switched().await;
        }
        let error = streamer.await.unwrap().unwrap_err();
        assert_eq!(error.code, "postgres.wal_spool", "{major:?} {error}");
        assert!(error.message.contains("No space left on device"), "{error}");
        assert!(error.help.unwrap().starts_with("free some space on the runner, then resume"));
        // Before anything is begun it is told as well.
        let again = world.host("r1/stream/2").await;
        let found = Wal.preflight(&again.ctx(Some("t")), given(world.with(json!({})))).await.unwrap();
        let codes: Vec<&str> = found.findings.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["postgres.wal_spool"], "{found:?}");
        assert!(found.findings[0].message.contains("bytes left, and 4 segments need 4194304"), "{found:?}");
        disk.free();
        let verdict = Wal.reconcile(&again.ctx(Some("t")), given(world.with(json!({})))).await.unwrap();
        let Reconciled::Partly(from) = verdict else { panic!("{verdict:?}") };
        let (_, lsn) = world.switched().await;
        let with = given(world.with(json!({ "until": lsn })));
        let ended = Wal.execute(&again.ctx(Some("t")), with, Some(&from)).await;
        assert!(
            ended.is_ok(),
            "{major:?} {ended:?}\n{:?}",
            std::fs::read_dir(&disk.0).unwrap().collect::<Vec<_>>()
        );
        let status = world.status_with(json!({ "check": "whole" })).await.unwrap();
        assert_eq!((&status["gaps"], &status["faults"]), (&json!([]), &json!([])), "{status}");
        assert!(status["segments"].as_u64().unwrap() >= 6, "{status}");
    }
}
