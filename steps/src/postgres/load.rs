//! `postgres.load`: [`Load`] makes a database from a dump, and proves that its rows are those of the dump.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, KindShape, Preflight,
    PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch,
};
use serde_json::{Value, json};

use super::finding::{found, hindrance};
use super::last_word;
use super::load_checks::{hindrances, room};
use super::load_globals::Lacking;
use super::load_inputs::{LoadGlobals, LoadInputs};
use super::load_place::{Place, Standing, dropping};
use super::load_run::{Loading, PROGRAM};
use super::programs::Program;
use super::sql::{Identifier, named};
use super::target::PostgresConnection;
use crate::described::described;
use crate::own_name::own_name;
use crate::rehash::{changed, closed};

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("database", Shape::Text, "The database."),
    Field::required(
        "restored_at",
        Shape::Datetime,
        "When all rows were there, by the server's clock: it answers, slowly.",
    ),
    Field::required("indexed_at", Shape::Datetime, "When all indexes were there."),
    Field::required(
        "milestones",
        Shape::List(&Shape::Record(&[
            Field::required("name", Shape::Text, "`restored` or `indexed`."),
            Field::required("seconds", Shape::Integer, "So long after the attempt began that reached it."),
            Field::required("at", Shape::Datetime, "When, by the server's clock."),
        ])),
        "What was reached, in its order.",
    ),
    Field::optional(
        "counts",
        Shape::Map(&Shape::Integer),
        "The rows of every table, which are those of the dump; where that counted them.",
    ),
    Field::required(
        "extensions",
        Shape::List(&Shape::Record(&[
            Field::required("name", Shape::Text, "Its name."),
            Field::required("version", Shape::Text, "Its version here."),
        ])),
        "The extensions of the database.",
    ),
    Field::required("warnings", Shape::List(&Shape::Text), "What went another way than it should."),
]);

/// Loads dumps.
pub struct Load;

#[async_trait]
impl StepKind for Load {
    type Inputs = LoadInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &[
                "postgres: CREATEDB, and to own the database that is replaced; CREATEROLE for `globals: apply`; superuser where the dump has extensions that are not trusted, as pgvector is",
                "artifacts: read from the store",
            ],
            example: "load:\n  uses: postgres.load\n  target: vectors\n  needs: [dump]\n  with: { dump: \"{{ steps.dump.outputs }}\", from: backups, database: octopus_drill, jobs: 4, maintenance_work_mem: 1GiB }\n",
            ..described(
                "postgres.load",
                "Makes a database from a dump: its rows under a name of its own until they are proved to be all, then under the name that is wanted, and then its indexes.",
            )
        }
    }

    fn judge(&self, inputs: &LoadInputs) -> Result<(), StepError> {
        inputs.fits()
    }

    fn touches(&self, target: Option<&str>, inputs: &LoadInputs) -> Vec<Touch> {
        let database = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        let path = inputs.dump.value().and_then(|dump| dump.path());
        let path = path.map_or("?".into(), |path| format!("path {path}"));
        let access = if inputs.replace.value() == Some(&false) { Access::Writes } else { Access::Destroys };
        vec![
            Touch { target: target.map(str::to_owned), resource: database, access },
            Touch { target: inputs.from.value().cloned(), resource: path, access: Access::Reads },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &LoadInputs, _facts: &Facts) -> Vec<Action> {
        const OWN: &str = "drydock_<run and step>";
        let shown = |text: Result<String, StepError>| text.unwrap_or_else(|_| "(known later)".into());
        let creating = match inputs.dump.value().and_then(|dump| dump.entry()) {
            Some(dump) => shown(inputs.creating(OWN, dump)),
            None => format!("CREATE DATABASE {} (as the dumped one was made)", named(OWN)),
        };
        let arguments = shown(inputs.arguments().map(|all| all.join(" ")));
        let options = shown(inputs.options());
        let pass = |section: &str, before: &str| {
            let text =
                format!("{before}{PROGRAM} --section={section} --exit-on-error {arguments} <the dump>");
            Action::writes(ActionKind::Process, target, text)
        };
        let before = if options.is_empty() { String::new() } else { format!("PGOPTIONS='{options}' ") };
        let name = inputs.database.or_after(Identifier::named);
        let replaces = inputs.replace.value() != Some(&false);
        let mut actions = vec![
            Action::writes(ActionKind::Sql, target, dropping(OWN)),
            Action::writes(ActionKind::Sql, target, creating),
            pass("pre-data", ""),
            pass("data", ""),
            Action::reads(
                ActionKind::Sql,
                target,
                "SELECT count(*) AS rows FROM (each table, as the dump has counted)",
            ),
        ];
        if inputs.globals.value() == Some(&LoadGlobals::Apply) {
            let text = "CREATE ROLE, CREATE TABLESPACE (what the dump needs and the server lacks, as the dump's globals say)";
            actions.insert(0, Action::writes(ActionKind::Sql, target, text));
        }
        let naming = Place::shown(OWN, &name, replaces).into_iter();
        actions.extend(naming.map(|text| Action::writes(ActionKind::Sql, target, text)));
        actions.push(pass("post-data", &before));
        if inputs.analyze.value() != Some(&false) {
            actions.push(Action::writes(ActionKind::Sql, target, "ANALYZE"));
        }
        if replaces {
            actions.push(Action::writes(ActionKind::Sql, target, Place::dropping_aside(OWN)));
        }
        actions
    }

    fn grants(&self, inputs: &LoadInputs) -> Vec<Grant> {
        let mut grants = vec![Grant::at_server(Duty::Plan, "ALTER ROLE {login} CREATEDB;")];
        if inputs.globals.value() == Some(&LoadGlobals::Apply) {
            grants.push(Grant::at_server(Duty::Plan, "ALTER ROLE {login} CREATEROLE;"));
        }
        grants
    }

    /// The name is free or may change hands, the role may, what the dump needs is there, and a program can read it. A dump that is only named
    /// by its place may be made by an earlier step of the run.
    async fn preflight(&self, ctx: &Ctx, inputs: &LoadInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let facts = connection.facts().await?;
        let (own, mut hindering, mut findings) = (own_name(ctx), Vec::new(), Vec::new());
        let mut is_beside = false;
        if let Some(place) = place_of(inputs, connection, &own)? {
            let stands = place.standing().await?;
            is_beside = Place::is_beside(&stands);
            hindering.extend(place.hindrance(&stands, false).await?);
        }
        let mut major = facts.major();
        let dump = match (inputs.dump.value(), inputs.from.value()) {
            (Some(dump), Some(from)) => {
                let store = ctx.host.connect(from).await?;
                let store = store.store().ok_or_else(no_store)?;
                match dump.read(store).await {
                    Ok(dump) => {
                        if let Some(first) = dump.artifacts.first() {
                            hindering.extend(closed(store, &first.path).await?);
                        }
                        Some(dump)
                    }
                    Err(error) if !error.transient => {
                        let later = error.code == "postgres.dump_unfinished";
                        findings.push(PreflightFinding { fatal: !later, ..hindrance(error) });
                        None
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        if let Some(dump) = &dump {
            major = major.max(dump.tool_major);
            hindering.extend(hindrances(connection.session(), facts, dump).await?);
            hindering.extend(match inputs.globals.value().filter(|_| inputs.are_wants_known()) {
                Some(LoadGlobals::Check) => Lacking::of(connection.session(), dump, inputs).await?.refused(),
                Some(LoadGlobals::Apply) => {
                    Lacking::of(connection.session(), dump, inputs).await?.untold(dump)
                }
                Some(LoadGlobals::Ignore) | None => None,
            });
            findings.extend(room(dump, is_beside));
        }
        hindering.extend(Program::find(ctx, &connection.settings().programs, PROGRAM, major).await.err());
        findings.extend(found(hindering).findings);
        Ok(Preflight { facts: json!({ "server": facts }), findings })
    }

    /// Whether the dump is what it was when it was stored.
    async fn prove(&self, ctx: &Ctx, inputs: &LoadInputs) -> Result<Vec<PreflightFinding>, StepError> {
        let (Some(dump), Some(from)) = (inputs.dump.value(), inputs.from.value()) else {
            return Ok(Vec::new());
        };
        let store = ctx.host.connect(from).await?;
        let store = store.store().ok_or_else(no_store)?;
        match dump.read(store).await {
            Ok(dump) => changed(store, dump.artifacts.iter().chain(&dump.globals)).await,
            Err(error) if !error.transient => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &LoadInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.fits()?;
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.from.known()?).await?);
        let connection = PostgresConnection::of(&*connection)?;
        let own = own_name(ctx);
        let place = known_place(inputs, connection, &own)?;
        let store = store.store().ok_or_else(no_store)?;
        let loading = Loading { ctx, inputs, connection, store, place };
        let outcome = ctx.or_cancelled(loading.outputs()).await;
        if outcome.is_err() {
            // What cannot be dropped now, the next attempt drops.
            let _ = place.cleared().await;
        }
        let outputs = outcome?;
        last_word::noted(ctx, &outputs).await?;
        place.done().await?;
        Ok(Ended::Outputs(outputs))
    }

    /// A load whose outputs were noted is done. Rows that were proved are kept: their database has its name, and the step's mark.
    async fn reconcile(&self, ctx: &Ctx, inputs: &LoadInputs) -> Result<Reconciled, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let own = own_name(ctx);
        let place = known_place(inputs, connection, &own)?;
        let stands = place.standing().await?;
        if let Some(outputs) = last_word::of(ctx)
            && stands != Standing::Absent
        {
            place.done().await?;
            return Ok(Reconciled::Done(outputs.clone()));
        }
        if stands == Standing::Own {
            return Ok(Reconciled::Partly(json!({ "restored": place.name })));
        }
        connection.session().work("dropping what a lost attempt left", &dropping(&own)).await?;
        Ok(Reconciled::NotDone)
    }
}

fn no_store() -> StepError {
    StepError::internal("`from` of postgres.load is no artifact store")
}

/// Where the load goes.
fn known_place<'a>(
    inputs: &'a LoadInputs,
    connection: &'a PostgresConnection,
    own: &'a str,
) -> Result<Place<'a>, StepError> {
    let (replace, end_sessions) = (*inputs.replace.known()?, *inputs.end_sessions.known()?);
    Ok(Place { connection, name: inputs.database.known()?, own, replace, end_sessions })
}

/// The same as far as it is known before the run.
fn place_of<'a>(
    inputs: &'a LoadInputs,
    connection: &'a PostgresConnection,
    own: &'a str,
) -> Result<Option<Place<'a>>, StepError> {
    let is_known = inputs.database.value().is_some()
        && inputs.replace.value().is_some()
        && inputs.end_sessions.value().is_some();
    if is_known { known_place(inputs, connection, own).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, given};

    use super::*;

    #[test]
    fn a_dry_run_shows_when_the_names_change_and_what_is_dropped() {
        let with = json!({ "dump": "pg/one", "from": "backups", "database": "octopus", "tablespaces": false, "jobs": 2 });
        let texts = |with: Value| -> Vec<String> {
            actions(&Load, with).unwrap().into_iter().map(|action| action.text).collect()
        };
        let plain = texts(with.clone());
        assert_eq!(
            plain[2],
            "pg_restore --section=pre-data --exit-on-error --jobs=2 --no-tablespaces <the dump>"
        );
        assert_eq!(plain[5], "ALTER DATABASE \"drydock_<run and step>\" RENAME TO \"octopus\"");
        assert_eq!(plain.last().unwrap(), "ANALYZE");
        let mut replacing = with;
        replacing["replace"] = true.into();
        replacing["globals"] = "apply".into();
        let replacing = texts(replacing);
        assert!(
            replacing[0].starts_with("CREATE ROLE, CREATE TABLESPACE (what the dump needs"),
            "{replacing:?}"
        );
        assert_eq!(
            replacing[6],
            "ALTER DATABASE \"octopus\" RENAME TO \"drydock_<run and step>_old\"; ALTER DATABASE \"drydock_<run and step>\" RENAME TO \"octopus\""
        );
        assert_eq!(
            replacing.last().unwrap(),
            "DROP DATABASE IF EXISTS \"drydock_<run and step>_old\" WITH (FORCE)"
        );
    }

    #[test]
    fn only_a_load_that_must_not_replace_is_harmless() {
        let access = |replace: Value| {
            let given = given(
                json!({ "dump": "pg/one", "from": "backups", "database": "octopus", "replace": replace }),
            );
            let inputs = drydock_step::Given { with: &given.with, fill: None };
            let touches = drydock_step::Kind::touches(&Load, Some("t"), &inputs).unwrap();
            (touches[0].access, touches[1].resource.clone())
        };
        assert_eq!(access(json!(false)), (Access::Writes, "path pg/one".into()));
        assert_eq!(access(json!(true)).0, Access::Destroys);
        assert_eq!(access(json!({ "$after": ["a"] })).0, Access::Destroys);
    }

    #[test]
    fn a_place_that_is_none_is_refused() {
        for (dump, words) in
            [(json!("/pg"), "is no path in an artifact store"), (json!({ "label": "x" }), "missing field")]
        {
            let given = given(json!({ "dump": dump, "from": "backups", "database": "octopus" }));
            let inputs = drydock_step::Given { with: &given.with, fill: None };
            let error = drydock_step::Kind::judge(&Load, &inputs).unwrap_err();
            assert!(error.code == "input" && error.message.contains(words), "{error}");
        }
    }
}
