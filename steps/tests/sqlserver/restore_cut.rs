//! `sqlserver.restore` that was cut off, failed or cancelled: what the next attempt finds and does.

use drydock_step::test_host::given;
use drydock_step::{Kind, Reconciled};
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::restore::Restore;
use serde_json::json;

use crate::restore_story::{access, check_at_the_mark, contents, pair, step, story, with};
use crate::world::{World, octopus};

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
