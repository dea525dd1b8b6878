//! The bulk-logged model: what is logged by its pages alone makes a log that is restored whole or not at all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod sqlserver_support;

use sqlserver_support::raw::Raw;
use sqlserver_support::{Conn, Making, World, one, rows, run, stepping_clock};

async fn shop(world: &World) -> Conn {
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop").await;
    run(&mut conn, "CREATE TABLE shop.dbo.t (id int NOT NULL PRIMARY KEY, name nvarchar(20))").await;
    run(&mut conn, "ALTER DATABASE shop SET RECOVERY BULK_LOGGED").await;
    run(&mut conn, "BACKUP DATABASE shop TO DISK = N'full.bak'").await;
    conn
}

const BULK: &str = "SELECT has_bulk_logged_data, flags & 1 FROM msdb.dbo.backupset ORDER BY backup_set_id";

#[tokio::test]
async fn select_into_makes_a_table_of_the_rows() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    run(&mut conn, "USE shop").await;
    run(&mut conn, "INSERT INTO t VALUES (1, N'a'), (2, N'b'), (3, N'c')").await;
    let mut raw = Raw::open(world.server.addr()).await;
    raw.ask("USE shop").await;
    let told = raw.ask("SELECT id * 10 AS tens, name INTO copy FROM t WHERE id > 1 ORDER BY id").await;
    assert_eq!(told.last().map(String::as_str), Some("DONE 0x10 193 2"), "{told:?}");
    assert_eq!(
        rows(&mut conn, "SELECT tens, name FROM copy ORDER BY tens").await,
        [["20", "b"], ["30", "c"]]
    );
    let again = raw.ask("SELECT id AS n INTO copy FROM t").await;
    assert_eq!(again[0], "ERROR 2714 state 6 class 16", "{again:?}");
    let nameless = raw.ask("SELECT id + 1 INTO other FROM t").await;
    assert_eq!(nameless[0], "ERROR 1038 state 5 class 15", "{nameless:?}");
}

#[tokio::test]
async fn a_log_with_a_bulk_operation_is_restored_whole() {
    let world = World::made(Making { clock: stepping_clock(), ..Making::default() }).await;
    let mut conn = shop(&world).await;
    run(&mut conn, "INSERT INTO shop.dbo.t VALUES (1, N'a')").await;
    run(&mut conn, "BACKUP LOG shop TO DISK = N'plain.trn'").await;
    run(&mut conn, "SELECT id, name INTO shop.dbo.copy FROM shop.dbo.t").await;
    let moment = one(&mut conn, "SELECT CONVERT(nvarchar(30), SYSUTCDATETIME(), 126)").await;
    let moment = &moment[..23];
    run(&mut conn, "BEGIN TRAN m WITH MARK 'm'; INSERT INTO shop.dbo.t VALUES (2, N'b'); COMMIT").await;
    run(&mut conn, "BACKUP LOG shop TO DISK = N'bulk.trn'").await;
    run(&mut conn, "INSERT INTO shop.dbo.t VALUES (3, N'c')").await;
    run(&mut conn, "BACKUP LOG shop TO DISK = N'after.trn'").await;
    assert_eq!(rows(&mut conn, BULK).await, [["0", "0"], ["0", "0"], ["1", "1"], ["0", "0"]]);
    let header = rows(&mut conn, "RESTORE HEADERONLY FROM DISK = N'bulk.trn'").await;
    assert_eq!(header[0][34], "1", "HasBulkLoggedData");
    run(&mut conn, "DROP DATABASE shop").await;
    run(&mut conn, "RESTORE DATABASE shop FROM DISK = N'full.bak' WITH NORECOVERY").await;
    run(&mut conn, "RESTORE LOG shop FROM DISK = N'plain.trn' WITH NORECOVERY").await;
    let mut raw = Raw::open(world.server.addr()).await;
    for stop in
        [format!("STOPAT = N'{moment}'"), "STOPATMARK = N'm'".to_owned(), "STOPBEFOREMARK = N'm'".to_owned()]
    {
        let told = raw.ask(&format!("RESTORE LOG shop FROM DISK = N'bulk.trn' WITH RECOVERY, {stop}")).await;
        let errors: Vec<&String> = told.iter().filter(|token| token.starts_with("ERROR")).collect();
        assert_eq!(errors, ["ERROR 4341 state 1 class 16", "ERROR 3013 state 1 class 16"], "{stop}");
    }
    run(&mut conn, "RESTORE LOG shop FROM DISK = N'bulk.trn' WITH NORECOVERY").await;
    run(&mut conn, "RESTORE LOG shop FROM DISK = N'after.trn' WITH RECOVERY").await;
    assert_eq!(rows(&mut conn, "SELECT id FROM shop.dbo.t ORDER BY id").await, [["1"], ["2"], ["3"]]);
    assert_eq!(rows(&mut conn, "SELECT id, name FROM shop.dbo.copy").await, [["1", "a"]]);
}

#[tokio::test]
async fn in_the_full_model_the_same_statement_leaves_nothing_behind() {
    let world = World::new().await;
    let mut conn = shop(&world).await;
    run(&mut conn, "ALTER DATABASE shop SET RECOVERY FULL").await;
    run(&mut conn, "SELECT id INTO shop.dbo.copy FROM shop.dbo.t").await;
    run(&mut conn, "BACKUP LOG shop TO DISK = N'log.trn'").await;
    assert_eq!(rows(&mut conn, BULK).await, [["0", "0"], ["0", "0"]]);
}
