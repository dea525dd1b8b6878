//! `sqlserver.backup`: [`Backup`] takes a full, differential or log backup of one database.

use async_trait::async_trait;
use chrono::DateTime;
use drydock_step::target::LockClass;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, In, KindShape, Preflight,
    Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::backup_checks::{checked, folder_finding};
use super::backup_statement::{BackupKind, BackupStatement, file_name};
use super::database::DatabaseFacts;
use super::entry::ENTRY;
use super::failure::after_the_work;
use super::finding::found;
use super::history::Recorded;
use super::locks::{self, Patience};
use super::paths::{LONGEST_DEVICE, ServerPath};
use super::rights::{BACKUP_OPERATOR, msdb, watching, within};
use super::settings::marked;
use super::sql::{Identifier, quoted};
use super::target::SqlServerConnection;
use super::watch::{Work, running, stop, watched};
use crate::described::described;

inputs! {
    /// Inputs of `sqlserver.backup`.
    pub struct BackupInputs {
        /// The database.
        database: Identifier = known(Shape::Text),
        /// What to take.
        kind as "type": BackupKind = known(Shape::OneOf(&["full", "differential", "log"])),
        /// The folder for the file: one of the artifact store that the server sees (`sees` in the environment), or an absolute one on the
        /// server.
        to: String = maybe(Shape::Text).or("\"sql\""),
        /// Outside of the sequence: no differential builds on such a full, and such a log does not end the one before it.
        copy_only: bool = maybe(Shape::Boolean).or("false"),
        /// Verify pages while reading and write checksums.
        checksum: bool = maybe(Shape::Boolean).or("true"),
        /// Compress; the server's own setting when it is left out. Express editions cannot.
        compression: Option<bool> = maybe(Shape::Boolean),
        /// Begin new media in the file.
        format: bool = maybe(Shape::Boolean).or("true"),
        /// Write over what the file holds. Its name is new for every attempt, so that it holds nothing.
        init: bool = maybe(Shape::Boolean).or("true"),
        /// After how many percent the server tells of its progress.
        stats: Option<u8> = maybe(Shape::Integer).or("10"),
        /// Put before the attempt's id in the set's name.
        name: Option<String> = maybe(Shape::Text),
        /// The set's description, at most 255 characters.
        description: Option<String> = maybe(Shape::Text),
    }
}

const SERVER: &[Field] = &[
    Field::required("name", Shape::Text, "`@@SERVERNAME`."),
    Field::required("version", Shape::Text, "Its version."),
    Field::optional("time_zone", Shape::Text, "Its time zone by its own name; since SQL Server 2019."),
    Field::optional("utc_offset_minutes", Shape::Integer, "Its offset from UTC when it was asked."),
];

const OUTPUTS: &[Field] = &[
    Field::required("backup", Shape::Record(ENTRY), "The set, as `drydock chain` reads it."),
    Field::required("media", Shape::List(&Shape::Text), "The files as the server names them."),
    Field::required(
        "artifacts",
        Shape::List(&Shape::Text),
        "The same files in the artifact store; empty where `sees` does not say.",
    ),
    Field::required("size", Shape::Integer, "Bytes before compression."),
    Field::required("compressed_size", Shape::Integer, "Bytes as written."),
    Field::required("has_checksums", Shape::Boolean, "Whether it was written with checksums."),
    Field::optional("encryptor_thumbprint", Shape::Text, "The certificate that it is encrypted with."),
    Field::required("server", Shape::Record(SERVER), "The server that took it."),
    Field::optional("recovery_model", Shape::Text, "`FULL`, `BULK-LOGGED` or `SIMPLE`."),
    Field::optional("family_guid", Shape::Text, "The database's family."),
    Field::optional("recovery_fork", Shape::Text, "The recovery fork that the set ends on."),
];

/// Takes a backup.
pub struct Backup;

/// What is kept before the statement is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sent {
    /// The file.
    file: String,
    /// The server's session.
    session_id: i64,
}

impl BackupInputs {
    /// The set's name: what the plan calls it, and the attempt, by which it is found again.
    fn set_name(&self, attempt: &str) -> String {
        let mark = marked(attempt);
        let own = self.name.value().and_then(Option::as_ref);
        let Some(own) = own else { return mark };
        let room = 127_usize.saturating_sub(mark.encode_utf16().count());
        let mut kept = String::new();
        let mut units = 0;
        for c in own.chars() {
            units += c.len_utf16();
            if units > room {
                break;
            }
            kept.push(c);
        }
        format!("{kept} {mark}").trim_start().to_owned()
    }

    fn statement(&self, disk: String, name: String) -> BackupStatement {
        let is = |flag: &In<bool>, or: bool| flag.value().copied().unwrap_or(or);
        let description = self.description.value().and_then(Option::as_ref);
        BackupStatement {
            kind: self.kind.value().copied(),
            database: self.database.or_after(Identifier::bracketed),
            disk,
            name,
            description: description.map(|text| quoted(&text.chars().take(255).collect::<String>())),
            copy_only: is(&self.copy_only, false),
            format: is(&self.format, true),
            init: is(&self.init, true),
            compression: self.compression.value().copied().flatten(),
            checksum: is(&self.checksum, true),
            stats: self.stats.value().copied().flatten(),
        }
    }

    /// The folder on the server.
    async fn folder(&self, server: &SqlServerConnection) -> Result<ServerPath, StepError> {
        let (to, style) = (self.to.known()?, server.facts().await?.style);
        if style.is_absolute(to) {
            ServerPath::parse(style, to)
        } else {
            server.sees().await?.server_path(to)
        }
    }

    fn lock_class(&self) -> Result<LockClass, StepError> {
        Ok(if *self.kind.known()? == BackupKind::Log { LockClass::Log } else { LockClass::Data })
    }
}

#[async_trait]
impl StepKind for Backup {
    type Inputs = BackupInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &[
                "BACKUP DATABASE and BACKUP LOG in the database (role db_backupoperator)",
                "SELECT on msdb.dbo.backupset and msdb.dbo.backupmediafamily",
                "VIEW SERVER STATE, for progress and for finding a lost backup again",
                "ALTER ANY CONNECTION, to stop it when it is cancelled",
                "the server's service account may write into the folder",
            ],
            example: "full:\n  uses: sqlserver.backup\n  target: sql\n  with: { database: OctopusDB, type: full, compression: true }\n  timeout: 2h\n",
            ..described(
                "sqlserver.backup",
                "Takes a full, differential or log backup of one database into a file of its own. The set's name bears the attempt, so \
                 that a backup whose answer was lost is found again.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &BackupInputs) -> Vec<Touch> {
        let touch = |resource, access| Touch { target: target.map(str::to_owned), resource, access };
        let database = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        let folder = inputs.to.value().map_or("?".into(), |folder| format!("backups in {folder}"));
        vec![touch(database, Access::Reads), touch(folder, Access::Writes)]
    }

    fn actions(&self, target: Option<&str>, inputs: &BackupInputs, facts: &Facts) -> Vec<Action> {
        let folder = match facts.get("folder").and_then(Value::as_str) {
            Some(folder) => folder.to_owned(),
            None => inputs.to.to_string(),
        };
        let kind = inputs.kind.or_after(|kind| kind.as_str().to_owned());
        let disk = format!("{folder}/{}_{kind}_(time)_(attempt)", inputs.database);
        let text = inputs.statement(quoted(&disk), quoted(&inputs.set_name("(attempt)"))).to_string();
        vec![Action::writes(ActionKind::Sql, target, text)]
    }

    fn grants(&self, inputs: &BackupInputs) -> Vec<Grant> {
        let mut grants = watching(Duty::Backup);
        grants.extend(msdb(Duty::Backup, &["backupset", "backupmediafamily"]));
        grants.push(within(Duty::Backup, &inputs.database, BACKUP_OPERATOR));
        grants
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &BackupInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let mut findings = Vec::new();
        let mut facts = json!({});
        if inputs.to.value().is_some() {
            match inputs.folder(server).await {
                Ok(folder) => {
                    findings.extend(folder_finding(server, &folder).await?);
                    facts["folder"] = folder.as_str().into();
                }
                Err(error) => findings.push(found(error)),
            }
        }
        if let (Some(database), Some(kind)) = (inputs.database.value(), inputs.kind.value()) {
            let there = DatabaseFacts::ask(server.session(), database).await?;
            let compresses = inputs.compression.value().copied().flatten() == Some(true);
            findings.extend(checked(database, *kind, compresses, there.as_ref(), server.facts().await?));
        }
        Ok(Preflight { facts, findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &BackupInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (database, kind) = (inputs.database.known()?, *inputs.kind.known()?);
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        locks::take(server.session(), database.as_str(), inputs.lock_class()?, Patience::Short).await?;
        let now = DateTime::from_timestamp_millis(ctx.now_ms()).unwrap_or_default();
        let file = file_name(database.as_str(), kind, now, &ctx.attempt);
        let path = inputs.folder(server).await?.join(&file)?;
        if path.as_str().encode_utf16().count() > LONGEST_DEVICE {
            return Err(StepError::new("sqlserver.path", format!("`{path}` is longer than 259 characters"))
                .help("choose a folder with a shorter path for `to`"));
        }
        let name = inputs.set_name(&ctx.attempt);
        let statement = inputs.statement(quoted(path.as_str()), quoted(&name));
        let sent = Sent { file: path.to_string(), session_id: server.facts().await?.session_id };
        ctx.note(json!({ "sent": sent })).await?;
        watched(ctx, server, &statement.doing(), &statement.to_string()).await?;
        match outputs(server, database, &name).await.map_err(after_the_work)? {
            Some(outputs) => Ok(Ended::Outputs(outputs)),
            None => {
                let message = format!("{}: it was done, and msdb does not tell of it", statement.doing());
                Err(StepError::new("backup.unrecorded", message).help(
                    "the file is good and nothing knows its positions; see the server's log for error 3009",
                ))
            }
        }
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &BackupInputs) -> Result<Reconciled, StepError> {
        let database = inputs.database.known()?;
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        if !running(server, &ctx.attempt, Work::Media).await?.is_empty() {
            return Ok(Reconciled::Busy(1000));
        }
        // The lost session holds its lock for as long as it works, also where the login may not see other sessions.
        match locks::take(server.session(), database.as_str(), inputs.lock_class()?, Patience::None).await {
            Err(error) if error.code == "locked" => return Ok(Reconciled::Busy(1000)),
            taken => taken?,
        }
        if let Some(outputs) = outputs(server, database, &inputs.set_name(&ctx.attempt)).await? {
            return Ok(Reconciled::Done(outputs));
        }
        for sent in ctx.notes.iter().filter_map(|note| Sent::deserialize(note.get("sent")?).ok()) {
            ctx.log(format!(
                "what is left of an unfinished backup may lie in {}; no other uses that name",
                sent.file
            ));
        }
        Ok(Reconciled::NotDone)
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &BackupInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

/// What msdb tells of the set of this name; nothing when it knows none.
async fn outputs(
    server: &SqlServerConnection,
    database: &Identifier,
    name: &str,
) -> Result<Option<Value>, StepError> {
    let facts = server.facts().await?;
    let Some(recorded) = Recorded::named(server.session(), facts, database, name).await? else {
        return Ok(None);
    };
    let mut artifacts = Vec::new();
    if let Ok(sees) = server.sees().await {
        for media in &recorded.backup.media {
            let path = ServerPath::parse(facts.style, media).ok();
            artifacts.extend(path.and_then(|path| sees.store_path(&path)));
        }
    }
    // A set that lies in the store with some of its stripes alone does not lie in the store.
    if artifacts.len() != recorded.backup.media.len() {
        artifacts.clear();
    }
    let mut outputs = recorded.header()?;
    outputs["media"] = json!(recorded.backup.media);
    outputs["artifacts"] = json!(artifacts);
    outputs["server"] = json!(facts.part());
    outputs["recovery_model"] = json!(recorded.backup.recovery_model);
    outputs["family_guid"] = json!(recorded.backup.family_guid);
    outputs["recovery_fork"] = json!(recorded.backup.recovery_fork_id);
    Ok(Some(outputs))
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, given, touches};
    use drydock_step::{Given, Inputs};

    use super::*;

    #[test]
    fn a_dry_run_shows_the_statement() {
        let with = json!({ "database": "OctopusDB", "type": "full", "compression": true });
        let found = actions(&Backup, with.clone()).unwrap();
        let expected = "BACKUP DATABASE [OctopusDB] TO DISK = N'sql/OctopusDB_full_(time)_(attempt)' WITH FORMAT, INIT, COMPRESSION, \
                        CHECKSUM, NAME = N'drydock (attempt)', STATS = 10";
        assert_eq!(found, [Action::writes(ActionKind::Sql, Some("t"), expected)]);
        let touched: Vec<_> =
            touches(&Backup, with).unwrap().into_iter().map(|t| (t.resource, t.access)).collect();
        assert_eq!(
            touched,
            [("database OctopusDB".into(), Access::Reads), ("backups in sql".into(), Access::Writes)]
        );
        let unknown = json!({ "database": { "$after": ["a"] }, "type": { "$after": ["b"] } });
        let text = &actions(&Backup, unknown).unwrap()[0].text;
        assert!(
            text.starts_with("BACKUP (known after a) TO DISK = N'sql/(known after a)_(known after b)_"),
            "{text}"
        );
    }

    #[test]
    fn a_sets_name_always_ends_with_its_attempt() {
        let with = |name: &str| {
            let with = given(json!({ "database": "X", "type": "log", "name": name })).with;
            BackupInputs::read(&Given { with: &with, fill: None }).unwrap().set_name("r1/log/1")
        };
        assert_eq!(with("nightly"), "nightly drydock r1/log/1");
        let long = with(&"𝄞".repeat(100));
        assert!(long.encode_utf16().count() <= 128 && long.ends_with(" drydock r1/log/1"), "{long}");
    }
}
