//! `postgres.basebackup`: [`Basebackup`] takes a base backup of a whole cluster straight into an artifact store.
//!
//! The tar goes through the runner's memory alone. Its WAL is fetched at the end over the same connection; a temporary slot, which ends
//! with our session, keeps the server from removing it before. So there is no second process, and nothing that a killed runner leaves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drydock_recovery::Time;
use drydock_recovery::manifest::Artifact;
use drydock_step::artifact::stream_of;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, ByteCount, ChildEnd, ChildOutput, ChildSpec, Ctx, Duty,
    Effect, Ended, Facts, Grant, KindShape, Preflight, PreflightFinding, Reconciled, Shape, StepError,
    StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::base_contents::{Contents, contents};
use super::base_entry::{Against, BASE_ENTRY, BaseEntry, Tool};
use super::base_manifest::BackupManifest;
use super::base_proof::proved;
use super::last_word;
use super::program_access::ProgramAccess;
use super::program_end::{ended_badly, last_words};
use super::programs::Program;
use super::target::PostgresConnection;
use crate::described::described;
use crate::piped;
use crate::rehash::hex;

/// Between two looks at how far the server is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Its name.
const PROGRAM: &str = "pg_basebackup";

/// The longest name of a slot or a label that every version takes.
const LONGEST: usize = 60;

inputs! {
    /// Inputs of `postgres.basebackup`.
    pub struct BasebackupInputs {
        /// The target of the artifact store.
        to: String = known(Shape::Text),
        /// Where in the store: the backup lies below it, in a folder of its own.
        prefix: String = maybe(Shape::Text).or("\"postgres/base\""),
        /// Its name: letters, digits, `.`, `_` and `-`. Made of the run and the step where it is left out.
        label: Option<String> = maybe(Shape::Text),
        /// `fast` makes the server write its checkpoint at once, `spread` lets it take its time, which may be minutes.
        checkpoint: Checkpoint = maybe(Shape::OneOf(&["fast", "spread"])).or("\"fast\""),
        /// An earlier base backup: only what has changed since is taken. From version 17 on, and with `summarize_wal = on` at the server.
        against: Option<BaseEntry> = maybe(Shape::Map(&Shape::Any)),
        /// Unpack what lies in the store and have `pg_verifybackup` read it, in the run's scratch. An incremental backup is verified as
        /// well; that it fits what it was made against is seen when both are combined.
        verify: bool = maybe(Shape::Boolean).or("true"),
        /// The most bytes a second.
        rate: Option<ByteCount> = maybe(Shape::Size),
    }
}

/// When the server writes its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checkpoint {
    /// At once.
    Fast,
    /// Over some time.
    Spread,
}

impl Checkpoint {
    fn word(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Spread => "spread",
        }
    }
}

impl BasebackupInputs {
    /// Nothing, when the name can stand in a path and in the server's log.
    fn fits(&self) -> Result<(), StepError> {
        let Some(Some(label)) = self.label.value() else { return Ok(()) };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if label.is_empty() || label.len() > LONGEST || label.starts_with('.') || !label.chars().all(fits) {
            let message = format!("input `label`, `{label}`, is no name of a backup");
            return Err(StepError::new("input", message).help(format!(
                "up to {LONGEST} letters, digits, `.`, `_` and `-`, the first of them no `.`"
            )));
        }
        Ok(())
    }

    /// The arguments of the program, as far as they are known.
    fn arguments(&self, label: &str, manifest: Option<&Path>) -> Vec<String> {
        let checkpoint = self.checkpoint.or_after(|when| when.word().to_owned());
        let mut arguments: Vec<String> =
            ["--pgdata=-", "--format=tar", "--wal-method=fetch"].map(str::to_owned).into();
        arguments.push(format!("--checkpoint={checkpoint}"));
        arguments.push("--manifest-checksums=SHA256".into());
        arguments.push(format!("--label={label}"));
        if let Some(Some(rate)) = self.rate.value() {
            arguments.push(format!("--max-rate={}k", (rate.0 / 1024).clamp(32, 1_048_576)));
        }
        if let Some(manifest) = manifest {
            arguments.push(format!("--incremental={}", manifest.display()));
        }
        arguments.extend(["--no-password".to_owned(), "--verbose".to_owned()]);
        arguments
    }
}

/// The name of a step's own backup and slot: the same for each of its attempts.
fn own_name(ctx: &Ctx) -> String {
    let hash = hex(&<sha2::Sha256 as sha2::Digest>::digest(format!("{}/{}", ctx.run, ctx.step)));
    format!("drydock_{}", hash.get(..16).unwrap_or_default())
}

/// Takes base backups.
pub struct Basebackup;

#[async_trait]
impl StepKind for Basebackup {
    type Inputs = BasebackupInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("to", &["artifacts"])],
            outputs: BASE_ENTRY,
            effect: Effect::Writes,
            permissions: &[
                "postgres: LOGIN REPLICATION, and a `replication` line for the role in pg_hba.conf",
                "postgres: a free walsender and a free replication slot (max_wal_senders, max_replication_slots)",
                "artifacts: write to the store",
            ],
            example: "base:\n  uses: postgres.basebackup\n  target: vectors\n  with: { to: backups, prefix: postgres/base }\n",
            ..described(
                "postgres.basebackup",
                "Takes a base backup of the whole cluster, with the WAL that makes it consistent, straight into the artifact store; then reads it back, and has pg_verifybackup read it.",
            )
        }
    }

    fn judge(&self, inputs: &BasebackupInputs) -> Result<(), StepError> {
        inputs.fits()
    }

    fn touches(&self, target: Option<&str>, inputs: &BasebackupInputs) -> Vec<Touch> {
        let path = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![
            Touch { target: target.map(str::to_owned), resource: "cluster".into(), access: Access::Reads },
            Touch { target: inputs.to.value().cloned(), resource: path, access: Access::Writes },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &BasebackupInputs, _facts: &Facts) -> Vec<Action> {
        let to = inputs.to.value().map(String::as_str);
        let label =
            inputs.label.or_after(|label| label.clone().unwrap_or_else(|| "drydock_<run and step>".into()));
        let manifest = match inputs.against.value() {
            Some(None) => None,
            Some(Some(entry)) => Some(PathBuf::from(format!("<backup_manifest of {}>", entry.label))),
            None => Some(PathBuf::from(inputs.against.or_after(|_| String::new()))),
        };
        let line = format!("{PROGRAM} {}", inputs.arguments(&label, manifest.as_deref()).join(" "));
        let slot = format!("{}; -- it ends with this session", slot_statement("drydock_<run and step>"));
        let stored = |name: &str| format!("store {}/{label}/{name}", inputs.prefix);
        let mut actions = vec![
            Action::writes(ActionKind::Sql, target, slot),
            Action::reads(ActionKind::Process, target, line),
            Action::writes(ActionKind::Artifact, to, stored("base.tar")),
            Action::writes(ActionKind::Artifact, to, stored("backup_manifest")),
        ];
        if inputs.verify.value() != Some(&false) {
            let text = format!(
                "{} --exit-on-error <the backup, unpacked in the run's scratch>",
                super::base_proof::PROGRAM
            );
            actions.push(Action::reads(ActionKind::Process, None, text));
        }
        actions
    }

    fn grants(&self, _inputs: &BasebackupInputs) -> Vec<Grant> {
        vec![Grant::at_server(Duty::Backup, "ALTER ROLE {login} REPLICATION;")]
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &BasebackupInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let mut findings = Vec::new();
        let mut found = |error: StepError| {
            let StepError { code, message, help, .. } = error;
            findings.push(PreflightFinding { code, fatal: true, message, help });
        };
        let facts = connection.facts().await?;
        if let Err(error) = may_be_taken(connection, inputs.against.value().and_then(Option::as_ref)).await {
            found(error);
        }
        if let Err(error) = Program::find(ctx, &connection.settings().programs, PROGRAM, facts.major()).await
        {
            found(error);
        }
        Ok(Preflight { facts: json!({ "server": facts }), findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &BasebackupInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.to.known()?).await?);
        let taking = Taking {
            ctx,
            inputs,
            connection: PostgresConnection::of(&*connection)?,
            store: store
                .store()
                .ok_or_else(|| StepError::internal("`to` of postgres.basebackup is no artifact store"))?,
        };
        let entry = ctx.or_cancelled(taking.entry()).await?;
        let outputs = json!(entry);
        last_word::noted(ctx, &outputs).await?;
        Ok(Ended::Outputs(outputs))
    }

    /// A backup that is in the store whole, and was noted, was taken; of any other nothing is left but a file that the next one replaces.
    async fn reconcile(&self, ctx: &Ctx, inputs: &BasebackupInputs) -> Result<Reconciled, StepError> {
        let given = last_word::of(ctx).and_then(|given| BaseEntry::deserialize(given).ok());
        let Some(entry) = given else { return Ok(Reconciled::NotDone) };
        let store = ctx.host.connect(inputs.to.known()?).await?;
        let store = store
            .store()
            .ok_or_else(|| StepError::internal("`to` of postgres.basebackup is no artifact store"))?;
        let is_there = store.size(&entry.artifact.path).await? == Some(entry.artifact.size);
        Ok(if is_there { Reconciled::Done(json!(entry)) } else { Reconciled::NotDone })
    }
}

/// The statement that keeps WAL at the server until our session ends.
fn slot_statement(name: &str) -> String {
    format!("SELECT pg_create_physical_replication_slot('{name}', true, true)")
}

/// Nothing, when the server can give such a backup.
///
/// # Errors
/// `postgres.tablespaces`, `postgres.incremental`, `postgres.unavailable`.
async fn may_be_taken(connection: &PostgresConnection, against: Option<&BaseEntry>) -> Result<(), StepError> {
    let (session, facts) = (connection.session(), connection.facts().await?);
    let refused = |error: StepError, help: &str| Err(error.help(help));
    let sql = "SELECT string_agg(spcname, ', ') AS names FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global')";
    let spaces = session.ask("asking for tablespaces", sql).await?;
    if let Some(names) = spaces.first()?.text("names")? {
        let message =
            format!("the cluster has tablespaces besides its own ({names}), which one tar cannot hold");
        return refused(
            StepError::new("postgres.tablespaces", message),
            "dump its databases with postgres.dump, or move the tables out of these tablespaces",
        );
    }
    if facts.wal_level == "minimal" {
        let message =
            "the server writes no WAL that a backup can be recovered with (wal_level is minimal)".to_owned();
        return refused(
            StepError::new("postgres.unavailable", message),
            "set wal_level = replica, and restart the server",
        );
    }
    let sql = "SELECT (SELECT setting::int FROM pg_settings WHERE name = 'max_wal_senders') \
        - (SELECT count(*) FROM pg_stat_replication) AS senders, \
        (SELECT setting::int FROM pg_settings WHERE name = 'max_replication_slots') \
        - (SELECT count(*) FROM pg_replication_slots) AS slots, \
        (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_replicate, \
        COALESCE((SELECT setting FROM pg_settings WHERE name = 'summarize_wal'), 'none') AS summarize_wal";
    let answer = session.ask("asking what a base backup needs", sql).await?;
    let row = answer.first()?;
    if !row.flag("may_replicate")? {
        let message = "the role may not replicate, which is how a base backup is taken".to_owned();
        return refused(
            StepError::new("postgres.unavailable", message),
            "ALTER ROLE … REPLICATION, and a `replication` line for it in pg_hba.conf",
        );
    }
    for (what, setting) in [("senders", "max_wal_senders"), ("slots", "max_replication_slots")] {
        if row.number(what)?.unwrap_or(0) < 1 {
            let message = format!("all of the server's {setting} are in use");
            return refused(
                StepError::new("postgres.unavailable", message),
                "end what uses them (pg_stat_replication, pg_replication_slots), or raise the setting and restart the server",
            );
        }
    }
    let Some(against) = against else { return Ok(()) };
    match row.known("summarize_wal")? {
        "on" => {}
        "none" => {
            let message = format!("version {} takes no incremental backups", facts.version);
            return refused(
                StepError::new("postgres.incremental", message),
                "from version 17 on; leave `against` out",
            );
        }
        _ => {
            let message = "the server keeps no summaries of its WAL (summarize_wal is off)".to_owned();
            return refused(
                StepError::new("postgres.incremental", message),
                "ALTER SYSTEM SET summarize_wal = on, reload, and take a full backup first",
            );
        }
    }
    match (&against.system_identifier, &facts.system_identifier.value) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            let message =
                format!("`against` is {}, of another cluster ({theirs}, this is {ours})", against.in_words());
            refused(
                StepError::new("postgres.incremental", message),
                "name a backup of this cluster, or leave `against` out",
            )
        }
        _ => Ok(()),
    }
}

/// One attempt's work.
struct Taking<'a> {
    ctx: &'a Ctx,
    inputs: &'a BasebackupInputs,
    connection: &'a PostgresConnection,
    store: &'a dyn ArtifactStore,
}

impl Taking<'_> {
    async fn entry(&self) -> Result<BaseEntry, StepError> {
        self.inputs.fits()?;
        let against = self.inputs.against.known()?.as_ref();
        may_be_taken(self.connection, against).await?;
        let facts = self.connection.facts().await?;
        let settings = self.connection.settings();
        let program = Program::find(self.ctx, &settings.programs, PROGRAM, facts.major()).await?;
        let own = own_name(self.ctx);
        let label = self.inputs.label.known()?.clone().unwrap_or_else(|| own.clone());
        let folder = format!("{}/{label}", self.inputs.prefix.known()?.trim_end_matches('/'));
        let scratch = Scratch::of(self.ctx.host.scratch(), &own)?;
        self.is_new(&folder).await?;
        let against_manifest = match against {
            Some(against) => Some(self.manifest_of(against, &scratch).await?),
            None => None,
        };
        // Whoever had the name before has lost its session.
        self.connection.session().work("keeping WAL for the backup", &slot_statement(&own)).await?;
        let started_at = self.now().await?;
        let stored = self
            .streamed(&program, &label, against_manifest.as_deref(), &format!("{folder}/base.tar"))
            .await?;
        let ended_at = self.now().await?;
        let drop = format!("SELECT pg_drop_replication_slot('{own}')");
        self.connection.session().work("giving the kept WAL free", &drop).await?;
        let (found, manifest) = self.read_back(&stored, &scratch).await?;
        let Some((first, last)) = manifest.wal() else {
            return Err(StepError::internal("a backup_manifest without WAL was taken"));
        };
        let beside = format!("{folder}/backup_manifest");
        let kept = self.store.put(&beside, stream_of(found.manifest.clone().unwrap_or_default())).await?;
        Ok(BaseEntry {
            label,
            started_at,
            ended_at,
            server_version: facts.version.clone(),
            server_major: facts.major(),
            system_identifier: facts.system_identifier.value.clone().or_else(|| manifest.system_identifier()),
            timeline: first.timeline,
            start_lsn: first.start_lsn.clone(),
            end_lsn: last.end_lsn.clone(),
            segment_size: u64::try_from(facts.segment_size).unwrap_or_default(),
            bytes: found.bytes,
            files: found.files,
            artifact: stored,
            manifest: Artifact { path: kept.path, size: kept.size, sha256: kept.sha256 },
            against: against.map(|against| Against {
                label: against.label.clone(),
                manifest_sha256: against.manifest.sha256.clone(),
            }),
            verified: *self.inputs.verify.known()?,
            tool: Tool { path: program.path, version: program.version },
        })
    }

    /// Nothing, when no other backup has this place: what an earlier attempt of this step has begun may be replaced.
    async fn is_new(&self, folder: &str) -> Result<(), StepError> {
        let path = format!("{folder}/backup_manifest");
        let mut own = last_word::of_any(self.ctx).filter_map(|given| BaseEntry::deserialize(given).ok());
        if self.store.size(&path).await?.is_none() || own.any(|entry| entry.manifest.path == path) {
            return Ok(());
        }
        let message = format!("there is already a base backup in {folder}");
        Err(StepError::new("artifact.exists", message)
            .help("give it another `label`, or leave that out; or another `prefix`"))
    }

    /// The server's clock.
    async fn now(&self) -> Result<Time, StepError> {
        super::clock::now(self.connection.session()).await
    }

    /// The manifest of an earlier backup as a file, proved to be that one.
    async fn manifest_of(&self, against: &BaseEntry, scratch: &Scratch) -> Result<PathBuf, StepError> {
        let path = scratch.folder.join("against.manifest");
        super::base_fetch::fetched(self.store, &against.manifest, &path).await?;
        Ok(path)
    }

    /// The tar on its way into the store.
    async fn streamed(
        &self,
        program: &Program,
        label: &str,
        manifest: Option<&Path>,
        path: &str,
    ) -> Result<Artifact, StepError> {
        let settings = self.connection.settings();
        let access = ProgramAccess::of(self.ctx.host.scratch(), settings, &settings.database)?;
        let mut argv = vec![program.path.clone()];
        argv.extend(self.inputs.arguments(label, manifest));
        let spec = ChildSpec {
            argv,
            env: access.variables(),
            cwd: self.ctx.folder.to_path_buf(),
            stdin: Vec::new(),
            stdout: ChildOutput::Dropped,
        };
        let sent = Arc::new(AtomicU64::new(0));
        let hears = sent.clone();
        let seen = move |more| {
            hears.fetch_add(more, Ordering::Relaxed);
        };
        let stored = piped::stored(self.ctx, spec, self.store, path, judged, seen);
        let (stored, end) = tokio::select! {
            stored = stored => stored?,
            () = self.told(&sent) => return Err(StepError::internal("progress has come to an end")),
        };
        self.ctx.log(last_words(&end.stderr));
        Ok(Artifact { path: stored.path, size: stored.size, sha256: stored.sha256 })
    }

    /// Tells how far the server is, again and again.
    async fn told(&self, sent: &AtomicU64) {
        let sql = "SELECT phase, backup_total FROM pg_stat_progress_basebackup ORDER BY pid DESC LIMIT 1";
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            // What cannot be asked is not told.
            let answer = self.connection.session().ask("asking how far the backup is", sql).await.ok();
            let row = answer.as_ref().and_then(|answer| answer.first().ok());
            let phase =
                row.and_then(|row| row.text("phase").ok().flatten()).unwrap_or("streaming").to_owned();
            let total = row.and_then(|row| row.number("backup_total").ok().flatten());
            let total = total.and_then(|total| u64::try_from(total).ok());
            self.ctx.progress(sent.load(Ordering::Relaxed), total, "bytes", phase);
        }
    }

    /// What lies in the store: whole, the very bytes that were sent, and proved by PostgreSQL's own program where that is wanted.
    async fn read_back(
        &self,
        stored: &Artifact,
        scratch: &Scratch,
    ) -> Result<(Contents, BackupManifest), StepError> {
        let verify = *self.inputs.verify.known()?;
        let unpacked = scratch.folder.join("data");
        if verify {
            std::fs::create_dir(&unpacked).map_err(|error| scratch.failed(&error))?;
        }
        let (ctx, total) = (self.ctx.clone(), stored.size);
        let done = AtomicU64::new(0);
        let seen = move |more| {
            let before = done.fetch_add(more, Ordering::Relaxed);
            if (before >> 24) != ((before + more) >> 24) {
                ctx.progress(before + more, Some(total), "bytes", "reading it back");
            }
        };
        let found = contents(self.store, &stored.path, verify.then_some(unpacked.as_path()), seen).await?;
        if found.sha256 != stored.sha256 {
            let message = format!(
                "{} was stored with sha256 {} and reads back with {}",
                stored.path, stored.sha256, found.sha256
            );
            return Err(StepError::new("artifact.damaged", message));
        }
        let Some(manifest) = &found.manifest else {
            let message =
                format!("{} has no backup_manifest, which comes last: it is not whole", stored.path);
            return Err(StepError::new("postgres.base", message).help("take a new base backup"));
        };
        let read = BackupManifest::parse(manifest)?;
        if verify {
            proved(self.ctx, self.connection, &unpacked).await?;
        }
        Ok((found, read))
    }
}

/// Nothing, when pg_basebackup has done all.
fn judged(end: &ChildEnd) -> Result<(), StepError> {
    if end.code == Some(0) {
        return Ok(());
    }
    let error = ended_badly(PROGRAM, end);
    let words = &end.stderr;
    let help = if words.contains("no pg_hba.conf entry for replication") {
        "add a `replication` line for the role to pg_hba.conf at the server, and reload it"
    } else if words.contains("max_wal_senders") || words.contains("too many") {
        "end what uses the server's walsenders (pg_stat_replication), or raise max_wal_senders"
    } else if words.contains("WAL summar") || words.contains("manifest") {
        "take a full backup: leave `against` out"
    } else {
        "its words say why; nothing of this backup is left in the store"
    };
    // A server that was shut down or a connection that was cut may do better next time.
    let transient = [
        "server closed the connection",
        "could not connect",
        "connection to server",
        "could not read COPY data",
    ]
    .iter()
    .any(|part| words.contains(part))
        && !words.contains("pg_hba.conf")
        && !words.contains("authentication failed");
    Err(StepError { transient, ..error.help(help) })
}

/// A folder in the run's scratch that goes with the attempt.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn of(scratch: &Path, name: &str) -> Result<Self, StepError> {
        let made = Self { folder: scratch.join(format!("base-{name}")) };
        // What an attempt before this one left.
        let _ = std::fs::remove_dir_all(&made.folder);
        std::fs::create_dir_all(&made.folder).map_err(|error| made.failed(&error))?;
        Ok(made)
    }

    fn failed(&self, error: &std::io::Error) -> StepError {
        StepError::new("postgres.unpack", format!("{} cannot be made: {error}", self.folder.display()))
            .help("the run's scratch must be a folder that the runner may write")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed goes with the run's scratch.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
