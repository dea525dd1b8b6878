//! `sqlserver.restore`.

use std::sync::Arc;

use drydock_step::test_host::given;
use drydock_step::{Ended, Kind, Reconciled};
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::mark::Mark;
use drydock_steps::sqlserver::restore::Restore;
use serde_json::{Value, json};

use crate::world::{World, octopus};

/// What a step of its own gives.
async fn step(world: &World, name: &str, kind: &dyn Kind, with: Value) -> Value {
    let ctx = world.host(&format!("r0/{name}/1"), Vec::new()).ctx(Some("t"));
    match kind.execute(&ctx, given(with), None).await.unwrap() {
        Ended::Outputs(outputs) => outputs,
        waits => panic!("{waits:?}"),
    }
}

/// A full, a row, a log, a row, a mark, a row too many, a log: and the chain to the mark.
async fn story(world: &World) -> Value {
    octopus(world).await;
    story_of(world).await
}

/// The same of a database that is there.
async fn story_of(world: &World) -> Value {
    let backup = |kind: &str| json!({ "database": "Octopus", "type": kind });
    let full = step(world, "full", &Backup, backup("full")).await;
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    let first = step(world, "log1", &Backup, backup("log")).await;
    world.run("Octopus", "INSERT INTO agents VALUES (4, N'Di')").await;
    let mark = json!({ "mark": "dd_1", "databases": { "octopus": "Octopus" } });
    let mark = step(world, "mark", &Mark, mark).await;
    world.run("Octopus", "INSERT INTO agents VALUES (5, N'late')").await;
    let second = step(world, "log2", &Backup, backup("log")).await;
    let stop = json!({ "name": "dd_1", "lsn": mark["databases"]["octopus"]["lsn"] });
    json!({ "backups": [full, first, second], "stop_at_mark": stop, "server": full["server"] })
}

fn with(chain: &Value) -> Value {
    json!({ "database": "Octopus", "chain": chain, "replace": true, "strategy": "in_place" })
}

async fn check_at_the_mark(world: &World, database: &str) {
    assert_eq!(world.one(database, "SELECT MAX(Id) FROM agents").await, json!(4));
    assert_eq!(world.one(database, "SELECT mark FROM drydock.marks").await, json!("dd_1"));
    let name = database.replace('\'', "''");
    let state =
        format!("SELECT state_desc + N' ' + user_access_desc FROM sys.databases WHERE name = N'{name}'");
    assert_eq!(world.one("master", &state).await, json!("ONLINE MULTI_USER"));
}

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
async fn where_nothing_is_said_a_living_database_is_kept_until_the_copy_is_proved() {
    let world = World::new().await;
    let chain = story(&world).await;
    let with = json!({ "database": "Octopus", "chain": chain, "replace": true });
    let outputs = world.outputs(&Restore, with).await.unwrap();
    assert_eq!((&outputs["strategy"], &outputs["database"]), (&json!("beside"), &json!("Octopus")));
    check_at_the_mark(&world, "Octopus").await;
    let kept = outputs["kept_as"].as_str().unwrap();
    let state = format!("SELECT state_desc FROM sys.databases WHERE name = N'{kept}'");
    assert_eq!(world.one("master", &state).await, json!("OFFLINE"));
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
async fn a_restore_whose_answer_was_lost_goes_on_where_it_was() {
    // Which answer is held back, and what is then found out.
    for (op, nth, expected) in [
        // Nothing is restored, and the database was closed.
        ("alter database Octopus", 2, Reconciled::Partly(json!("nothing"))),
        ("restore database Octopus", 1, Reconciled::Partly(json!({ "sets": 1 }))),
        ("restore log Octopus", 1, Reconciled::Partly(json!({ "sets": 2 }))),
        ("restore log Octopus", 2, Reconciled::Partly(json!({ "sets": 3 }))),
        // It is open, and nobody has been let in.
        ("recover Octopus", 1, Reconciled::Partly(json!("recovered"))),
    ] {
        let fault = json!([{ "op": op, "nth": nth, "do": "hold" }]).to_string();
        let world = World::with_faults(&fault).await;
        let chain = story(&world).await;
        let (notes, found) = world.crashed(&Restore, with(&chain)).await;
        assert_eq!(found, expected, "{op} {nth}");
        let from = if let Reconciled::Partly(from) = found { Some(from) } else { None };
        let outputs = world.again(&Restore, with(&chain), notes, from).await.unwrap();
        check_at_the_mark(&world, "Octopus").await;
        assert_eq!(outputs["restored"], 3);
        let done = |op: &str| world.done(op);
        assert_eq!(
            (done("restore database *"), done("restore log *"), done("recover *")),
            (1, 2, 1),
            "each effect once after {op} {nth}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_done_is_not_done_again() {
    // What lets everybody in is the last that is done.
    let world = World::with_faults(r#"[{"op": "alter database Octopus", "nth": 3, "do": "hold"}]"#).await;
    let chain = story(&world).await;
    let (notes, found) = world.crashed(&Restore, with(&chain)).await;
    let Reconciled::Done(outputs) = found else { panic!("{found:?}") };
    assert_eq!((&outputs["state"], &outputs["restored"]), (&json!("ONLINE"), &json!(3)));
    assert!(outputs["redo_lsn"].is_string(), "{outputs}");
    check_at_the_mark(&world, "Octopus").await;
    assert_eq!(notes.len(), 4, "begun, and each set: {notes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_before_it_did_anything_is_done_by_the_next_attempt() {
    for (op, nth) in [("restore database Octopus", 1), ("restore log Octopus", 1), ("recover Octopus", 1)] {
        let fault = json!([{ "op": op, "nth": nth, "do": "cut_before" }]).to_string();
        let world = World::with_faults(&fault).await;
        let chain = story(&world).await;
        let host = world.host("r1/step/1", Vec::new());
        let error = Restore.execute(&host.ctx(Some("t")), given(with(&chain)), None).await.unwrap_err();
        assert!(error.unknown && error.code == "sqlserver.lost", "{error}");
        let found = world.settled(&Restore, with(&chain), host.notes()).await;
        let Reconciled::Partly(from) = found else { panic!("{op}: {found:?}") };
        assert_eq!(from == "nothing", op.starts_with("restore database"), "{op}: {from}");
        let outputs = world.again(&Restore, with(&chain), host.notes(), Some(from)).await.unwrap();
        assert!(outputs["redo_lsn"].is_string(), "{op}: {outputs}");
        check_at_the_mark(&world, "Octopus").await;
        assert_eq!((world.done("restore database *"), world.done("restore log *")), (1, 2), "{op}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_unclear_what_was_done_the_next_attempt_fails_and_says_why() {
    let world = World::practice().await;
    let chain = story(&world).await;
    // It began on a database that was not there, and now there is one that nothing says was restored.
    let begun = json!({ "begun": { "was": null, "fork": null, "history": 4_000, "session_id": 51 } });
    let found = world.settled(&Restore, with(&chain), vec![begun.clone()]).await;
    let Reconciled::Partly(from) = found else { panic!("{found:?}") };
    let error = world.again(&Restore, with(&chain), vec![begun], Some(from)).await.unwrap_err();
    assert_eq!(error.code, "restore.unclear");
    assert!(error.message.contains("neither msdb nor the run's notes say"), "{error}");
    assert!(error.help.unwrap().contains("--redo STEP"));
    assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(5), "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_fails_is_where_the_next_attempt_begins() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let file = world.dir.path().join("store").join(chain["backups"][2]["artifacts"][0].as_str().unwrap());
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    let host = world.host("r1/step/1", Vec::new());
    let error = Restore.execute(&host.ctx(Some("t")), given(with(&chain)), None).await.unwrap_err();
    assert!(error.code == "sqlserver.3201" && !error.unknown, "{error:?}");
    assert!(
        error.message.starts_with("RESTORE LOG [Octopus] (set 3 of 3): Cannot open backup device"),
        "{error}"
    );
    assert!(error.help.unwrap().contains("is now RESTORING"));
    std::fs::rename(&away, &file).unwrap();
    world.again(&Restore, with(&chain), host.notes(), None).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
    assert_eq!(world.done("restore database *"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_closed_for_nothing_is_opened_again() {
    let world = World::with_faults(
        r#"[{"op": "restore database *", "do": "error", "code": 3257, "message": "There is insufficient free space."}]"#,
    )
    .await;
    let chain = story(&world).await;
    let error = world.outputs(&Restore, with(&chain)).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3257");
    assert!(
        error.help.as_deref().unwrap().ends_with("database Octopus is as it was, and open again"),
        "{error:?}"
    );
    assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_cancelled_is_stopped_at_the_server() {
    let world = World::with_faults(r#"[{"op": "restore log *", "do": "slow", "ms": 600000}]"#).await;
    let chain = story(&world).await;
    let host = world.host("r1/step/1", Vec::new());
    let ctx = host.ctx(Some("t"));
    let execute = Restore.execute(&ctx, given(with(&chain)), None);
    let cancel = async {
        let running = "SELECT COUNT_BIG(*) FROM sys.dm_exec_requests WHERE command = N'RESTORE LOG'";
        while world.one("master", running).await != json!(1) {
            tokio::task::yield_now().await;
        }
        let asking = world.host("r1/step/1", host.notes()).ctx(Some("t"));
        let found = Restore.reconcile(&asking, given(with(&chain))).await;
        assert_eq!(found, Ok(Reconciled::Busy(1000)), "what still runs is not judged");
        Restore.cancel(&asking, given(with(&chain))).await.unwrap();
    };
    let (ended, ()) = tokio::join!(execute, cancel);
    assert!(ended.unwrap_err().unknown);
    let found = world.settled(&Restore, with(&chain), host.notes()).await;
    assert_eq!(found, Reconciled::Partly(json!({ "sets": 1 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_that_asks_shows_what_is_then_sent() {
    use sha2::Digest;
    let world = World::practice().await;
    let chain = story(&world).await;
    let found = Restore.preflight(&world.ctx(), given(with(&chain))).await.unwrap();
    assert!(found.findings.iter().all(|finding| !finding.fatal), "{:?}", found.findings);
    let given = given(with(&chain));
    let shown = Restore
        .actions(Some("t"), &drydock_step::Given { with: &given.with, fill: None }, &found.facts)
        .unwrap();
    assert_eq!(shown.len(), 6, "{shown:?}");
    let full = &shown[1].text;
    assert!(full.contains(&format!("{}/store/sql/Octopus_full_", world.dir.path().display())), "{full}");
    assert!(full.contains("MOVE N'Octopus' TO N'") && full.contains("MOVE N'Octopus_log' TO N'"), "{full}");
    world.outputs(&Restore, with(&chain)).await.unwrap();
    let digest = |text: &str| -> String {
        sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let shown: Vec<String> = shown.iter().map(|action| digest(&action.text)).collect();
    assert_eq!(world.digests(), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_restore_from_working_is_found_before() {
    let world = Arc::new(World::practice().await);
    let chain = story(&world).await;
    let check = |with: Value, expected: Vec<&'static str>| {
        let world = world.clone();
        async move {
            let found = Restore.preflight(&world.ctx(), given(with.clone())).await.unwrap();
            let codes: Vec<_> = found.findings.iter().filter(|f| f.fatal).map(|f| f.code.clone()).collect();
            assert_eq!(codes, expected, "{with}");
        }
    };
    check(with(&chain), vec![]).await;
    let exists = json!({ "database": "Octopus", "chain": chain });
    check(exists, vec!["restore.exists", "sqlserver.3159"]).await;
    let mut gap = chain.clone();
    gap["backups"].as_array_mut().unwrap().remove(1);
    check(with(&gap), vec!["restore.chain"]).await;
    let mut unseen = chain.clone();
    unseen["backups"][0]["artifacts"] = json!(["elsewhere/x.bak"]);
    check(with(&unseen), vec!["sqlserver.unseen"]).await;
    let mut foreign = chain.clone();
    foreign["backups"][0]["artifacts"] = json!([]);
    foreign["backups"][0]["backup"]["server"] = json!("SQL99");
    check(with(&foreign), vec!["sqlserver.unseen"]).await;
    let mut swapped = chain.clone();
    swapped["backups"][1]["artifacts"] = chain["backups"][2]["artifacts"].clone();
    check(with(&swapped), vec!["restore.other_set"]).await;
    let mut absent = chain.clone();
    absent["backups"][1]["artifacts"] = json!(["sql/absent.trn"]);
    check(with(&absent), vec!["sqlserver.3201"]).await;
    let mut placed = with(&chain);
    placed["move"] = json!({ "Octopus": "/nowhere/at/all/x.mdf", "nofile": "/x" });
    check(placed.clone(), vec!["sqlserver.3234"]).await;
    placed["move"] = json!({ "Octopus": "/nowhere/at/all/x.mdf" });
    check(placed, vec!["sqlserver.5133"]).await;
    let file = world.dir.path().join("store").join(chain["backups"][1]["artifacts"][0].as_str().unwrap());
    std::fs::write(file, "this is no backup").unwrap();
    check(with(&chain), vec!["sqlserver.3241"]).await;
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

/// What `sys.databases` says of a database: state, access, and whether it can only be read.
async fn access(world: &World, database: &str) -> Value {
    let sql =
        format!("SELECT state_desc + N' ' + user_access_desc FROM sys.databases WHERE name = N'{database}'");
    world.one("master", &sql).await
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
async fn a_restricted_restore_whose_end_was_lost_is_known_to_be_done() {
    let world = World::with_faults(r#"[{"op": "recover *", "do": "hold"}]"#).await;
    let chain = story(&world).await;
    let mut with = with(&chain);
    with["restricted_user"] = json!(true);
    let (_, found) = world.crashed(&Restore, with).await;
    let Reconciled::Done(outputs) = found else { panic!("{found:?}") };
    assert_eq!(outputs["user_access"], "RESTRICTED_USER");
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
async fn a_standby_whose_answers_were_lost_goes_on_where_it_was() {
    for (op, nth, expected) in
        [("restore log Copy", 1, json!({ "sets": 2 })), ("restore log Copy", 2, json!({ "sets": 3 }))]
    {
        let fault = json!([{ "op": op, "nth": nth, "do": "hold" }]).to_string();
        let world = World::with_faults(&fault).await;
        let chain = story(&world).await;
        let undo = world.dir.path().join("server/data/undo.tuf").display().to_string();
        let with = json!({ "database": "Octopus", "into": "Copy", "chain": chain, "standby": undo });
        let (notes, found) = world.crashed(&Restore, with.clone()).await;
        assert_eq!(found, Reconciled::Partly(expected.clone()), "{op}");
        let outputs = world.again(&Restore, with, notes, Some(expected)).await.unwrap();
        assert_eq!((&outputs["state"], &outputs["mark"]), (&json!("STANDBY"), &json!("dd_1")));
        assert_eq!((world.done("restore database *"), world.done("restore log *")), (1, 2), "{op}");
    }
    let world = World::with_faults(r#"[{"op": "recover Copy", "do": "hold"}]"#).await;
    let chain = story(&world).await;
    let undo = world.dir.path().join("server/data/undo.tuf").display().to_string();
    let with = json!({ "database": "Octopus", "into": "Copy", "chain": chain, "standby": undo });
    let (_, found) = world.crashed(&Restore, with).await;
    let Reconciled::Done(outputs) = found else { panic!("{found:?}") };
    assert_eq!(outputs["state"], "STANDBY");
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

async fn names(world: &World) -> Value {
    let sql = "SELECT name FROM sys.databases WHERE name LIKE N'Octopus%' ORDER BY name";
    let connection = world.connection().await;
    let found = connection.rows().unwrap().rows(Some("master"), sql).await.unwrap();
    found.rows.iter().map(|row| row["name"].clone()).collect()
}

fn beside(chain: &Value, keep_old: bool) -> Value {
    let mut with = with(chain);
    with["strategy"] = json!("beside");
    with["keep_old"] = json!(keep_old);
    with
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_beside_takes_the_name_once_it_has_proved_itself() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let outputs = world.outputs(&Restore, beside(&chain, true)).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
    assert_eq!(
        (&outputs["strategy"], &outputs["kept_as"], &outputs["database"]),
        (&json!("beside"), &json!("Octopus_before_restore"), &json!("Octopus"))
    );
    assert_eq!(names(&world).await, json!(["Octopus", "Octopus_before_restore"]));
    assert_eq!(access(&world, "Octopus_before_restore").await, json!("OFFLINE SINGLE_USER"));
    world.run("master", "ALTER DATABASE [Octopus_before_restore] SET ONLINE").await;
    assert_eq!(world.one("Octopus_before_restore", "SELECT MAX(Id) FROM agents").await, json!(5));
    // Once more: the names and paths of the first time are taken.
    let outputs = world.outputs(&Restore, beside(&chain, false)).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
    assert_eq!(outputs["kept_as"], Value::Null);
    assert_eq!(names(&world).await, json!(["Octopus", "Octopus_before_restore"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_prove_itself_beside_destroys_nothing() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let file = world.dir.path().join("store").join(chain["backups"][2]["artifacts"][0].as_str().unwrap());
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    let host = world.host("r1/step/1", Vec::new());
    let error = Restore.execute(&host.ctx(Some("t")), given(beside(&chain, true)), None).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3201");
    assert_eq!(access(&world, "Octopus").await, json!("ONLINE MULTI_USER"), "the patient was not touched");
    assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(5));
    std::fs::rename(&away, &file).unwrap();
    world.again(&Restore, beside(&chain, true), host.notes(), None).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
    assert_eq!(world.done("restore database *"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_were_half_swapped_are_swapped_to_the_end() {
    // 1 makes it FULL; then the patient is closed (2) and renamed (3), the other gets its name (4), the patient goes offline, the
    // database is opened to all (5).
    for (op, nth) in [
        ("alter database Octopus", 2),
        ("alter database Octopus", 3),
        ("alter database Octopus_restoring", 1),
        ("alter database Octopus_before_restore", 1),
        ("alter database Octopus", 4),
    ] {
        let fault = json!([{ "op": op, "nth": nth, "do": "hold" }]).to_string();
        let world = World::with_faults(&fault).await;
        let chain = story(&world).await;
        let (notes, found) = world.crashed(&Restore, beside(&chain, true)).await;
        if let Reconciled::Partly(from) = found {
            assert_eq!(from, json!("swapping"), "{op} {nth}");
            world.again(&Restore, beside(&chain, true), notes, Some(from)).await.unwrap();
        } else {
            assert!(matches!(found, Reconciled::Done(_)) && nth == 4, "{op} {nth}: {found:?}");
        }
        check_at_the_mark(&world, "Octopus").await;
        assert_eq!(names(&world).await, json!(["Octopus", "Octopus_before_restore"]), "{op} {nth}");
        assert_eq!(access(&world, "Octopus_before_restore").await, json!("OFFLINE SINGLE_USER"));
        assert_eq!((world.done("restore database *"), world.done("restore log *")), (1, 2), "{op} {nth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_goes_beside_where_it_can_and_says_why() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let mut auto = with(&chain);
    auto["strategy"] = json!("auto");
    let found = Restore.preflight(&world.ctx(), given(auto.clone())).await.unwrap();
    let said = found.findings.iter().find(|finding| finding.code == "restore.beside").unwrap();
    assert!(
        said.message.contains("beside what is there: what is there is ONLINE, and there is room"),
        "{said:?}"
    );
    let shown = Restore
        .actions(
            Some("t"),
            &drydock_step::Given { with: &given(auto.clone()).with, fill: None },
            &found.facts,
        )
        .unwrap();
    let shown: Vec<&str> = shown.iter().map(|action| action.text.as_str()).collect();
    assert!(shown[0].starts_with("RESTORE DATABASE [Octopus_restoring] FROM"), "{shown:?}");
    assert!(shown[4].contains("MODIFY NAME = [Octopus_before_restore]"), "{shown:?}");
    world.run("master", "ALTER DATABASE [Octopus] SET OFFLINE WITH ROLLBACK IMMEDIATE").await;
    let found = Restore.preflight(&world.ctx(), given(auto.clone())).await.unwrap();
    let said = found.findings.iter().find(|finding| finding.code == "restore.beside").unwrap();
    assert!(said.message.contains("in place: database Octopus is OFFLINE"), "{said:?}");
    let mut insisted = auto.clone();
    insisted["strategy"] = json!("beside");
    let error = world.outputs(&Restore, insisted).await.unwrap_err();
    assert!(error.code == "restore.beside" && error.message.contains("only one that is ONLINE"), "{error}");
    let outputs = world.outputs(&Restore, auto).await.unwrap();
    assert_eq!(outputs["strategy"], "in_place");
    check_at_the_mark(&world, "Octopus").await;
}

/// What a preflight finds: codes, and whether they are fatal.
async fn found(world: &World, with: Value) -> Vec<(String, bool, String)> {
    let found = Restore.preflight(&world.ctx(), given(with)).await.unwrap();
    found
        .findings
        .into_iter()
        .map(|one| (one.code, one.fatal, one.message + "; " + &one.help.unwrap_or_default()))
        .collect()
}

#[track_caller]
fn assert_found(found: &[(String, bool, String)], code: &str, fatal: bool, words: &str) {
    let one = found.iter().find(|(found, is_fatal, _)| found == code && *is_fatal == fatal);
    let Some((_, _, said)) = one else { panic!("no {code} in {found:?}") };
    assert!(said.contains(words), "{said}");
}

/// What surrounds the practice server from now on.
fn surround(world: &World, surroundings: Value) {
    let file = world.dir.path().join("server/surroundings.json");
    std::fs::write(file, surroundings.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_surrounds_the_server_is_found_before() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let volume = |bytes: i64| json!({ "volumes": [{ "mount": "/", "total_bytes": 1_i64 << 40, "available_bytes": bytes }] });
    let fresh = json!({ "database": "Octopus", "into": "Fresh", "chain": chain });
    surround(&world, volume(1000));
    assert_found(&found(&world, fresh.clone()).await, "sqlserver.3257", true, "1000 bytes free");
    let error = world.outputs(&Restore, fresh.clone()).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3257", "the server says the same");
    surround(&world, json!({ "major": 15 }));
    assert_found(&found(&world, fresh.clone()).await, "sqlserver.3169", true, "this server is 15.0.4385.2");
    assert_eq!(world.outputs(&Restore, fresh.clone()).await.unwrap_err().code, "sqlserver.3169");
    surround(&world, json!({ "replicas": ["Octopus"] }));
    assert_found(&found(&world, with(&chain)).await, "sqlserver.3104", true, "REMOVE DATABASE [Octopus]");
    let error = world.outputs(&Restore, with(&chain)).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3104");
    assert!(error.help.unwrap().ends_with("database Octopus is as it was, and open again"));
    let mut insisted = with(&chain);
    insisted["strategy"] = json!("beside");
    assert_found(&found(&world, insisted).await, "restore.beside", true, "belongs to an availability group");
    surround(&world, json!({ "mirrored": ["octopus"] }));
    assert_found(&found(&world, with(&chain)).await, "sqlserver.3104", true, "SET PARTNER OFF");
    surround(&world, json!({ "published": ["Octopus"] }));
    assert_found(&found(&world, with(&chain)).await, "restore.replicated", false, "keep_replication");
    surround(&world, json!({}));
    let mut auto = with(&chain);
    auto["strategy"] = json!("auto");
    assert_found(&found(&world, auto.clone()).await, "restore.beside", false, "room for both");
    surround(&world, volume(1000));
    assert_found(&found(&world, auto).await, "restore.beside", false, "in place: / has 1000 bytes free");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restore_would_end_or_lose_is_told_before() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let inside = world.connection().await;
    inside.script().unwrap().run_script("Octopus", "SELECT 1").await.unwrap();
    let all = found(&world, with(&chain)).await;
    assert_found(&all, "sqlserver.3101", false, "login drydock, `drydock r1/other/1` on");
    assert_found(&all, "sqlserver.3101", false, "one of Drydock's own");
    assert_found(&all, "sqlserver.3159", false, "since its last log backup at");
    assert_found(&all, "sqlserver.3159", false, "BACKUP LOG [Octopus] TO … WITH NORECOVERY");
    let without = found(&world, json!({ "database": "Octopus", "chain": chain })).await;
    assert_found(&without, "sqlserver.3159", true, "is in no backup");
    assert_found(&without, "restore.exists", true, "`replace: true`");
    // A file that nobody has lies where one shall be made.
    let stray = world.dir.path().join("server/data/stray.mdf");
    std::fs::write(&stray, "x").unwrap();
    let mut placed =
        json!({ "database": "Octopus", "into": "Fresh", "chain": chain, "move": { "Octopus": stray } });
    assert_found(
        &found(&world, placed.clone()).await,
        "sqlserver.3142",
        true,
        "no database of this server has it",
    );
    assert_eq!(world.outputs(&Restore, placed.clone()).await.unwrap_err().code, "sqlserver.3142");
    placed["move"] = json!({ "Octopus": stray, "Octopus_log": stray });
    assert_found(
        &found(&world, placed).await,
        "sqlserver.3176",
        true,
        "Octopus and Octopus_log would both be",
    );
    let own = world.one("master", "SELECT physical_name FROM sys.master_files WHERE name = N'Octopus'").await;
    let taken = json!({ "database": "Octopus", "into": "Fresh", "chain": chain, "move": { "Octopus": own } });
    assert_found(&found(&world, taken).await, "sqlserver.1834", true, "in use by database Octopus");
    for (standby, words) in
        [("undo.tuf", "it must be absolute"), ("/nowhere/undo.tuf", "sees no folder /nowhere")]
    {
        let standby = json!({ "database": "Octopus", "into": "Fresh", "chain": chain, "standby": standby });
        assert_found(&found(&world, standby).await, "sqlserver.3170", true, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_restore_that_runs_is_told_before() {
    let world = World::with_faults(r#"[{"op": "restore database Busy", "do": "slow", "ms": 600000}]"#).await;
    let chain = story(&world).await;
    let host = world.host("r0/busy/1", Vec::new());
    let ctx = host.ctx(Some("t"));
    let busy = json!({ "database": "Octopus", "into": "Busy", "chain": chain });
    let working = Restore.execute(&ctx, given(busy.clone()), None);
    let asking = async {
        let running = "SELECT COUNT_BIG(*) FROM sys.dm_exec_requests WHERE command = N'RESTORE DATABASE'";
        while world.one("master", running).await != json!(1) {
            tokio::task::yield_now().await;
        }
        let all = found(&world, with(&chain)).await;
        assert_found(&all, "sqlserver.3023", false, "`drydock r0/busy/1`");
        Restore.cancel(&world.host("r0/busy/1", host.notes()).ctx(Some("t")), given(busy)).await.unwrap();
    };
    let (ended, ()) = tokio::join!(working, asking);
    assert!(ended.unwrap_err().unknown);
}

/// Everything that a restored Octopus holds.
async fn contents(world: &World, database: &str) -> Value {
    let connection = world.connection().await;
    let mut all = Vec::new();
    for sql in
        ["SELECT Id, Name FROM agents ORDER BY Id", "SELECT mark, run FROM drydock.marks ORDER BY mark"]
    {
        let found = connection.rows().unwrap().rows(Some(database), sql).await.unwrap();
        all.push(json!(
            found.rows.iter().map(|row| row.values().cloned().collect::<Vec<_>>()).collect::<Vec<_>>()
        ));
    }
    Value::Array(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_dies_in_the_middle_of_a_set_ends_where_an_uncut_one_does() {
    let world = World::practice().await;
    let chain = story(&world).await;
    world.outputs(&Restore, with(&chain)).await.unwrap();
    let uncut = contents(&world, "Octopus").await;
    for (op, nth, command, from) in [
        ("restore database Octopus", 1, "RESTORE DATABASE", "nothing"),
        ("restore log Octopus", 1, "RESTORE LOG", "sets"),
        ("restore log Octopus", 2, "RESTORE LOG", "sets"),
    ] {
        let fault = json!([{ "op": op, "nth": nth, "do": "slow", "ms": 600_000 }]).to_string();
        let world = World::with_faults(&fault).await;
        let chain = story(&world).await;
        let host = world.host("r1/step/1", Vec::new());
        let ctx = host.ctx(Some("t"));
        let halfway = async {
            let running = format!(
                "SELECT COUNT_BIG(*) FROM sys.dm_exec_requests WHERE command = N'{command}' AND percent_complete >= 0"
            );
            let sets = if nth == 2 { 3 } else { 1 };
            while world.one("master", &running).await != json!(1) || host.notes().len() < sets {
                tokio::task::yield_now().await;
            }
        };
        // The connection goes with the runner, and the server ends what it did for it.
        tokio::select! {
            ended = Restore.execute(&ctx, given(with(&chain)), None) => panic!("{op} was not slow: {ended:?}"),
            () = halfway => {}
        }
        let found = world.settled(&Restore, with(&chain), host.notes()).await;
        let Reconciled::Partly(partly) = found else { panic!("{op} {nth}: {found:?}") };
        assert!(partly == from || partly.get(from).is_some(), "{op} {nth}: {partly}");
        world.again(&Restore, with(&chain), host.notes(), Some(partly)).await.unwrap();
        check_at_the_mark(&world, "Octopus").await;
        assert_eq!(contents(&world, "Octopus").await, uncut, "{op} {nth}");
    }
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

/// Two databases with one mark in both, rows before it and after it, and the chains of both to it.
async fn pair(world: &World) -> Value {
    octopus(world).await;
    world.run("master", "IF DB_ID(N'Second') IS NOT NULL DROP DATABASE [Second]\nGO\nCREATE DATABASE [Second]\nGO\nALTER DATABASE [Second] SET RECOVERY FULL").await;
    world
        .run(
            "Second",
            "CREATE SCHEMA [drydock]\nGO\n\
             CREATE TABLE [drydock].[marks] ([mark] nvarchar(32) NOT NULL PRIMARY KEY, [at] datetime2 NOT NULL, [run] nvarchar(64) NULL)\nGO\n\
             CREATE TABLE [agents] ([Id] int NOT NULL PRIMARY KEY, [Name] nvarchar(40) NOT NULL)",
        )
        .await;
    let mut full = Vec::new();
    for name in ["Octopus", "Second"] {
        full.push(step(world, "full", &Backup, json!({ "database": name, "type": "full" })).await);
        world.run(name, "INSERT INTO agents VALUES (4, N'Di')").await;
    }
    let mark = json!({ "mark": "dd_pair", "databases": { "octopus": "Octopus", "second": "Second" } });
    let mark = step(world, "mark", &Mark, mark).await;
    let mut group = Vec::new();
    for (name, key, full) in [("Octopus", "octopus", &full[0]), ("Second", "second", &full[1])] {
        world.run(name, "INSERT INTO agents VALUES (5, N'late')").await;
        let log = step(world, "log", &Backup, json!({ "database": name, "type": "log" })).await;
        let stop = json!({ "name": "dd_pair", "lsn": mark["databases"][key]["lsn"] });
        group.push(json!({ "database": name, "chain": { "backups": [full, log], "stop_at_mark": stop } }));
    }
    json!({ "group": group, "replace": true, "strategy": "in_place" })
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
async fn the_others_of_a_group_wait_at_the_mark_for_the_one_that_failed() {
    let world = World::practice().await;
    let group = pair(&world).await;
    let log = &group["group"][0]["chain"]["backups"][1]["artifacts"][0];
    let file = world.dir.path().join("store").join(log.as_str().unwrap());
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    let host = world.host("r1/step/1", Vec::new());
    let error = Restore.execute(&host.ctx(Some("t")), given(group.clone()), None).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3201");
    assert!(
        error
            .help
            .unwrap()
            .contains("Second of the group stand RESTORING at the mark, and a resume goes on with Octopus")
    );
    for name in ["Octopus", "Second"] {
        let state = format!("SELECT state_desc FROM sys.databases WHERE name = N'{name}'");
        assert_eq!(world.one("master", &state).await, json!("RESTORING"), "{name}");
    }
    std::fs::rename(&away, &file).unwrap();
    world.again(&Restore, group, host.notes(), None).await.unwrap();
    for name in ["Octopus", "Second"] {
        assert_eq!(world.one(name, "SELECT MAX(Id) FROM agents").await, json!(4), "{name}");
        assert_eq!(access(&world, name).await, json!("ONLINE MULTI_USER"));
    }
    assert_eq!((world.done("restore database *"), world.done("restore log *")), (2, 2), "each set once");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_beside_and_both_names_are_swapped() {
    let world = World::practice().await;
    let mut group = pair(&world).await;
    group["strategy"] = json!("beside");
    group["restricted_user"] = json!(true);
    let outputs = world.outputs(&Restore, group).await.unwrap();
    for name in ["Octopus", "Second"] {
        assert_eq!(world.one(name, "SELECT MAX(Id) FROM agents").await, json!(4), "{name}");
        assert_eq!(access(&world, name).await, json!("ONLINE RESTRICTED_USER"));
        assert_eq!(outputs["databases"][name]["kept_as"], json!(format!("{name}_before_restore")));
    }
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
async fn a_step_that_is_run_again_on_purpose_restores_again() {
    for more in [json!({ "restricted_user": true }), json!({ "strategy": "beside", "keep_old": false })] {
        let world = World::practice().await;
        let chain = story(&world).await;
        let mut with = with(&chain);
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let host = world.host("r1/step/1", Vec::new());
        Restore.execute(&host.ctx(Some("t")), given(with.clone()), None).await.unwrap();
        world.run("Octopus", "INSERT INTO agents VALUES (77, N'since')").await;
        world.again(&Restore, with, host.notes(), None).await.unwrap();
        assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(4), "{more}");
        assert_eq!(world.done("restore database *"), 2, "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_beyond_the_log_leaves_the_database_restoring_and_says_so() {
    let world = World::practice().await;
    octopus(&world).await;
    let backup = |kind: &str| json!({ "database": "Octopus", "type": kind });
    let full = step(&world, "full", &Backup, backup("full")).await;
    world.run("Octopus", "INSERT INTO agents VALUES (3, N'Cy')").await;
    let mut log = step(&world, "log", &Backup, backup("log")).await;
    // A history that tells of a longer log than there is, as a clock that went wrong would.
    log["backup"]["finished_at"] = json!("2098-01-01T00:00:00Z");
    let with = json!({
        "database": "Octopus", "into": "Copy", "chain": [full, log], "stop_at": "2097-01-01T00:00:00Z",
    });
    let host = world.host("r1/step/1", Vec::new());
    let error = Restore.execute(&host.ctx(Some("t")), given(with.clone()), None).await.unwrap_err();
    assert!(error.code == "restore.beyond" && !error.unknown, "{error:?}");
    assert!(error.message.contains("before the moment 2097-01-01T00:00:00Z"), "{error}");
    assert!(error.help.unwrap().contains("left RESTORING"));
    let state = "SELECT state_desc FROM sys.databases WHERE name = N'Copy'";
    assert_eq!(world.one("master", state).await, json!("RESTORING"));
    let again = world.again(&Restore, with, host.notes(), None).await.unwrap_err();
    assert_eq!(again.code, "restore.beyond", "nor does another attempt open it");
    assert_eq!(world.one("master", state).await, json!("RESTORING"));
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
