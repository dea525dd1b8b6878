//! The rights that kinds need on a SQL Server, as grants, and the script that gives them: [`script`].

use drydock_step::{Duty, Grant, GrantPlace, In, LOGIN};

use super::sql::{Identifier, bracketed, quoted};

/// The table of marks, and who may add to it.
const MARKS: &str = "IF SCHEMA_ID(N'drydock') IS NULL EXEC (N'CREATE SCHEMA [drydock]');
IF OBJECT_ID(N'[drydock].[marks]', N'U') IS NULL
CREATE TABLE [drydock].[marks] (
    [mark] nvarchar(32) NOT NULL CONSTRAINT [PK_marks] PRIMARY KEY,
    [at] datetime2 NOT NULL,
    [run] nvarchar(64) NULL
);
GRANT SELECT, INSERT ON [drydock].[marks] TO {login};";

/// The table of scripts that were run, and who may add to it.
const SCRIPTS: &str = "IF SCHEMA_ID(N'drydock') IS NULL EXEC (N'CREATE SCHEMA [drydock]');
IF OBJECT_ID(N'[drydock].[scripts]', N'U') IS NULL
CREATE TABLE [drydock].[scripts] (
    [attempt] nvarchar(128) NOT NULL CONSTRAINT [PK_scripts] PRIMARY KEY,
    [at] datetime2 NOT NULL,
    [outputs] nvarchar(max) NOT NULL
);
GRANT SELECT, INSERT ON [drydock].[scripts] TO {login};";

/// To read any table.
pub(super) const READER: &str = "ALTER ROLE [db_datareader] ADD MEMBER {login};";

/// To change any table.
pub(super) const WRITER: &str = "ALTER ROLE [db_datawriter] ADD MEMBER {login};";

/// To take backups.
pub(super) const BACKUP_OPERATOR: &str = "ALTER ROLE [db_backupoperator] ADD MEMBER {login};";

/// To read the headers of backups, to have them verified, and to make databases of them.
pub(super) const READS_MEDIA: &str = "GRANT CREATE ANY DATABASE TO {login};";

/// To check a database, and to change its users.
pub(super) const OWNER: &str = "ALTER ROLE [db_owner] ADD MEMBER {login};";

/// To have a database checked.
pub(super) fn checking(database: &str) -> Grant {
    Grant::within(Duty::Plan, database, OWNER)
}

/// To back up a certificate with its private key, or to bring one back.
pub(super) fn certificate(name: &Identifier, brings_back: bool) -> Grant {
    if brings_back {
        return Grant::within(Duty::Restore, "master", "GRANT CREATE CERTIFICATE TO {login};");
    }
    let control = format!("GRANT CONTROL ON CERTIFICATE::{} TO {LOGIN};", name.bracketed());
    Grant::within(Duty::Backup, "master", &control)
}

fn place(database: &In<Identifier>) -> GrantPlace {
    match database {
        In::Known(name) => GrantPlace::Database(name.as_str().to_owned()),
        unknown @ In::After(_) => GrantPlace::Unknown(unknown.or_after(|_| String::new())),
    }
}

/// A right in a database that may not be known yet.
pub(super) fn within(duty: Duty, database: &In<Identifier>, statement: &str) -> Grant {
    Grant { duty, place: place(database), statement: statement.to_owned() }
}

/// The table of marks in a database.
pub(super) fn marks(duty: Duty, database: &In<Identifier>) -> Grant {
    within(duty, database, MARKS)
}

/// The table of scripts in a database.
pub(super) fn scripts(duty: Duty, database: &In<Identifier>) -> Grant {
    within(duty, database, SCRIPTS)
}

/// To read tables of msdb.
pub(super) fn msdb(duty: Duty, tables: &[&str]) -> Vec<Grant> {
    let select = |table: &&str| format!("GRANT SELECT ON [dbo].{} TO {{login}};", bracketed(table));
    tables.iter().map(|table| Grant::within(duty, "msdb", &select(table))).collect()
}

/// To see the progress of long statements, to find lost ones again, and to stop them.
pub(super) fn watching(duty: Duty) -> Vec<Grant> {
    ["GRANT VIEW SERVER STATE TO {login};", "GRANT ALTER ANY CONNECTION TO {login};"]
        .map(|statement| Grant::at_server(duty, statement))
        .into()
}

/// To restore any database, to keep others out of it meanwhile, and to read what was restored before anybody else does.
pub(super) fn restoring() -> Vec<Grant> {
    [
        "ALTER SERVER ROLE [dbcreator] ADD MEMBER {login};",
        "GRANT ALTER ANY DATABASE TO {login};",
        "GRANT VIEW ANY DEFINITION TO {login};",
        "GRANT CONNECT ANY DATABASE TO {login};",
        "GRANT SELECT ALL USER SECURABLES TO {login};",
    ]
    .map(|statement| Grant::at_server(Duty::Restore, statement))
    .into()
}

/// The script that gives a login these rights, place by place, each statement once.
pub(super) fn script(login: &str, grants: &[&Grant]) -> String {
    let (name, text) = (bracketed(login), quoted(login));
    let mut places: Vec<&GrantPlace> = grants.iter().map(|grant| &grant.place).collect();
    places.sort();
    places.dedup();
    let mut script = format!(
        "-- the login, once: CREATE LOGIN {name} WITH PASSWORD = N'...', or FROM WINDOWS; its password stands in no plan\n"
    );
    if grants.iter().any(|grant| grant.duty == Duty::Restore) {
        script.push_str(
            "-- users and roles of a database come back with it: give what is said of one in the database that is backed up\n",
        );
    }
    for place in places {
        let mut said: Vec<&str> = Vec::new();
        for grant in grants.iter().filter(|grant| grant.place == *place) {
            if !said.contains(&grant.statement.as_str()) {
                said.push(&grant.statement);
            }
        }
        let statements: Vec<String> = said.iter().map(|statement| statement.replace(LOGIN, &name)).collect();
        let statements = statements.join("\n");
        match place {
            GrantPlace::Server => script.push_str(&format!("USE [master];\nGO\n{statements}\nGO\n")),
            GrantPlace::Database(database) => script.push_str(&format!(
                "USE {};\nGO\nIF DATABASE_PRINCIPAL_ID({text}) IS NULL CREATE USER {name} FOR LOGIN {name};\nGO\n{statements}\nGO\n",
                bracketed(database)
            )),
            GrantPlace::Unknown(which) => {
                let lines = statements.replace('\n', "\n--   ");
                script.push_str(&format!("-- in the database {which}, as a user of that login:\n--   {lines}\n"));
            }
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gives_each_right_once_in_its_place() {
        let known = In::Known(Identifier::parse("a]b").unwrap());
        let grants = [
            within(Duty::Backup, &known, READER),
            Grant::at_server(Duty::Backup, "GRANT VIEW SERVER STATE TO {login};"),
            within(Duty::Backup, &known, READER),
            within(Duty::Backup, &In::After(Vec::new()), BACKUP_OPERATOR),
        ];
        let all: Vec<&Grant> = grants.iter().collect();
        let script = script("o'dock", &all);
        assert_eq!(script.matches("db_datareader").count(), 1, "{script}");
        assert!(script.contains("USE [a]]b];\nGO\nIF DATABASE_PRINCIPAL_ID(N'o''dock') IS NULL CREATE USER [o'dock] FOR LOGIN [o'dock];\nGO\nALTER ROLE [db_datareader] ADD MEMBER [o'dock];\nGO\n"), "{script}");
        let server = script.find("GRANT VIEW SERVER STATE TO [o'dock];").unwrap();
        assert!(server < script.find("USE [a]]b]").unwrap(), "{script}");
        assert!(script.contains("-- in the database (known after ), as a user of that login:\n--   ALTER ROLE [db_backupoperator]"), "{script}");
    }
}
