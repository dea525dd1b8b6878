//! `sqlserver.restore_objects`: [`RestoreObjects`] makes on a server what a script of server objects holds and the server has not.

use async_trait::async_trait;
use drydock_step::target::LockClass;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, KindShape, Preflight,
    PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::finding::{fatal, found, warning};
use super::locks::{self, Patience};
use super::object_inventory::{Comparison, by_hand, inventory, named, wanted};
use super::object_script::{Item, Key, ObjectScript, Part};
use super::server_objects::{BY_HAND, NAMED, PART, script_in, store_of};
use super::session::Session;
use super::target::SqlServerConnection;
use super::watch::{Work, running, stop};
use crate::described::described;
use crate::rehash::rehashed;

inputs! {
    /// Inputs of `sqlserver.restore_objects`.
    pub struct RestoreObjectsInputs {
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// The script's path in it, as `sqlserver.server_objects` gave it in `artifact.path`.
        script: String = known(Shape::Text),
        /// The SHA-256 that the script has to have.
        sha256: Option<String> = maybe(Shape::Text),
        /// What to bring back. The configuration and the endpoints are of a machine: they come back where they are named.
        parts: Vec<Part> = maybe(Shape::List(&PART)).or(
            "[\"logins\", \"roles\", \"permissions\", \"credentials\", \"linked_servers\", \"operators\", \"jobs\"]"
        ),
        /// Let jobs run at their times. A drill's server leaves this out: its copies would take backups and send mail beside the originals.
        enable_jobs: bool = maybe(Shape::Boolean).or("false"),
        /// What becomes of a script with an object that the server has otherwise. It is never changed: `report` tells of it, `refuse` makes nothing.
        where_different: Different = maybe(Shape::OneOf(&["report", "refuse"])).or("\"report\""),
    }
}

/// What becomes of a script with an object that the server has otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Different {
    /// It is told in `differing`.
    Report,
    /// Nothing is made.
    Refuse,
}

const OUTPUTS: &[Field] = &[
    Field::required("made", Shape::List(&Shape::Record(NAMED)), "What was made."),
    Field::required("kept", Shape::Integer, "How many were there as the script makes them."),
    Field::required(
        "differing",
        Shape::List(&Shape::Record(NAMED)),
        "What is there otherwise, and was left so: a login with another SID or password, a job with other steps.",
    ),
    Field::required(
        "waiting",
        Shape::List(&Shape::Record(NAMED)),
        "What cannot be before a database is back: the database that a login begins in.",
    ),
    Field::required("by_hand", Shape::List(&Shape::Record(BY_HAND)), "What somebody has to make."),
];

/// Makes what is missing.
pub struct RestoreObjects;

/// The most batches that a dry run shows.
const SHOWN: usize = 200;

/// The most failures that an error tells.
const TOLD: usize = 5;

impl RestoreObjectsInputs {
    /// The script's items that are to be there.
    async fn wanted(&self, ctx: &Ctx) -> Result<Vec<Item>, StepError> {
        let connection = ctx.host.connect(self.from.known()?).await?;
        let (store, path) = (store_of(&*connection)?, self.script.known()?);
        if let Some(expected) = self.sha256.known()? {
            let stored = rehashed(store, path, |_| {}).await?;
            if !stored.sha256.eq_ignore_ascii_case(expected) {
                let message = format!("{path} has sha256 {}, expected {expected}", stored.sha256);
                return Err(StepError::new("objects.script", message)
                    .help("the file is not the one that was written; restore it from where it was kept"));
            }
        }
        let ObjectScript { items, .. } = script_in(store, path).await?;
        Ok(wanted(items, self.parts.known()?, *self.enable_jobs.known()?))
    }

    async fn compared(&self, session: &Session, wanted: &[Item]) -> Result<Comparison, StepError> {
        Ok(Comparison::of(wanted, &inventory(session, self.parts.known()?).await?))
    }

    fn refuses(&self, found: &Comparison) -> Option<StepError> {
        let refuses = self.where_different.value() == Some(&Different::Refuse);
        let first = found.differing.first().filter(|_| refuses)?;
        let message = match found.differing.len() {
            1 => format!("the server has {first}, and not as the script makes it"),
            all => format!("the server has {first} and {} more, and not as the script makes them", all - 1),
        };
        Some(StepError::new("objects.different", message).help(
            "nothing was made; drop or rename what is there, or say `where_different: report` to leave it and make the rest",
        ))
    }
}

/// What cannot be yet, of what is still absent after all was sent.
fn is_waiting(item: &Item) -> bool {
    item.key.what == "default database"
}

fn outputs(made: &[Key], found: &Comparison) -> Value {
    let waiting = found.absent.iter().filter(|item| is_waiting(item)).map(|item| &item.key);
    let kept = found.same.iter().filter(|key| !made.contains(key)).count();
    json!({
        "made": named(made.iter().filter(|key| found.same.contains(key))),
        "kept": kept,
        "differing": named(&found.differing),
        "waiting": named(waiting),
        "by_hand": by_hand(&found.by_hand),
    })
}

/// What an attempt was about to make.
fn making(notes: &[Value]) -> Option<Vec<Key>> {
    notes.iter().find_map(|note| Vec::<Key>::deserialize(note.get("making")?).ok())
}

fn failed(failures: &[(Key, String)]) -> StepError {
    let told: Vec<String> = failures.iter().take(TOLD).map(|(key, why)| format!("{key}: {why}")).collect();
    let more = failures.len().saturating_sub(TOLD);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    let message = format!("{} of the objects could not be made: {}{more}", failures.len(), told.join("; "));
    StepError::new("objects.failed", message)
        .help("all others were made and are left as they are; mend the cause and resume, or leave the part out of `parts`")
}

#[async_trait]
impl StepKind for RestoreObjects {
    type Inputs = RestoreObjectsInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            target_inputs: &[("from", &["artifacts"])],
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &[
                "membership in sysadmin: logins with hashed passwords and jobs of others are made by nobody else",
                "artifacts: read the store",
            ],
            example: "objects:\n  uses: sqlserver.restore_objects\n  target: sql\n  with: { from: backups, script: sql/server/SQL01_20261127T010203Z_objects_1.sql }\n",
            ..described(
                "sqlserver.restore_objects",
                "Makes what a script of `sqlserver.server_objects` holds and a server has not, object by object. What is there already stays as it \
                 is, and where it differs it is told; jobs stay disabled unless told otherwise. Logins come back with their SIDs, so that the users \
                 of restored databases find theirs.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &RestoreObjectsInputs) -> Vec<Touch> {
        let script = inputs.script.value().map_or("?".into(), |path| format!("path {path}"));
        vec![
            Touch {
                target: target.map(str::to_owned),
                resource: "server objects".into(),
                access: Access::Writes,
            },
            Touch { target: inputs.from.value().cloned(), resource: script, access: Access::Reads },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &RestoreObjectsInputs, facts: &Facts) -> Vec<Action> {
        let from = inputs.from.value().map(String::as_str);
        let mut actions = vec![Action::reads(ActionKind::Artifact, from, format!("read {}", inputs.script))];
        let batches = facts.get("batches").and_then(|batches| Vec::<String>::deserialize(batches).ok());
        let write = |text: String| Action::writes(ActionKind::Sql, target, text);
        match batches {
            None => actions.push(write("make each object of the script that the server has not".into())),
            Some(batches) => {
                let more = facts.get("more").and_then(Value::as_u64).filter(|more| *more > 0);
                actions.extend(batches.into_iter().map(write));
                actions.extend(more.map(|more| write(format!("and {more} more objects of the script"))));
            }
        }
        actions
    }

    fn grants(&self, _inputs: &RestoreObjectsInputs) -> Vec<Grant> {
        vec![Grant::at_server(Duty::Restore, "ALTER SERVER ROLE [sysadmin] ADD MEMBER {login};")]
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &RestoreObjectsInputs) -> Result<Preflight, StepError> {
        let all_known = inputs.script.value().is_some()
            && inputs.from.value().is_some()
            && inputs.sha256.value().is_some()
            && inputs.parts.value().is_some()
            && inputs.enable_jobs.value().is_some();
        if !all_known {
            return Ok(Preflight::default());
        }
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let mut findings: Vec<PreflightFinding> = Vec::new();
        if !server.facts().await?.is_sysadmin {
            findings.push(fatal(
                "objects.rights",
                "this login is no member of sysadmin, and nobody else makes logins with hashed passwords or jobs of others",
                "give it the membership for the time of the restore (`drydock grants`)",
            ));
        }
        let wanted = match inputs.wanted(ctx).await {
            Ok(wanted) => wanted,
            Err(error) if error.transient => return Err(error),
            Err(error) => {
                findings.push(found(error));
                return Ok(Preflight { facts: json!({}), findings });
            }
        };
        let compared = inputs.compared(server.session(), &wanted).await?;
        findings.extend(inputs.refuses(&compared).map(found));
        if let (None, [first, rest @ ..]) = (inputs.refuses(&compared), compared.differing.as_slice()) {
            findings.push(warning(
                "objects.different",
                format!("the server has {first}{}, and not as the script makes it", more(rest.len())),
                "it is left as it is; drop or rename it first where the script's is wanted",
            ));
        }
        if let [first, rest @ ..] = compared.by_hand.as_slice() {
            findings.push(warning(
                "objects.by_hand",
                format!(
                    "{}{} cannot be made: {}",
                    first.key,
                    more(rest.len()),
                    first.by_hand.as_deref().unwrap_or_default()
                ),
                "the script says what to fill in, below `-- by hand:`",
            ));
        }
        let batches: Vec<String> = compared.absent.iter().take(SHOWN).map(Item::shown).collect();
        let more = compared.absent.len().saturating_sub(SHOWN);
        Ok(Preflight { facts: json!({ "batches": batches, "more": more }), findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RestoreObjectsInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let wanted = inputs.wanted(ctx).await?;
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let session = server.session();
        locks::take(session, "server objects", LockClass::Exclusive, Patience::Short).await?;
        let before = inputs.compared(session, &wanted).await?;
        if let Some(error) = inputs.refuses(&before) {
            return Err(error);
        }
        let made: Vec<Key> = match making(&ctx.notes) {
            Some(making) => making,
            None => {
                let keys: Vec<Key> = before.absent.iter().map(|item| item.key.clone()).collect();
                ctx.note(json!({ "making": keys })).await?;
                keys
            }
        };
        let mut failures: Vec<(Key, String)> = Vec::new();
        // What an attempt was cut in is made to the end.
        let begun =
            wanted.iter().filter(|item| before.differing.contains(&item.key) && made.contains(&item.key));
        let making: Vec<&Item> = before.absent.iter().chain(begun).collect();
        let all = making.len() as u64;
        for (at, item) in making.into_iter().enumerate() {
            ctx.progress(at as u64, Some(all), "objects", item.key.what.clone());
            // What one cannot have, such as a login of a domain that is not reached, keeps no other from being made.
            match session.work(&format!("making {}", item.key), &item.batch).await {
                Ok(()) => {}
                Err(error) if error.transient || error.unknown => return Err(error),
                Err(error) => failures.push((item.key.clone(), error.message)),
            }
        }
        let after = inputs.compared(session, &wanted).await.map_err(super::failure::after_the_work)?;
        let still = after.absent.iter().filter(|item| !is_waiting(item)).map(|item| &item.key);
        let otherwise =
            after.differing.iter().filter(|key| made.contains(key) || !before.differing.contains(key));
        for key in still.chain(otherwise) {
            if !failures.iter().any(|(known, _)| known == key) {
                failures.push((key.clone(), "the server took the batch, and has it not, or not so".into()));
            }
        }
        if !failures.is_empty() {
            return Err(failed(&failures));
        }
        Ok(Ended::Outputs(outputs(&made, &after)))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &RestoreObjectsInputs) -> Result<Reconciled, StepError> {
        let Some(made) = making(&ctx.notes) else { return Ok(Reconciled::NotDone) };
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        if !running(server, &ctx.attempt, Work::Any).await?.is_empty() {
            return Ok(Reconciled::Busy(500));
        }
        let now = inputs.compared(server.session(), &inputs.wanted(ctx).await?).await?;
        let left = now.absent.iter().filter(|item| !is_waiting(item)).count();
        let of_ours = now.differing.iter().any(|key| made.contains(key));
        Ok(match left {
            0 if !of_ours => Reconciled::Done(outputs(&made, &now)),
            left => Reconciled::Partly(json!({ "left": left })),
        })
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &RestoreObjectsInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

fn more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    #[test]
    fn a_dry_run_without_a_server_shows_what_is_known() {
        let with = json!({ "from": "backups", "script": "sql/server/x.sql" });
        let texts: Vec<String> =
            actions(&RestoreObjects, with.clone()).unwrap().into_iter().map(|a| a.text).collect();
        assert_eq!(
            texts,
            ["read sql/server/x.sql", "make each object of the script that the server has not"]
        );
        let touched = touches(&RestoreObjects, with).unwrap();
        assert_eq!((touched[0].access, touched[1].access), (Access::Writes, Access::Reads));
        let error =
            actions(&RestoreObjects, json!({ "from": "b", "script": "s", "where_different": "drop" }))
                .unwrap_err();
        assert!(error.code == "input" && error.message.contains("`where_different`"), "{error}");
    }

    #[test]
    fn many_failures_are_told_in_brief() {
        let key = |n: usize| Key { part: Part::Logins, what: "login".into(), name: format!("l{n}") };
        let failures: Vec<(Key, String)> = (0..7).map(|n| (key(n), "no".into())).collect();
        let error = failed(&failures);
        assert!(
            error.message.starts_with("7 of the objects could not be made: login l0: no; login l1: no;"),
            "{error}"
        );
        assert!(error.message.ends_with("login l4: no; and 2 more"), "{error}");
    }
}
