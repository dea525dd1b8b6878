//! `postgres.recover`: [`Recover`] puts base backups back and lets a server recover from them, to one place in its WAL.
//!
//! Order: what it would overwrite is looked at; every artifact is hashed while it is unpacked; the WAL is read by pg_waldump, so that a
//! place that it does not lead to is refused before anything runs; the server is started apart from the production archive; and that it
//! has arrived is what the server itself says over SQL, since pg_ctl says "started" long before.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, CleanUp, Connection, Ctx, Effect, Ended, Facts, Field, From,
    KindShape, Preflight, PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch,
};
use serde_json::{Value, json};

use super::base_given::BaseGiven;
use super::last_word;
use super::recover_folder::{data_major, is_free, is_own};
use super::recover_inputs::RecoverInputs;
use super::recover_placing::{Work, occupied_port};
use super::recover_programs::Programs;
use super::recover_server::Recovering;
use super::recover_state::{ARRIVED, State, promoted};
use super::recover_wal::Found;
use super::target::PostgresConnection;
use crate::described::described;
use crate::rehash::{changed, closed};

/// Between two looks at a server that recovers.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

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

#[async_trait]
impl StepKind for Recover {
    type Inputs = RecoverInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            clean_up: Some(CleanUp {
                kind: "postgres.stop",
                inputs: &[
                    ("into", From::First(&["into"])),
                    ("programs", From::First(&["programs"])),
                    ("os_user", From::First(&["os_user"])),
                    ("remove", From::True),
                ],
            }),
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
        let base = inputs.base.or_after(BaseGiven::in_words);
        let to = inputs.to.or_after(ToString::to_string);
        let mut actions = vec![
            Action::reads(ActionKind::Artifact, from, format!("read {base} and hash it")),
            Action::writes(ActionKind::Process, None, format!("unpack it into {}", inputs.into)),
        ];
        let several = match inputs.base.value() {
            Some(BaseGiven::Chain(chain)) if chain.entries().len() > 1 => Some(""),
            Some(BaseGiven::Newest(_)) => Some(""),
            Some(BaseGiven::Folder(_)) => Some(", where it is incremental"),
            Some(BaseGiven::Chain(_)) | None => None,
        };
        if let Some(when) = several {
            let line = format!("pg_combinebackup <its parts> --output={}{when}", inputs.into);
            actions.push(Action::writes(ActionKind::Process, None, line));
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
        if let (Some(base), Some(_), Some(from)) =
            (inputs.base.value(), inputs.programs.value(), inputs.from.value())
        {
            let store = ctx.host.connect(from).await?;
            let store = store_of(&*store)?;
            let chain = match base.resolved(store).await {
                Ok(chain) => chain,
                Err(error) => {
                    found(error);
                    return Ok(Preflight { facts: Value::Null, findings });
                }
            };
            if let Err(error) = inputs.fits_base(chain.last()) {
                found(error);
            }
            if let Err(error) = Programs::of(ctx, &inputs.folders(ctx)?, chain.last().server_major).await {
                found(error);
            }
            if let Some(error) = closed(store, &chain.last().artifact.path).await? {
                found(error);
            }
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

    /// Whether the base backups are what they were when they were stored.
    async fn prove(&self, ctx: &Ctx, inputs: &RecoverInputs) -> Result<Vec<PreflightFinding>, StepError> {
        let (Some(base), Some(from)) = (inputs.base.value(), inputs.from.value()) else {
            return Ok(Vec::new());
        };
        let store = ctx.host.connect(from).await?;
        let store = store_of(&*store)?;
        match base.resolved(store).await {
            Ok(chain) => changed(store, chain.entries().iter().map(|entry| &entry.artifact)).await,
            // That there is none was said already.
            Err(error) if !error.transient => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RecoverInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.fits_together()?;
        let store = ctx.host.connect(inputs.from.known()?).await?;
        let store = store_of(&*store)?;
        let chain = ctx.or_cancelled(inputs.base.known()?.resolved(store)).await?;
        inputs.fits_base(chain.last())?;
        let programs = Programs::of(ctx, &inputs.folders(ctx)?, chain.last().server_major).await?;
        let into = inputs.folder(ctx)?;
        let server = Recovering {
            ctx,
            program: programs.control.clone(),
            into: into.clone(),
            os_user: inputs.os_user.known()?.clone(),
        };
        let work = Work { ctx, inputs, chain: &chain, programs, into, server, store };
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
        // Where no data were put, nothing was started over them.
        let Some(major) = data_major(&into) else { return Ok(()) };
        let program = Programs::of(ctx, &inputs.folders(ctx)?, major).await?.control;
        let os_user = inputs.os_user.known()?.clone();
        Recovering { ctx, program, into, os_user }.stop("immediate").await.map(drop)
    }

    /// A server that has said that it has arrived has recovered; any other is put back anew.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &RecoverInputs) -> Result<Reconciled, StepError> {
        Ok(last_word::of(ctx).map_or(Reconciled::NotDone, |outputs| Reconciled::Done(outputs.clone())))
    }
}

fn store_of(connection: &dyn Connection) -> Result<&dyn ArtifactStore, StepError> {
    connection.store().ok_or_else(|| StepError::internal("`from` of postgres.recover is no artifact store"))
}

impl Work<'_> {
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
