//! `postgres.stop`: [`Stop`] ends a server that `postgres.recover` has started, and takes its folder away where that is wanted.

use std::path::PathBuf;

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Field, KindShape, PlanPath, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::last_word;
use super::programs::Program;
use super::recover_server::{Recovering, beside};
use crate::described::described;

inputs! {
    /// Inputs of `postgres.stop`.
    pub struct StopInputs {
        /// The data folder, as `postgres.recover` was given it.
        into: PlanPath = known(Shape::Path),
        /// `fast` ends sessions and writes a last checkpoint, `immediate` does not.
        mode: Mode = maybe(Shape::OneOf(&["fast", "immediate"])).or("\"fast\""),
        /// Remove the folder, and what `postgres.recover` has put beside it. A folder that it did not make is refused.
        remove: bool = maybe(Shape::Boolean).or("false"),
        /// Folders with the server's programs, looked into before the places where packages put them.
        programs: Vec<PlanPath> = maybe(Shape::List(&Shape::Path)).or("[]"),
        /// Whom the server runs as, where the runner is root.
        os_user: Option<String> = maybe(Shape::Text),
    }
}

/// How a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// With a last checkpoint.
    Fast,
    /// At once, as a crash does.
    Immediate,
}

impl Mode {
    fn word(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("stopped", Shape::Boolean, "Whether it was running."),
    Field::required("removed", Shape::List(&Shape::Text), "What was removed."),
]);

/// Ends servers.
pub struct Stop;

#[async_trait]
impl StepKind for Stop {
    type Inputs = StopInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::None,
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["the runner's machine: as the user that the server runs as, or root"],
            example: "clean_up:\n  uses: postgres.stop\n  with: { into: /var/lib/postgresql/drill, os_user: postgres, remove: true }\n",
            ..described(
                "postgres.stop",
                "Ends a server that postgres.recover has started, and removes its data folder where that is wanted. One that does not run, or is not there any more, is no failure.",
            )
        }
    }

    fn touches(&self, _target: Option<&str>, inputs: &StopInputs) -> Vec<Touch> {
        let into = inputs.into.value().map_or("?".into(), |into| format!("path {into}"));
        let access = if inputs.remove.value() == Some(&false) { Access::Writes } else { Access::Destroys };
        vec![Touch { target: None, resource: into, access }]
    }

    fn actions(&self, _target: Option<&str>, inputs: &StopInputs, _facts: &Facts) -> Vec<Action> {
        let mode = inputs.mode.or_after(|mode| mode.word().to_owned());
        let mut actions = vec![Action::writes(
            ActionKind::Process,
            None,
            format!("pg_ctl -D {} -m {mode} -w stop", inputs.into),
        )];
        if inputs.remove.value() != Some(&false) {
            let text = format!("remove {}, and its .wal, .log and .drydock", inputs.into);
            actions.push(Action::writes(ActionKind::Process, None, text));
        }
        actions
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &StopInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let into = inputs.into.known()?.resolved(&ctx.folder);
        let into = std::path::absolute(&into).map_err(|error| {
            StepError::new("input", format!("`into`, {}, is no path: {error}", into.display()))
        })?;
        let mut stopped = false;
        if into.is_dir() {
            let text = std::fs::read_to_string(into.join("PG_VERSION")).unwrap_or_default();
            let major: u32 = text.trim().parse().map_err(|_| {
                StepError::new(
                    "postgres.occupied",
                    format!("{} is no data folder of a PostgreSQL", into.display()),
                )
                .help("`into` is what postgres.recover was given")
            })?;
            let folders: Vec<PathBuf> =
                inputs.programs.known()?.iter().map(|folder| folder.resolved(&ctx.folder)).collect();
            let program = Program::find(ctx, &folders, "pg_ctl", major).await?;
            let os_user = inputs.os_user.known()?.clone();
            let server = Recovering { ctx, program, into: into.clone(), os_user };
            stopped = server.stop(inputs.mode.known()?.word()).await?;
        }
        let mut removed: Vec<String> = Vec::new();
        if *inputs.remove.known()? {
            let marker = beside(&into, ".drydock");
            if into.exists() && !marker.exists() {
                let message = format!("{} was not made by postgres.recover, and stays", into.display());
                return Err(StepError::new("postgres.occupied", message)
                    .help("remove it by hand, if it is not needed; the server was stopped"));
            }
            // The marker goes last, so that a removal that was cut off can go on.
            for path in [into.clone(), beside(&into, ".wal"), beside(&into, ".log"), marker] {
                let gone =
                    if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
                match gone {
                    Ok(()) => removed.push(path.display().to_string()),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => {
                        let message = format!("{} cannot be removed: {error}", path.display());
                        return Err(StepError::new("postgres.unpack", message));
                    }
                }
            }
        }
        let outputs = json!({ "stopped": stopped, "removed": removed });
        last_word::noted(ctx, &outputs).await?;
        Ok(Ended::Outputs(outputs))
    }

    /// Done again, it does what is left.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &StopInputs) -> Result<Reconciled, StepError> {
        Ok(last_word::of(ctx).map_or(Reconciled::NotDone, |outputs| Reconciled::Done(outputs.clone())))
    }
}
