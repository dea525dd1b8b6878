//! `sqlserver.restore`: what is there afterwards, at which point, for whom.

use drydock_step::Kind;
use drydock_step::test_host::given;
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::restore::Restore;
use serde_json::{Value, json};

use crate::restore_story::{
    access, assert_found, check_at_the_mark, contents, found, pair, step, story, story_of, with,
};
use crate::world::{World, octopus};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_comes_back_at_its_mark() {
    let world = World::new().await;
    let chain = story(&world).await;
    world.run("master", "DROP DATABASE [Octopus]").await;
    let outputs = world.outputs(&Restore, json!({ "database": "Octopus", "chain": chain })).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
    assert_eq!(
        (&outputs["state"], &outputs["restored"], &outputs["mark"]),
        (&json!("ONLINE"), &json!(3), &json!("dd_1"))
    );
    assert_eq!(outputs["database"], "Octopus");
    let (redo, mark) = (&outputs["redo_lsn"], &chain["stop_at_mark"]["lsn"]);
    assert!(redo.as_str().unwrap() > mark.as_str().unwrap(), "{redo} {mark}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_living_database_is_replaced_and_its_users_thrown_out() {
    let world = World::new().await;
    let chain = story(&world).await;
    let inside = world.connection().await;
    inside.script().unwrap().run_script("Octopus", "SELECT 1").await.unwrap();
    let refused =
        world.outputs(&Restore, json!({ "database": "Octopus", "chain": chain })).await.unwrap_err();
    assert_eq!(refused.code, "restore.exists");
    world.outputs(&Restore, with(&chain)).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_is_restored_beside_the_original() {
    let world = World::new().await;
    let chain = story(&world).await;
    let with = json!({ "database": "Octopus", "into": "it's [a] drill", "chain": chain });
    world.outputs(&Restore, with).await.unwrap();
    check_at_the_mark(&world, "it's [a] drill").await;
    assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(5));
    world.run("master", "DROP DATABASE [it's [a]] drill]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_between_two_changes_is_reached() {
    let world = World::new().await;
    octopus(&world).await;
    let backup = |kind: &str| json!({ "database": "Octopus", "type": kind });
    let full = step(&world, "full", &Backup, backup("full")).await;
    let mut moments = Vec::new();
    for id in 10..14 {
        world.run("Octopus", &format!("INSERT INTO agents VALUES ({id}, N'x')")).await;
        // Commits are told apart by the server's clock, which has ticks of 3.33 ms.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        moments.push((id, world.one("master", "SELECT SYSUTCDATETIME()").await));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let first = step(&world, "log1", &Backup, backup("log")).await;
    world.run("Octopus", "INSERT INTO agents VALUES (99, N'late')").await;
    let second = step(&world, "log2", &Backup, backup("log")).await;
    for (id, at) in moments {
        let chain = json!([full, first, second]);
        let with = json!({ "database": "Octopus", "chain": chain, "replace": true, "strategy": "in_place", "stop_at": at });
        world.outputs(&Restore, with).await.unwrap();
        assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(id), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_closed_to_most_is_open_to_all_afterwards() {
    let world = World::new().await;
    octopus(&world).await;
    world.run("master", "ALTER DATABASE [Octopus] SET RESTRICTED_USER").await;
    let full = step(&world, "full", &Backup, json!({ "database": "Octopus", "type": "full" })).await;
    let with = json!({ "database": "Octopus", "chain": [full], "replace": true, "strategy": "in_place" });
    world.outputs(&Restore, with).await.unwrap();
    let access = "SELECT user_access_desc FROM sys.databases WHERE name = N'Octopus'";
    assert_eq!(world.one("master", access).await, json!("MULTI_USER"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_is_found_by_its_name_in_msdb_and_by_its_place() {
    let world = World::new().await;
    let mut chain = story(&world).await;
    let lsn = chain["stop_at_mark"]["lsn"].clone();
    chain.as_object_mut().unwrap().remove("stop_at_mark");
    for (stop, expected) in [
        (json!({ "stop_at_mark": "dd_1" }), 4),
        (json!({ "stop_at_mark": lsn }), 4),
        (json!({ "stop_at_mark": format!("lsn:{}", lsn.as_str().unwrap()) }), 4),
        (json!({ "stop_before_mark": "dd_1" }), 4),
        (json!({}), 5),
    ] {
        let mut with = with(&chain);
        with.as_object_mut().unwrap().extend(stop.as_object().unwrap().clone());
        let outputs = world.outputs(&Restore, with).await.unwrap();
        assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(expected), "{stop}");
        let marks = world.one("Octopus", "SELECT COUNT_BIG(*) FROM drydock.marks").await;
        let before = stop.get("stop_before_mark").is_some();
        assert_eq!(marks, json!(i64::from(!before)), "{stop}");
        let at = if stop == json!({}) { Value::Null } else { lsn.clone() };
        assert_eq!(outputs["mark_lsn"], at, "{stop}");
    }
    let mut unknown = with(&chain);
    unknown["stop_at_mark"] = json!("DD_1");
    let error = world.outputs(&Restore, unknown).await.unwrap_err();
    assert!(error.code == "restore.mark" && error.message.contains("knows a mark DD_1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_whose_row_is_not_there_keeps_everybody_out() {
    let world = World::practice().await;
    let chain = story(&world).await;
    // Marked without its row, as a program that is not ours would.
    world
        .run(
            "Octopus",
            "BEGIN TRANSACTION other WITH MARK N'x'; INSERT INTO agents VALUES (6, N'marked'); COMMIT TRANSACTION",
        )
        .await;
    let third = step(&world, "log3", &Backup, json!({ "database": "Octopus", "type": "log" })).await;
    let mut longer = chain.clone();
    longer["backups"].as_array_mut().unwrap().push(third);
    let mut with = with(&longer);
    with["stop_at_mark"] = json!("other");
    let host = world.host("r1/step/1", Vec::new());
    let error = Restore.execute(&host.ctx(Some("t")), given(with.clone()), None).await.unwrap_err();
    assert!(error.code == "restore.mark_row" && !error.unknown, "{error:?}");
    assert!(error.message.contains("the mark's own row is not in drydock.marks"), "{error}");
    assert!(error.help.unwrap().contains("sqlserver.open"));
    assert_eq!(access(&world, "Octopus").await, json!("ONLINE RESTRICTED_USER"));
    // Somebody knows better and writes the row; the next attempt has only to look.
    world.run("Octopus", "INSERT INTO drydock.marks VALUES (N'other', SYSUTCDATETIME(), N'by hand')").await;
    let outputs = world.again(&Restore, with, host.notes(), None).await.unwrap();
    assert_eq!((&outputs["mark"], &outputs["user_access"]), (&json!("other"), &json!("MULTI_USER")));
    assert_eq!(world.done("restore database *"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_can_be_left_to_administrators() {
    let world = World::new().await;
    let chain = story(&world).await;
    let mut with = with(&chain);
    with["restricted_user"] = json!(true);
    let outputs = world.outputs(&Restore, with.clone()).await.unwrap();
    assert_eq!(outputs["user_access"], "RESTRICTED_USER");
    assert_eq!(access(&world, "Octopus").await, json!("ONLINE RESTRICTED_USER"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_readable_and_a_later_restore_goes_on_from_it() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let undo = world.dir.path().join("server/data/undo.tuf").display().to_string();
    let mut short = chain.clone();
    short["backups"].as_array_mut().unwrap().pop();
    short.as_object_mut().unwrap().remove("stop_at_mark");
    let with = json!({ "database": "Octopus", "into": "Copy", "chain": short, "standby": undo });
    let outputs = world.outputs(&Restore, with.clone()).await.unwrap();
    assert_eq!((&outputs["state"], &outputs["restored"]), (&json!("STANDBY"), &json!(2)));
    assert_eq!(world.one("Copy", "SELECT MAX(Id) FROM agents").await, json!(3));
    // Nothing new: it stays as it is. Somebody reads it meanwhile.
    let again = world.outputs(&Restore, with).await.unwrap();
    assert_eq!((&again["state"], world.done("restore database *")), (&json!("STANDBY"), 1));
    let inside = world.connection().await;
    inside.rows().unwrap().rows(Some("Copy"), "SELECT 1 AS one").await.unwrap();
    let with = json!({ "database": "Octopus", "into": "Copy", "chain": chain });
    world.outputs(&Restore, with).await.unwrap();
    check_at_the_mark(&world, "Copy").await;
    assert_eq!((world.done("restore database *"), world.done("restore log *")), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_into_the_folders_that_are_named() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let (data, log) = (world.dir.path().join("d"), world.dir.path().join("l"));
    std::fs::create_dir(&data).unwrap();
    std::fs::create_dir(&log).unwrap();
    let with = json!({
        "database": "Octopus", "chain": chain, "replace": true, "strategy": "in_place", "data_folder": data, "log_folder": log,
        "max_transfer_size": "1MiB", "buffer_count": 7,
    });
    world.outputs(&Restore, with).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
    let paths = "SELECT COUNT_BIG(*) FROM sys.master_files WHERE database_id = DB_ID(N'Octopus') AND physical_name IN ";
    let named = format!(
        "{paths}(N'{}', N'{}')",
        data.join("Octopus.mdf").display(),
        log.join("Octopus_log.ldf").display()
    );
    assert_eq!(world.one("master", &named).await, json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_between_two_log_backups_is_reached_row_by_row() {
    let world = World::new().await;
    octopus(&world).await;
    let backup = |kind: &str| json!({ "database": "Octopus", "type": kind });
    let full = step(&world, "full", &Backup, backup("full")).await;
    let first = step(&world, "log1", &Backup, backup("log")).await;
    world.run("Octopus", "INSERT INTO agents VALUES (10, N'before')").await;
    world.run("Octopus", "UPDATE agents SET Name = N'Eve' WHERE Id = 1").await;
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let at = world.one("master", "SELECT SYSUTCDATETIME()").await;
    let expected = contents(&world, "Octopus").await;
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    world.run("Octopus", "INSERT INTO agents VALUES (11, N'after')").await;
    world.run("Octopus", "DELETE FROM agents WHERE Id = 10").await;
    let second = step(&world, "log2", &Backup, backup("log")).await;
    let third = step(&world, "log3", &Backup, backup("log")).await;
    let with = json!({
        "database": "Octopus", "chain": [full, first, second, third], "replace": true, "strategy": "in_place", "stop_at": at,
    });
    let outputs = world.outputs(&Restore, with).await.unwrap();
    assert_eq!(contents(&world, "Octopus").await, expected);
    assert_eq!(outputs["mark"], Value::Null);
    let beyond = json!({ "database": "Octopus", "chain": [outputs_chain(&world).await], "replace": true, "strategy": "in_place", "stop_at": "2099-01-01T00:00:00Z" });
    let error = world.outputs(&Restore, beyond).await.unwrap_err();
    assert_eq!(
        error.code, "restore.chain",
        "a moment that no log reaches is refused before anything is done"
    );
    assert_eq!(contents(&world, "Octopus").await, expected);
}

/// A full backup of what is there now.
async fn outputs_chain(world: &World) -> Value {
    step(world, "again", &Backup, json!({ "database": "Octopus", "type": "full" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_databases_come_to_one_mark_together() {
    let world = World::new().await;
    let group = pair(&world).await;
    let outputs = world.outputs(&Restore, group.clone()).await.unwrap();
    for name in ["Octopus", "Second"] {
        assert_eq!(world.one(name, "SELECT MAX(Id) FROM agents").await, json!(4), "{name}");
        assert_eq!(world.one(name, "SELECT mark FROM drydock.marks").await, json!("dd_pair"), "{name}");
        assert_eq!(access(&world, name).await, json!("ONLINE MULTI_USER"));
        let own = &outputs["databases"][name];
        assert_eq!((&own["restored"], &own["mark"]), (&json!(2), &json!("dd_pair")));
    }
    assert_ne!(outputs["databases"]["Octopus"]["mark_lsn"], outputs["databases"]["Second"]["mark_lsn"]);
    assert_eq!((&outputs["database"], &outputs["restored"]), (&json!("Octopus, Second"), &json!(4)));
    let mut apart = group;
    apart["group"][1]["chain"]["stop_at_mark"]["name"] = json!("dd_other");
    let error = world.outputs(&Restore, apart).await.unwrap_err();
    assert!(
        error.code == "restore.group" && error.message.contains("Octopus at dd_pair, Second at dd_other"),
        "{error}"
    );
    world.run("master", "DROP DATABASE [Second]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_octopus_cannot_get_in_before_the_mark_is_proved() {
    let world = World::practice().await;
    octopus(&world).await;
    world.run("master", "CREATE LOGIN [octopus] WITH PASSWORD = N'Octopus-8'").await;
    world.run("Octopus", "CREATE USER [octopus]\nGO\nGRANT SELECT ON [agents] TO [octopus]").await;
    let chain = story_of(&world).await;
    let mut restricted = with(&chain);
    restricted["restricted_user"] = json!(true);
    world.outputs(&Restore, restricted).await.unwrap();
    let world = world.set("user", json!("octopus")).set("password", json!("Octopus-8"));
    let connection = world.connection().await;
    let refused =
        connection.rows().unwrap().rows(Some("Octopus"), "SELECT Id FROM agents").await.unwrap_err();
    assert_eq!(refused.code, "sqlserver.923");
    assert!(refused.help.unwrap().contains("sqlserver.open"));
    let world = world.set("user", json!("drydock")).set("password", json!("Harbour-7"));
    world.outputs(&drydock_steps::sqlserver::open::Open, json!({ "database": "Octopus" })).await.unwrap();
    let world = world.set("user", json!("octopus")).set("password", json!("Octopus-8"));
    assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(4));
}

/// The sets of a database as msdb tells them, for a chain.
async fn told_by_msdb(world: &World, database: &str) -> Value {
    let sql = format!(
        "SELECT server_name, type, position, backup_set_uuid, first_lsn, last_lsn, checkpoint_lsn, database_backup_lsn, \
         first_recovery_fork_guid, last_recovery_fork_guid, family_guid, media_set_id, backup_start_date, backup_finish_date \
         FROM msdb.dbo.backupset WHERE database_name = N'{database}' ORDER BY backup_set_id"
    );
    let connection = world.connection().await;
    let rows = connection.rows().unwrap();
    let mut chain = Vec::new();
    for row in rows.rows(Some("master"), &sql).await.unwrap().rows {
        let media = format!(
            "SELECT physical_device_name FROM msdb.dbo.backupmediafamily WHERE media_set_id = {} ORDER BY family_sequence_number",
            row["media_set_id"]
        );
        let media: Vec<Value> = rows
            .rows(Some("master"), &media)
            .await
            .unwrap()
            .rows
            .iter()
            .map(|row| row["physical_device_name"].clone())
            .collect();
        let kind = match row["type"].as_str().unwrap().trim() {
            "D" => "full",
            "I" => "differential",
            _ => "log",
        };
        let time = |column: &str| format!("{}Z", row[column].as_str().unwrap().trim_end_matches('Z'));
        chain.push(json!({
            "server": row["server_name"], "database": database, "type": kind, "copy_only": false, "position": row["position"],
            "backup_set_guid": row["backup_set_uuid"], "first_lsn": row["first_lsn"], "last_lsn": row["last_lsn"],
            "checkpoint_lsn": row["checkpoint_lsn"], "database_backup_lsn": row["database_backup_lsn"],
            "first_recovery_fork_id": row["first_recovery_fork_guid"], "recovery_fork_id": row["last_recovery_fork_guid"],
            "family_guid": row["family_guid"], "started_at": time("backup_start_date"), "finished_at": time("backup_finish_date"),
            "media": media, "time_zone": 0, "media_count": media.len(),
        }));
    }
    Value::Array(chain)
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_that_share_striped_files_are_taken_by_their_positions() {
    let world = World::practice().await;
    octopus(&world).await;
    let path = |n: usize| world.dir.path().join(format!("store/sql/striped_{n}.bak")).display().to_string();
    let to = format!("DISK = N'{}', DISK = N'{}'", path(1), path(2));
    world.run("master", &format!("BACKUP DATABASE [Octopus] TO {to} WITH FORMAT, CHECKSUM")).await;
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    world.run("master", &format!("BACKUP LOG [Octopus] TO {to} WITH CHECKSUM")).await;
    world.run("Octopus", "INSERT INTO agents VALUES (4, N'Di')").await;
    world.run("master", &format!("BACKUP LOG [Octopus] TO {to} WITH CHECKSUM")).await;
    let chain = told_by_msdb(&world, "Octopus").await;
    assert_eq!(chain[2]["position"], 3, "{chain}");
    let with = |chain: &Value| json!({ "database": "Octopus", "chain": chain, "replace": true, "strategy": "in_place" });
    let all = found(&world, with(&chain)).await;
    assert!(all.iter().all(|(_, fatal, _)| !fatal), "{all:?}");
    world.outputs(&Restore, with(&chain)).await.unwrap();
    assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(4));
    let mut half = chain.clone();
    half[1]["media"] = json!([path(1)]);
    half[1]["media_count"] = json!(1);
    let error = world.outputs(&Restore, with(&half)).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3132");
    let mut twice = chain;
    twice[0]["media"] = json!([path(1), path(1)]);
    assert_found(&found(&world, with(&twice)).await, "sqlserver.3227", true, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_inside_a_log_with_bulk_logged_changes_is_refused_before() {
    let world = World::new().await;
    octopus(&world).await;
    world.run("master", "ALTER DATABASE [Octopus] SET RECOVERY BULK_LOGGED").await;
    let backup = |kind: &str| json!({ "database": "Octopus", "type": kind });
    let full = step(&world, "full", &Backup, backup("full")).await;
    world.run("Octopus", "SELECT Id, Name INTO copied FROM agents").await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let inside = world.one("master", "SELECT SYSUTCDATETIME()").await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    let log = step(&world, "log", &Backup, backup("log")).await;
    assert_eq!(
        (&full["backup"]["has_bulk_logged_data"], &log["backup"]["has_bulk_logged_data"]),
        (&json!(false), &json!(true))
    );
    let mut with = json!({ "database": "Octopus", "into": "Copy", "chain": [full, log], "stop_at": inside });
    let before = world.done("restore *");
    let error = world.outputs(&Restore, with.clone()).await.unwrap_err();
    assert!(error.message.contains("bulk-logged changes: a restore cannot stop inside it"), "{error}");
    assert_eq!(world.done("restore *"), before, "nothing was begun");
    with.as_object_mut().unwrap().remove("stop_at");
    world.outputs(&Restore, with).await.unwrap();
    assert_eq!(world.one("Copy", "SELECT COUNT(*) FROM copied").await, json!(2));
    assert_eq!(world.one("Copy", "SELECT MAX(Id) FROM agents").await, json!(3));
}
