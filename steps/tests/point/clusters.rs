//! A point with a PostgreSQL cluster: sealed from what is in the store, chosen again, and refused by name where something is wrong.

use drydock_recovery::manifest::Manifest;
use drydock_steps::point::seal::Seal;
use drydock_steps::point::select::Select;
use serde_json::{Value, json};

use crate::world::{World, at};

const MIB: usize = 1 << 20;

/// A night whose vectors lie in PostgreSQL: a base backup that begins in segment 3, and a restore point in segment 4.
async fn night(world: &World) -> Value {
    let mut night = world.night().await;
    night.as_object_mut().unwrap().remove("qdrant");
    let base = json!({
        "label": "base1", "server_version": "18.6", "server_major": 18, "system_identifier": "77", "timeline": 1,
        "start_lsn": "0/300028", "end_lsn": "0/300158", "segment_size": MIB, "verified": true,
        "artifact": world.put("postgres/base/base1/base.tar", "data").await,
        "manifest": world.put("postgres/base/base1/backup_manifest", "{}").await,
    });
    let mut segments = Vec::new();
    for number in 3..=4 {
        let path = format!("postgres/wal/00000001/00000001000000000000000{number}");
        segments.push(world.put(&path, &"w".repeat(MIB)).await);
    }
    night["postgres"] = json!({ "vectors": {
        "base": base,
        "restore_point": {
            "name": "dd_1", "lsn": "0/400100", "segment": "000000010000000000000004", "timeline": 1, "system_identifier": "77",
            "at": at(12), "started_at": at(12), "answered_at": at(13), "archived_at": null,
        },
        "wal": { "prefix": "postgres/wal", "system_identifier": "77", "timeline": 1, "segments": segments },
        "counts": [
            { "rows": 9, "tables": { "public.vectors": { "rows": 7 }, "public.gone": { "rows": 2 } } },
            { "rows": 8, "tables": { "public.vectors": { "rows": 8 } } },
        ],
    } });
    night
}

#[tokio::test(start_paused = true)]
async fn it_is_sealed_and_a_restore_is_given_what_it_takes() {
    let world = World::new().await;
    let night = night(&world).await;
    let outputs = world.outputs(&Seal, night.clone()).await;
    assert_eq!(outputs["skew_s"], 9.0, "from asking for the restore point to the mark");
    let manifest = Manifest::parse(&world.read(outputs["manifest"].as_str().unwrap()).await).unwrap();
    let cluster = &manifest.postgres["vectors"].cluster;
    assert_eq!(
        json!(cluster.tables),
        json!({ "public.vectors": { "low": 7, "high": 8 }, "public.gone": { "low": 0, "high": 2 } })
    );
    assert_eq!(cluster.version, "18.6");
    assert_eq!(manifest.claims.iter().filter(|claim| claim.of == "vectors").count(), 7);
    let chosen = world.outputs(&Select, json!({ "to": "point:latest" })).await;
    let given = &chosen["postgres"]["vectors"];
    assert_eq!(given["bases"], json!([night["postgres"]["vectors"]["base"]]), "as it came, so it is taken");
    assert_eq!(
        (&given["restore_point"]["name"], &given["wal"]["prefix"]),
        (&json!("dd_1"), &json!("postgres/wal"))
    );
    assert_eq!(chosen["skew_s"], 9.0);
    // A point whose WAL is gone is no point to go back to.
    world.files().delete("postgres/wal/00000001/000000010000000000000004").await.unwrap();
    let error = world.error(&Select, json!({ "to": "point:latest" })).await;
    assert_eq!(error.code, "point.unusable");
    assert!(error.message.contains("000000010000000000000004 is not in the store"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_it_lacks_is_named() {
    async fn check(claim: &str, words: &str, spoil: impl AsyncFnOnce(&World, &mut Value)) {
        let world = World::new().await;
        let mut night = night(&world).await;
        spoil(&world, &mut night["postgres"]["vectors"]).await;
        let error = world.error(&Seal, night.clone()).await;
        assert_eq!(error.code, "point.unproved", "{error}");
        assert!(error.message.contains(&format!("{claim} does not hold for vectors: ")), "{error}");
        assert!(error.message.contains(words), "{error}");
        night["accept_missing"] = json!(["vectors"]);
        assert_eq!(
            world.outputs(&Seal, night).await["incomplete"],
            json!(["vectors"]),
            "it may be accepted by name"
        );
    }
    check("same_cluster", "base1 is of cluster 77, the WAL of cluster 78", async |_, one| {
        one["wal"]["system_identifier"] = json!("78");
    })
    .await;
    check("wal_archived", "segment 000000010000000000000004 is missing", async |_, one| {
        one["wal"]["segments"].as_array_mut().unwrap().pop();
    })
    .await;
    check("base_before_mark", "behind the restore point dd_1 at 0/400100", async |_, one| {
        one["base"]["end_lsn"] = json!("0/400200");
    })
    .await;
    check("restore_point_before_mark", "was answered after the mark was sent", async |_, one| {
        one["restore_point"]["answered_at"] = json!(at(25));
    })
    .await;
    check("checksums", "pg_verifybackup has not read base1", async |_, one| {
        one["base"]["verified"] = json!(false);
    })
    .await;
    check("artifacts_rehashed", "00000004 was stored as 1048576 bytes, sha256 ", async |world, one| {
        let path = one["wal"]["segments"][1]["path"].as_str().unwrap();
        world.put(path, &"v".repeat(MIB)).await;
    })
    .await;
    check("artifacts_rehashed", "base.tar was not read back", async |world, _| {
        world.files().delete("postgres/base/base1/base.tar").await.unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_output_of_those_kinds_is_refused() {
    let world = World::new().await;
    let mut night = night(&world).await;
    night["postgres"]["vectors"]["restore_point"]["lsn"] = json!("here");
    let error = world.error(&Seal, night).await;
    assert!(error.code == "input" && error.message.contains("`here` is no place in the WAL"), "{error}");
}
