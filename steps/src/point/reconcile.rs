//! `point.reconcile`: [`Reconcile`] holds vectors against the truth, document by document, and takes out what the truth does not have.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, KindShape, Reconciled, Shape, StepError, StepKind,
    TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::agreement::{Agreement, OUTPUTS};
use super::mend::{Mend, collections_of, noted};
use super::open::store_of;
use super::truth::{Queries, Truth};
use crate::described::described;

/// What is done about vectors whose document or agent does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOrphans {
    /// The step fails, and nothing is changed.
    Fail,
    /// They are kept in the artifact store and taken out.
    Quarantine,
    /// They are taken out.
    Delete,
    /// They are listed, and nothing is changed.
    List,
}

/// What is done about documents without vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    /// The step fails, and nothing is changed.
    Fail,
    /// They are listed, and the log says so.
    Warn,
}

inputs! {
    /// Inputs of `point.reconcile`.
    pub struct ReconcileInputs {
        /// The target that holds the truth.
        truth: String = known(Shape::Text),
        /// The target of the vectors.
        derived: String = known(Shape::Text),
        /// The database of the truth; the login's own when left out.
        database: Option<String> = maybe(Shape::Text),
        /// A query that gives every agent's `Id`.
        agents: String = maybe(Shape::Text).or("\"SELECT Id FROM Octopus_Agents\""),
        /// A query that gives every document's `Id`, `AgentId` and `Version`; without `Version` none are compared.
        documents: String = maybe(Shape::Text).or("\"SELECT Id, AgentId, Version FROM Octopus_Documents\""),
        /// What the names of agents' collections begin with; an agent's id follows. Other collections are left alone.
        prefix: String = maybe(Shape::Text).or("\"agent_\""),
        /// What to do about vectors whose document or agent does not exist. `quarantine` keeps the payloads of what it takes out as JSON
        /// lines, and a collection whose agent does not exist with its vectors: `artifact.read` and `qdrant.recover` bring it back.
        on_orphans: OnOrphans = maybe(Shape::OneOf(&["fail", "quarantine", "delete", "list"])).or("\"fail\""),
        /// What to do about documents without vectors.
        on_missing: OnMissing = maybe(Shape::OneOf(&["fail", "warn"])).or("\"warn\""),
        /// The fields of a point's payload that a quarantine keeps.
        keep: Vec<String> = maybe(Shape::List(&Shape::Text)).or(r#"["agent_id", "document_id", "chunk", "version", "text"]"#),
    }
}

/// Brings vectors into agreement with the truth.
pub struct Reconcile;

impl ReconcileInputs {
    /// Whether it changes anything; not known yet counts as yes.
    fn access(&self) -> Access {
        match self.on_orphans.value() {
            Some(OnOrphans::Fail | OnOrphans::List) => Access::Reads,
            Some(OnOrphans::Quarantine) => Access::Writes,
            Some(OnOrphans::Delete) | None => Access::Destroys,
        }
    }

    fn mends(&self) -> bool {
        self.access() != Access::Reads
    }

    fn queries(&self) -> Result<Queries<'_>, StepError> {
        Ok(Queries {
            database: self.database.known()?.as_deref(),
            agents: self.agents.known()?,
            documents: self.documents.known()?,
        })
    }
}

/// What stands against going on, nothing having been changed.
fn verdict(found: &Agreement, inputs: &ReconcileInputs) -> Result<(), StepError> {
    let orphans = found.scans.iter().any(|scan| scan.has_orphans());
    if orphans && *inputs.on_orphans.known()? == OnOrphans::Fail {
        let message = format!("vectors have no document or agent: {}", found.orphans_in_words());
        return Err(StepError::new("point.orphans", message)
            .help("`on_orphans: quarantine` keeps them in the artifact store and takes them out"));
    }
    if inputs.mends() && orphans && found.truth.agents.is_empty() {
        let message = format!(
            "the truth has no agent at all, and {} collections of agents are there",
            found.scans.len()
        );
        return Err(StepError::new("point.truth", message)
            .help("look whether `database` and the query of `agents` are right; nothing was changed"));
    }
    let missing = found.missing() > 0 || !found.without.is_empty();
    if missing && *inputs.on_missing.known()? == OnMissing::Fail {
        let message = format!("documents or agents have no vectors: {}", found.missing_in_words());
        return Err(StepError::new("point.missing", message)
            .help("index them again, or allow it with `on_missing: warn`"));
    }
    Ok(())
}

async fn compared(ctx: &Ctx, inputs: &ReconcileInputs) -> Result<Agreement, StepError> {
    let truth = ctx.host.connect(inputs.truth.known()?).await?;
    let truth = Truth::asked(&*truth, &inputs.queries()?).await?;
    let derived = ctx.host.connect(inputs.derived.known()?).await?;
    Agreement::of(ctx, truth, collections_of(&*derived)?, inputs.prefix.known()?).await
}

#[async_trait]
impl StepKind for Reconcile {
    type Inputs = ReconcileInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            target_inputs: &[("truth", &["sqlserver"]), ("derived", &["qdrant"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &[
                "SELECT on the tables of agents and documents",
                "list and read collections; delete points and collections, where orphans are taken out",
                "put artifacts into the store, for a quarantine",
            ],
            example: EXAMPLE,
            ..described(
                "point.reconcile",
                "Holds vectors against the truth, document by document: every collection has its agent, every agent its \
                 collection, every point its document in the version of the truth. Orphans fail the step, or are listed, \
                 quarantined or deleted.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &ReconcileInputs) -> Vec<Touch> {
        let touch = |target: Option<&str>, resource: String, access| Touch {
            target: target.map(str::to_owned),
            resource,
            access,
        };
        let database = inputs.database.or_after(|name| name.clone().unwrap_or_else(|| "?".to_owned()));
        let collections = format!("collections {}*", inputs.prefix);
        let mut touches = vec![
            touch(inputs.truth.value().map(String::as_str), format!("database {database}"), Access::Reads),
            touch(inputs.derived.value().map(String::as_str), collections, inputs.access()),
        ];
        if inputs.access() == Access::Writes {
            touches.push(touch(target, "path quarantine/".to_owned(), Access::Writes));
        }
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &ReconcileInputs, _facts: &Facts) -> Vec<Action> {
        let truth = inputs.truth.value().map(String::as_str);
        let derived = inputs.derived.value().map(String::as_str);
        let pages = format!("read every point of the collections {}*, without its vector", inputs.prefix);
        let mut actions = vec![
            Action::reads(ActionKind::Sql, truth, inputs.agents.to_string()),
            Action::reads(ActionKind::Sql, truth, inputs.documents.to_string()),
            Action::reads(ActionKind::Http, derived, pages),
        ];
        if inputs.access() == Access::Writes {
            let text = "put orphans as quarantine/<run>/<collection>.jsonl";
            actions.push(Action::writes(ActionKind::Artifact, target, text));
            let text = "make a snapshot of each collection whose agent does not exist, bring it into the store, and remove it";
            actions.push(Action::writes(ActionKind::Http, derived, text));
            let text = "put it below quarantine/<run>/<collection>/, with a collection.json that qdrant.recover takes";
            actions.push(Action::writes(ActionKind::Artifact, target, text));
        }
        if inputs.mends() {
            let text = "delete orphaned points, and collections whose agent does not exist";
            actions.push(Action::writes(ActionKind::Http, derived, text));
        }
        actions
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &ReconcileInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let found = ctx.or_cancelled(compared(ctx, inputs)).await?;
        verdict(&found, inputs)?;
        if !found.missing_in_words().is_empty() {
            ctx.log(format!("without vectors: {}", found.missing_in_words()));
        }
        let mut taken = noted(ctx);
        if inputs.mends() {
            let connection = ctx.connection().await?;
            let quarantine = *inputs.on_orphans.known()? == OnOrphans::Quarantine;
            let mend = Mend {
                ctx,
                store: store_of(&*connection)?,
                derived: ctx.host.connect(inputs.derived.known()?).await?,
                keep: quarantine.then(|| inputs.keep.known().cloned()).transpose()?,
                goes_on: from.is_some(),
            };
            for scan in found.scans.iter().filter(|scan| scan.has_orphans()) {
                taken.push(ctx.or_cancelled(mend.take_out(scan)).await?);
            }
        }
        Ok(Ended::Outputs(found.outputs(&taken)))
    }

    /// Nothing is done twice when it is done again; what was taken out before is told once more from the notes.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &ReconcileInputs) -> Result<Reconciled, StepError> {
        let nothing = ctx.notes.is_empty();
        Ok(if nothing { Reconciled::NotDone } else { Reconciled::Partly(json!({ "taken": noted(ctx) })) })
    }
}

const EXAMPLE: &str = r#"consistent:
  uses: point.reconcile
  target: backups
  needs: [restore_sql, recover_vectors]
  with: { truth: sql, derived: vectors, database: OctopusDB, on_orphans: quarantine, on_missing: warn }
"#;
