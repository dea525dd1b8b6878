//! A batch as it was written: statements, before any name in them is looked up. Main type: [`Statement`].

use sqlparser::ast::{Delete, Expr, Insert, Query, Update};

use crate::sqlserver::sql_type::SqlType;
use crate::sqlserver::store::machine::Endpoint;

/// A statement and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Its line in the batch, counted from 1.
    pub line: u32,
    /// What it does.
    pub body: Body,
}

/// A name or text that may stand literally or in a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// As written.
    Literal(String),
    /// `@name`.
    Variable(String),
}

/// `database.schema.name`, the first two optional.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// The database, when it is not the current one.
    pub database: Option<String>,
    /// The schema, when it is not the default one.
    pub schema: Option<String>,
    /// The object.
    pub name: String,
}

/// What a statement does.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The variants carry the names of the statements, the fields those of their clauses.
pub enum Body {
    Select(Box<Query>),
    Insert(Box<Insert>),
    Update(Box<Update>),
    Delete(Box<Delete>),
    CreateTable(CreateTable),
    AlterTable {
        table: ObjectName,
        change: TableChange,
    },
    CreateIndex(CreateIndex),
    DropTables {
        names: Vec<ObjectName>,
        if_exists: bool,
    },
    DropIndex {
        table: ObjectName,
        index: String,
        if_exists: bool,
    },
    Truncate(ObjectName),
    CreateSchema(String),
    CreateDatabase {
        name: String,
        files: Vec<DeclaredFile>,
    },
    DropDatabases {
        names: Vec<String>,
        if_exists: bool,
    },
    AlterDatabase {
        name: Option<String>,
        change: DatabaseChange,
        termination: Termination,
    },
    Backup(Box<Backup>),
    Restore(Box<Restore>),
    ReadMedia(Box<ReadMedia>),
    Use(String),
    Kill {
        session: i64,
        status_only: bool,
    },
    Login(LoginChange),
    Endpoint(EndpointChange),
    Reconfigure,
    User(UserChange),
    Permission(PermissionChange),
    /// EXECUTE AS LOGIN, or AS USER.
    Impersonate {
        name: String,
        is_user: bool,
    },
    Revert,
    CheckDatabase {
        name: Option<Text>,
        no_messages: bool,
        as_table: bool,
    },
    DamagePage {
        database: Text,
        page: u64,
    },
    Security(Box<Security>),
    Begin {
        name: Option<Text>,
        mark: Option<Mark>,
    },
    Commit,
    Rollback,
    SetOption(SetOption),
    Declare(Vec<(String, SqlType, Option<Expr>)>),
    SetVariable(String, Expr),
    If {
        condition: Expr,
        then: Box<Statement>,
        otherwise: Option<Box<Statement>>,
    },
    While {
        condition: Expr,
        body: Box<Statement>,
    },
    Break,
    Continue,
    Return,
    Block(Vec<Statement>),
    Try {
        body: Vec<Statement>,
        catch: Vec<Statement>,
    },
    Execute(Execute),
    Print(Expr),
    Throw(Option<(Expr, Expr, Expr)>),
    RaiseError {
        message: Expr,
        severity: Expr,
        state: Expr,
        arguments: Vec<Expr>,
    },
    WaitFor(Expr),
}

/// `WITH MARK`, with its description.
pub type Mark = Option<String>;

/// `CREATE TABLE`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateTable {
    /// The table.
    pub name: ObjectName,
    /// Its columns.
    pub columns: Vec<ColumnDefinition>,
    /// Constraints of columns and of the table alike.
    pub constraints: Vec<Constraint>,
}

/// A column of CREATE TABLE or ALTER TABLE ADD.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDefinition {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: SqlType,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// The first number of an IDENTITY column; the increment is always 1.
    pub identity: Option<i64>,
    /// The default's constraint name, if it has one, and its text in T-SQL.
    pub default: Option<(Option<String>, String)>,
}

/// A constraint.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    /// Its name; made up when absent.
    pub name: Option<String>,
    /// What it demands.
    pub rule: Rule,
}

/// What a constraint demands.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Rule {
    PrimaryKey(Vec<String>),
    Unique(Vec<String>),
    ForeignKey { columns: Vec<String>, table: ObjectName, referred: Vec<String>, on_delete: OnDelete },
    Default { column: String, text: String },
}

/// What a foreign key does when the row it points to goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum OnDelete {
    NoAction,
    Cascade,
    SetNull,
}

/// `ALTER TABLE`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum TableChange {
    Add { columns: Vec<ColumnDefinition>, constraints: Vec<Constraint> },
    AlterColumn { name: String, ty: SqlType, nullable: bool },
    DropColumns { names: Vec<String>, if_exists: bool },
    DropConstraints { names: Vec<String>, if_exists: bool },
}

/// `CREATE INDEX`.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateIndex {
    /// The index.
    pub name: String,
    /// Its table.
    pub table: ObjectName,
    /// Whether it refuses duplicates.
    pub unique: bool,
    /// Its columns, and whether each descends.
    pub columns: Vec<(String, bool)>,
    /// `WHERE`, for a filtered index.
    pub filter: Option<Expr>,
}

/// A file of CREATE DATABASE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredFile {
    /// Its logical name.
    pub logical: String,
    /// Its path.
    pub path: String,
    /// Whether it stands after LOG ON.
    pub is_log: bool,
}

/// `ALTER DATABASE`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DatabaseChange {
    SingleUser,
    RestrictedUser,
    MultiUser,
    Offline,
    Online,
    ReadOnly(bool),
    Recovery(RecoveryModel),
    Rename(String),
    /// ENABLE_BROKER or DISABLE_BROKER.
    Broker(bool),
    NewBroker,
    Compatibility(i64),
    Trustworthy(bool),
    /// An option that changes nothing here, such as PAGE_VERIFY or AUTO_CLOSE.
    Ignored,
}

/// A change to logins or to the roles of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum LoginChange {
    Create { name: String, is_windows: bool, options: LoginOptions },
    Alter { name: String, options: LoginOptions },
    Drop(String),
    CreateRole { role: String, owner: Option<String> },
    DropRole(String),
    Member { role: String, name: String, is_added: bool },
}

/// A password as a statement gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// Itself.
    Plain(String),
    /// As a server keeps it.
    Hashed(Vec<u8>),
}

/// What CREATE LOGIN and ALTER LOGIN say of a login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct LoginOptions {
    pub password: Option<Password>,
    pub sid: Option<Vec<u8>>,
    pub name: Option<String>,
    pub database: Option<String>,
    pub language: Option<String>,
    pub checks_policy: Option<bool>,
    pub checks_expiration: Option<bool>,
    pub disabled: Option<bool>,
}

/// A change to users and roles of a database, or to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum UserChange {
    Create { name: String, login: Option<String>, schema: Option<String> },
    Alter { name: String, login: Option<String>, new: Option<String>, schema: Option<String> },
    Drop { name: String, is_role: bool, if_exists: bool },
    CreateRole(String),
    Member { role: String, member: String, is_added: bool },
    Owner { database: String, login: String },
}

/// What a right is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Securable {
    /// Its class: `OBJECT`, `SCHEMA`, `LOGIN`.
    pub class: String,
    /// Its name.
    pub name: ObjectName,
}

/// GRANT, DENY and REVOKE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionChange {
    /// `G`, `W` or `D`; nothing to revoke.
    pub state: Option<char>,
    /// The rights: `VIEW SERVER STATE`.
    pub rights: Vec<String>,
    /// What they are on; nothing for the server or the database as a whole.
    pub on: Option<Securable>,
    /// Whose they are.
    pub grantees: Vec<String>,
}

/// A change to endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum EndpointChange {
    Create(Endpoint),
    State(String, i64),
    Drop(String),
}

/// What becomes of the sessions that stand in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Termination {
    Wait,
    NoWait,
    RollbackImmediate,
    RollbackAfter(u64),
}

/// A database's recovery model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum RecoveryModel {
    Full,
    BulkLogged,
    Simple,
}

/// `BACKUP DATABASE` or `BACKUP LOG`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Backup {
    pub log: bool,
    pub database: Option<Text>,
    pub devices: Vec<Text>,
    pub differential: bool,
    pub copy_only: bool,
    pub compression: Option<bool>,
    pub checksum: bool,
    pub format: bool,
    pub init: bool,
    pub norecovery: bool,
    pub standby: Option<Text>,
    pub no_truncate: bool,
    pub continue_after_error: bool,
    pub stats: Option<u32>,
    pub name: Option<Text>,
    pub description: Option<Text>,
    pub media_name: Option<Text>,
    pub media_description: Option<Text>,
    pub mirrors: Vec<Vec<Text>>,
    pub algorithm: Option<String>,
    pub level: Option<String>,
    pub encryption: Option<Encryption>,
    pub credential: Option<Text>,
    pub block_size: Option<Text>,
    pub buffer_count: Option<Text>,
    pub max_transfer: Option<Text>,
}

/// `ENCRYPTION (…)` of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// The algorithm's word.
    pub algorithm: String,
    /// The certificate's name.
    pub certificate: String,
}

/// Statements about certificates and what keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Security {
    CreateMasterKey,
    CreateCertificate {
        name: String,
        subject: String,
        expires: Option<String>,
    },
    /// The private key's file and password, where it has one.
    CertificateFromFile {
        name: String,
        file: String,
        key: Option<(String, String)>,
    },
    BackupCertificate {
        name: String,
        file: String,
        key: Option<(String, String)>,
    },
    DropCertificate(String),
    CreateCredential {
        name: String,
        identity: String,
    },
    DropCredential(String),
}

/// Where a restore stops.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Stop {
    At(Text),
    Mark { name: String, after: Option<String>, before: bool },
}

/// What a restore leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Ending {
    Recovery,
    NoRecovery,
    Standby(Text),
}

/// `RESTORE DATABASE` or `RESTORE LOG`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Restore {
    pub log: bool,
    pub database: Option<Text>,
    pub devices: Vec<Text>,
    pub ending: Option<Ending>,
    pub replace: bool,
    pub restart: bool,
    pub restricted_user: bool,
    pub keep: Option<&'static str>,
    pub file: Option<Text>,
    pub moves: Vec<(String, String)>,
    pub checksum: Option<bool>,
    pub continue_after_error: bool,
    pub stats: Option<u32>,
    pub stop: Option<Stop>,
}

/// Which reading form of RESTORE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reading {
    HeaderOnly,
    FileListOnly,
    LabelOnly,
    VerifyOnly,
}

/// `RESTORE HEADERONLY` and its like.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ReadMedia {
    pub what: Reading,
    pub options: Restore,
}

/// `SET` of a session option.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SetOption {
    NoCount(bool),
    XactAbort(bool),
    LockTimeout(i64),
    IdentityInsert(ObjectName, bool),
    Ignored,
}

/// An argument of EXEC.
#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    /// `@name =`, when given.
    pub name: Option<String>,
    /// Its value.
    pub value: Expr,
    /// Whether it says OUTPUT.
    pub output: bool,
}

/// `EXEC`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Execute {
    /// `EXEC (text)`.
    Text(Box<Expr>),
    /// `EXEC [@result =] procedure arguments`.
    Procedure { result: Option<String>, name: ObjectName, arguments: Vec<Argument> },
}
