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
    Access, Action, ActionKind, ArtifactStore, ByteCount, ChildEnd, ChildOutput, ChildSpec, Connection, Ctx,
    Duty, Effect, Ended, Facts, Grant, KindShape, Preflight, PreflightFinding, Reconciled, Shape, StepError,
    StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::base_checks::{judged, may_be_taken};
use super::base_compress::Compression;
use super::base_entry::{Against, BASE_ENTRY, BaseEntry, Tool};
use super::base_given::BaseGiven;
use super::base_place::{claimed, closed, gone_on_from, label_fits, verdict};
use super::base_proof::proved;
use super::base_read_back::read_back;
use super::base_record::RECORD;
use super::base_scratch::{Scratch, own_name};
use super::program_access::ProgramAccess;
use super::program_end::last_words;
use super::programs::Program;
use super::session::Session;
use super::target::PostgresConnection;
use crate::described::described;
use crate::piped;

/// Between two looks at how far the server is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Its name.
const PROGRAM: &str = "pg_basebackup";

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
        /// An earlier base backup: only what has changed since is taken. The outputs of the step that took it, a list of such whose last is
        /// meant, or the folder where it lies in the store, `<prefix>/<label>`. From version 17 on, and with `summarize_wal = on` at the
        /// server.
        against: Option<BaseGiven> = maybe(Shape::Any),
        /// Unpack what lies in the store and have `pg_verifybackup` read it, in the run's scratch. An incremental backup is verified as
        /// well; that it fits what it was made against is seen when both are combined.
        verify: bool = maybe(Shape::Boolean).or("true"),
        /// How pg_basebackup compresses the tar: `gzip` in every build of it, `zstd` and `lz4` where its build has them (from 15 on). The server
        /// sends it as it is. What is stored is `base.tar`, with `.gz`, `.zst` or `.lz4` behind it.
        compress: Compression = maybe(Shape::OneOf(&["none", "gzip", "zstd", "lz4"])).or("\"none\""),
        /// How hard it compresses: 1 to 9 for gzip, to 12 for lz4, to 19 for zstd; the program's own choice where it is left out.
        level: Option<u32> = maybe(Shape::Integer),
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
    /// Nothing, when the name can stand in a path and in the server's log, and the compression knows its level.
    fn fits(&self) -> Result<(), StepError> {
        self.label.value().and_then(Option::as_deref).map_or(Ok(()), label_fits)?;
        match (self.compress.value(), self.level.value()) {
            (Some(compress), Some(level)) => compress.fits(*level),
            _ => Ok(()),
        }
    }

    /// The arguments of the program, as far as they are known.
    fn arguments(&self, label: &str, manifest: Option<&Path>, major: u32) -> Vec<String> {
        let checkpoint = self.checkpoint.or_after(|when| when.word().to_owned());
        let mut arguments: Vec<String> =
            ["--pgdata=-", "--format=tar", "--wal-method=fetch"].map(str::to_owned).into();
        arguments.push(format!("--checkpoint={checkpoint}"));
        arguments.push("--manifest-checksums=SHA256".into());
        arguments.push(format!("--label={label}"));
        match (self.compress.value(), self.level.value()) {
            (Some(compress), Some(level)) => arguments.extend(compress.argument(*level, major)),
            _ => arguments.push(format!(
                "--compress=client-{}",
                self.compress.or_after(|compress| compress.word().to_owned())
            )),
        }
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
            Some(Some(BaseGiven::Folder(folder))) => {
                Some(PathBuf::from(format!("<the backup_manifest in {folder}>")))
            }
            Some(Some(given)) => {
                let label = given.newest().map(|entry| entry.label.clone()).unwrap_or_default();
                Some(PathBuf::from(format!("<backup_manifest of {label}>")))
            }
            None => Some(PathBuf::from(inputs.against.or_after(|_| String::new()))),
        };
        let line = format!("{PROGRAM} {}", inputs.arguments(&label, manifest.as_deref(), u32::MAX).join(" "));
        let slot = format!("{}; -- it ends with this session", slot_statement("drydock_<run and step>"));
        let stored = |name: &str| format!("store {}/{label}/{name}", inputs.prefix);
        let mut actions = vec![
            Action::writes(ActionKind::Sql, target, slot),
            Action::reads(ActionKind::Process, target, line),
            Action::writes(
                ActionKind::Artifact,
                to,
                stored(&inputs.compress.or_after(|compress| compress.file_name())),
            ),
            Action::writes(ActionKind::Artifact, to, stored("backup_manifest")),
        ];
        if inputs.verify.value() != Some(&false) {
            let text = format!(
                "{} --exit-on-error <the backup, unpacked in the run's scratch>",
                super::base_proof::PROGRAM
            );
            actions.push(Action::reads(ActionKind::Process, None, text));
        }
        actions.push(Action::writes(ActionKind::Artifact, to, stored(RECORD)));
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
        let against = match (inputs.against.value(), inputs.to.value()) {
            (Some(Some(given)), Some(to)) => {
                let store = ctx.host.connect(to).await?;
                match against_of(Some(given), store_of(&*store)?).await {
                    Ok(against) => against,
                    Err(error) => {
                        found(error);
                        None
                    }
                }
            }
            _ => None,
        };
        if let Err(error) = may_be_taken(connection, against.as_ref()).await {
            found(error);
        }
        match Program::find(ctx, &connection.settings().programs, PROGRAM, facts.major()).await {
            Ok(program) => {
                if let (Some(compress), Some(level)) = (inputs.compress.value(), inputs.level.value())
                    && let Err(error) = compress.is_in(ctx, &program, *level).await
                {
                    found(error);
                }
            }
            Err(error) => found(error),
        }
        Ok(Preflight { facts: json!({ "server": facts }), findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &BasebackupInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let store = ctx.host.connect(inputs.to.known()?).await?;
        let store = store_of(&*store)?;
        let entry = match gone_on_from(from)? {
            Some(entry) => entry,
            None => {
                let connection = ctx.connection().await?;
                let connection = PostgresConnection::of(&*connection)?;
                ctx.or_cancelled(Taking { ctx, inputs, connection, store }.entry()).await?
            }
        };
        Ok(Ended::Outputs(closed(ctx, store, &entry).await?))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &BasebackupInputs) -> Result<Reconciled, StepError> {
        let store = ctx.host.connect(inputs.to.known()?).await?;
        verdict(ctx, store_of(&*store)?).await
    }
}

fn store_of(connection: &dyn Connection) -> Result<&dyn ArtifactStore, StepError> {
    connection.store().ok_or_else(|| StepError::internal("`to` of postgres.basebackup is no artifact store"))
}

/// The backup that is meant by `against`. Of one that is looked up in the store all that it needs must be there as well: what is made against
/// any other could never be restored.
async fn against_of(
    given: Option<&BaseGiven>,
    store: &dyn ArtifactStore,
) -> Result<Option<BaseEntry>, StepError> {
    Ok(match given {
        Some(given @ BaseGiven::Folder(_)) => Some(given.resolved(store).await?.last().clone()),
        Some(given) => given.newest().cloned(),
        None => None,
    })
}

/// The statement that keeps WAL at the server until our session ends.
fn slot_statement(name: &str) -> String {
    format!("SELECT pg_create_physical_replication_slot('{name}', true, true)")
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
        let against = against_of(self.inputs.against.known()?.as_ref(), self.store).await?;
        let against = against.as_ref();
        may_be_taken(self.connection, against).await?;
        let facts = self.connection.facts().await?;
        let settings = self.connection.settings();
        let program = Program::find(self.ctx, &settings.programs, PROGRAM, facts.major()).await?;
        let compress = *self.inputs.compress.known()?;
        compress.is_in(self.ctx, &program, *self.inputs.level.known()?).await?;
        let own = own_name(self.ctx);
        let label = self.inputs.label.known()?.clone().unwrap_or_else(|| own.clone());
        let folder = format!("{}/{label}", self.inputs.prefix.known()?.trim_end_matches('/'));
        let scratch = Scratch::of(self.ctx.host.scratch(), &own)?;
        claimed(self.ctx, self.store, &folder).await?;
        let against_manifest = match against {
            Some(against) => Some(self.manifest_of(against, &scratch).await?),
            None => None,
        };
        // Whoever had the name before has lost its session.
        self.connection.session().work("keeping WAL for the backup", &slot_statement(&own)).await?;
        let started_at = self.now().await?;
        let stored = self
            .streamed(
                &program,
                &label,
                against_manifest.as_deref(),
                &format!("{folder}/{}", compress.file_name()),
            )
            .await?;
        let ended_at = self.now().await?;
        let drop = format!("SELECT pg_drop_replication_slot('{own}')");
        self.connection.session().work("giving the kept WAL free", &drop).await?;
        let unpacked = self.inputs.verify.known()?.then(|| scratch.folder.join("data"));
        let (found, manifest) = read_back(self.ctx, self.store, &stored, unpacked.as_deref()).await?;
        if let Some(unpacked) = &unpacked {
            proved(self.ctx, &settings.programs, facts.major(), unpacked).await?;
        }
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
        argv.extend(self.inputs.arguments(label, manifest, program.major()));
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
        let judge = |end: &ChildEnd| judged(PROGRAM, end);
        let stored = piped::stored(self.ctx, spec, self.store, path, judge, seen);
        let (stored, end) = tokio::select! {
            stored = stored => stored?,
            () = self.told(&sent) => return Err(StepError::internal("progress has come to an end")),
        };
        self.ctx.log(last_words(&end.stderr));
        Ok(Artifact { path: stored.path, size: stored.size, sha256: stored.sha256 })
    }

    /// Tells how far the server is, again and again. It asks by a session of its own: one that is left in the middle of a question is lost,
    /// and the other keeps the slot.
    async fn told(&self, sent: &AtomicU64) {
        // The program calls itself as our sessions do.
        let sql = "SELECT p.phase AS phase, p.backup_total AS backup_total FROM pg_stat_progress_basebackup AS p \
            JOIN pg_stat_activity AS a ON a.pid = p.pid \
            WHERE a.application_name = current_setting('application_name') ORDER BY p.pid DESC LIMIT 1";
        let settings = self.connection.settings();
        let mut session = None;
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            if session.is_none() {
                session = Session::open(settings, &settings.database).await.ok();
            }
            // What cannot be asked is not told.
            let answer = match &session {
                Some(session) => session.ask("asking how far the backup is", sql).await.ok(),
                None => None,
            };
            let row = answer.as_ref().and_then(|answer| answer.first().ok());
            let phase =
                row.and_then(|row| row.text("phase").ok().flatten()).unwrap_or("streaming").to_owned();
            let total = row.and_then(|row| row.number("backup_total").ok().flatten());
            let total = total.and_then(|total| u64::try_from(total).ok());
            self.ctx.progress(sent.load(Ordering::Relaxed), total, "bytes", phase);
        }
    }
}
