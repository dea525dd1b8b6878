//! The practice server as one that stands on Windows: whatever it says of paths is in Windows' words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod sqlserver_support;

use drydock_practice::sqlserver::{Installation, Platform, Volume};
use sqlserver_support::{Conn, Making, World, one, rows, run};

const PROGRAM: &str = r"C:\Program Files\Microsoft SQL Server\MSSQL16.MSSQLSERVER\MSSQL";

async fn windows() -> World {
    let volume = |letter: &str, free| Volume {
        mount: format!(r"{letter}:\"),
        total_bytes: 1 << 40,
        available_bytes: free,
    };
    let volumes = vec![volume("C", 64 << 30), volume("D", 1 << 20)];
    let installation = Installation { platform: Platform::Windows, volumes, ..Installation::default() };
    World::playing(tempfile::tempdir().unwrap(), Making::default(), installation).await
}

/// What a statement that fails says first.
async fn refusal(conn: &mut Conn, sql: &str) -> String {
    let answered = match conn.simple_query(sql).await {
        Ok(answer) => answer.into_results().await.map(|_| ()),
        Err(error) => Err(error),
    };
    match answered {
        Err(tiberius::error::Error::Server(error)) => error.message().to_owned(),
        other => panic!("{sql}: {other:?}"),
    }
}

#[tokio::test]
async fn it_says_where_it_stands() {
    let world = windows().await;
    let mut conn = world.connect().await;
    let paths = "SELECT SERVERPROPERTY('InstanceDefaultDataPath'), SERVERPROPERTY('InstanceDefaultLogPath'), \
                 SERVERPROPERTY('InstanceDefaultBackupPath'), SERVERPROPERTY('PathSeparator')";
    let data = format!(r"{PROGRAM}\DATA\");
    assert_eq!(
        rows(&mut conn, paths).await,
        [[data.clone(), data, format!(r"{PROGRAM}\Backup"), "\\".into()]]
    );
    let host = "SELECT host_platform, host_distribution, host_release FROM sys.dm_os_host_info";
    assert_eq!(rows(&mut conn, host).await, [["Windows", "Windows Server 2022 Standard", "10.0"]]);
    let version = one(&mut conn, "SELECT @@VERSION").await;
    assert!(version.ends_with("16.0.4236.2 (X64) on Windows Server 2022 Standard 10.0 <X64>"), "{version}");
    let drives = rows(&mut conn, "EXEC master.dbo.xp_fixeddrives").await;
    assert_eq!(drives, [["C", "65536"], ["D", "1"]]);
}

#[tokio::test]
async fn its_files_are_named_by_drives_and_their_letters_case_does_not_count() {
    let world = windows().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop").await;
    let files =
        "SELECT physical_name FROM sys.master_files WHERE DB_NAME(database_id) = 'shop' ORDER BY file_id";
    let expected = [[format!(r"{PROGRAM}\DATA\shop.mdf")], [format!(r"{PROGRAM}\DATA\shop_log.ldf")]];
    assert_eq!(rows(&mut conn, files).await, expected);
    assert!(
        world.dir.path().join("drives/c/Program Files").is_dir(),
        "it lies below the server's own folder"
    );
    run(&mut conn, r"BACKUP DATABASE shop TO DISK = N'shop.bak'").await;
    run(&mut conn, r"EXEC master.sys.xp_create_subdir N'D:\Backups\shop'").await;
    run(&mut conn, r"BACKUP DATABASE shop TO DISK = N'd:/Backups/SHOP/second.bak'").await;
    let devices = "SELECT physical_device_name FROM msdb.dbo.backupmediafamily ORDER BY media_set_id";
    let expected = [[format!(r"{PROGRAM}\Backup\shop.bak")], [r"D:\Backups\shop\second.bak".into()]];
    assert_eq!(rows(&mut conn, devices).await, expected);
    let kept = "SELECT DISTINCT physical_drive, physical_name FROM msdb.dbo.backupfile WHERE file_type = 'D'";
    let expected = [[format!(r"{PROGRAM}\DATA"), format!(r"{PROGRAM}\DATA\shop.mdf")]];
    assert_eq!(rows(&mut conn, kept).await, expected);
    let listed = rows(&mut conn, r"RESTORE FILELISTONLY FROM DISK = N'D:\BACKUPS\shop\SECOND.BAK'").await;
    assert_eq!(listed[0][1], format!(r"{PROGRAM}\DATA\shop.mdf"));
    let exists = |path: &str| format!("SELECT * FROM sys.dm_os_file_exists(N'{path}')");
    assert_eq!(rows(&mut conn, &exists(r"d:\backups\Shop\Second.bak")).await, [["1", "0", "1"]]);
    assert_eq!(rows(&mut conn, &exists(r"D:\Backups\shop")).await, [["0", "1", "1"]]);
    assert_eq!(rows(&mut conn, r"EXEC master.dbo.xp_fileexist N'E:\gone\x.bak'").await, [["0", "0", "0"]]);
    let tree = rows(&mut conn, r"EXEC master.sys.xp_dirtree N'D:\', 0, 1").await;
    assert_eq!(tree, [["Backups", "1", "0"], ["shop", "2", "0"], ["second.bak", "3", "1"]]);
    let found =
        "SELECT full_filesystem_path FROM sys.dm_os_enumerate_filesystem(N'D:\\Backups\\shop\\', N'*.bak')";
    assert_eq!(one(&mut conn, found).await, r"D:\Backups\shop\second.bak");
    let volumes = "SELECT DISTINCT volume_mount_point, available_bytes FROM sys.master_files f \
                   CROSS APPLY sys.dm_os_volume_stats(f.database_id, f.file_id)";
    assert_eq!(rows(&mut conn, volumes).await, [["C:\\", "68719476736"]]);
}

#[tokio::test]
async fn what_its_system_says_of_a_path_is_windows_own() {
    let world = windows().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE shop").await;
    run(&mut conn, "BACKUP DATABASE shop TO DISK = N'shop.bak'").await;
    for (sql, said) in [
        (
            r"RESTORE HEADERONLY FROM DISK = N'C:\no.bak'",
            r"Cannot open backup device 'C:\no.bak'. Operating system error 2(The system cannot find the file specified.).",
        ),
        (
            r"BACKUP DATABASE shop TO DISK = N'C:\gone\a.bak'",
            r"Cannot open backup device 'C:\gone\a.bak'. Operating system error 3(The system cannot find the path specified.).",
        ),
        (
            r"BACKUP DATABASE shop TO DISK = N'\\nas\gone\a.bak'",
            r"Cannot open backup device '\\nas\gone\a.bak'. Operating system error 53(The network path was not found.).",
        ),
        (
            "BACKUP DATABASE shop TO DISK = N'a?.bak'",
            "Cannot open backup device 'a?.bak'. Operating system error 123(The filename, directory name, or volume label syntax is incorrect.).",
        ),
        (
            r"CREATE DATABASE other ON (NAME = other, FILENAME = N'F:\other.mdf')",
            r#"Directory lookup for the file "F:\other.mdf" failed with the operating system error 3(The system cannot find the path specified.)."#,
        ),
    ] {
        let told = refusal(&mut conn, sql).await;
        assert!(told.contains(said), "{sql}: {told}");
    }
    // A root without a drive is none: it lies below the folder of backups.
    let posix = refusal(&mut conn, "BACKUP DATABASE shop TO DISK = N'/var/opt/a.bak'").await;
    assert!(
        posix.contains(&format!(r"'{PROGRAM}\Backup\var\opt\a.bak'")) && posix.contains(" 3("),
        "{posix}"
    );
    let restore = "RESTORE DATABASE copy FROM DISK = N'shop.bak' WITH MOVE 'shop' TO N'D:\\copy.mdf'";
    let told = refusal(&mut conn, restore).await;
    let words = format!(
        r"The file '{PROGRAM}\DATA\shop_log.ldf' cannot be overwritten.  It is being used by database 'shop'."
    );
    assert!(told.contains(&words), "{told}");
    let twice = r"RESTORE DATABASE copy FROM DISK = N'shop.bak' WITH MOVE 'shop' TO N'D:\copy', MOVE 'shop_log' TO N'd:\COPY'";
    let told = refusal(&mut conn, twice).await;
    assert!(told.contains(r"File 'D:\COPY' is claimed by 'shop_log'(2) and 'shop'(1)."), "{told}");
    let full = r"RESTORE DATABASE copy FROM DISK = N'shop.bak' WITH MOVE 'shop' TO N'D:\copy.mdf', MOVE 'shop_log' TO N'D:\copy.ldf'";
    std::fs::write(
        world.dir.path().join("surroundings.json"),
        r#"{"volumes": [{"mount": "D:\\", "total_bytes": 1048576, "available_bytes": 1000}]}"#,
    )
    .unwrap();
    let told = refusal(&mut conn, full).await;
    assert!(told.contains(r"insufficient free space on disk volume 'D:\' to create"), "{told}");
}
