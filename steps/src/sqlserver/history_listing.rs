//! `sqlserver.history`: [`History`] lists the backups that a server remembers, or that lie in a folder of it, whoever took them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use drydock_recovery::backup::BackupType;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Ended, Facts, Field, Grant, KindShape, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, maybe,
};
use serde_json::{Value, json};

use super::answer::{Answer, present};
use super::backup::artifacts_of;
use super::entry::ENTRY;
use super::folder_listing::{Listed, found_in};
use super::history::Recorded;
use super::owners::{LogTaken, Owner, owners};
use super::paths::ServerPath;
use super::rights::{READS_MEDIA, msdb};
use super::sql::{Identifier, quoted};
use super::target::SqlServerConnection;
use super::watch::stop;
use crate::described::described;
use crate::size::fits;

inputs! {
    /// Inputs of `sqlserver.history`.
    pub struct HistoryInputs {
        /// The database; all of them where it is left out.
        database: Option<Identifier> = maybe(Shape::Text),
        /// Only backups that ended at this moment or later.
        since: Option<DateTime<Utc>> = maybe(Shape::Datetime),
        /// A folder with backup files, which are read one by one, instead of the server's own history: one of the artifact store that the
        /// server sees, or an absolute one on the server.
        folder: Option<String> = maybe(Shape::Text),
        /// Also in the folders below it.
        recursive: bool = maybe(Shape::Boolean).or("false"),
        /// The most backups; more fail the step.
        max: usize = maybe(Shape::Integer).or("2000"),
    }
}

const OWNER: &[Field] = &[
    Field::required("database", Shape::Text, "The database."),
    Field::required("program", Shape::Text, "The program, as far as its traces tell."),
    Field::required("user_name", Shape::Text, "The login."),
    Field::required("server", Shape::Text, "The server."),
    Field::required("folder", Shape::Text, "Where its files lie."),
    Field::required("pattern", Shape::Text, "Their names, with `#` for runs of digits."),
    Field::required("count", Shape::Integer, "How many log backups are its."),
    Field::required("newest", Shape::Datetime, "When the newest ended."),
];

const OUTPUTS: &[Field] = &[
    Field::required(
        "backups",
        Shape::List(&Shape::Record(ENTRY)),
        "The backups, the oldest first, as `drydock chain` and `sqlserver.restore` read them; each with `artifacts` where `sees` maps its \
         files.",
    ),
    Field::required("count", Shape::Integer, "How many there are."),
    Field::required(
        "problems",
        Shape::List(&Shape::Text),
        "Files that are no sound backups, and what else is worth knowing.",
    ),
    Field::required(
        "owners",
        Shape::List(&Shape::Record(OWNER)),
        "Who takes the log backups of each database; two of one database each hold a part of its chain.",
    ),
];

/// Lists backups.
pub struct History;

fn in_msdb(database: Option<&Identifier>, rows: usize) -> String {
    let only = database.map_or(String::new(), |name| format!(" AND bs.database_name = {}", name.quoted()));
    format!(
        "SELECT TOP ({rows}) bs.* FROM msdb.dbo.backupset AS bs WHERE bs.type IN ('D', 'I', 'L'){only} ORDER BY bs.backup_set_id DESC"
    )
}

/// The media of the sets from this one on.
fn media_in_msdb(database: Option<&Identifier>, from: i64) -> String {
    let only = database.map_or(String::new(), |name| format!(" AND bs.database_name = {}", name.quoted()));
    format!(
        "SELECT bs.backup_set_id, bmf.physical_device_name FROM msdb.dbo.backupset AS bs JOIN msdb.dbo.backupmediafamily AS bmf \
         ON bmf.media_set_id = bs.media_set_id AND bmf.mirror = 0 WHERE bs.backup_set_id >= {from} AND bs.type IN ('D', 'I', 'L'){only} \
         ORDER BY bs.backup_set_id, bmf.family_sequence_number"
    )
}

/// The files of each set, by its number.
fn media_of(answer: &Answer) -> Result<std::collections::BTreeMap<i64, Vec<String>>, StepError> {
    let mut media = std::collections::BTreeMap::<i64, Vec<String>>::new();
    for row in answer.rows() {
        let id = present(row.number("backup_set_id")?, "backup_set_id")?;
        let device = present(row.text("physical_device_name")?, "physical_device_name")?;
        media.entry(id).or_default().push(device.to_owned());
    }
    Ok(media)
}

/// What the server remembers.
async fn remembered(
    server: &SqlServerConnection,
    database: Option<&Identifier>,
    most: usize,
) -> Result<Vec<Listed>, StepError> {
    let (session, facts) = (server.session(), server.facts().await?);
    let doing = "looking into the backup history";
    let sets = session.ask(doing, &in_msdb(database, most.saturating_add(1))).await?;
    let ids = sets.rows().map(|row| present(row.number("backup_set_id")?, "backup_set_id"));
    let oldest = ids.collect::<Result<Vec<_>, _>>()?.into_iter().min().unwrap_or(0);
    let media = media_of(&session.ask(doing, &media_in_msdb(database, oldest)).await?)?;
    let mut listed = Vec::new();
    for row in sets.rows() {
        let id = present(row.number("backup_set_id")?, "backup_set_id")?;
        let media = media.get(&id).cloned().unwrap_or_default();
        listed.push(Listed::of(Recorded::of_msdb(row, media, facts)?));
    }
    Ok(listed)
}

/// Who takes the log backups of each database.
fn owners_of(listed: &[Listed]) -> Vec<(String, Owner)> {
    let mut databases: Vec<&str> = listed.iter().map(|listed| listed.backup.database.as_str()).collect();
    databases.sort_unstable();
    databases.dedup();
    let mut found = Vec::new();
    for database in databases {
        let is_own = |listed: &&Listed| {
            listed.backup.database == database
                && listed.backup.kind == BackupType::Log
                && !listed.backup.copy_only
        };
        let logs: Vec<LogTaken> = listed.iter().filter(is_own).map(|listed| listed.taken.clone()).collect();
        found.extend(owners(&logs).into_iter().map(|owner| (database.to_owned(), owner)));
    }
    found
}

async fn outputs(
    server: &SqlServerConnection,
    mut listed: Vec<Listed>,
    mut problems: Vec<String>,
) -> Result<Value, StepError> {
    listed.sort_by_key(|listed| (listed.backup.finished_at, listed.backup.last_lsn));
    let owners = owners_of(&listed);
    for (database, _) in &owners {
        let of: Vec<String> =
            owners.iter().filter(|(own, _)| own == database).map(|(_, owner)| owner.words()).collect();
        let line = format!("the log of {database} is backed up by {}: {}", of.len(), of.join("; "));
        if of.len() > 1 && !problems.contains(&line) {
            problems.push(line);
        }
    }
    let mut backups = Vec::new();
    for listed in &listed {
        let entry = serde_json::to_value(&listed.backup);
        let mut entry =
            entry.map_err(|error| StepError::internal(format!("a backup is no JSON: {error}")))?;
        entry["artifacts"] = json!(artifacts_of(server, &listed.backup.media).await?);
        backups.push(entry);
    }
    let owners: Vec<Value> = owners
        .into_iter()
        .map(|(database, owner)| {
            let mut told = json!(owner);
            told["database"] = database.into();
            told
        })
        .collect();
    Ok(json!({ "count": backups.len(), "backups": backups, "problems": problems, "owners": owners }))
}

#[async_trait]
impl StepKind for History {
    type Inputs = HistoryInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            answers_in_dry_run: true,
            permissions: &[
                "SELECT on msdb.dbo.backupset and msdb.dbo.backupmediafamily",
                "sysadmin, to list a folder; CREATE ANY DATABASE, to read headers",
            ],
            example: "known:\n  uses: sqlserver.history\n  target: sql\n  with: { database: OctopusDB, since: 2026-07-01T00:00:00Z }\n",
            ..described(
                "sqlserver.history",
                "Lists the backups of one database or of all that a server remembers, or that lie in a folder, whoever took them: jobs, \
                 agents, people. They come out as `sqlserver.restore` and `drydock chain` take them.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &HistoryInputs) -> Vec<Touch> {
        let resource = match inputs.folder.value() {
            Some(Some(folder)) => format!("backups in {folder}"),
            Some(None) => "database msdb".to_owned(),
            None => "?".to_owned(),
        };
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &HistoryInputs, _facts: &Facts) -> Vec<Action> {
        let read = |text: String| Action::reads(ActionKind::Sql, target, text);
        match inputs.folder.value() {
            Some(Some(folder)) => {
                let depth = if inputs.recursive.value() == Some(&true) { 0 } else { 1 };
                vec![
                    read(format!("EXEC master.dbo.xp_dirtree {}, {depth}, 1", quoted(folder))),
                    read(format!(
                        "RESTORE HEADERONLY FROM DISK = {}",
                        quoted(&format!("{folder}/(each file)"))
                    )),
                ]
            }
            _ => {
                let most = inputs.max.value().copied().unwrap_or(0);
                vec![read(in_msdb(inputs.database.value().and_then(Option::as_ref), most.saturating_add(1)))]
            }
        }
    }

    fn moving(&self) -> &'static [&'static str] {
        &["/count", "/problems", "/owners"]
    }

    fn grants(&self, inputs: &HistoryInputs) -> Vec<Grant> {
        let mut grants = msdb(Duty::Plan, &["backupset", "backupmediafamily"]);
        if inputs.folder.value().is_none_or(Option::is_some) {
            grants.push(Grant::at_server(Duty::Plan, READS_MEDIA));
        }
        grants
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &HistoryInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (database, most) = (inputs.database.known()?.as_ref(), *inputs.max.known()?);
        let since = *inputs.since.known()?;
        let work = async {
            let connection = ctx.connection().await?;
            let server = SqlServerConnection::of(&*connection)?;
            let mut problems = Vec::new();
            let mut listed = match inputs.folder.known()? {
                Some(folder) => {
                    let style = server.facts().await?.style;
                    let folder = if style.is_absolute(folder) {
                        ServerPath::parse(style, folder)?
                    } else {
                        server.sees().await?.server_path(folder)?
                    };
                    found_in(ctx, server, &folder, *inputs.recursive.known()?, &mut problems).await?
                }
                None => remembered(server, database, most).await?,
            };
            let is_wanted = |listed: &Listed| {
                let named = database
                    .is_none_or(|name| name.as_str().to_lowercase() == listed.backup.database.to_lowercase());
                named && since.is_none_or(|since| listed.backup.finished_at >= since)
            };
            listed.retain(is_wanted);
            if listed.len() > most {
                return Err(StepError::new("history.large", format!("there are more than {most} backups"))
                    .help("ask for one `database`, or `since` a moment, or raise `max`; outputs are at most 1 MiB"));
            }
            outputs(server, listed, problems).await
        };
        let outputs = ctx.or_cancelled(work).await?;
        if !fits(&outputs) {
            return Err(StepError::new(
                "history.large",
                format!("{} backups are more than outputs can hold", outputs["count"]),
            )
            .help("ask for one `database`, or `since` a moment"));
        }
        Ok(Ended::Outputs(outputs))
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &HistoryInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &HistoryInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    #[test]
    fn a_dry_run_shows_what_is_asked() {
        let found = actions(&History, json!({ "database": "it's" })).unwrap();
        assert_eq!(
            found[0].text,
            "SELECT TOP (2001) bs.* FROM msdb.dbo.backupset AS bs WHERE bs.type IN ('D', 'I', 'L') AND bs.database_name = N'it''s' ORDER BY bs.backup_set_id DESC"
        );
        let with = json!({ "folder": "sql", "recursive": true });
        let found = actions(&History, with.clone()).unwrap();
        assert_eq!(found[0].text, "EXEC master.dbo.xp_dirtree N'sql', 0, 1");
        assert_eq!(touches(&History, with).unwrap()[0].resource, "backups in sql");
    }
}
