//! The tokens of the practice SQL Server, one by one, as captures of real servers show them.

mod sqlserver_support;

use sqlserver_support::raw::Raw;
use sqlserver_support::{Making, World, run};

use drydock_practice::sqlserver::Attention;

#[tokio::test(flavor = "multi_thread")]
async fn statements_answer_with_their_tokens() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop; CREATE TABLE shop.dbo.t (id int NOT NULL)").await;
    let mut raw = Raw::open(world.server.addr()).await;
    let full = world.media("full.bak");
    let missing = world.media("missing.bak");
    let cases: Vec<(String, Vec<&str>)> = vec![
        ("SELECT 1".into(), vec!["COLUMNS 1", "ROW", "DONE 0x10 193 1"]),
        (
            "SELECT 1; SELECT 2".into(),
            vec!["COLUMNS 1", "ROW", "DONE 0x11 193 1", "COLUMNS 1", "ROW", "DONE 0x10 193 1"],
        ),
        ("DECLARE @x int".into(), vec!["DONE 0x00 0 0"]),
        ("PRINT 'a'".into(), vec!["INFO 0 state 1 class 0", "DONE 0x00 0 0"]),
        ("INSERT INTO shop.dbo.t VALUES (1), (2)".into(), vec!["DONE 0x10 195 2"]),
        ("SET NOCOUNT ON; UPDATE shop.dbo.t SET id = 3".into(), vec!["DONE 0x00 197 2"]),
        ("SET NOCOUNT OFF; DELETE FROM shop.dbo.t".into(), vec!["DONE 0x10 196 2"]),
        (
            "INSERT INTO shop.dbo.t VALUES (NULL)".into(),
            vec!["ERROR 515 state 2 class 16", "INFO 3621 state 0 class 0", "DONE 0x02 195 0"],
        ),
        (
            "USE shop; USE master".into(),
            vec![
                "ENVCHANGE 1",
                "INFO 5701 state 1 class 0",
                "DONE 0x01 226 0",
                "ENVCHANGE 1",
                "INFO 5701 state 1 class 0",
                "DONE 0x00 226 0",
            ],
        ),
        ("SELEKT".into(), vec!["ERROR 102 state 1 class 15", "DONE 0x02 253 0"]),
        ("SELECT * FROM nowhere; SELECT 1".into(), vec!["ERROR 208 state 1 class 16", "DONE 0x02 193 0"]),
        (
            "RAISERROR('x', 16, 1); SELECT 1".into(),
            vec!["ERROR 50000 state 1 class 16", "DONE 0x03 0 0", "COLUMNS 1", "ROW", "DONE 0x10 193 1"],
        ),
        (
            "BEGIN TRAN; COMMIT".into(),
            vec!["ENVCHANGE 8", "DONE 0x01 212 0", "ENVCHANGE 9", "DONE 0x00 213 0"],
        ),
        (
            "BEGIN TRAN a; BEGIN TRAN b WITH MARK; ROLLBACK".into(),
            vec![
                "ENVCHANGE 8",
                "DONE 0x01 212 0",
                "INFO 3920 state 1 class 0",
                "DONE 0x01 212 0",
                "ENVCHANGE 10",
                "DONE 0x00 210 0",
            ],
        ),
        (
            format!("BACKUP DATABASE shop TO DISK = {full} WITH FORMAT"),
            vec![
                "INFO 4035 state 1 class 0",
                "DONE 0x01 228 0",
                "INFO 4035 state 1 class 0",
                "DONE 0x01 228 0",
                "INFO 3014 state 1 class 0",
                "DONE 0x00 228 0",
            ],
        ),
        (
            format!("BACKUP DATABASE shop TO DISK = {full} WITH INIT, STATS = 50"),
            vec![
                "INFO 3211 state 1 class 0",
                "DONE 0x01 228 0",
                "INFO 3211 state 1 class 0",
                "DONE 0x01 228 0",
                "INFO 4035 state 1 class 0",
                "DONE 0x01 228 0",
                "INFO 4035 state 1 class 0",
                "DONE 0x01 228 0",
                "INFO 3014 state 1 class 0",
                "DONE 0x00 228 0",
            ],
        ),
        (
            format!("BACKUP LOG shop TO DISK = {}", world.media("l.trn")),
            vec![
                "INFO 4035 state 1 class 0",
                "DONE 0x01 235 0",
                "INFO 3014 state 1 class 0",
                "DONE 0x00 235 0",
            ],
        ),
        (
            format!("BACKUP DATABASE nowhere TO DISK = {full}"),
            vec!["ERROR 911 state 11 class 16", "ERROR 3013 state 1 class 16", "DONE 0x02 228 0"],
        ),
        (
            "BACKUP DATABASE shop TO DISK = '/nowhere/x.bak'".into(),
            vec!["ERROR 3201 state 1 class 16", "ERROR 3013 state 1 class 16", "DONE 0x02 228 0"],
        ),
        (
            format!("BACKUP DATABASE shop TO DISK = {full} WITH BOGUS"),
            vec!["ERROR 155 state 1 class 15", "DONE 0x02 253 0"],
        ),
        (
            format!("BEGIN TRAN; BACKUP DATABASE shop TO DISK = {full}; ROLLBACK"),
            vec![
                "ENVCHANGE 8",
                "DONE 0x01 212 0",
                "ERROR 3021 state 0 class 16",
                "ERROR 3013 state 1 class 16",
                "DONE 0x03 228 0",
                "ENVCHANGE 10",
                "DONE 0x00 210 0",
            ],
        ),
        (
            format!("RESTORE HEADERONLY FROM DISK = {missing}"),
            vec!["ERROR 3201 state 2 class 16", "ERROR 3013 state 1 class 16", "DONE 0x02 250 0"],
        ),
        (
            format!("RESTORE VERIFYONLY FROM DISK = {full}"),
            vec!["INFO 3262 state 1 class 0", "DONE 0x00 377 0"],
        ),
        (
            format!("RESTORE FILELISTONLY FROM DISK = {full}"),
            vec!["COLUMNS 22", "ROW", "ROW", "DONE 0x11 230 2", "DONE 0x00 376 0"],
        ),
        (
            format!("RESTORE HEADERONLY FROM DISK = {full}"),
            vec!["COLUMNS 59", "ROW", "DONE 0x11 230 1", "DONE 0x00 250 0"],
        ),
        (
            format!("RESTORE DATABASE copy FROM DISK = {full}"),
            vec![
                "ERROR 1834 state 1 class 16",
                "ERROR 3156 state 4 class 16",
                "ERROR 1834 state 1 class 16",
                "ERROR 3156 state 4 class 16",
                "ERROR 3119 state 1 class 16",
                "ERROR 3013 state 1 class 16",
                "DONE 0x02 229 0",
            ],
        ),
        (
            format!("USE shop; RESTORE DATABASE shop FROM DISK = {full}; USE master"),
            vec![
                "ENVCHANGE 1",
                "INFO 5701 state 1 class 0",
                "DONE 0x01 226 0",
                "ERROR 3102 state 1 class 16",
                "ERROR 3013 state 1 class 16",
                "DONE 0x03 229 0",
                "ENVCHANGE 1",
                "INFO 5701 state 1 class 0",
                "DONE 0x00 226 0",
            ],
        ),
        (
            format!("RESTORE DATABASE shop FROM DISK = {full} WITH REPLACE"),
            vec![
                "INFO 4035 state 1 class 0",
                "DONE 0x01 229 0",
                "INFO 4035 state 1 class 0",
                "DONE 0x01 229 0",
                "INFO 3014 state 1 class 0",
                "DONE 0x00 229 0",
            ],
        ),
        (
            format!(
                "RESTORE DATABASE shop FROM DISK = {full} WITH REPLACE, RECOVERY, STOPAT = '2099-01-01T00:00:00'"
            ),
            vec![
                "INFO 4322 state 1 class 0",
                "DONE 0x01 229 0",
                "INFO 4035 state 1 class 0",
                "DONE 0x01 229 0",
                "INFO 4035 state 1 class 0",
                "DONE 0x01 229 0",
                "INFO 3014 state 1 class 0",
                "DONE 0x00 229 0",
            ],
        ),
        ("USE shop".into(), vec!["ERROR 927 state 1 class 14", "DONE 0x02 226 0"]),
        (
            format!("RESTORE LOG shop FROM DISK = {full}"),
            vec!["ERROR 3135 state 1 class 16", "ERROR 3013 state 1 class 16", "DONE 0x02 229 0"],
        ),
        ("RESTORE DATABASE shop WITH RECOVERY".into(), vec!["INFO 3014 state 1 class 0", "DONE 0x00 229 0"]),
        (
            "RESTORE DATABASE shop WITH RECOVERY".into(),
            vec!["ERROR 3153 state 1 class 16", "ERROR 3013 state 1 class 16", "DONE 0x02 229 0"],
        ),
        ("DBCC CHECKDB (N'shop') WITH NO_INFOMSGS, ALL_ERRORMSGS".into(), vec!["DONE 0x00 0 0"]),
        (
            "DBCC CHECKDB (N'shop')".into(),
            vec![
                "INFO 2536 state 1 class 0",
                "INFO 8989 state 1 class 0",
                "INFO 2528 state 1 class 0",
                "DONE 0x00 0 0",
            ],
        ),
        (
            "ALTER DATABASE shop SET SINGLE_USER WITH ROLLBACK IMMEDIATE; ALTER DATABASE shop SET MULTI_USER"
                .into(),
            vec!["DONE 0x01 215 0", "DONE 0x00 215 0"],
        ),
        (
            "BEGIN TRY SELECT 1 / 0 END TRY BEGIN CATCH SELECT ERROR_NUMBER() END CATCH".into(),
            vec!["COLUMNS 1", "ROW", "DONE 0x10 193 1"],
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(raw.ask(&sql).await, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_procedure_call_ends_with_its_own_token() {
    let world = World::new().await;
    let mut raw = Raw::open(world.server.addr()).await;
    raw.send(&sqlserver_support::raw::call("SELECT @P1, @P2")).await;
    assert_eq!(
        raw.tokens().await,
        ["COLUMNS 2", "ROW", "DONEINPROC 0x11 193 1", "RETURNSTATUS", "DONEPROC 0x00 224 0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attention_is_acknowledged_in_both_ways() {
    for (attention, expected) in [
        (Attention::Separate, vec![vec!["DONE 0x02 0 0"], vec!["DONE 0x20 253 0"]]),
        (Attention::Joined, vec![vec!["DONE 0x02 0 0", "DONE 0x20 253 0"]]),
    ] {
        let world = World::made(Making { attention, ..Making::default() }).await;
        let mut watcher = world.connect().await;
        let mut raw = Raw::open(world.server.addr()).await;
        raw.send(&sqlserver_support::raw::batch("WAITFOR DELAY '01:00:00'")).await;
        let waiting = "SELECT COUNT(*) FROM sys.dm_exec_requests WHERE command = 'WAITFOR'";
        while sqlserver_support::one(&mut watcher, waiting).await == "0" {
            tokio::task::yield_now().await;
        }
        raw.send(&sqlserver_support::raw::packet(0x06, &[])).await;
        for message in &expected {
            assert_eq!(raw.tokens().await, *message, "{attention:?}");
        }
        assert_eq!(raw.ask("SELECT 1").await, ["COLUMNS 1", "ROW", "DONE 0x10 193 1"]);
        // One that comes when nothing runs is acknowledged too.
        raw.send(&sqlserver_support::raw::packet(0x06, &[])).await;
        assert_eq!(raw.tokens().await, ["DONE 0x20 253 0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_leaves_its_target_restoring() {
    let faults = r#"[{"op": "restore database copy", "do": "slow", "ms": 3600000}]"#;
    let world = World::made(Making { faults, ..Making::default() }).await;
    let mut conn = world.connect().await;
    run(
        &mut conn,
        &format!("CREATE DATABASE shop; BACKUP DATABASE shop TO DISK = {}", world.media("full.bak")),
    )
    .await;
    let mut raw = Raw::open(world.server.addr()).await;
    let data = world.dir.path().join("data").display().to_string();
    let restore = format!(
        "RESTORE DATABASE copy FROM DISK = {} WITH MOVE 'shop' TO '{data}/copy.mdf', MOVE 'shop_log' TO '{data}/copy.ldf'",
        world.media("full.bak")
    );
    raw.send(&sqlserver_support::raw::batch(&restore)).await;
    let state = "SELECT state_desc FROM sys.databases WHERE name = 'copy'";
    while sqlserver_support::one(&mut conn, state).await == "no row" {
        tokio::task::yield_now().await;
    }
    let running = "SELECT session_id, percent_complete, wait_type FROM sys.dm_exec_requests WHERE command = 'RESTORE DATABASE'";
    let found = sqlserver_support::rows(&mut conn, running).await;
    assert_eq!(found[0][1..], ["0", "BACKUPIO"]);
    run(&mut conn, &format!("KILL {}", found[0][0])).await;
    assert_eq!(raw.tokens().await, ["ERROR 596 state 1 class 21", "DONE 0x02 0 0"]);
    assert_eq!(sqlserver_support::one(&mut conn, state).await, "RESTORING");
    assert_eq!(sqlserver_support::error_of(&mut conn, "RESTORE DATABASE copy WITH RECOVERY").await, 4333);
    run(&mut conn, &format!("{restore}, REPLACE")).await;
    assert_eq!(sqlserver_support::one(&mut conn, state).await, "ONLINE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_session_hears_596_and_is_cut() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    let mut raw = Raw::open(world.server.addr()).await;
    raw.send(&sqlserver_support::raw::batch("WAITFOR DELAY '01:00:00'")).await;
    let waiting = "SELECT session_id FROM sys.dm_exec_requests WHERE command = 'WAITFOR'";
    let spid = loop {
        let found = sqlserver_support::one(&mut conn, waiting).await;
        if found != "no row" {
            break found;
        }
    };
    run(&mut conn, &format!("KILL {spid}")).await;
    assert_eq!(raw.tokens().await, ["ERROR 596 state 1 class 21", "DONE 0x02 0 0"]);
    assert_eq!(raw.tokens().await, ["closed"]);
}
