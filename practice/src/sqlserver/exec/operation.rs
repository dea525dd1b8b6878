//! What the ledger and the faults call a statement. Main function: [`operation`].

use super::select_into::makes_table;
use super::session::Session;
use super::tables::shown;
use crate::sqlserver::lang::statement::{
    Body, EndpointChange, Execute, LoginChange, PermissionChange, Reading, Security, Text, UserChange,
};
use crate::sqlserver::tds::tokens::Command;

/// A statement's name in the ledger and whether it writes; nothing for those that only steer.
#[must_use]
pub fn operation(session: &Session, body: &Body) -> Option<(String, bool)> {
    let named =
        |text: &Option<Text>| text.as_ref().and_then(|text| session.text(text).ok()).unwrap_or_default();
    Some(match body {
        Body::Select(query) if makes_table(query) => ("select into".to_owned(), true),
        Body::Select(_) => ("select".to_owned(), false),
        Body::Insert(_) => ("insert".to_owned(), true),
        Body::Update(_) => ("update".to_owned(), true),
        Body::Delete(_) => ("delete".to_owned(), true),
        Body::CreateTable(create) => (format!("create table {}", shown(&create.name)), true),
        Body::AlterTable { table, .. } => (format!("alter table {}", shown(table)), true),
        Body::CreateIndex(create) => (format!("create index {}", create.name), true),
        Body::DropIndex { index, .. } => (format!("drop index {index}"), true),
        Body::DropTables { names, .. } => {
            (format!("drop table {}", names.iter().map(shown).collect::<Vec<_>>().join(", ")), true)
        }
        Body::Truncate(table) => (format!("truncate table {}", shown(table)), true),
        Body::CreateSchema(name) => (format!("create schema {name}"), true),
        Body::CreateDatabase { name, .. } => (format!("create database {name}"), true),
        Body::DropDatabases { names, .. } => (format!("drop database {}", names.join(", ")), true),
        Body::AlterDatabase { name, .. } => {
            (format!("alter database {}", name.as_deref().unwrap_or("current")), true)
        }
        Body::Backup(backup) => {
            let what = if backup.log { "log" } else { "database" };
            (format!("backup {what} {}", named(&backup.database)), true)
        }
        Body::Restore(restore) if restore.devices.is_empty() => {
            (format!("recover {}", named(&restore.database)), true)
        }
        Body::Restore(restore) => {
            let what = if restore.log { "log" } else { "database" };
            (format!("restore {what} {}", named(&restore.database)), true)
        }
        Body::ReadMedia(read) => (format!("restore {}", reading(read.what).to_lowercase()), false),
        Body::Login(change) => (login(change), true),
        Body::User(change) => (user(change), true),
        Body::Permission(change) => (permission(change), true),
        Body::Impersonate { name, .. } => (format!("execute as {name}"), false),
        Body::Endpoint(EndpointChange::Create(made)) => (format!("create endpoint {}", made.name), true),
        Body::Endpoint(EndpointChange::State(name, _)) => (format!("alter endpoint {name}"), true),
        Body::Endpoint(EndpointChange::Drop(name)) => (format!("drop endpoint {name}"), true),
        Body::Reconfigure => ("reconfigure".to_owned(), true),
        Body::Kill { session, .. } => (format!("kill {session}"), true),
        Body::CheckDatabase { name, .. } => {
            (format!("dbcc checkdb {}", named(name)).trim_end().to_owned(), false)
        }
        Body::DamagePage { .. } => ("dbcc writepage".to_owned(), true),
        Body::Security(security) => (secured(security), true),
        Body::Commit => match &session.transaction.mark {
            Some(mark) if session.transaction.depth == 1 => (format!("mark {}", mark.name), true),
            _ if session.transaction.depth == 1 => ("commit".to_owned(), true),
            _ => return None,
        },
        Body::Execute(Execute::Procedure { name, .. })
            if !name.name.eq_ignore_ascii_case("sp_executesql") =>
        {
            let name = name.name.to_lowercase();
            let writes = !matches!(name.as_str(), "xp_fileexist" | "xp_dirtree" | "xp_fixeddrives");
            (format!("exec {name}"), writes)
        }
        _ => return None,
    })
}

fn login(change: &LoginChange) -> String {
    match change {
        LoginChange::Create { name, .. } => format!("create login {name}"),
        LoginChange::Alter { name, .. } => format!("alter login {name}"),
        LoginChange::Drop(name) => format!("drop login {name}"),
        LoginChange::CreateRole { role, .. } => format!("create server role {role}"),
        LoginChange::DropRole(role) => format!("drop server role {role}"),
        LoginChange::Member { role, .. } => format!("alter server role {role}"),
    }
}

fn user(change: &UserChange) -> String {
    match change {
        UserChange::Create { name, .. } => format!("create user {name}"),
        UserChange::Alter { name, .. } => format!("alter user {name}"),
        UserChange::Drop { name, .. } => format!("drop user {name}"),
        UserChange::CreateRole(name) => format!("create role {name}"),
        UserChange::Member { role, .. } => format!("alter role {role}"),
        UserChange::Owner { database, .. } => format!("alter authorization {database}"),
    }
}

fn permission(change: &PermissionChange) -> String {
    let verb = match change.state {
        None => "revoke",
        Some('D') => "deny",
        Some(_) => "grant",
    };
    format!("{verb} {}", change.rights.join(", ").to_lowercase())
}

fn secured(security: &Security) -> String {
    match security {
        Security::CreateMasterKey => "create master key".to_owned(),
        Security::CreateCertificate { name, .. } | Security::CertificateFromFile { name, .. } => {
            format!("create certificate {name}")
        }
        Security::BackupCertificate { name, .. } => format!("backup certificate {name}"),
        Security::DropCertificate(name) => format!("drop certificate {name}"),
        Security::CreateCredential { name, .. } => format!("create credential {name}"),
        Security::DropCredential(name) => format!("drop credential {name}"),
    }
}

/// The words of a reading RESTORE.
#[must_use]
pub const fn reading(what: Reading) -> &'static str {
    match what {
        Reading::HeaderOnly => "HEADERONLY",
        Reading::FileListOnly => "FILELISTONLY",
        Reading::LabelOnly => "LABELONLY",
        Reading::VerifyOnly => "VERIFYONLY",
    }
}

/// What a DONE token's CurCmd says of a statement.
#[must_use]
pub fn command(body: &Body) -> Command {
    match body {
        Body::Select(_) => Command::Select,
        Body::Insert(_) => Command::Insert,
        Body::Update(_) => Command::Update,
        Body::Delete(_) => Command::Delete,
        Body::CreateTable(_) => Command::CreateTable,
        Body::AlterTable { .. } => Command::AlterTable,
        Body::DropTables { .. } => Command::DropTable,
        Body::CreateDatabase { .. } => Command::CreateDatabase,
        Body::DropDatabases { .. } => Command::DropDatabase,
        Body::AlterDatabase { .. } => Command::AlterDatabase,
        Body::Backup(backup) if backup.log => Command::BackupLog,
        Body::Backup(_) => Command::BackupDatabase,
        Body::Restore(_) => Command::RestoreDatabase,
        Body::ReadMedia(read) => match read.what {
            Reading::HeaderOnly | Reading::LabelOnly => Command::RestoreHeaderOnly,
            Reading::FileListOnly => Command::RestoreFileListOnly,
            Reading::VerifyOnly => Command::RestoreVerifyOnly,
        },
        Body::Use(_) => Command::Use,
        Body::Begin { .. } => Command::Begin,
        Body::Commit => Command::Commit,
        Body::Rollback => Command::Rollback,
        Body::Execute(_) => Command::Execute,
        _ => Command::None,
    }
}

/// The words of `sys.dm_exec_requests` for a statement.
#[must_use]
pub fn request_command(body: &Body) -> &'static str {
    match body {
        Body::Select(_) => "SELECT",
        Body::Insert(_) => "INSERT",
        Body::Update(_) => "UPDATE",
        Body::Delete(_) => "DELETE",
        Body::Backup(backup) if backup.log => "BACKUP LOG",
        Body::Backup(_) => "BACKUP DATABASE",
        Body::Restore(restore) if restore.log => "RESTORE LOG",
        Body::Restore(_) => "RESTORE DATABASE",
        Body::ReadMedia(_) => "RESTORE HEADERONLY",
        Body::CheckDatabase { .. } => "DBCC TABLE CHECK",
        Body::WaitFor(_) => "WAITFOR",
        Body::DropDatabases { .. } => "DROP DATABASE",
        Body::AlterDatabase { .. } => "ALTER DATABASE",
        Body::Execute(_) => "EXECUTE",
        _ => "CONDITIONAL",
    }
}
