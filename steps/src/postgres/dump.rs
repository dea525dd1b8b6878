//! `postgres.dump`: [`Dump`] dumps one database, in one state of it, into an artifact store, with the exact counts of that very state.

use std::sync::OnceLock;

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Effect, Ended, Facts, Grant, KindShape, Preflight, Reconciled,
    StepError, StepKind, TargetNeed, Touch,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::dump_entry::{DUMP_ENTRY, DumpEntry, DumpFormat};
use super::dump_inputs::{Counts, DumpInputs, Globals};
use super::dump_run::{DUMP, Dumping, EXPORT};
use super::dump_sealed;
use super::finding::found;
use super::last_word;
use super::programs::Program;
use super::rights::reading;
use super::sql::Identifier;
use super::target::PostgresConnection;
use crate::described::described;

/// Dumps databases.
pub struct Dump;

#[async_trait]
impl StepKind for Dump {
    type Inputs = DumpInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("to", &["artifacts"])],
            outputs: DUMP_ENTRY,
            effect: Effect::Writes,
            permissions: &[
                "postgres: pg_read_all_data, and CONNECT on the database; BYPASSRLS where tables have row level security",
                "artifacts: write to the store",
            ],
            example: "dump:\n  uses: postgres.dump\n  target: vectors\n  with: { database: octopus, to: backups }\n",
            ..described(
                "postgres.dump",
                "Dumps one database into the artifact store, in one state of it, and counts every table's rows in that very state; then reads the dump back, and has pg_restore read it. Last of all it stores `backup.json` beside the dump, which says what that is: without it a dump counts as unfinished.",
            )
        }
    }

    fn judge(&self, inputs: &DumpInputs) -> Result<(), StepError> {
        inputs.fits()
    }

    fn touches(&self, target: Option<&str>, inputs: &DumpInputs) -> Vec<Touch> {
        let database = inputs.database.value().map_or("?".into(), |name| format!("database {name}"));
        let path = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![
            Touch { target: target.map(str::to_owned), resource: database, access: Access::Reads },
            Touch { target: inputs.to.value().cloned(), resource: path, access: Access::Writes },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &DumpInputs, _facts: &Facts) -> Vec<Action> {
        let to = inputs.to.value().map(String::as_str);
        let label =
            inputs.label.or_after(|label| label.clone().unwrap_or_else(|| "drydock_<run and step>".into()));
        let without: Vec<String> = inputs.exclude_data.value().map_or_else(Vec::new, |all| {
            all.iter().map(|pattern| format!("<tables of {pattern}>")).collect()
        });
        let arguments = inputs.arguments("<the snapshot of our session>", &without, "<the run's scratch>");
        let mut actions = vec![
            Action::reads(ActionKind::Sql, target, EXPORT),
            Action::reads(
                ActionKind::Process,
                target,
                format!("{DUMP} {} {}", arguments.join(" "), inputs.database),
            ),
        ];
        if inputs.counts.value() != Some(&Counts::None) {
            let text = "SELECT count(*) AS rows FROM (each table, in the same snapshot)";
            actions.push(Action::reads(ActionKind::Sql, target, text));
        }
        let name = match inputs.format.value() {
            Some(DumpFormat::Directory) => "data/*",
            _ => "database.dump",
        };
        actions.push(Action::writes(
            ActionKind::Artifact,
            to,
            format!("store {}/{label}/{name}", inputs.prefix),
        ));
        if inputs.globals.value() != Some(&Globals::None) {
            let text = format!("store {}/{label}/globals.sql, as pg_dumpall writes it", inputs.prefix);
            actions.push(Action::writes(ActionKind::Artifact, to, text));
        }
        if inputs.prove.value() != Some(&false) {
            let text = format!("{} --file=- <the dump>", super::dump_proof::PROGRAM);
            actions.push(Action::reads(ActionKind::Process, None, text));
        }
        let text =
            format!("store {}/{label}/{}, once all of that is there", inputs.prefix, dump_sealed::NAME);
        actions.push(Action::writes(ActionKind::Artifact, to, text));
        actions
    }

    fn grants(&self, inputs: &DumpInputs) -> Vec<Grant> {
        reading(&inputs.database)
    }

    /// There is the database, and a program for its server.
    async fn preflight(&self, ctx: &Ctx, inputs: &DumpInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let facts = connection.facts().await?;
        let program = Program::find(ctx, &connection.settings().programs, DUMP, facts.major()).await;
        let name = inputs.database.value().map(Identifier::as_str);
        let there = connection.in_database(name).await.err();
        let preflight = found(program.err().into_iter().chain(there));
        Ok(Preflight { facts: json!({ "server": facts }), ..preflight })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &DumpInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.fits()?;
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.to.known()?).await?);
        let dumping = Dumping {
            ctx,
            inputs,
            connection: PostgresConnection::of(&*connection)?,
            store: store
                .store()
                .ok_or_else(|| StepError::internal("`to` of postgres.dump is no artifact store"))?,
            begun: OnceLock::new(),
        };
        let outcome = ctx.or_cancelled(dumping.outputs()).await;
        if outcome.as_ref().is_err_and(|error| error.code != "artifact.exists") {
            // What cannot be removed now, the next attempt removes.
            let _ = dumping.cleared().await;
        }
        outcome.map(Ended::Outputs)
    }

    /// A dump whose files are in the store whole, and was noted, was taken, and has its last file now; of any other the pieces are removed.
    async fn reconcile(&self, ctx: &Ctx, inputs: &DumpInputs) -> Result<Reconciled, StepError> {
        let store = ctx.host.connect(inputs.to.known()?).await?;
        let store =
            store.store().ok_or_else(|| StepError::internal("`to` of postgres.dump is no artifact store"))?;
        let given = last_word::of(ctx);
        if let Some(entry) = given.and_then(|given| DumpEntry::deserialize(given).ok()) {
            let mut is_there = true;
            for file in entry.artifacts.iter().chain(&entry.globals) {
                is_there &= store.size(&file.path).await? == Some(file.size);
            }
            if is_there {
                dump_sealed::finished(store, &entry).await?;
                return Ok(Reconciled::Done(json!(entry)));
            }
        }
        super::dump_run::removed(ctx, store).await?;
        Ok(Reconciled::NotDone)
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::actions;

    use super::*;

    #[test]
    fn a_dry_run_shows_the_programs_arguments() {
        let with = json!({ "database": "octopus", "to": "backups", "format": "directory", "jobs": 4, "compress": "6",
            "exclude_data": ["public.cache"], "globals": "no_passwords", "lock_wait": "90s" });
        let texts: Vec<String> =
            actions(&Dump, with).unwrap().into_iter().map(|action| action.text).collect();
        assert_eq!(
            texts[1],
            "pg_dump --format=directory --jobs=4 --file=<the run's scratch> --snapshot=<the snapshot of our session> \
             --lock-wait-timeout=90000 --compress=6 --exclude-table-data=<tables of public.cache> --no-password octopus"
        );
        assert!(
            texts.iter().any(|text| text == "store postgres/dump/drydock_<run and step>/data/*"),
            "{texts:?}"
        );
        assert!(
            texts.iter().any(|text| text.ends_with("/globals.sql, as pg_dumpall writes it")),
            "{texts:?}"
        );
    }

    #[test]
    fn inputs_that_do_not_go_together_are_refused() {
        for (more, words) in [
            (json!({ "label": "a/b" }), "`a/b`, is no name of a dump"),
            (json!({ "jobs": 4 }), "`format: custom` is read by one connection"),
            (json!({ "jobs": 0, "format": "directory" }), "input `jobs` is 0"),
            (json!({ "compress": "9 --file=/etc/x" }), "is no compression of pg_dump"),
        ] {
            let mut with = json!({ "database": "octopus", "to": "backups" });
            with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let given = drydock_step::test_host::given(with);
            let inputs = drydock_step::Given { with: &given.with, fill: None };
            let error = drydock_step::Kind::judge(&Dump, &inputs).unwrap_err();
            assert!(error.code == "input" && error.message.contains(words), "{error}");
        }
    }
}
