//! The tables of Octopus. Main constants: [`TABLES`], [`SCHEMAS`].

/// The database that holds agents, procedures, episodes and documents.
pub const DATABASE: &str = "OctopusDB";

/// What comes before the tables; a schema's creation must be alone in its batch.
pub(super) const SCHEMAS: &str = "CREATE SCHEMA [drydock]";

/// The tables, created in a fresh database.
pub(super) const TABLES: &str = "
CREATE TABLE [Octopus_Agents] (
    [Id] nvarchar(32) NOT NULL CONSTRAINT [PK_Octopus_Agents] PRIMARY KEY,
    [Name] nvarchar(200) NOT NULL,
    [Model] nvarchar(100) NOT NULL,
    [EmbeddingModel] nvarchar(100) NOT NULL,
    [CreatedAt] datetime2 NOT NULL
);
CREATE TABLE [Octopus_Procedures] (
    [Id] int IDENTITY(1,1) NOT NULL CONSTRAINT [PK_Octopus_Procedures] PRIMARY KEY,
    [AgentId] nvarchar(32) NOT NULL,
    [Name] nvarchar(200) NOT NULL,
    [Body] nvarchar(max) NOT NULL,
    [UpdatedAt] datetime2 NOT NULL
);
CREATE TABLE [Octopus_Episodes] (
    [Id] bigint IDENTITY(1,1) NOT NULL CONSTRAINT [PK_Octopus_Episodes] PRIMARY KEY,
    [AgentId] nvarchar(32) NOT NULL,
    [StartedAt] datetime2 NOT NULL,
    [Summary] nvarchar(max) NOT NULL,
    [Outcome] nvarchar(20) NOT NULL
);
CREATE TABLE [Octopus_Documents] (
    [Id] uniqueidentifier NOT NULL CONSTRAINT [PK_Octopus_Documents] PRIMARY KEY,
    [AgentId] nvarchar(32) NOT NULL,
    [Title] nvarchar(200) NOT NULL,
    [Version] int NOT NULL,
    [UpdatedAt] datetime2 NOT NULL
);
CREATE TABLE [drydock].[marks] (
    [mark] nvarchar(32) NOT NULL CONSTRAINT [PK_marks] PRIMARY KEY,
    [at] datetime2 NOT NULL,
    [run] nvarchar(64) NULL
);
CREATE TABLE [drydock].[scripts] (
    [attempt] nvarchar(128) NOT NULL CONSTRAINT [PK_scripts] PRIMARY KEY,
    [at] datetime2 NOT NULL,
    [outputs] nvarchar(max) NOT NULL
);
CREATE TABLE [__EFMigrationsHistory] (
    [MigrationId] nvarchar(150) NOT NULL CONSTRAINT [PK___EFMigrationsHistory] PRIMARY KEY,
    [ProductVersion] nvarchar(32) NOT NULL
);
INSERT INTO [__EFMigrationsHistory] ([MigrationId], [ProductVersion]) VALUES
    (N'20250312090512_Initial', N'9.0.3'),
    (N'20250521143000_Procedures', N'9.0.5'),
    (N'20250904081544_EpisodeOutcome', N'9.0.8'),
    (N'20251118160327_DocumentVersion', N'10.0.0');
";

/// The tables that hold what belongs to an agent, with the column that says to which; the agent's own comes last.
pub(super) const OF_AGENT: [(&str, &str); 4] = [
    ("Octopus_Procedures", "AgentId"),
    ("Octopus_Episodes", "AgentId"),
    ("Octopus_Documents", "AgentId"),
    ("Octopus_Agents", "Id"),
];
