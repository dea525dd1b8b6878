//! Scripts and queries that tools send to a server, each as it stands, against the practice SQL Server.

mod sqlserver_support;

use sqlserver_support::{World, error_of, one, rows, run};

/// What checks before a backup or restore ask, and what watches one.
const QUERIES: &[&str] = &[
    "SELECT bs.backup_set_id, bs.backup_set_uuid, bs.media_set_id, bs.type, bs.position, bs.is_copy_only, bs.first_lsn, bs.last_lsn, bs.checkpoint_lsn,
       bs.database_backup_lsn, bs.differential_base_lsn, bs.differential_base_guid, bs.first_recovery_fork_guid, bs.last_recovery_fork_guid, bs.fork_point_lsn,
       bs.database_guid, bs.family_guid, bs.backup_start_date, bs.backup_finish_date, CAST(bs.backup_size AS bigint) AS backup_size,
       CAST(bs.compressed_backup_size AS bigint) AS compressed_backup_size, bs.has_backup_checksums, bs.is_damaged, bs.recovery_model,
       bmf.family_sequence_number, bmf.physical_device_name, bmf.device_type
     FROM msdb.dbo.backupset bs
     JOIN msdb.dbo.backupmediafamily bmf ON bmf.media_set_id = bs.media_set_id AND bmf.mirror = 0
       AND bmf.family_sequence_number BETWEEN bs.first_family_number AND bs.last_family_number
     WHERE bs.database_name = @P1 AND bs.server_name = @@SERVERNAME AND bs.is_damaged = 0
     ORDER BY bs.last_lsn, bs.backup_set_id, bmf.family_sequence_number",
    "SELECT d.name, d.recovery_model_desc, MAX(CASE WHEN b.type='D' THEN b.backup_finish_date END) AS full_at, MAX(CASE WHEN b.type='L' THEN b.backup_finish_date END) FROM sys.databases d
     LEFT JOIN msdb.dbo.backupset b ON b.database_name=d.name AND b.is_copy_only=0 GROUP BY d.name, d.recovery_model_desc",
    "SELECT DB_NAME(database_id), MIN(differential_base_lsn), MIN(redo_start_lsn), redo_start_fork_guid FROM sys.master_files WHERE redo_start_lsn IS NOT NULL GROUP BY database_id, redo_start_fork_guid",
    "SELECT session_id, command, status, percent_complete, estimated_completion_time, total_elapsed_time, start_time, wait_type, blocking_session_id
     FROM sys.dm_exec_requests WHERE session_id = @@SPID",
    "SELECT session_id, login_name, host_name, program_name FROM sys.dm_exec_sessions WHERE database_id = DB_ID(@P1) AND session_id <> @@SPID",
    "SELECT dp.name, dp.sid FROM sys.database_principals dp LEFT JOIN sys.server_principals sp ON dp.sid = sp.sid WHERE sp.sid IS NULL AND dp.authentication_type_desc = 'INSTANCE'",
    "SELECT s.name, t.name, SUM(p.row_count) FROM sys.tables t JOIN sys.schemas s ON s.schema_id=t.schema_id JOIN sys.dm_db_partition_stats p ON p.object_id=t.object_id AND p.index_id IN (0,1) GROUP BY s.name, t.name",
    "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)), CAST(SERVERPROPERTY('InstanceName') AS nvarchar(128)), CAST(SERVERPROPERTY('IsHadrEnabled') AS int)",
    "SELECT CAST(SERVERPROPERTY('InstanceDefaultBackupPath') AS nvarchar(260)), CAST(SERVERPROPERTY('InstanceDefaultDataPath') AS nvarchar(260))",
    "SELECT DATABASEPROPERTYEX('master','Version')",
    "SELECT DISTINCT v.volume_mount_point, v.total_bytes, v.available_bytes FROM sys.master_files f CROSS APPLY sys.dm_os_volume_stats(f.database_id, f.file_id) v",
    "EXEC xp_fixeddrives",
    "SELECT file_exists, file_is_a_directory, parent_directory_exists FROM sys.dm_os_file_exists(@P1)",
    "EXEC master.dbo.xp_fileexist N'/tmp'",
    "EXEC master.dbo.xp_dirtree N'/nowhere', 1, 1",
    "SELECT file_or_directory_name, is_directory, level FROM sys.dm_os_enumerate_filesystem(N'/nowhere', N'*')",
    "SELECT state, user_access, recovery_model FROM sys.databases WHERE name=@P1",
    "SELECT state_desc, user_access_desc, recovery_model_desc FROM sys.databases WHERE name = N'OctopusDB'",
    "SELECT IS_SRVROLEMEMBER('sysadmin'), IS_SRVROLEMEMBER('dbcreator'), HAS_PERMS_BY_NAME(NULL,NULL,'CREATE ANY DATABASE')",
    "SELECT DB_NAME(), @@TRANCOUNT, XACT_STATE()",
    "SELECT SYSDATETIMEOFFSET(), CURRENT_TIMEZONE()",
    "SELECT session_id FROM sys.dm_exec_requests WHERE command LIKE 'BACKUP%' OR command LIKE 'RESTORE%'",
    "SELECT TOP(20) rh.restore_date, rh.restore_type, rh.recovery, bs.backup_set_uuid, bs.first_lsn, bs.last_lsn FROM msdb.dbo.restorehistory rh JOIN msdb.dbo.backupset bs ON bs.backup_set_id = rh.backup_set_id WHERE rh.destination_database_name = @P1 ORDER BY rh.restore_history_id DESC",
    "SELECT [MigrationId],[ProductVersion] FROM [__EFMigrationsHistory] ORDER BY [MigrationId]",
    "SELECT APPLOCK_MODE('public','__EFMigrationsLock','Session')",
    "SELECT COUNT_BIG(*), CHECKSUM_AGG(BINARY_CHECKSUM(*)) FROM dbo.Agents",
    "SELECT family_guid, last_log_backup_lsn FROM sys.database_recovery_status WHERE database_id = DB_ID()",
    "SELECT mirroring_guid FROM sys.database_mirroring WHERE mirroring_guid IS NOT NULL",
    "SELECT thumbprint FROM master.sys.certificates",
    "SELECT feature_name FROM sys.dm_db_persisted_sku_features",
    "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_TYPE = 'BASE TABLE'",
    "SELECT name, physical_name, type_desc FROM sys.database_files",
    "SELECT i.name, i.is_primary_key FROM sys.indexes i JOIN sys.objects o ON o.object_id = i.object_id WHERE o.type = 'U'",
    "SELECT replica_id, source_database_id, log_reuse_wait_desc FROM sys.databases",
    "SELECT database_name, mark_name, description, user_name, lsn, mark_time FROM msdb.dbo.logmarkhistory",
];

/// An idempotent migration script, its batches apart as a client takes them.
const MIGRATION: &[&str] = &[
    "IF OBJECT_ID(N'[__EFMigrationsHistory]') IS NULL
     BEGIN
         CREATE TABLE [__EFMigrationsHistory] (
             [MigrationId] nvarchar(150) NOT NULL,
             [ProductVersion] nvarchar(32) NOT NULL,
             CONSTRAINT [PK___EFMigrationsHistory] PRIMARY KEY ([MigrationId])
         );
     END;",
    "BEGIN TRANSACTION;
     IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20260101000000_Initial')
     BEGIN
         CREATE TABLE [Agents] (
             [Id] uniqueidentifier NOT NULL,
             [Name] nvarchar(200) NOT NULL,
             [CreatedAt] datetime2 NOT NULL DEFAULT (GETUTCDATE()),
             CONSTRAINT [PK_Agents] PRIMARY KEY ([Id])
         );
     END;
     IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20260101000000_Initial')
     BEGIN
         CREATE TABLE [Episodes] (
             [Id] bigint NOT NULL IDENTITY,
             [AgentId] uniqueidentifier NOT NULL,
             [Text] nvarchar(max) NOT NULL,
             [Score] float NULL,
             CONSTRAINT [PK_Episodes] PRIMARY KEY ([Id]),
             CONSTRAINT [FK_Episodes_Agents_AgentId] FOREIGN KEY ([AgentId]) REFERENCES [Agents] ([Id]) ON DELETE CASCADE
         );
     END;
     IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20260101000000_Initial')
     BEGIN
         CREATE INDEX [IX_Episodes_AgentId] ON [Episodes] ([AgentId]);
     END;
     IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20260101000000_Initial')
     BEGIN
         INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion]) VALUES (N'20260101000000_Initial', N'10.0.0');
     END;
     COMMIT;",
    "BEGIN TRANSACTION;
     IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20260201000000_Tags')
     BEGIN
         ALTER TABLE [Agents] ADD [Tags] nvarchar(100) NOT NULL DEFAULT N'';
     END;
     IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20260201000000_Tags')
     BEGIN
         DECLARE @var0 sysname;
         SELECT @var0 = [d].[name] FROM [sys].[default_constraints] [d]
         INNER JOIN [sys].[columns] [c] ON [d].[parent_column_id] = [c].[column_id] AND [d].[parent_object_id] = [c].[object_id]
         WHERE ([d].[parent_object_id] = OBJECT_ID(N'[Agents]') AND [c].[name] = N'CreatedAt');
         IF @var0 IS NOT NULL EXEC(N'ALTER TABLE [Agents] DROP CONSTRAINT [' + @var0 + '];');
         ALTER TABLE [Agents] ALTER COLUMN [CreatedAt] datetime2(3) NOT NULL;
     END;
     IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20260201000000_Tags')
     BEGIN
         EXEC(N'CREATE UNIQUE INDEX [IX_Agents_Name] ON [Agents] ([Name]) WHERE [Name] IS NOT NULL');
     END;
     IF NOT EXISTS (SELECT * FROM [__EFMigrationsHistory] WHERE [MigrationId] = N'20260201000000_Tags')
     BEGIN
         INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion]) VALUES (N'20260201000000_Tags', N'10.0.0');
     END;
     COMMIT;",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_migration_runs_twice_and_comes_back_from_a_log() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE OctopusDB").await;
    let disk = world.media("full.bak");
    run(&mut conn, &format!("BACKUP DATABASE OctopusDB TO DISK = {disk}")).await;
    run(&mut conn, "USE OctopusDB").await;
    for _ in 0..2 {
        for batch in MIGRATION {
            run(&mut conn, batch).await;
        }
        let found =
            rows(&mut conn, "SELECT [MigrationId] FROM [__EFMigrationsHistory] ORDER BY [MigrationId]").await;
        assert_eq!(found, [["20260101000000_Initial"], ["20260201000000_Tags"]]);
    }
    let agent = "INSERT INTO Agents (Id, Name, CreatedAt) VALUES (NEWID(), N'ada', SYSUTCDATETIME())";
    run(&mut conn, agent).await;
    assert_eq!(error_of(&mut conn, agent).await, 2601);
    run(&mut conn, "INSERT INTO Episodes (AgentId, Text, Score) SELECT Id, N'hello', 0.25 FROM Agents").await;
    let sums = "SELECT COUNT_BIG(*), CHECKSUM_AGG(BINARY_CHECKSUM(*)) FROM OctopusDB.dbo.Episodes";
    let before = rows(&mut conn, sums).await;
    let agents = "SELECT Id, Name, CreatedAt, Tags FROM OctopusDB.dbo.Agents";
    let agents_before = rows(&mut conn, agents).await;
    let log = world.media("log.trn");
    run(&mut conn, &format!("USE master; BACKUP LOG OctopusDB TO DISK = {log} WITH NORECOVERY")).await;
    run(&mut conn, &format!("RESTORE DATABASE OctopusDB FROM DISK = {disk} WITH NORECOVERY")).await;
    run(&mut conn, &format!("RESTORE LOG OctopusDB FROM DISK = {log}")).await;
    assert_eq!(rows(&mut conn, sums).await, before);
    assert_eq!(rows(&mut conn, agents).await, agents_before);
    // Keys and triggers came back with their work: a duplicate and an orphan are refused, a cascade runs.
    run(&mut conn, "USE OctopusDB").await;
    assert_eq!(error_of(&mut conn, agent).await, 2601);
    assert_eq!(error_of(&mut conn, "INSERT INTO Episodes (AgentId, Text) VALUES (NEWID(), N'x')").await, 547);
    run(&mut conn, "DELETE FROM Agents").await;
    assert_eq!(one(&mut conn, "SELECT COUNT(*) FROM Episodes").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_tools_run_as_they_stand() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE OctopusDB").await;
    run(&mut conn, "USE OctopusDB").await;
    for batch in MIGRATION {
        run(&mut conn, batch).await;
    }
    run(&mut conn, &format!("BACKUP DATABASE OctopusDB TO DISK = {}", world.media("full.bak"))).await;
    for sql in QUERIES {
        if sql.contains("@P1") {
            let answer = conn.query(*sql, &[&"OctopusDB"]).await;
            answer.unwrap_or_else(|error| panic!("{sql}\n{error}")).into_results().await.unwrap();
        } else {
            rows(&mut conn, sql).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rows_in_one_statement() {
    let world = World::new().await;
    let mut conn = world.connect().await;
    run(&mut conn, "CREATE DATABASE big; CREATE TABLE big.dbo.t (id int IDENTITY PRIMARY KEY, n int NOT NULL, text nvarchar(max))").await;
    let values: Vec<String> = (0..1000).map(|n| format!("(-{n}, N'row {n} {}')", "x".repeat(n))).collect();
    run(&mut conn, &format!("INSERT INTO big.dbo.t (n, text) VALUES {}", values.join(", "))).await;
    assert_eq!(
        rows(&mut conn, "SELECT COUNT(*), MIN(n), SUM(LEN(text)) FROM big.dbo.t").await,
        [["1000", "-999", "507389"]]
    );
    let all = conn
        .simple_query("SELECT id, text FROM big.dbo.t ORDER BY id")
        .await
        .unwrap()
        .into_first_result()
        .await
        .unwrap();
    assert_eq!(all.len(), 1000);
    assert!(all[999].get::<&str, _>("text").unwrap().ends_with(&"x".repeat(999)));
}
