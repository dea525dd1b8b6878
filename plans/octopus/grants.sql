-- What a backup needs in the database: the table of marks, and the rights of the login that takes backups. Run it once in the database,
-- as its owner; running it again changes nothing. Restores need another login: dbcreator, and nothing in here.
--
-- Before it, in master:
--   CREATE LOGIN [drydock] WITH PASSWORD = N'...';
--   GRANT VIEW SERVER STATE TO [drydock];
IF SCHEMA_ID(N'drydock') IS NULL EXEC (N'CREATE SCHEMA [drydock]');
GO
IF OBJECT_ID(N'[drydock].[marks]', N'U') IS NULL
CREATE TABLE [drydock].[marks] (
    [mark] nvarchar(32) NOT NULL CONSTRAINT [PK_marks] PRIMARY KEY,
    [at] datetime2 NOT NULL,
    [run] nvarchar(64) NULL
);
GO
IF OBJECT_ID(N'[drydock].[scripts]', N'U') IS NULL
CREATE TABLE [drydock].[scripts] (
    [attempt] nvarchar(128) NOT NULL CONSTRAINT [PK_scripts] PRIMARY KEY,
    [at] datetime2 NOT NULL,
    [outputs] nvarchar(max) NOT NULL
);
GO
IF DATABASE_PRINCIPAL_ID(N'drydock') IS NULL CREATE USER [drydock] FOR LOGIN [drydock];
GO
ALTER ROLE [db_backupoperator] ADD MEMBER [drydock];
ALTER ROLE [db_datareader] ADD MEMBER [drydock];
GRANT INSERT ON [drydock].[marks] TO [drydock];
GRANT INSERT ON [drydock].[scripts] TO [drydock];
GO
USE [msdb];
GO
IF DATABASE_PRINCIPAL_ID(N'drydock') IS NULL CREATE USER [drydock] FOR LOGIN [drydock];
GO
GRANT SELECT ON [dbo].[backupset] TO [drydock];
GRANT SELECT ON [dbo].[backupmediafamily] TO [drydock];
GRANT SELECT ON [dbo].[restorehistory] TO [drydock];
GRANT SELECT ON [dbo].[logmarkhistory] TO [drydock];
GO
