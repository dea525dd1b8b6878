//! `sqlserver.backup`: [`Backup`] takes a full, differential, log or tail backup of one database.

use async_trait::async_trait;
use chrono::DateTime;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, KindShape, Preflight,
    Reconciled, Shape, StepError, StepKind, TargetNeed, Touch,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::backup_checks::preflight;
use super::backup_file::{Filling, exists, stamp};
use super::backup_inputs::BackupInputs;
use super::backup_statement::BackupKind;
use super::backup_tail::{close, closed_from, reopen, shown};
use super::database::{DatabaseFacts, State};
use super::entry::ENTRY;
use super::failure::after_the_work;
use super::files::FileStatus;
use super::history::Recorded;
use super::locks::{self, Patience};
use super::paths::ServerPath;
use super::rights::{BACKUP_OPERATOR, msdb, watching, within};
use super::set_details::SET;
use super::sql::{Identifier, quoted};
use super::target::SqlServerConnection;
use super::watch::{Work, expected_size, running, stop, watched_sized};
use crate::described::described;

const SERVER: &[Field] = &[
    Field::required("name", Shape::Text, "`@@SERVERNAME`."),
    Field::required("version", Shape::Text, "Its version."),
    Field::optional("time_zone", Shape::Text, "Its time zone by its own name; since SQL Server 2019."),
    Field::optional("utc_offset_minutes", Shape::Integer, "Its offset from UTC when it was asked."),
];

const DEVICE: &[Field] = &[
    Field::required("path", Shape::Text, "Its path or URL."),
    Field::required("stripe", Shape::Integer, "Which stripe of the set it holds, from 1."),
    Field::required("mirror", Shape::Integer, "Which copy it belongs to; 0 is the first."),
    Field::required("kind", Shape::Text, "`disk` or `url`."),
    Field::optional("block_size", Shape::Integer, "Bytes a block."),
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
    Field::required("set", Shape::Record(SET), "Everything that msdb knows of the set."),
    Field::optional(
        "edition_features",
        Shape::List(&Shape::Text),
        "What the database uses that not every edition has, by SQL Server's own names; absent where the login may not ask.",
    ),
    Field::required("devices", Shape::List(&Shape::Record(DEVICE)), "Every file, those of mirrors too."),
];

/// Takes a backup.
pub struct Backup;

/// What is kept before the statement is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sent {
    /// The first file.
    file: String,
    /// All files of the first copy.
    #[serde(default)]
    files: Vec<String>,
    /// The server's session.
    session_id: i64,
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
                "ALTER in the database, for a tail: it throws everybody out first",
                "VIEW DEFINITION on the certificate, for an encrypted one",
                "the server's service account may write into the folder",
            ],
            example: "full:\n  uses: sqlserver.backup\n  target: sql\n  with: { database: OctopusDB, type: full, compression: true }\n  timeout: 2h\n",
            ..described(
                "sqlserver.backup",
                "Takes a full, differential, log or tail backup of one database into files of its own: striped, mirrored, encrypted, to a \
                 folder or a URL. The set's name bears the attempt, so that a backup whose answer was lost is found again.",
            )
        }
    }

    fn judge(&self, inputs: &BackupInputs) -> Result<(), StepError> {
        inputs.fits_together()
    }

    fn touches(&self, target: Option<&str>, inputs: &BackupInputs) -> Vec<Touch> {
        let touch = |resource, access| Touch { target: target.map(str::to_owned), resource, access };
        let database = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        let folder = inputs.to.value().map_or("?".into(), |folder| format!("backups in {folder}"));
        // A tail takes the database out of use.
        let may_close = inputs.kind.value().is_none_or(|kind| *kind == BackupKind::Tail);
        let access = if may_close { Access::Writes } else { Access::Reads };
        let mirrors = inputs.mirror.value().into_iter().flatten();
        let mirrors = mirrors.map(|folder| touch(format!("backups in {folder}"), Access::Writes));
        [touch(database, access), touch(folder, Access::Writes)].into_iter().chain(mirrors).collect()
    }

    fn learns_for_good(&self) -> bool {
        true
    }

    fn actions(&self, target: Option<&str>, inputs: &BackupInputs, facts: &Facts) -> Vec<Action> {
        let write = |text: String| Action::writes(ActionKind::Sql, target, text);
        if let Err(error) = inputs.fits_together() {
            return vec![write(format!("(nothing: {})", error.message))];
        }
        let folders: Vec<String> = match facts.get("folders").and_then(Value::as_array) {
            Some(folders) => folders.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => {
                let mirrors = inputs.mirror.value().cloned().unwrap_or_default();
                std::iter::once(inputs.to.to_string()).chain(mirrors).collect()
            }
        };
        let (database, kind) =
            (inputs.database.to_string(), inputs.kind.or_after(|kind| kind.as_str().to_owned()));
        let filling = Filling { database: &database, kind: &kind, time: "(time)", run: "attempt" };
        let names = inputs.files(filling);
        let separator =
            |folder: &str| if folder.contains('\\') && !folder.contains('/') { '\\' } else { '/' };
        let copy = |folder: &String| {
            let folder = folder.trim_end_matches(['/', '\\']);
            names.iter().map(|name| quoted(&format!("{folder}{}{name}", separator(folder)))).collect()
        };
        let copies = folders.iter().map(copy).collect();
        let statement = inputs.statement(copies, quoted(&inputs.set_name("(attempt)")));
        let closes = inputs.kind.value() == Some(&BackupKind::Tail);
        let first = closes.then(|| write(shown(&statement.database)));
        first.into_iter().chain([write(statement.to_string())]).collect()
    }

    fn grants(&self, inputs: &BackupInputs) -> Vec<Grant> {
        let mut grants = watching(Duty::Backup);
        grants.extend(msdb(Duty::Backup, &["backupset", "backupmediafamily"]));
        grants.push(within(Duty::Backup, &inputs.database, BACKUP_OPERATOR));
        grants
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &BackupInputs) -> Result<Preflight, StepError> {
        preflight(ctx, inputs).await
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &BackupInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.fits_together()?;
        let (database, kind) = (inputs.database.known()?, *inputs.kind.known()?);
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        locks::take(server.session(), database.as_str(), inputs.lock_class()?, Patience::Short).await?;
        let now = DateTime::from_timestamp_millis(ctx.now_ms()).unwrap_or_default();
        let copies = inputs.paths(server, &stamp(now), &ctx.attempt).await?;
        nothing_there(server, copies.iter().flatten()).await?;
        if kind != BackupKind::Tail {
            return taken(ctx, inputs, server, database, &copies).await;
        }
        let was = close(ctx, server, database, *inputs.no_truncate.known()?).await?;
        let ended = taken(ctx, inputs, server, database, &copies).await;
        if let (Err(_), Some(was)) = (&ended, was) {
            reopen(ctx, database, was).await;
        }
        ended
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
        let name = inputs.set_name(&ctx.attempt);
        if let Some(outputs) = outputs(server, database, &name).await? {
            return Ok(Reconciled::Done(outputs));
        }
        let sent: Vec<Sent> =
            ctx.notes.iter().filter_map(|note| Sent::deserialize(note.get("sent")?).ok()).collect();
        if *inputs.kind.known()? == BackupKind::Tail {
            return after_a_tail(ctx, server, database, &name, &sent).await;
        }
        leftovers(ctx, &sent);
        Ok(Reconciled::NotDone)
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &BackupInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

fn leftovers(ctx: &Ctx, sent: &[Sent]) {
    for sent in sent {
        ctx.log(format!(
            "what is left of an unfinished backup may lie in {}; no other uses that name",
            sent.file
        ));
    }
}

/// Sends the statement, and tells what was made of it.
async fn taken(
    ctx: &Ctx,
    inputs: &BackupInputs,
    server: &SqlServerConnection,
    database: &Identifier,
    copies: &[Vec<ServerPath>],
) -> Result<Ended, StepError> {
    let name = inputs.set_name(&ctx.attempt);
    let quote = |copy: &Vec<ServerPath>| copy.iter().map(|path| quoted(path.as_str())).collect();
    let statement = inputs.statement(copies.iter().map(quote).collect(), quoted(&name));
    let files: Vec<String> = copies.first().into_iter().flatten().map(ToString::to_string).collect();
    let file = files.first().cloned().unwrap_or_default();
    let sent = Sent { file, files, session_id: server.facts().await?.session_id };
    ctx.note(json!({ "sent": sent })).await?;
    let size = expected_size(server, database, *inputs.kind.known()?).await;
    watched_sized(ctx, server, &statement.doing(), &statement.to_string(), size).await?;
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

/// Sees to it that no file is there yet: nothing is written over or behind another backup.
async fn nothing_there(
    server: &SqlServerConnection,
    paths: impl Iterator<Item = &ServerPath>,
) -> Result<(), StepError> {
    for path in paths.filter(|path| !path.is_url()) {
        if FileStatus::ask(server.session(), path).await?.is_file {
            return Err(exists(path));
        }
    }
    Ok(())
}

/// What became of a tail that msdb does not tell of. The database itself knows: once it was taken, it waits to be restored.
async fn after_a_tail(
    ctx: &Ctx,
    server: &SqlServerConnection,
    database: &Identifier,
    name: &str,
    sent: &[Sent],
) -> Result<Reconciled, StepError> {
    let facts = DatabaseFacts::ask(server.session(), database).await?;
    let state = facts.as_ref().map(|facts| facts.state);
    let was_open = facts.is_some_and(|facts| facts.state == State::Online && !facts.is_multi_user);
    if state == Some(State::Restoring)
        && let Some(sent) = sent.last()
    {
        // Only the row in msdb is missing: the file itself says what it is.
        let style = server.facts().await?.style;
        let paths = sent.files.iter().map(|file| ServerPath::parse(style, file));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        if let Ok(sets) = Recorded::all_in_media(server.session(), server.facts().await?, &paths).await
            && let Some(set) = sets.iter().find(|set| set.set["name"] == name)
        {
            return Ok(Reconciled::Done(told(server, set).await?));
        }
    }
    leftovers(ctx, sent);
    if was_open && closed_from(&ctx.notes).is_some() {
        ctx.log(format!(
            "database {database} was closed to others for its tail; the next attempt goes on from there"
        ));
        return Ok(Reconciled::Partly(json!({ "closed": true })));
    }
    Ok(Reconciled::NotDone)
}

/// What msdb tells of the set of this name; nothing when it knows none.
async fn outputs(
    server: &SqlServerConnection,
    database: &Identifier,
    name: &str,
) -> Result<Option<Value>, StepError> {
    let facts = server.facts().await?;
    match Recorded::named(server.session(), facts, database, name).await? {
        Some(recorded) => told(server, &recorded).await.map(Some),
        None => Ok(None),
    }
}

/// A set as outputs.
async fn told(server: &SqlServerConnection, recorded: &Recorded) -> Result<Value, StepError> {
    let mut outputs = recorded.header()?;
    outputs["media"] = json!(recorded.backup.media);
    outputs["artifacts"] = json!(artifacts_of(server, &recorded.backup.media).await?);
    outputs["server"] = json!(server.facts().await?.part());
    outputs["recovery_model"] = json!(recorded.backup.recovery_model);
    outputs["family_guid"] = json!(recorded.backup.family_guid);
    outputs["recovery_fork"] = json!(recorded.backup.recovery_fork_id);
    outputs["set"] = recorded.set.clone();
    outputs["devices"] = json!(recorded.devices);
    outputs["edition_features"] = json!(edition_features(server, &recorded.backup.database).await);
    Ok(outputs)
}

/// What a database uses that not every edition has; nothing where it cannot be asked: the login may not, or a tail has closed it.
async fn edition_features(server: &SqlServerConnection, database: &str) -> Option<Vec<String>> {
    let view = format!("{}.sys.dm_db_persisted_sku_features", super::sql::bracketed(database));
    let sql = format!("SELECT feature_name FROM {view} ORDER BY feature_id");
    let answer = server.session().ask("asking what only some editions have", &sql).await.ok()?;
    let names = answer.rows().map(|row| row.text("feature_name").ok().flatten().map(str::to_owned));
    Some(names.flatten().collect())
}

/// Where media lie in the artifact store; nothing where not all of them do: a set that lies in the store with some of its stripes alone
/// does not lie in the store.
pub(super) async fn artifacts_of(
    server: &SqlServerConnection,
    media: &[String],
) -> Result<Vec<String>, StepError> {
    let style = server.facts().await?.style;
    let Ok(sees) = server.sees().await else { return Ok(Vec::new()) };
    let of = |media: &String| ServerPath::parse(style, media).ok().and_then(|path| sees.store_path(&path));
    let artifacts: Vec<String> = media.iter().filter_map(of).collect();
    Ok(if artifacts.len() == media.len() { artifacts } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    #[test]
    fn a_dry_run_shows_the_statement() {
        let with = json!({ "database": "OctopusDB", "type": "full", "compression": true });
        let found = actions(&Backup, with.clone()).unwrap();
        let expected = "BACKUP DATABASE [OctopusDB] TO DISK = N'sql/OctopusDB_full_(time)_attempt.bak' WITH FORMAT, INIT, COMPRESSION, \
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
        assert!(text.starts_with("BACKUP (known after a) TO DISK = N'sql/"), "{text}");
    }

    #[test]
    fn a_dry_run_of_a_tail_shows_that_everybody_is_thrown_out() {
        let with = json!({ "database": "OctopusDB", "type": "tail", "stripes": 2, "to": "D:\\b", "mirror": ["E:\\b"] });
        let texts: Vec<String> =
            actions(&Backup, with.clone()).unwrap().into_iter().map(|action| action.text).collect();
        assert_eq!(texts[0], "ALTER DATABASE [OctopusDB] SET SINGLE_USER WITH ROLLBACK IMMEDIATE");
        assert!(
            texts[1].starts_with(r"BACKUP LOG [OctopusDB] TO DISK = N'D:\b\OctopusDB_tail_(time)_attempt_1of2.trn', DISK = N'D:\b\OctopusDB_tail_(time)_attempt_2of2.trn' MIRROR TO DISK = N'E:\b\OctopusDB_tail_(time)_attempt_1of2.trn', "),
            "{}", texts[1]
        );
        let touched = touches(&Backup, with).unwrap();
        assert_eq!((touched[0].access, touched.len()), (Access::Writes, 3));
        let wrong = json!({ "database": "X", "type": "full", "no_truncate": true });
        assert_eq!(actions(&Backup, wrong).unwrap()[0].text, "(nothing: `no_truncate` belongs to a `tail`)");
    }
}
