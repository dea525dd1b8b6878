//! Sessions of the practice SQL Server beside one another: locks, exclusive access, faults, restarts.

mod sqlserver_support;

use sqlserver_support::{Making, World, connect, error_of, one, rows, run};

#[tokio::test(flavor = "multi_thread")]
async fn exclusive_access_is_taken_and_given_back() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop; CREATE TABLE shop.dbo.t (id int)").await;
    let disk = world.media("full.bak");
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {disk}")).await;
    let restore = format!("RESTORE DATABASE shop FROM DISK = {disk} WITH REPLACE");
    let mut config = world.config();
    config.database("shop");
    config.application_name("drydock 01JRUN/restore_sql/1");
    let mut other = connect(config).await.unwrap();
    let inside = "SELECT program_name FROM sys.dm_exec_sessions WHERE database_id = DB_ID(N'shop') AND session_id <> @@SPID";
    assert_eq!(one(&mut conn, inside).await, "drydock 01JRUN/restore_sql/1");
    assert_eq!(error_of(&mut conn, &restore).await, 3101);
    assert_eq!(error_of(&mut conn, "DROP DATABASE shop").await, 3702);
    assert_eq!(error_of(&mut conn, "ALTER DATABASE shop SET SINGLE_USER WITH NO_WAIT").await, 5061);
    run(&mut conn, "ALTER DATABASE shop SET OFFLINE WITH ROLLBACK IMMEDIATE").await;
    assert!(other.simple_query("SELECT 1").await.is_err(), "whoever was inside is cut off");
    assert_eq!(error_of(&mut conn, "USE shop").await, 942);
    run(&mut conn, &restore).await;
    run(&mut conn, "ALTER DATABASE shop SET SINGLE_USER WITH ROLLBACK IMMEDIATE; USE shop").await;
    assert_eq!(
        one(&mut conn, "SELECT user_access_desc FROM sys.databases WHERE name = 'shop'").await,
        "SINGLE_USER"
    );
    let mut third = world.connect().await;
    assert_eq!(error_of(&mut third, "USE shop").await, 924);
    run(
        &mut conn,
        "USE master; ALTER DATABASE shop SET MULTI_USER; ALTER DATABASE shop MODIFY NAME = market",
    )
    .await;
    run(&mut third, "USE market; SELECT COUNT(*) FROM t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_seen_whole_or_not_at_all() {
    let world = World::new().await;
    let (mut one_side, mut other) = (world.connect().await, world.connect().await);
    run(&mut one_side, "CREATE DATABASE shop; CREATE TABLE shop.dbo.t (id int PRIMARY KEY)").await;
    run(&mut one_side, "BEGIN TRAN; INSERT INTO shop.dbo.t VALUES (1)").await;
    assert_eq!(one(&mut other, "SELECT COUNT(*) FROM shop.dbo.t").await, "0");
    assert_eq!(error_of(&mut other, "SET LOCK_TIMEOUT 50; INSERT INTO shop.dbo.t VALUES (2)").await, 1222);
    run(&mut one_side, "INSERT INTO shop.dbo.t VALUES (3); COMMIT").await;
    assert_eq!(one(&mut other, "SELECT COUNT(*) FROM shop.dbo.t").await, "2");
    run(&mut one_side, "BEGIN TRAN; DELETE FROM shop.dbo.t; CREATE TABLE shop.dbo.u (id int); ROLLBACK")
        .await;
    assert_eq!(one(&mut other, "SELECT COUNT(*) FROM shop.dbo.t").await, "2");
    assert_eq!(one(&mut other, "SELECT OBJECT_ID(N'shop.dbo.u')").await, "NULL");
    // Without XACT_ABORT the rest of a batch runs, with it nothing is left.
    assert_eq!(
        error_of(
            &mut one_side,
            "BEGIN TRAN; INSERT INTO shop.dbo.t VALUES (4); INSERT INTO shop.dbo.t VALUES (4); COMMIT"
        )
        .await,
        2627
    );
    assert_eq!(one(&mut other, "SELECT COUNT(*) FROM shop.dbo.t").await, "3");
    assert_eq!(error_of(&mut one_side, "SET XACT_ABORT ON; BEGIN TRAN; INSERT INTO shop.dbo.t VALUES (5); INSERT INTO shop.dbo.t VALUES (5); COMMIT").await, 2627);
    assert_eq!(rows(&mut one_side, "SELECT COUNT(*), @@TRANCOUNT FROM shop.dbo.t").await, [["3", "0"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_while_others_write_is_of_one_moment() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop; CREATE TABLE shop.dbo.t (id int PRIMARY KEY); CREATE TABLE shop.dbo.u (id int PRIMARY KEY)").await;
    let mut writer = world.connect().await;
    let writing = tokio::spawn(async move {
        for id in 0..200 {
            run(&mut writer, &format!("BEGIN TRAN; INSERT INTO shop.dbo.t VALUES ({id}); INSERT INTO shop.dbo.u VALUES ({id}); COMMIT")).await;
        }
    });
    let disk = world.media("full.bak");
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {disk} WITH FORMAT")).await;
    while !writing.is_finished() {
        run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {disk} WITH FORMAT")).await;
    }
    writing.await.unwrap();
    run(&mut conn, &format!("RESTORE DATABASE shop FROM DISK = {disk} WITH REPLACE")).await;
    let counts =
        rows(&mut conn, "SELECT (SELECT COUNT(*) FROM shop.dbo.t), (SELECT COUNT(*) FROM shop.dbo.u)").await;
    assert_eq!(counts[0][0], counts[0][1]);
    run(&mut conn, "DBCC CHECKDB (N'shop') WITH NO_INFOMSGS").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn application_locks_exclude_one_another() {
    let world = World::new().await;
    let (mut one_side, mut other) = (world.connect().await, world.connect().await);
    let take = "DECLARE @r int; EXEC @r = sp_getapplock @Resource = '__EFMigrationsLock', @LockOwner = 'Session', @LockMode = 'Exclusive', @LockTimeout = 0; SELECT @r";
    assert_eq!(one(&mut one_side, take).await, "0");
    assert_eq!(one(&mut other, take).await, "-1");
    assert_eq!(
        one(&mut one_side, "SELECT APPLOCK_MODE('public', '__EFMigrationsLock', 'Session')").await,
        "Exclusive"
    );
    let held = "SELECT request_session_id FROM sys.dm_tran_locks WHERE resource_type = 'APPLICATION' AND request_session_id = @@SPID";
    assert_ne!(one(&mut one_side, held).await, "no row");
    run(&mut one_side, "EXEC sp_releaseapplock @Resource = '__EFMigrationsLock', @LockOwner = 'Session'")
        .await;
    assert_eq!(one(&mut other, take).await, "0");
    assert_eq!(
        error_of(
            &mut one_side,
            "EXEC sp_releaseapplock @Resource = '__EFMigrationsLock', @LockOwner = 'Session'"
        )
        .await,
        1223
    );
    drop(other);
    while one(&mut one_side, take).await != "0" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_within_a_transaction_is_held_back_at_its_end() {
    let faults = r#"[{"server": "sqlserver", "op": "insert", "attempt": "r/*", "do": "hold"}]"#;
    let world = World::made(Making { faults, ..Making::default() }).await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop; CREATE TABLE shop.dbo.t (id int)").await;
    let mut config = world.config();
    config.application_name("drydock r/step/1");
    let mut held = connect(config).await.unwrap();
    run(&mut held, "BEGIN TRAN; INSERT INTO shop.dbo.t VALUES (1); ROLLBACK").await;
    run(&mut held, "BEGIN TRAN; INSERT INTO shop.dbo.t VALUES (2); COMMIT").await;
    assert_eq!(one(&mut conn, "SELECT id FROM shop.dbo.t").await, "2", "the first was met, and rolled back");
    run(&mut held, "BEGIN TRAN; SELECT id FROM shop.dbo.t; ROLLBACK").await;
    let ops =
        |of: &World| of.ledger.lines().into_iter().map(|line| (line.op, line.writes)).collect::<Vec<_>>();
    let undone = ops(&world).into_iter().filter(|(op, _)| op == "rollback").collect::<Vec<_>>();
    assert_eq!(undone, [("rollback".to_owned(), false)], "nothing was changed by the other");
    let faults = r#"[{"server": "sqlserver", "op": "insert", "do": "hold"}]"#;
    let world = World::made(Making { faults, ..Making::default() }).await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop; CREATE TABLE shop.dbo.t (id int)").await;
    let mut held = world.connect().await;
    tokio::select! {
        answer = held.simple_query("BEGIN TRAN; INSERT INTO shop.dbo.t VALUES (1); COMMIT") => panic!("answered: {}", answer.is_ok()),
        () = async { while !world.ledger.lines().iter().any(|line| line.held) { tokio::task::yield_now().await } } => {}
    }
    drop(held);
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM shop.dbo.t").await, "1", "what is held back is done");
    let lines: Vec<(String, bool)> =
        world.ledger.lines().into_iter().map(|line| (line.op, line.held)).collect();
    assert!(
        lines.contains(&("insert".into(), false)) && lines.contains(&("commit".into(), true)),
        "{lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_do_what_they_say_and_the_ledger_tells() {
    let faults = r#"[
        {"server": "sqlserver", "op": "backup log shop", "do": "cut_before"},
        {"server": "sqlserver", "op": "backup database shop", "nth": 2, "do": "disk_full"},
        {"server": "sqlserver", "op": "update", "attempt": "r/*", "do": "cut_after"},
        {"server": "sqlserver", "op": "mark dd_01", "do": "hold"},
        {"server": "sqlserver", "op": "delete", "do": "error", "code": 1205, "message": "deadlocked"}
    ]"#;
    let world = World::made(Making { faults, ..Making::default() }).await;
    let mut conn = world.connect().await;
    run(
        &mut conn,
        "CREATE DATABASE shop; CREATE TABLE shop.dbo.t (id int); INSERT INTO shop.dbo.t VALUES (1)",
    )
    .await;
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {}", world.media("a.bak"))).await;
    assert_eq!(
        error_of(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {}", world.media("b.bak"))).await,
        3202
    );
    assert_eq!(
        error_of(&mut conn, &format!("RESTORE VERIFYONLY FROM DISK = {}", world.media("b.bak"))).await,
        3256
    );
    assert_eq!(error_of(&mut conn, "DELETE FROM shop.dbo.t").await, 1205);
    let mut config = world.config();
    config.application_name("drydock r/step/1");
    let mut attempt = connect(config.clone()).await.unwrap();
    assert!(attempt.simple_query("UPDATE shop.dbo.t SET id = 2").await.is_err(), "cut after the work");
    assert_eq!(one(&mut conn, "SELECT id FROM shop.dbo.t").await, "2");
    let mut held = connect(config).await.unwrap();
    let mark = "BEGIN TRAN dd_01 WITH MARK; INSERT INTO shop.dbo.t VALUES (9); COMMIT";
    tokio::select! {
        answer = held.simple_query(mark) => panic!("answered: {}", answer.is_ok()),
        () = async { while !world.ledger.lines().iter().any(|line| line.op == "mark dd_01") { tokio::task::yield_now().await } } => {}
    }
    drop(held);
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM shop.dbo.t").await, "2", "the work was done");
    assert!(conn.simple_query(format!("BACKUP LOG shop TO DISK = {}", world.media("x.trn"))).await.is_err());
    let lines = world.ledger.lines();
    let line = |op: &str| {
        lines.iter().rev().find(|line| line.op == op).unwrap_or_else(|| panic!("{op} in {lines:?}"))
    };
    assert_eq!((line("update").attempt.as_deref(), line("update").writes), (Some("r/step/1"), true));
    assert_eq!(
        (lines[0].op.as_str(), lines[0].sha256.as_deref()),
        ("login", None),
        "nothing of the server's own"
    );
    assert!(line("mark dd_01").held);
    assert!(!line("backup database shop").writes, "it failed");
    assert!(line("create database shop").sha256.as_ref().is_some_and(|sha| sha.len() == 64));
    assert!(!lines.iter().any(|line| line.op == "backup log shop"), "nothing was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_knows_what_it_knew() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    run(
        &mut conn,
        "CREATE DATABASE shop; CREATE TABLE shop.dbo.t (id int); INSERT INTO shop.dbo.t VALUES (1)",
    )
    .await;
    run(&mut conn, &format!("BACKUP DATABASE shop TO DISK = {}", world.media("full.bak"))).await;
    run(&mut conn, "INSERT INTO shop.dbo.t VALUES (2)").await;
    let before = rows(&mut conn, "SELECT name, database_id, create_date FROM sys.databases").await;
    drop(conn);
    world.server.stop();
    let media = world.media("log.trn");
    let World { dir, server, .. } = world;
    drop(server);
    let world = World::in_folder(dir, Making::default()).await;
    let mut conn = world.connect().await;
    assert_eq!(rows(&mut conn, "SELECT name, database_id, create_date FROM sys.databases").await, before);
    run(&mut conn, &format!("BACKUP LOG shop TO DISK = {media}")).await;
    run(
        &mut conn,
        &format!("RESTORE DATABASE shop FROM DISK = {} WITH NORECOVERY, REPLACE", world.media("full.bak")),
    )
    .await;
    run(&mut conn, &format!("RESTORE LOG shop FROM DISK = {media} WITH RECOVERY")).await;
    assert_eq!(one(&mut conn, "SELECT SUM(id) FROM shop.dbo.t").await, "3");
}

/// Stops a world; its folder is what is left.
async fn stopped(world: World, conn: sqlserver_support::Conn) -> tempfile::TempDir {
    drop(conn);
    let mut watcher = world.connect().await;
    while one(&mut watcher, "SELECT COUNT(*) FROM sys.dm_exec_sessions").await != "1" {
        tokio::task::yield_now().await;
    }
    let World { dir, server, .. } = world;
    server.stop();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_in_the_log_before_it_is_in_the_data() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    for name in ["left", "right"] {
        run(&mut conn, &format!("CREATE DATABASE [{name}]; CREATE TABLE [{name}].dbo.t (id int)")).await;
    }
    let dir = stopped(world, conn).await;
    let data = |name: &str| dir.path().join(format!("data/{name}.mdf"));
    let before = ["left", "right"].map(|name| std::fs::read(data(name)).unwrap());
    let world = World::in_folder(dir, Making::default()).await;
    let mut conn = world.connect().await;
    run(&mut conn, "INSERT INTO [left].dbo.t VALUES (1)").await;
    run(
        &mut conn,
        "BEGIN TRAN; INSERT INTO [left].dbo.t VALUES (2); INSERT INTO [right].dbo.t VALUES (2); COMMIT",
    )
    .await;
    let dir = stopped(world, conn).await;
    let data = |name: &str| dir.path().join(format!("data/{name}.mdf"));
    // As a server that was killed leaves them: the data are behind their logs.
    for (name, bytes) in ["left", "right"].iter().zip(&before) {
        std::fs::write(data(name), bytes).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(dir.path().join(format!("data/{name}.mdf{suffix}")));
        }
    }
    let world = World::in_folder(dir, Making::default()).await;
    let mut conn = world.connect().await;
    assert_eq!(rows(&mut conn, "SELECT id FROM [left].dbo.t ORDER BY id").await, [["1"], ["2"]]);
    assert_eq!(rows(&mut conn, "SELECT id FROM [right].dbo.t").await, [["2"]]);
    let dir = stopped(world, conn).await;
    let data = |name: &str| dir.path().join(format!("data/{name}.mdf"));
    // The same, killed before the transaction was in the log that decides: it happened in neither.
    for (name, bytes) in ["left", "right"].iter().zip(&before) {
        std::fs::write(data(name), bytes).unwrap();
    }
    let whole = std::fs::read_to_string(dir.path().join("log/right_log.ldf")).unwrap();
    let kept: Vec<&str> = whole.lines().collect();
    let kept = kept[..kept.len() - 1].join("\n") + "\n";
    std::fs::write(dir.path().join("log/right_log.ldf"), kept).unwrap();
    let world = World::in_folder(dir, Making::default()).await;
    let mut conn = world.connect().await;
    assert_eq!(rows(&mut conn, "SELECT id FROM [left].dbo.t").await, [["1"]]);
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM [right].dbo.t").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_one_seed_draws_the_same_identifiers() {
    let mut found = Vec::new();
    for _ in 0..2 {
        let world = World::made(Making { seed: 42, ..Making::default() }).await;
        let mut conn = world.connect().await;
        run(&mut conn, "CREATE DATABASE shop").await;
        found.push(rows(&mut conn, "SELECT database_guid, family_guid, recovery_fork_guid FROM sys.database_recovery_status WHERE database_id = DB_ID('shop')").await);
    }
    assert_eq!(found[0], found[1]);
}
