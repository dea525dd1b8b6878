//! `postgres.recover`: [`Recover`] puts base backups back and lets a server recover from them, to one place in its WAL.
//!
//! Order: what it would overwrite is looked at; every artifact is hashed while it is unpacked; the WAL is read by pg_waldump, so that a
//! place that it does not lead to is refused before anything runs; the server is started apart from the production archive; and that it
//! has arrived is what the server itself says over SQL, since pg_ctl says "started" long before.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drydock_recovery::backup::clock;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Connection, Ctx, Effect, Ended, Facts, Field, KindShape,
    PlanPath, Preflight, PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs,
    known, maybe,
};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::base_chain::{BaseChain, combined, unpacked};
use super::base_entry::BaseEntry;
use super::last_word;
use super::programs::Program;
use super::recover_server::{Recovering, Told, beside};
use super::recover_state::{State, promoted};
use super::recover_to::{RECOVER_TO, RecoverTo, lsn_number};
use super::recover_wal::{Found, Reading, staged};
use super::target::PostgresConnection;
use crate::described::described;

/// Between two looks at a server that recovers.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

inputs! {
    /// Inputs of `postgres.recover`.
    pub struct RecoverInputs {
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// A base backup as `postgres.basebackup` gives it; or a list of them, a full one first and then the incremental ones in order.
        base: BaseChain = known(Shape::Any),
        /// Where to stop: `{ name: … }`, `{ time: … }`, `{ lsn: … }`, `{ immediate: true }` or `{ end: true }`. At `end` the server is open
        /// for writing at once; everywhere else it waits, readable, until it is promoted.
        to: RecoverTo = known(RECOVER_TO),
        /// Where the WAL lies in the store, as `postgres.wal` puts it there. Without it only what lies in the base backup is recovered.
        wal: Option<String> = maybe(Shape::Text),
        /// The command that gives the server WAL in the place of `wal`: that of an archive which another tool keeps. What it gives is not
        /// looked at beforehand.
        restore_command: Option<String> = maybe(Shape::Text),
        /// The data folder, which is made: there must be nothing there, or an empty folder.
        into: PlanPath = known(Shape::Path),
        /// The port that the server listens on; that of the step's target.
        port: u16 = maybe(Shape::Integer).or("5432"),
        /// What it listens on.
        listen: String = maybe(Shape::Text).or("\"127.0.0.1\""),
        /// Folders with the server's programs, looked into before the places where packages put them.
        programs: Vec<PlanPath> = maybe(Shape::List(&Shape::Path)).or("[]"),
        /// Whom the server runs as; needed where the runner is root, as whom no server runs.
        os_user: Option<String> = maybe(Shape::Text),
        /// Which timeline to follow: `latest`, `current`, or a number.
        timeline: String = maybe(Shape::Text).or("\"latest\""),
        /// Open it for writing once it has arrived.
        promote: bool = maybe(Shape::Boolean).or("false"),
        /// Let it write to the archive that the copied server wrote to. A drill never may.
        archives: bool = maybe(Shape::Boolean).or("false"),
        /// Settings besides: `{ shared_buffers: "256MB" }`.
        settings: IndexMap<String, String> = maybe(Shape::Map(&Shape::Text)).or("{}"),
    }
}

/// The outputs of what has arrived somewhere.
pub(super) const ARRIVED: &[Field] = &[
    Field::required("lsn", Shape::Text, "The place in the WAL that it has arrived at."),
    Field::required("timeline", Shape::Integer, "The timeline that it is on; a new one once it is promoted."),
    Field::required("promoted", Shape::Boolean, "Whether it is open for writing."),
    Field::optional("last_commit", Shape::Datetime, "When the last transaction in it was committed."),
    Field::optional("system_identifier", Shape::Text, "The cluster's own number, where the role may see it."),
];

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("into", Shape::Text, "The data folder."),
    Field::required("port", Shape::Integer, "The port."),
    Field::required("log", Shape::Text, "The server's log."),
    Field::required("to", Shape::Text, "Where it was to stop, in words."),
    Field::required("label", Shape::Text, "The base backup that it began with."),
    Field::optional(
        "proved_lsn",
        Shape::Text,
        "Where the place was found in the WAL before the server was started.",
    ),
    Field::required("arrived", Shape::Record(ARRIVED), "Where it has arrived, by its own word."),
]);

/// Puts a cluster back.
pub struct Recover;

impl RecoverInputs {
    /// Nothing, when the inputs go together as far as they are known.
    fn fits_together(&self) -> Result<(), StepError> {
        let refused = |message: String, help: &str| Err(StepError::new("input", message).help(help));
        if let Some(to) = self.to.value() {
            to.fits()?;
        }
        if let Some(chain) = self.base.value() {
            chain.fits()?;
        }
        let wal = self.wal.value().and_then(Option::as_ref);
        let command = self.restore_command.value().and_then(Option::as_ref);
        if wal.is_some() && command.is_some() {
            return refused(
                "`wal` and `restore_command` both say where WAL comes from; one of them is too much".into(),
                "leave one of them out",
            );
        }
        let Some(to) = self.to.value() else { return Ok(()) };
        let without =
            matches!(self.wal.value(), Some(None)) && matches!(self.restore_command.value(), Some(None));
        if without && !matches!(to, RecoverTo::Immediate | RecoverTo::End) {
            return refused(
                format!("nothing says where the WAL up to {to} comes from"),
                "give `wal`, or `restore_command`, or stop at `immediate: true`",
            );
        }
        let Some(chain) = self.base.value() else { return Ok(()) };
        let last = chain.last();
        match to {
            // A server that is told so stops as soon as it is consistent, which is later than was asked for, and says nothing.
            RecoverTo::Time(time) if *time < last.ended_at => refused(
                format!(
                    "{time} lies before the end of {} at {}",
                    last.in_words(),
                    clock(last.ended_at),
                    time = clock(*time)
                ),
                "take an earlier base backup, or a later time",
            ),
            RecoverTo::Lsn(lsn) if lsn_number(lsn) < lsn_number(&last.end_lsn) => refused(
                format!("{lsn} lies before the end of {} at {}", last.in_words(), last.end_lsn),
                "take an earlier base backup, or a later place",
            ),
            _ => Ok(()),
        }
    }

    fn folder(&self, ctx: &Ctx) -> Result<PathBuf, StepError> {
        let into = self.into.known()?.resolved(&ctx.folder);
        std::path::absolute(&into).map_err(|error| {
            StepError::new("input", format!("`into`, {}, is no path: {error}", into.display()))
        })
    }
}

#[async_trait]
impl StepKind for Recover {
    type Inputs = RecoverInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &[
                "the runner's machine: write the data folder; as root, with `os_user`, or as the user that the server runs as",
                "artifacts: read the store",
                "postgres: a role of the copied cluster, at the port that it is started on; EXECUTE on pg_wal_replay_resume to promote it",
            ],
            example: "recover:\n  uses: postgres.recover\n  target: drill\n  with:\n    from: backups\n    base: \"{{ params.base }}\"\n    wal: postgres/wal\n    to: { name: dd_01K00000000000000000000001 }\n    into: /var/lib/postgresql/drill\n    port: 5544\n    os_user: postgres\n",
            ..described(
                "postgres.recover",
                "Puts a base backup back into a new data folder and lets a server of its own recover there: to a restore point, a time, a place in the WAL. Every artifact is hashed, and the WAL is read, before the server is started; that it has arrived is asked over SQL. The server stays when the run has ended.",
            )
        }
    }

    fn judge(&self, inputs: &RecoverInputs) -> Result<(), StepError> {
        inputs.fits_together()
    }

    fn touches(&self, target: Option<&str>, inputs: &RecoverInputs) -> Vec<Touch> {
        let into = inputs.into.value().map_or("?".into(), |into| format!("path {into}"));
        vec![
            Touch { target: None, resource: into, access: Access::Writes },
            Touch { target: target.map(str::to_owned), resource: "cluster".into(), access: Access::Destroys },
            Touch {
                target: inputs.from.value().cloned(),
                resource: "artifacts of the base backup and its WAL".into(),
                access: Access::Reads,
            },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &RecoverInputs, _facts: &Facts) -> Vec<Action> {
        let from = inputs.from.value().map(String::as_str);
        let base = inputs.base.or_after(|chain| chain.paths().join(", "));
        let to = inputs.to.or_after(ToString::to_string);
        let mut actions = vec![
            Action::reads(ActionKind::Artifact, from, format!("read {base} and hash it")),
            Action::writes(ActionKind::Process, None, format!("unpack it into {}", inputs.into)),
        ];
        if inputs.base.value().is_some_and(|chain| chain.entries().len() > 1) {
            actions.push(Action::writes(
                ActionKind::Process,
                None,
                format!("pg_combinebackup <its parts> --output={}", inputs.into),
            ));
        }
        if !matches!(inputs.wal.value(), Some(None)) {
            let wal = inputs.wal.or_after(|wal| wal.clone().unwrap_or_default());
            actions.push(Action::reads(ActionKind::Artifact, from, format!("read the WAL below {wal}")));
            actions.push(Action::reads(
                ActionKind::Process,
                None,
                format!("pg_waldump --path={}.wal, up to {to}", inputs.into),
            ));
        }
        let command =
            format!("pg_ctl -D {} -w start, on port {}, recovering to {to}", inputs.into, inputs.port);
        actions.push(Action::writes(ActionKind::Process, None, command));
        if inputs.promote.value() != Some(&false) {
            actions.push(Action::writes(ActionKind::Sql, target, "SELECT pg_wal_replay_resume()"));
        }
        actions
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &RecoverInputs) -> Result<Preflight, StepError> {
        let mut findings = Vec::new();
        let mut found = |error: StepError| {
            let StepError { code, message, help, .. } = error;
            findings.push(PreflightFinding { code, fatal: true, message, help });
        };
        // What an earlier attempt of this step has put there goes before it is filled again.
        let is_own = inputs.into.value().is_some() && is_own(ctx, &inputs.folder(ctx)?);
        if inputs.into.value().is_some()
            && !is_own
            && let Err(error) = is_free(&inputs.folder(ctx)?)
        {
            found(error);
        }
        if !is_own && ctx.connection().await.is_ok() {
            found(occupied_port(inputs.port.value().copied().unwrap_or_default()));
        }
        if let (Some(chain), Some(_), Some(_)) =
            (inputs.base.value(), inputs.programs.value(), inputs.from.value())
        {
            if let Err(error) = Programs::of(ctx, inputs, chain).await {
                found(error);
            }
            let store = ctx.host.connect(inputs.from.known()?).await?;
            let store = store_of(&*store)?;
            for entry in chain.entries() {
                if store.size(&entry.artifact.path).await? != Some(entry.artifact.size) {
                    let message =
                        format!("{} is not in the store, or has another length", entry.artifact.path);
                    found(StepError::new("artifact.absent", message).help("take another base backup"));
                }
            }
        }
        Ok(Preflight { facts: Value::Null, findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RecoverInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.fits_together()?;
        let store = ctx.host.connect(inputs.from.known()?).await?;
        let chain = inputs.base.known()?;
        let programs = Programs::of(ctx, inputs, chain).await?;
        let into = inputs.folder(ctx)?;
        let server = Recovering {
            ctx,
            program: programs.control.clone(),
            into: into.clone(),
            os_user: inputs.os_user.known()?.clone(),
        };
        let work = Work { ctx, inputs, chain, programs, into, server, store: store_of(&*store)? };
        work.clear().await?;
        let found = ctx.or_cancelled(work.placed()).await?;
        let state = match ctx.or_cancelled(work.recovered()).await {
            Ok(state) => state,
            // Then it is `cancel` that ends the server: this attempt can start no program any more.
            Err(error) if error.code == "cancelled" => return Err(error),
            Err(error) => {
                // What does not arrive does not stay.
                let stopped = work.server.stop("immediate").await;
                stopped.map_or_else(|why| ctx.log(format!("the server still runs: {why}")), drop);
                return Err(error);
            }
        };
        let outputs = work.outputs(&found, &state);
        last_word::noted(ctx, &outputs).await?;
        Ok(Ended::Outputs(outputs))
    }

    async fn cancel(&self, ctx: &Ctx, inputs: &RecoverInputs) -> Result<(), StepError> {
        let into = inputs.folder(ctx)?;
        if !is_own(ctx, &into) {
            return Ok(());
        }
        let program = Programs::of(ctx, inputs, inputs.base.known()?).await?.control;
        let os_user = inputs.os_user.known()?.clone();
        Recovering { ctx, program, into, os_user }.stop("immediate").await.map(drop)
    }

    /// A server that has said that it has arrived has recovered; any other is put back anew.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &RecoverInputs) -> Result<Reconciled, StepError> {
        Ok(last_word::of(ctx).map_or(Reconciled::NotDone, |outputs| Reconciled::Done(outputs.clone())))
    }
}

/// The file that says whose a folder is.
fn marker(into: &Path) -> PathBuf {
    beside(into, ".drydock")
}

/// What stands in it: the step, of whichever attempt.
fn whose(ctx: &Ctx) -> String {
    format!("{}/{}\n", ctx.run, ctx.step)
}

/// Whether an attempt of this very step has made a folder.
fn is_own(ctx: &Ctx, into: &Path) -> bool {
    std::fs::read_to_string(marker(into)).is_ok_and(|found| found == whose(ctx))
}

fn store_of(connection: &dyn Connection) -> Result<&dyn ArtifactStore, StepError> {
    connection.store().ok_or_else(|| StepError::internal("`from` of postgres.recover is no artifact store"))
}

fn occupied_port(port: u16) -> StepError {
    StepError::new(
        "postgres.occupied",
        format!("a server answers already where this one shall listen, on port {port}"),
    )
    .help("stop it, or give `port`, and the step's target, another")
}

/// Nothing, when nothing is in a folder.
///
/// # Errors
/// `postgres.occupied`.
fn is_free(into: &Path) -> Result<(), StepError> {
    let refused = |what: String| {
        Err(StepError::new("postgres.occupied", what).help(
            "move it away, or name another folder in `into`: nothing that is there is ever overwritten",
        ))
    };
    match std::fs::read_dir(into) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => refused(format!("{} is not empty", into.display())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => refused(format!("{} cannot be looked into: {error}", into.display())),
    }
}

/// The programs of the server's own version.
pub(super) struct Programs {
    pub(super) control: Program,
    waldump: Program,
}

impl Programs {
    async fn of(ctx: &Ctx, inputs: &RecoverInputs, chain: &BaseChain) -> Result<Self, StepError> {
        let folders: Vec<PathBuf> =
            inputs.programs.known()?.iter().map(|folder| folder.resolved(&ctx.folder)).collect();
        let major = chain.last().server_major;
        Ok(Self {
            control: exactly(ctx, &folders, "pg_ctl", major).await?,
            waldump: exactly(ctx, &folders, "pg_waldump", major).await?,
        })
    }
}

/// A program of just this version.
///
/// # Errors
/// `postgres.programs`.
pub(super) async fn exactly(
    ctx: &Ctx,
    folders: &[PathBuf],
    name: &str,
    major: u32,
) -> Result<Program, StepError> {
    let help = format!(
        "only a server of version {major} can start these data: install it here (Debian: postgresql-{major}), or name its folder in `programs` of the step"
    );
    let found = Program::find(ctx, folders, name, major).await;
    let found = found.map_err(|error| match error.code.as_str() {
        "postgres.programs" => error.help(help.clone()),
        _ => error,
    })?;
    if found.major() == major {
        return Ok(found);
    }
    let message = format!("the data are of version {major}, and {} is {}", found.path, found.version);
    Err(StepError::new("postgres.programs", message).help(help))
}

/// One attempt's work.
struct Work<'a> {
    ctx: &'a Ctx,
    inputs: &'a RecoverInputs,
    chain: &'a BaseChain,
    programs: Programs,
    into: PathBuf,
    server: Recovering<'a>,
    store: &'a dyn ArtifactStore,
}

impl Work<'_> {
    /// Makes room: what an earlier attempt of this step has put there goes, anything else stays and is refused.
    async fn clear(&self) -> Result<(), StepError> {
        if is_own(self.ctx, &self.into) {
            self.server.stop("immediate").await?;
            for left in [self.into.clone(), beside(&self.into, ".wal"), beside(&self.into, ".log")] {
                let removed =
                    if left.is_dir() { std::fs::remove_dir_all(&left) } else { std::fs::remove_file(&left) };
                if let Err(error) = removed
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    let message = format!(
                        "{}, which an earlier attempt has made, cannot be removed: {error}",
                        left.display()
                    );
                    return Err(StepError::new("postgres.occupied", message));
                }
            }
        }
        is_free(&self.into)?;
        if self.ctx.connection().await.is_ok() {
            return Err(occupied_port(*self.inputs.port.known()?));
        }
        let marker = marker(&self.into);
        std::fs::write(&marker, whose(self.ctx)).map_err(|error| {
            StepError::new("postgres.unpack", format!("{} cannot be written: {error}", marker.display()))
                .help("the folder around `into` must be there, and let the runner write")
        })
    }

    /// Fills the folder, brings the WAL and reads it.
    async fn placed(&self) -> Result<Found, StepError> {
        let last = self.chain.last();
        match self.chain.entries() {
            [one] => unpacked(self.ctx, self.store, one, &self.into).await?,
            several => {
                let folders: Vec<PathBuf> = self
                    .inputs
                    .programs
                    .known()?
                    .iter()
                    .map(|folder| folder.resolved(&self.ctx.folder))
                    .collect();
                combined(self.ctx, self.store, several, &folders, &self.into).await?;
            }
        }
        let to = self.inputs.to.known()?;
        let wal = beside(&self.into, ".wal");
        let mut found = Found::default();
        let mut command = "false".to_owned();
        if let Some(prefix) = self.inputs.wal.known()? {
            let first = segment_of(last);
            let os_user = self.inputs.os_user.known()?;
            let may_link = os_user.is_none();
            let staged =
                staged(self.ctx, self.store, prefix, &first, last.segment_size, &wal, may_link).await?;
            self.ctx.log(format!("{} files of WAL and histories, from {first} on", staged.names.len()));
            if *to != RecoverTo::Immediate {
                let reading = Reading {
                    ctx: self.ctx,
                    program: &self.programs.waldump,
                    folder: wal.clone(),
                    timeline: last.timeline,
                    start_lsn: &last.start_lsn,
                };
                found = reading.proved(to).await.map_err(|error| match staged.short.as_slice() {
                    [] => error,
                    short => {
                        StepError { message: format!("{}; {}", error.message, short.join(", ")), ..error }
                    }
                })?;
            }
            command = format!("cp {}/%f \"%p\"", quoted(&wal));
        } else if let Some(given) = self.inputs.restore_command.known()? {
            command.clone_from(given);
        }
        self.configured(to, command)?;
        // It stands beside the folder, where the server's user may not be allowed to make it.
        let log = self.server.log_path();
        std::fs::write(&log, "").map_err(|error| {
            StepError::new("postgres.unpack", format!("{} cannot be written: {error}", log.display()))
        })?;
        let all = [self.into.as_path(), wal.as_path(), log.as_path()];
        let made: Vec<&Path> = all.into_iter().filter(|path| path.exists()).collect();
        self.server.hand_over(&made).await?;
        Ok(found)
    }

    /// Tells the server where to stop, and whom to leave alone.
    fn configured(&self, to: &RecoverTo, restore_command: String) -> Result<(), StepError> {
        let failed = |path: &Path, error: std::io::Error| {
            StepError::new("postgres.unpack", format!("{} cannot be written: {error}", path.display()))
        };
        let told = Told {
            restore_command,
            to,
            timeline: self.inputs.timeline.known()?,
            listen: self.inputs.listen.known()?,
            port: *self.inputs.port.known()?,
            archives: *self.inputs.archives.known()?,
            major: self.chain.last().server_major,
            settings: self.inputs.settings.known()?,
        };
        let path = self.into.join("postgresql.auto.conf");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(&path, format!("{before}{}", told.text())).map_err(|error| failed(&path, error))?;
        // Debian keeps these two elsewhere, so that its backups have none.
        let socket = format!("unix_socket_directories = '{}'\n", self.into.display());
        for (name, text) in [("postgresql.conf", socket.as_str()), ("pg_hba.conf", HBA)] {
            let path = self.into.join(name);
            if !path.exists() {
                std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
                self.ctx.log(format!(
                    "the backup has no {name}; it was given one that lets nobody in from elsewhere"
                ));
            }
        }
        let path = self.into.join("recovery.signal");
        std::fs::write(&path, "").map_err(|error| failed(&path, error))
    }

    /// Starts the server and waits until it has arrived, by its own word.
    async fn recovered(&self) -> Result<State, StepError> {
        self.server.start().await?;
        let to = self.inputs.to.known()?;
        let connection = loop {
            match self.asked().await {
                Ok((connection, state)) if state.has_arrived(to) => break connection,
                Ok((_, state)) => self.ctx.log(state.in_words()),
                Err(error) if error.code == "postgres.connect" || error.transient => {}
                Err(error) => return Err(error),
            }
            if !self.server.is_running().await? {
                return Err(self.server.fatal("it has ended"));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        let session = PostgresConnection::of(&*connection)?.session();
        if *self.inputs.promote.known()? {
            return promoted(session).await;
        }
        State::of(session).await
    }

    async fn asked(&self) -> Result<(Arc<dyn Connection>, State), StepError> {
        let connection = self.ctx.connection().await?;
        let state = State::of(PostgresConnection::of(&*connection)?.session()).await?;
        Ok((connection, state))
    }

    fn outputs(&self, found: &Found, state: &State) -> Value {
        let last = self.chain.last();
        let mut outputs = json!({
            "into": self.into.display().to_string(),
            "port": self.inputs.port.value(),
            "log": self.server.log_path().display().to_string(),
            "to": self.inputs.to.value().map(ToString::to_string),
            "label": last.label,
            "arrived": state.outputs(),
        });
        if let Some(lsn) = &found.lsn {
            outputs["proved_lsn"] = json!(lsn);
        }
        outputs
    }
}

/// Whom a server lets in whose backup does not say it.
const HBA: &str = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\nhost all all ::1/128 scram-sha-256\n";

/// The first segment that a recovery needs.
fn segment_of(entry: &BaseEntry) -> String {
    let (lsn, size) = (lsn_number(&entry.start_lsn).unwrap_or_default(), entry.segment_size.max(1));
    let (number, per_log) = (lsn / size, (1_u64 << 32) / size);
    format!("{:08X}{:08X}{:08X}", entry.timeline, number / per_log.max(1), number % per_log.max(1))
}

/// A path as a shell reads it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use drydock_step::Given;
    use drydock_step::test_host::{actions, given};

    use super::*;

    #[test]
    fn what_does_not_go_together_is_found_before_the_base_backup_is_known() {
        let with = |to: Value, more: Value| {
            let mut with =
                json!({ "from": "backups", "base": { "$after": ["base"] }, "to": to, "into": "drill" });
            with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            with
        };
        let judged = |with: Value| {
            let with = given(with).with;
            drydock_step::Kind::judge(&Recover, &Given { with: &with, fill: None })
        };
        let error = judged(with(json!({ "name": "p" }), json!({}))).unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.message.as_str()),
            ("input", "nothing says where the WAL up to restore point p comes from")
        );
        let both = json!({ "wal": "pg/wal", "restore_command": "false" });
        let error = judged(with(json!({ "end": true }), both)).unwrap_err();
        assert!(error.message.starts_with("`wal` and `restore_command` both say"), "{error}");
        let good = with(json!({ "name": "p" }), json!({ "wal": "pg/wal" }));
        assert_eq!(judged(good.clone()), Ok(()));
        let shown: Vec<String> = actions(&Recover, good).unwrap().into_iter().map(|one| one.text).collect();
        assert_eq!(shown[0], "read (known after base) and hash it");
        assert!(
            shown.contains(&"pg_waldump --path=drill.wal, up to restore point p".to_owned()),
            "{shown:?}"
        );
    }
}
