//! `postgres.wal` over a change of the timeline: a standby is promoted, and what it writes then follows without a gap.

use std::path::Path;
use std::time::Duration;

use drydock_step::test_host::given;
use drydock_step::{Ended, Kind, Reconciled};
use drydock_steps::postgres::wal::Wal;
use serde_json::json;

use crate::server::{BOTH, Options, PASSWORD, Postgres, as_user, folder};
use crate::wal::{World, there};

/// A standby of this server, which has the slot as well.
async fn standby(of: &Postgres) -> Postgres {
    let dir = folder();
    let mut base = as_user(&of.bin().join("pg_basebackup"));
    base.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &of.port.to_string()]);
    base.args(["--checkpoint=fast", "--write-recovery-conf", "-D"]);
    base.arg(dir.path().join("data")).env("PGPASSWORD", PASSWORD).current_dir("/");
    let output = base.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let standby = Postgres::over(dir, of.major, &Options::default());
    standby.run_script("postgres", "SELECT pg_create_physical_replication_slot('archive', true)").await;
    standby
}

/// Returns when a query says `true`.
async fn until(server: &Postgres, sql: &str) {
    for _ in 0..1200 {
        if server.one("postgres", sql).await == true {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never `{sql}`:\n{}", server.log());
}

/// The segments of a timeline in the store, by name.
fn stored(folder: &Path, timeline: &str) -> Vec<String> {
    let entries =
        std::fs::read_dir(folder.join("store/pg/wal").join(timeline)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_promoted_standby_is_streamed_on_from_without_a_gap_and_with_its_history() {
    for (major, is_live) in [(BOTH[0], true), (BOTH[1], false), (BOTH[0], false), (BOTH[1], true)] {
        let mut world = World::small(major);
        let host = world.host("r1/stream/1").await;
        let streamer = world.streaming(host.clone(), world.with(json!({})));
        world.streams().await;
        let second = standby(&world.server).await;
        let (first, _) = world.switched().await;
        there(&world.stored(&first)).await;
        host.cancel();
        drop(streamer.await.unwrap());
        let (_, lsn) = world.switched().await;
        until(&second, &format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn")).await;
        world.server.stop();
        let promote = "SELECT pg_promote()";
        if !is_live {
            assert_eq!(second.one("postgres", promote).await, true);
        }
        world.server = second;
        let next = world.host("r1/stream/2").await;
        let verdict = Wal.reconcile(&next.ctx(Some("t")), given(world.with(json!({})))).await.unwrap();
        let Reconciled::Partly(from) = verdict else { panic!("{verdict:?}") };
        let with = given(world.with(json!({})));
        let of_streamer = next.clone();
        let streamer =
            tokio::spawn(async move { Wal.execute(&of_streamer.ctx(Some("t")), with, Some(&from)).await });
        world.streams().await;
        if is_live {
            assert_eq!(world.server.one("postgres", promote).await, true);
        }
        until(&world.server, "SELECT NOT pg_is_in_recovery()").await;
        let (last, _) = world.switched().await;
        assert_eq!(&last[..8], "00000002", "{major:?}");
        there(&world.stored(&last)).await;
        next.cancel();
        let ended: Result<Ended, _> = streamer.await.unwrap();
        assert_eq!(ended.unwrap_err().code, "cancelled");
        let status = world.status().await;
        assert_eq!((&status["gaps"], &status["faults"]), (&json!([]), &json!([])), "{major:?} {status}");
        assert_eq!((&status["timelines"], &status["newest"]), (&json!([1, 2]), &json!(last)), "{status}");
        assert_eq!(status["streamer"]["timeline"], 2, "{status}");
        let second = stored(world.dir.path(), "00000002");
        assert_eq!(second[0], "00000002.history");
        let history = std::fs::read(world.stored("00000002.history")).unwrap();
        assert_eq!(history, std::fs::read(world.server.data().join("pg_wal/00000002.history")).unwrap());
        // The new timeline begins inside the segment that the old one ended in, or behind it.
        let numbers = |names: &[String]| -> Vec<u64> {
            names
                .iter()
                .filter(|name| name.len() == 24)
                .map(|name| u64::from_str_radix(&name[8..], 16).unwrap())
                .collect()
        };
        let (old, new) = (numbers(&stored(world.dir.path(), "00000001")), numbers(&second));
        assert!(new[0] <= old[old.len() - 1] + 1, "{old:?} {new:?}");
        let wish = given(world.with(json!({})));
        let found = Wal.preflight(&world.host("r1/stream/3").await.ctx(Some("t")), wish).await.unwrap();
        assert!(found.findings.is_empty(), "{found:?}");
    }
}
