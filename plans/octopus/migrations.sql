-- The migrations of Octopus as one idempotent script, in the form that `dotnet ef migrations script --idempotent` writes: each
-- migration is skipped that the database has. The last one is newer than the databases that practice servers are filled with, so that a
-- rehearsed restore has something to migrate.
IF OBJECT_ID(N'[__EFMigrationsHistory]') IS NULL
BEGIN
    CREATE TABLE [__EFMigrationsHistory] (
        [MigrationId] nvarchar(150) NOT NULL,
        [ProductVersion] nvarchar(32) NOT NULL,
        CONSTRAINT [PK___EFMigrationsHistory] PRIMARY KEY ([MigrationId])
    );
END;
GO

BEGIN TRANSACTION;
IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20250312090512_Initial'
)
BEGIN
    CREATE TABLE [Octopus_Agents] (
        [Id] nvarchar(32) NOT NULL,
        [Name] nvarchar(200) NOT NULL,
        [Model] nvarchar(100) NOT NULL,
        [EmbeddingModel] nvarchar(100) NOT NULL,
        [CreatedAt] datetime2 NOT NULL,
        CONSTRAINT [PK_Octopus_Agents] PRIMARY KEY ([Id])
    );
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20250312090512_Initial'
)
BEGIN
    CREATE TABLE [Octopus_Episodes] (
        [Id] bigint NOT NULL IDENTITY,
        [AgentId] nvarchar(32) NOT NULL,
        [StartedAt] datetime2 NOT NULL,
        [Summary] nvarchar(max) NOT NULL,
        CONSTRAINT [PK_Octopus_Episodes] PRIMARY KEY ([Id])
    );
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20250312090512_Initial'
)
BEGIN
    CREATE TABLE [Octopus_Documents] (
        [Id] uniqueidentifier NOT NULL,
        [AgentId] nvarchar(32) NOT NULL,
        [Title] nvarchar(200) NOT NULL,
        [UpdatedAt] datetime2 NOT NULL,
        CONSTRAINT [PK_Octopus_Documents] PRIMARY KEY ([Id])
    );
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20250312090512_Initial'
)
BEGIN
    INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion])
    VALUES (N'20250312090512_Initial', N'9.0.3');
END;

COMMIT;
GO

BEGIN TRANSACTION;
IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20250521143000_Procedures'
)
BEGIN
    CREATE TABLE [Octopus_Procedures] (
        [Id] int NOT NULL IDENTITY,
        [AgentId] nvarchar(32) NOT NULL,
        [Name] nvarchar(200) NOT NULL,
        [Body] nvarchar(max) NOT NULL,
        [UpdatedAt] datetime2 NOT NULL,
        CONSTRAINT [PK_Octopus_Procedures] PRIMARY KEY ([Id])
    );
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20250521143000_Procedures'
)
BEGIN
    INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion])
    VALUES (N'20250521143000_Procedures', N'9.0.5');
END;

COMMIT;
GO

BEGIN TRANSACTION;
IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20250904081544_EpisodeOutcome'
)
BEGIN
    ALTER TABLE [Octopus_Episodes] ADD [Outcome] nvarchar(20) NOT NULL DEFAULT N'';
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20250904081544_EpisodeOutcome'
)
BEGIN
    INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion])
    VALUES (N'20250904081544_EpisodeOutcome', N'9.0.8');
END;

COMMIT;
GO

BEGIN TRANSACTION;
IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20251118160327_DocumentVersion'
)
BEGIN
    ALTER TABLE [Octopus_Documents] ADD [Version] int NOT NULL DEFAULT 1;
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20251118160327_DocumentVersion'
)
BEGIN
    INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion])
    VALUES (N'20251118160327_DocumentVersion', N'10.0.0');
END;

COMMIT;
GO

BEGIN TRANSACTION;
IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20260210101500_AgentLastSeen'
)
BEGIN
    ALTER TABLE [Octopus_Agents] ADD [LastSeenAt] datetime2 NULL;
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20260210101500_AgentLastSeen'
)
BEGIN
    CREATE INDEX [IX_Octopus_Episodes_AgentId] ON [Octopus_Episodes] ([AgentId]);
END;

IF NOT EXISTS (
    SELECT * FROM [__EFMigrationsHistory]
    WHERE [MigrationId] = N'20260210101500_AgentLastSeen'
)
BEGIN
    INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion])
    VALUES (N'20260210101500_AgentLastSeen', N'10.0.2');
END;

COMMIT;
GO
