//! `sqlserver.restore`: [`Restore`] brings a database, or several, to the end of a chain, to a mark or to a moment.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, CleanUp, Ctx, Duty, Effect, Ended, Facts, Field, From, Grant, In, KindShape,
    Preflight, PreflightFinding, Reconciled, RoomNeeded, Shape, StepError, StepKind, TargetNeed, Touch,
};
use serde_json::{Value, json};

use super::finding::found;
use super::locks::held;
use super::restore_beside::{Decision, decided, keeps, old_statement, swap_statements};
use super::restore_checks::{Wanted, checked, room};
use super::restore_group::{executed, reconciled};
use super::restore_inputs::{RestoreInputs, Strategy};
use super::restore_plan::{Known, plan, unasked};
use super::restore_ready::{Ready, Shown};
use super::restore_statement::{Part, Plan, stages};
use super::restore_subject::{Subject, asked_subjects, subjects, unplaced};
use super::rights::{msdb, restoring, watching};
use super::target::SqlServerConnection;
use super::verify::unreadable;
use super::watch::stop;
use crate::described::described;

const ONE: &[Field] = &[
    Field::required("database", Shape::Text, "The database's name."),
    Field::required("state", Shape::Text, "Its state: `ONLINE`, or `STANDBY` where it is left readable."),
    Field::required("user_access", Shape::Text, "Who may enter: `MULTI_USER` or `RESTRICTED_USER`."),
    Field::optional("redo_lsn", Shape::Decimal, "Where its log stood when it was opened."),
    Field::required("restored", Shape::Integer, "How many sets were restored."),
    Field::required("recovered_to", Shape::Datetime, "The moment that it is at."),
    Field::optional("mark", Shape::Text, "The mark that it stopped at."),
    Field::optional("mark_lsn", Shape::Decimal, "The mark's place in its log."),
    Field::required("strategy", Shape::OneOf(&["in_place", "beside"]), "Which way it went."),
    Field::optional("kept_as", Shape::Text, "Of a restore beside: what is now called that was there."),
];

const OUTPUTS: &[Field] = &[
    Field::required("database", Shape::Text, "The database's name; of a group, those of all, with commas."),
    Field::required("state", Shape::Text, "Its state: `ONLINE`, or `STANDBY` where it is left readable."),
    Field::required("user_access", Shape::Text, "Who may enter: `MULTI_USER` or `RESTRICTED_USER`."),
    Field::optional("redo_lsn", Shape::Decimal, "Where its log stood when it was opened."),
    Field::required("restored", Shape::Integer, "How many sets were restored."),
    Field::required("recovered_to", Shape::Datetime, "The moment that it is at; of a group, the latest."),
    Field::optional("mark", Shape::Text, "The mark that it stopped at."),
    Field::optional("mark_lsn", Shape::Decimal, "The mark's place in its log."),
    Field::required("strategy", Shape::OneOf(&["in_place", "beside"]), "Which way it went."),
    Field::optional("kept_as", Shape::Text, "Of a restore beside: what is now called that was there."),
    Field::required("databases", Shape::Map(&Shape::Record(ONE)), "The same for each database, by its name."),
];

/// Restores a database.
pub struct Restore;

#[async_trait]
impl StepKind for Restore {
    type Inputs = RestoreInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            clean_up: Some(CleanUp {
                kind: "sqlserver.drop",
                inputs: &[
                    ("database", From::First(&["into", "database"])),
                    ("group", From::First(&["group"])),
                ],
            }),
            permissions: &[
                "server role dbcreator, or CREATE ANY DATABASE and to own what is replaced",
                "ALTER ANY DATABASE, to keep others out of what is replaced",
                "SELECT on msdb.dbo.restorehistory, msdb.dbo.backupset and msdb.dbo.logmarkhistory",
                "SELECT on drydock.marks in the restored database, to prove that it is at its mark",
                "VIEW ANY DEFINITION, to see where its log stands",
                "VIEW SERVER STATE, for progress and for finding a lost restore again",
                "ALTER ANY CONNECTION, to stop it when it is cancelled",
                "the server's service account may read the backups",
            ],
            example: "restore_sql:\n  uses: sqlserver.restore\n  target: sql\n  needs: [fence, point]\n  with:\n    database: OctopusDB\n    chain: \"{{ steps.point.outputs.sqlserver.octopus }}\"\n    replace: true\n  timeout: 2h\n",
            ..described(
                "sqlserver.restore",
                "Restores one database from a chain of backups, or a group of databases to one mark: the full, perhaps a differential, and \
                 logs up to a mark or a moment. Only where the server stands at that point is the database opened, at first to its owner and \
                 administrators; it proves itself by the mark's own row, and then everybody is let in. A restore that was cut off goes on \
                 with the next set.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &RestoreInputs) -> Vec<Touch> {
        let resources = match (inputs.is_group(), inputs.parts()) {
            (_, Some(parts)) => parts.iter().map(|part| format!("database {}", part.database)).collect(),
            (true, None) => vec!["?".into()],
            (false, None) => match inputs.target() {
                In::Known(name) => vec![format!("database {name}")],
                In::After(_) => vec!["?".into()],
            },
        };
        let safe = inputs.replace.value() == Some(&false);
        let access = if safe { Access::Writes } else { Access::Destroys };
        let touch = |resource| Touch { target: target.map(str::to_owned), resource, access };
        resources.into_iter().map(touch).collect()
    }

    fn actions(&self, target: Option<&str>, inputs: &RestoreInputs, facts: &Facts) -> Vec<Action> {
        let write = |text: String| Action::writes(ActionKind::Sql, target, text);
        let known = Known::of(facts);
        let subjects = match subjects(inputs, &known.places()) {
            Some(Ok(subjects)) => subjects,
            Some(Err(error)) => return vec![write(format!("(nothing: {})", error.message))],
            None => {
                let statements = unknown_statements(inputs).into_iter().map(write);
                let way = match inputs.way() {
                    Some(Strategy::Auto) => Some(UNDECIDED),
                    Some(Strategy::Beside) => Some(SWAPPED),
                    Some(Strategy::InPlace) | None => None,
                };
                return way
                    .map(|way| Action::reads(ActionKind::Sql, target, way))
                    .into_iter()
                    .chain(statements)
                    .collect();
            }
        };
        let decision = known.decision.clone().or_else(|| Decision::unasked(inputs, &subjects));
        let subjects = match &decision {
            Some(decision) => decision.applied(subjects),
            None => subjects,
        };
        let all: Vec<_> = subjects
            .iter()
            .enumerate()
            .map(|(at, subject)| {
                let replaces = inputs.replaces() && subject.patient.is_none();
                let shown = known.databases.get(at).cloned();
                let shown = shown.unwrap_or_else(|| unasked(&subject.chain, replaces));
                let fenced = shown.fenced;
                stages(&plan(inputs, subject.database.bracketed(), shown, replaces), &subject.chain, fenced)
            })
            .collect();
        // Of a group all are brought to the mark before one is opened, and all are proved before one is let in.
        let of = |is_phase: fn(&Part) -> bool| {
            let stages = all.iter().flatten().filter(move |stage| is_phase(&stage.part));
            stages.map(|stage| write(stage.sql.clone())).collect::<Vec<_>>()
        };
        let is_open = inputs.way() == Some(Strategy::Auto) && decision.is_none();
        let left_open = is_open.then(|| Action::reads(ActionKind::Sql, target, UNDECIDED));
        let swaps = subjects.iter().flat_map(|subject| swap_stages(inputs, subject)).map(write);
        let admits = subjects.iter().filter(|_| !of(|part| *part == Part::Admit).is_empty());
        let admits = admits.map(|subject| {
            write(Plan { database: subject.name().bracketed(), ..Plan::default() }.admit().sql)
        });
        left_open
            .into_iter()
            .chain(of(|part| matches!(part, Part::Fence | Part::Set(_))))
            .chain(of(|part| *part == Part::Recover))
            .chain(swaps)
            .chain(admits)
            .collect()
    }

    fn grants(&self, _inputs: &RestoreInputs) -> Vec<Grant> {
        let mut grants = restoring();
        grants.extend(watching(Duty::Restore));
        grants.extend(msdb(Duty::Restore, &["restorehistory", "backupset", "backupmediafamily"]));
        grants
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &RestoreInputs) -> Result<Preflight, StepError> {
        if inputs.parts().is_none() || inputs.asked().is_none() {
            return Ok(Preflight::default());
        }
        let failed = |error: StepError| match error.transient {
            true => Err(error),
            false => Ok(Preflight { facts: Value::Null, findings: vec![found(error)] }),
        };
        if let Some(Err(error)) = subjects(inputs, &[]) {
            return failed(error);
        }
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let subjects = match asked_subjects(ctx, server, inputs).await {
            Ok(subjects) => subjects,
            Err(error) => return failed(error),
        };
        let decision = match inputs.way() {
            Some(Strategy::InPlace) | None => None,
            Some(_) => match decided(server, inputs, &subjects).await {
                Ok(decision) => Some(decision),
                Err(error) => return failed(error),
            },
        };
        let (mut findings, mut databases, mut rooms) = (Vec::new(), Vec::new(), Vec::new());
        findings.extend(decision.as_ref().map(Decision::finding));
        let subjects = match &decision {
            Some(decision) => decision.applied(subjects),
            None => subjects,
        };
        for subject in &subjects {
            findings.extend(held(server.session(), subject.name().as_str()).await.map(found));
            let ready = match Ready::ask(server, subject, inputs).await {
                Ok(ready) => ready,
                Err(error) => return failed(error),
            };
            let checksum = inputs.checksum.value().copied().unwrap_or(true);
            let wanted = Wanted {
                database: &subject.database,
                replace: inputs.replaces() && subject.patient.is_none(),
                checksum,
                standby: inputs.standby.known()?.as_deref(),
                attempt: &ctx.attempt,
            };
            findings.extend(checked(server, wanted, &subject.chain, &ready).await?);
            databases.push(ready.shown());
            rooms.extend(room(server, &ready).await?);
        }
        let mut facts = json!(Known { databases, decision });
        facts[RoomNeeded::KEY] = json!(rooms);
        Ok(Preflight { facts, findings })
    }

    /// Whether the server can read every set to its end, with good checksums.
    async fn prove(&self, ctx: &Ctx, inputs: &RestoreInputs) -> Result<Vec<PreflightFinding>, StepError> {
        if inputs.parts().is_none() || inputs.asked().is_none() {
            return Ok(Vec::new());
        }
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let subjects = match asked_subjects(ctx, server, inputs).await {
            Ok(subjects) => subjects,
            // That no chain leads there was said already.
            Err(error) if !error.transient => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let checksum = inputs.checksum.value().copied().unwrap_or(true);
        let mut findings = Vec::new();
        for subject in &subjects {
            findings.extend(unreadable(server, &subject.chain.pieces, checksum).await?);
        }
        Ok(findings)
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RestoreInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        executed(ctx, server, inputs, from.is_some()).await.map(Ended::Outputs)
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &RestoreInputs) -> Result<Reconciled, StepError> {
        if !ctx.notes.iter().any(|note| note.get("begun").is_some()) {
            return Ok(Reconciled::NotDone);
        }
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        reconciled(ctx, server, inputs).await
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &RestoreInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

/// What a dry run says where it depends on what is there.
const UNDECIDED: &str = "-- strategy auto: beside what is there, where that is ONLINE and there is room for both, and then the names are swapped; else in place, \
    as below (a dry run that asks the server says which)";

/// What a dry run says of a restore beside whose names are not known yet.
const SWAPPED: &str = "-- strategy beside: under a name of its own, with its files beside those that are there; once it has proved itself the names are swapped";

/// The statements that give a database its name, where it was restored beside.
fn swap_stages(inputs: &RestoreInputs, subject: &Subject) -> Vec<String> {
    let Some((name, old)) = &subject.patient else { return Vec::new() };
    let (name, old, scratch) = (name.bracketed(), old.bracketed(), subject.database.bracketed());
    vec![swap_statements(Some(&name), &old, &scratch, &name), old_statement(&old, keeps(inputs))]
}

/// The statements as far as they are known while the inputs are not.
fn unknown_statements(inputs: &RestoreInputs) -> Vec<String> {
    if inputs.is_group() {
        let group = inputs.group.or_after(|_| "the group".into());
        return vec![
            format!(
                "RESTORE DATABASE (each of {group}) FROM (its backups) WITH NORECOVERY{}",
                unplaced(inputs.asked().as_ref())
            ),
            "RESTORE DATABASE (each) WITH RECOVERY, RESTRICTED_USER".into(),
        ];
    }
    let backups = inputs.chain.or_after(|_| "(a moment that is not known yet)".into());
    let backups = if inputs.chain.value().is_some() && inputs.asked().is_some() {
        "(the backups of the chain)".into()
    } else {
        backups
    };
    let database = inputs.target().or_after(super::sql::Identifier::bracketed);
    let plan = plan(inputs, database, Shown::default(), inputs.replaces());
    let stop = unplaced(inputs.asked().as_ref());
    let restore = format!("RESTORE DATABASE {} FROM {backups} WITH NORECOVERY{stop}", plan.database);
    let admit = (!plan.restricted && plan.standby.is_none()).then(|| plan.admit().sql);
    [restore, plan.recover().sql].into_iter().chain(admit).collect()
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::super::restore_chain::tests::chain;
    use super::*;

    fn texts(with: Value) -> Vec<String> {
        actions(&Restore, with).unwrap().into_iter().map(|action| action.text).collect()
    }

    #[test]
    fn a_dry_run_shows_every_statement() {
        let mut with = json!({ "database": "Octopus", "into": "Drill", "chain": chain(), "replace": true });
        assert!(texts(with.clone())[0].starts_with("-- strategy auto: beside what is there"));
        with["strategy"] = "in_place".into();
        let found = texts(with);
        assert_eq!(found.len(), 6);
        assert_eq!(found[0], "ALTER DATABASE [Drill] SET OFFLINE WITH ROLLBACK IMMEDIATE");
        assert_eq!(
            found[1],
            "RESTORE DATABASE [Drill] FROM DISK = N'sql/a.bak' WITH FILE = 1, NORECOVERY, CHECKSUM, REPLACE, \
             MOVE (each file to its place on the server), STATS = 10"
        );
        assert!(found[3].contains("STOPATMARK = N'lsn:35'"), "{}", found[3]);
        assert_eq!(found[4], "RESTORE DATABASE [Drill] WITH RECOVERY, RESTRICTED_USER");
        assert_eq!(found[5], "ALTER DATABASE [Drill] SET MULTI_USER");
        let unknown = texts(json!({ "database": "Octopus", "chain": { "$after": ["point"] } }));
        assert_eq!(unknown[0], "RESTORE DATABASE [Octopus] FROM (known after point) WITH NORECOVERY");
        let mut gap = chain();
        gap["backups"].as_array_mut().unwrap().remove(1);
        let nothing = texts(json!({ "database": "Octopus", "chain": gap }));
        assert!(nothing[0].starts_with("(nothing: the backups lead nowhere"), "{nothing:?}");
    }

    #[test]
    fn only_a_restore_that_must_not_replace_is_harmless() {
        let access = |more: Value| {
            let mut with = json!({ "database": "Octopus", "chain": chain() });
            for (key, value) in more.as_object().unwrap() {
                with[key] = value.clone();
            }
            let touched = touches(&Restore, with).unwrap();
            (touched[0].resource.clone(), touched[0].access)
        };
        assert_eq!(access(json!({})), ("database Octopus".into(), Access::Writes));
        assert_eq!(access(json!({ "replace": true })), ("database Octopus".into(), Access::Destroys));
        assert_eq!(access(json!({ "replace": { "$after": ["a"] } })).1, Access::Destroys);
        assert_eq!(access(json!({ "into": { "$after": ["a"] } })).0, "?");
    }

    #[test]
    fn of_a_group_all_are_at_the_mark_before_one_is_opened() {
        let group = json!([{ "database": "A", "chain": chain() }, { "database": "B", "chain": chain() }]);
        let found = texts(json!({ "group": group, "replace": true, "strategy": "in_place" }));
        let places = |words: &str| -> Vec<usize> {
            (0..found.len()).filter(|at| found[*at].contains(words)).collect()
        };
        assert_eq!(places("STOPATMARK"), [3, 7]);
        assert_eq!(places("WITH RECOVERY, RESTRICTED_USER"), [8, 9]);
        assert_eq!(places("SET MULTI_USER"), [10, 11]);
        let touched = touches(&Restore, json!({ "group": group })).unwrap();
        assert_eq!(
            touched.iter().map(|touch| touch.resource.as_str()).collect::<Vec<_>>(),
            ["database A", "database B"]
        );
        let unknown = texts(json!({ "group": { "$after": ["point"] }, "replace": true }));
        assert!(
            unknown[0].starts_with("-- strategy auto") && unknown[1].contains("(known after point)"),
            "{unknown:?}"
        );
    }

    #[test]
    fn what_goes_beside_is_shown_with_its_names() {
        let found = texts(
            json!({ "database": "A", "chain": chain(), "replace": true, "strategy": "beside", "keep_old": false }),
        );
        assert!(
            found[0].starts_with("RESTORE DATABASE [A_restoring] FROM") && !found[0].contains("REPLACE"),
            "{found:?}"
        );
        assert_eq!(found[3], "RESTORE DATABASE [A_restoring] WITH RECOVERY, RESTRICTED_USER");
        assert!(
            found[4].ends_with(
                "MODIFY NAME = [A_before_restore];\nALTER DATABASE [A_restoring] MODIFY NAME = [A]"
            ),
            "{found:?}"
        );
        assert_eq!(found[5..], ["DROP DATABASE [A_before_restore]", "ALTER DATABASE [A] SET MULTI_USER"]);
    }

    #[test]
    fn a_mark_that_only_msdb_knows_is_shown_as_such() {
        let found = texts(json!({ "database": "A", "chain": chain(), "stop_before_mark": "other" }));
        assert_eq!(
            found[0],
            "RESTORE DATABASE [A] FROM (the backups of the chain) WITH NORECOVERY, STOPBEFOREMARK = (where msdb says that mark other stands)"
        );
    }
}
