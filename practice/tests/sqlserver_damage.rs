//! A damaged page on its way: into a backup, out of it again, and found by whoever looks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod sqlserver_support;

use sqlserver_support::raw::Raw;
use sqlserver_support::{Conn, World, one, rows, run};

async fn damaged() -> (World, Conn, Raw) {
    let world = World::new().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop").await;
    run(&mut conn, "CREATE TABLE shop.dbo.t (id int NOT NULL PRIMARY KEY)").await;
    run(&mut conn, "BACKUP DATABASE shop TO DISK = N'sound.bak' WITH CHECKSUM").await;
    run(&mut conn, "DBCC WRITEPAGE ('shop', 1, 9, 0, 1, 0x00, 1)").await;
    let raw = Raw::open(world.server.addr()).await;
    (world, conn, raw)
}

/// The numbers of the errors and messages of an answer, in their order.
fn numbers(told: &[String]) -> Vec<String> {
    let said = told.iter().filter(|token| token.starts_with("ERROR") || token.starts_with("INFO"));
    said.map(|token| token.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

const MOVED: &str = "MOVE 'shop' TO N'copy.mdf', MOVE 'shop_log' TO N'copy.ldf'";

#[tokio::test]
async fn a_set_of_a_damaged_database_is_restored_only_to_salvage() {
    let (_world, mut conn, mut raw) = damaged().await;
    let told = raw.ask("BACKUP DATABASE shop TO DISK = N'a.bak' WITH CHECKSUM").await;
    assert_eq!(numbers(&told), ["ERROR 3043", "ERROR 3013"]);
    run(&mut conn, "BACKUP DATABASE shop TO DISK = N'b.bak' WITH CHECKSUM, CONTINUE_AFTER_ERROR").await;
    assert_eq!(
        one(&mut conn, "SELECT is_damaged FROM msdb.dbo.backupset WHERE backup_set_id = 2").await,
        "1"
    );
    let told = raw.ask(&format!("RESTORE DATABASE copy FROM DISK = N'b.bak' WITH {MOVED}")).await;
    assert_eq!(numbers(&told), ["ERROR 3182", "ERROR 3013"]);
    assert_eq!(rows(&mut conn, "SELECT 1 WHERE DB_ID(N'copy') IS NOT NULL").await, Vec::<Vec<String>>::new());
    let salvage =
        format!("RESTORE DATABASE copy FROM DISK = N'b.bak' WITH {MOVED}, CHECKSUM, CONTINUE_AFTER_ERROR");
    let told = raw.ask(&salvage).await;
    assert_eq!(numbers(&told), ["INFO 3188", "INFO 4035", "INFO 4035", "INFO 3184", "INFO 3014"]);
    let told = raw.ask("DBCC CHECKDB (N'copy') WITH NO_INFOMSGS").await;
    assert_eq!(numbers(&told)[..2], ["ERROR 8928", "ERROR 8939"], "the page is as damaged as it was");
}

#[tokio::test]
async fn without_checksums_damage_travels_unseen() {
    let (_world, mut conn, mut raw) = damaged().await;
    run(&mut conn, "BACKUP DATABASE shop TO DISK = N'c.bak'").await;
    assert_eq!(
        one(&mut conn, "SELECT is_damaged FROM msdb.dbo.backupset WHERE backup_set_id = 2").await,
        "0"
    );
    let told = raw.ask(&format!("RESTORE DATABASE copy FROM DISK = N'c.bak' WITH {MOVED}, CHECKSUM")).await;
    assert_eq!(numbers(&told), ["ERROR 3187", "ERROR 3013"]);
    run(&mut conn, &format!("RESTORE DATABASE copy FROM DISK = N'c.bak' WITH {MOVED}")).await;
    let told = raw.ask("DBCC CHECKDB (N'copy') WITH NO_INFOMSGS").await;
    assert_eq!(numbers(&told)[..2], ["ERROR 8928", "ERROR 8939"]);
    let told = raw.ask("BACKUP DATABASE copy TO DISK = N'd.bak' WITH CHECKSUM").await;
    assert_eq!(numbers(&told), ["ERROR 3043", "ERROR 3013"]);
}

#[tokio::test]
async fn a_sound_set_over_a_damaged_database_mends_it() {
    let (_world, mut conn, mut raw) = damaged().await;
    run(&mut conn, "RESTORE DATABASE shop FROM DISK = N'sound.bak' WITH REPLACE").await;
    let told = raw.ask("DBCC CHECKDB (N'shop') WITH NO_INFOMSGS").await;
    assert_eq!(numbers(&told), Vec::<String>::new());
}
