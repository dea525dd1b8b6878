//! `point.reconcile`: [`Reconcile`] holds vectors against the truth, document by document, and takes out what the truth does not have.

use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::target::{AgentNames, VectorTable};
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Field, In, KindShape, PlanPath, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::agreement::{Agreement, OUTPUTS};
use super::erasures::{Erasing, Erasures};
use super::mend::{Derived, Erased, Mend, Taken, Taking, erased_before, noted};
use super::open::store_of;
use super::scan::{By, Fields};
use super::truth::{Queries, Truth, folded};
use crate::described::described;

/// What is done about vectors whose document or agent does not exist, or that are of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisagreement {
    /// The step fails, and nothing is changed.
    Fail,
    /// They are listed, and the log says so.
    Warn,
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
    /// They are listed.
    List,
}

/// Octopus's own statements.
const ERASING: &str = r#"{"agent": ["DELETE FROM Octopus_Documents WHERE AgentId = {id}", "DELETE FROM Octopus_Procedures WHERE AgentId = {id}", "DELETE FROM Octopus_Episodes WHERE AgentId = {id}", "DELETE FROM Octopus_Agents WHERE Id = {id}"], "document": ["DELETE FROM Octopus_Documents WHERE Id = {id}"]}"#;

const TABLE: &[Field] = &[
    Field::required("database", Shape::Text, "Its database."),
    Field::required("table", Shape::Text, "Its name, with its schema before a dot."),
    Field::optional("id", Shape::Text, "The column that tells rows apart; `id` when left out."),
    Field::optional("agent", Shape::Text, "The column of the agent; `agent_id` when left out."),
];

const FIELDS: &[Field] = &[
    Field::optional("document", Shape::Text, "The document's id; `document_id` when left out."),
    Field::optional("version", Shape::Text, "The document's version; `version` when left out."),
];

const STATEMENTS: &[Field] = &[
    Field::required(
        "agent",
        Shape::List(&Shape::Text),
        "Statements that erase an agent with all that is its.",
    ),
    Field::required("document", Shape::List(&Shape::Text), "Statements that erase a document."),
];

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
        /// How agents' collections are called. Other collections are left alone.
        named: AgentNames = maybe(Shape::Text).or("\"agent_{agent}\""),
        /// The agents to look at, by id; all when left out. Others, and their collections, are left alone.
        only: Option<Vec<String>> = maybe(Shape::List(&Shape::Text)),
        /// Of a PostgreSQL: the table whose rows are the vectors of all agents. A quarantine keeps its rows with all their columns.
        table: Option<VectorTable> = maybe(Shape::Record(TABLE)),
        /// The fields of a point's payload, or the columns of `table`, that say whose it is.
        fields: Fields = maybe(Shape::Record(FIELDS)).or("{}"),
        /// What to do about vectors whose document or agent does not exist. `quarantine` keeps the payloads of what it takes out as JSON
        /// lines, and a collection whose agent does not exist with its vectors: `artifact.read` and `qdrant.recover` bring it back.
        on_orphans: OnDisagreement = maybe(Shape::OneOf(&["fail", "warn", "quarantine", "delete", "list"])).or("\"fail\""),
        /// What to do about vectors of another version than the truth. Whose are taken out has none, and has to be indexed again.
        on_stale: OnDisagreement = maybe(Shape::OneOf(&["fail", "warn", "quarantine", "delete", "list"])).or("\"warn\""),
        /// What to do about documents without vectors.
        on_missing: OnMissing = maybe(Shape::OneOf(&["fail", "warn", "list"])).or("\"warn\""),
        /// A file of what must not come back, a line each: `agent ID` or `document ID`. It is erased in the truth and in the vectors, and not kept.
        erasures: Option<PlanPath> = maybe(Shape::Path).naming_a_source(),
        /// The statements that erase in the truth; `{id}` stands for the id as a literal.
        erase: Erasing = maybe(Shape::Record(STATEMENTS)).or(ERASING),
        /// The fields of a point's payload that a quarantine keeps.
        keep: Vec<String> = maybe(Shape::List(&Shape::Text)).or(r#"["agent_id", "document_id", "chunk", "version", "text"]"#),
    }
}

/// Brings vectors into agreement with the truth.
pub struct Reconcile;

impl OnDisagreement {
    fn access(self) -> Access {
        match self {
            Self::Fail | Self::Warn | Self::List => Access::Reads,
            Self::Quarantine => Access::Writes,
            Self::Delete => Access::Destroys,
        }
    }
}

impl ReconcileInputs {
    /// What it does to the vectors; not known yet counts as the worst.
    fn access(&self) -> Access {
        let of = |input: &In<OnDisagreement>| input.value().map_or(Access::Destroys, |one| one.access());
        let accesses = [of(&self.on_orphans), of(&self.on_stale), self.erasing()];
        let worst = [Access::Destroys, Access::Writes].into_iter().find(|access| accesses.contains(access));
        worst.unwrap_or(Access::Reads)
    }

    /// What it does to the truth.
    fn erasing(&self) -> Access {
        if matches!(self.erasures, In::Known(None)) { Access::Reads } else { Access::Destroys }
    }

    fn quarantines(&self) -> bool {
        [&self.on_orphans, &self.on_stale].iter().any(|one| one.value() == Some(&OnDisagreement::Quarantine))
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

    /// What must not come back.
    async fn erasures(&self, ctx: &Ctx) -> Result<Erasures, StepError> {
        match self.erasures.known()? {
            Some(path) => Erasures::read(&path.resolved(&ctx.folder)).await,
            None => Ok(Erasures::default()),
        }
    }
}

/// What stands against going on, no vector having been changed.
fn verdict(found: &Agreement, inputs: &ReconcileInputs) -> Result<(), StepError> {
    let orphans = found.scans.iter().any(|scan| scan.has_orphans());
    if orphans && *inputs.on_orphans.known()? == OnDisagreement::Fail {
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
    let stale = found.scans.iter().any(|scan| !scan.stale.is_empty());
    if stale && *inputs.on_stale.known()? == OnDisagreement::Fail {
        let message = format!("vectors are of another version than the truth: {}", found.stale_in_words());
        return Err(StepError::new("point.stale", message)
            .help("index them again, or allow it with `on_stale: warn`"));
    }
    let missing = found.missing() > 0 || !found.without.is_empty();
    if missing && *inputs.on_missing.known()? == OnMissing::Fail {
        let message = format!("documents or agents have no vectors: {}", found.missing_in_words());
        return Err(StepError::new("point.missing", message)
            .help("index them again, or allow it with `on_missing: warn`"));
    }
    Ok(())
}

/// Says in the log what is only to be warned of.
fn warned(ctx: &Ctx, found: &Agreement, inputs: &ReconcileInputs) -> Result<(), StepError> {
    let lines = [
        (
            "without a document or agent",
            found.orphans_in_words(),
            *inputs.on_orphans.known()? == OnDisagreement::Warn,
        ),
        ("of another version", found.stale_in_words(), *inputs.on_stale.known()? == OnDisagreement::Warn),
        ("without vectors", found.missing_in_words(), *inputs.on_missing.known()? == OnMissing::Warn),
    ];
    for (what, words, _) in lines.iter().filter(|(_, words, told)| *told && !words.is_empty()) {
        ctx.log(format!("{what}: {words}"));
    }
    Ok(())
}

/// The truth, without what must not come back; and what of that was there.
async fn truth_of(
    ctx: &Ctx,
    inputs: &ReconcileInputs,
    erasures: &Erasures,
) -> Result<(Truth, Erasures), StepError> {
    let server = ctx.host.connect(inputs.truth.known()?).await?;
    let truth = Truth::asked(&*server, &inputs.queries()?).await?;
    let mut back = erasures.in_truth(&truth);
    let truth = if back.is_empty() {
        truth
    } else {
        let database = inputs.database.known()?.as_deref().ok_or_else(|| {
            StepError::new("input", "erasing in the truth needs `database`")
                .help("name the database of the truth")
        })?;
        ctx.note(json!({ "erasing": { "agents": back.agents, "documents": back.documents } })).await?;
        back.applied(&*server, database, inputs.erase.known()?).await?;
        Truth::asked(&*server, &inputs.queries()?).await?
    };
    // What an attempt before this one has erased is told as well.
    for note in ctx.notes.iter().filter_map(|note| note.get("erasing")) {
        let of = |name: &str| note.get(name).and_then(Value::as_array).into_iter().flatten();
        back.agents.extend(of("agents").filter_map(Value::as_str).map(str::to_owned));
        back.documents.extend(of("documents").filter_map(Value::as_str).map(str::to_owned));
    }
    Ok((truth, back))
}

/// What is taken out of the vectors, and what was before.
struct Mended {
    taken: Vec<Taken>,
    erased: Vec<Erased>,
}

async fn mended(
    ctx: &Ctx,
    inputs: &ReconcileInputs,
    found: &Agreement,
    derived: Arc<Derived>,
    goes_on: bool,
) -> Result<Mended, StepError> {
    let mut done = Mended { taken: noted(ctx), erased: erased_before(ctx) };
    if !inputs.mends() {
        return Ok(done);
    }
    let connection = ctx.connection().await?;
    let keep = inputs.keep.known()?;
    let keep = match &*derived {
        Derived::Server(_) => keep.clone(),
        Derived::Table(table) => table.all_fields().await?,
    };
    let mend = |how: OnDisagreement| -> Result<Option<Mend<'_>>, StepError> {
        let keep = match how {
            OnDisagreement::Quarantine => Some(keep.clone()),
            OnDisagreement::Delete => None,
            _ => return Ok(None),
        };
        Ok(Some(Mend { ctx, store: store_of(&*connection)?, derived: derived.clone(), keep, goes_on }))
    };
    if let Some(mend) = mend(OnDisagreement::Delete)? {
        for scan in found.scans.iter().filter(|scan| scan.has_erased()) {
            done.erased.push(ctx.or_cancelled(mend.erase(scan)).await?);
        }
    }
    if let Some(mend) = mend(*inputs.on_orphans.known()?)? {
        for scan in found.scans.iter().filter(|scan| scan.has_orphans()) {
            done.taken.push(ctx.or_cancelled(mend.take_out(&Taking::orphans(scan))).await?);
        }
    }
    if let Some(mend) = mend(*inputs.on_stale.known()?)? {
        for scan in found.scans.iter().filter(|scan| !scan.stale.is_empty()) {
            done.taken.push(ctx.or_cancelled(mend.take_out(&Taking::stale(scan))).await?);
        }
    }
    Ok(done)
}

#[async_trait]
impl StepKind for Reconcile {
    type Inputs = ReconcileInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            target_inputs: &[("truth", &["sqlserver"]), ("derived", &["qdrant", "postgres"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &[
                "SELECT on the tables of agents and documents",
                "list and read collections, or SELECT on the table of vectors; delete points and collections, or DELETE, where they are taken out",
                "DELETE on what `erase` names, where there are erasures",
                "put artifacts into the store, for a quarantine",
            ],
            example: EXAMPLE,
            ..described(
                "point.reconcile",
                "Holds vectors against the truth, document by document: every collection has its agent, every agent its \
                 collection, every point its document in the version of the truth. Orphans and stale vectors fail the step, or are \
                 listed, quarantined or deleted. What a file of erasures names is erased again.",
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
        let collections = match inputs.table.value() {
            Some(Some(table)) => format!("database {}", table.database),
            _ => format!("collections {}", inputs.named.or_after(|named| named.of("*"))),
        };
        let mut touches = vec![
            touch(inputs.truth.value().map(String::as_str), format!("database {database}"), inputs.erasing()),
            touch(inputs.derived.value().map(String::as_str), collections, inputs.access()),
        ];
        if inputs.quarantines() {
            touches.push(touch(target, "path quarantine/".to_owned(), Access::Writes));
        }
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &ReconcileInputs, _facts: &Facts) -> Vec<Action> {
        let truth = inputs.truth.value().map(String::as_str);
        let derived = inputs.derived.value().map(String::as_str);
        let of = inputs.named.or_after(|named| named.of("*"));
        let (kind, pages, removes) = match inputs.table.value() {
            Some(Some(table)) => (
                ActionKind::Sql,
                format!("SELECT the {} rows of {} without their vectors", of, table.table),
                format!("DELETE FROM {} what is taken out", table.table),
            ),
            _ => (
                ActionKind::Http,
                format!("read every point of the collections {of}, without its vector"),
                "delete points, and collections whose agent does not exist".to_owned(),
            ),
        };
        let mut actions = vec![
            Action::reads(ActionKind::Sql, truth, inputs.agents.to_string()),
            Action::reads(ActionKind::Sql, truth, inputs.documents.to_string()),
            Action::reads(kind, derived, pages),
        ];
        if inputs.erasing() == Access::Destroys {
            let erasures =
                inputs.erasures.or_after(|path| path.as_ref().map_or(String::new(), ToString::to_string));
            let text = format!(
                "erase again, in the truth and in the vectors, what {erasures} names and has come back"
            );
            actions.push(Action::writes(ActionKind::Sql, truth, text));
        }
        if inputs.quarantines() {
            let text = "put what is taken out as quarantine/<run>/<collection>.jsonl";
            actions.push(Action::writes(ActionKind::Artifact, target, text));
            if kind == ActionKind::Http {
                let text = "make a snapshot of each collection whose agent does not exist, bring it into the store, and remove it";
                actions.push(Action::writes(ActionKind::Http, derived, text));
                let text = "put it below quarantine/<run>/<collection>/, with a collection.json that qdrant.recover takes";
                actions.push(Action::writes(ActionKind::Artifact, target, text));
            }
        }
        if inputs.mends() {
            actions.push(Action::writes(kind, derived, removes));
        }
        actions
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &ReconcileInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let erasures = inputs.erasures(ctx).await?;
        let (truth, back) = ctx.or_cancelled(truth_of(ctx, inputs, &erasures)).await?;
        let server = ctx.host.connect(inputs.derived.known()?).await?;
        let names = inputs.named.known()?;
        let derived = Arc::new(Derived::of(server, inputs.table.known()?.as_ref(), names)?);
        let only = inputs.only.known()?.as_ref().map(|ids| ids.iter().map(|id| folded(id)).collect());
        let by = By { fields: inputs.fields.known()?, erasures: &erasures, only };
        let compared = Agreement::of(ctx, truth, derived.collections()?, names, &by);
        let found = ctx.or_cancelled(compared).await?;
        verdict(&found, inputs)?;
        warned(ctx, &found, inputs)?;
        let Mended { taken, erased } = mended(ctx, inputs, &found, derived, from.is_some()).await?;
        Ok(Ended::Outputs(found.outputs(&taken, &erased, &back)))
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
