//! `sqlserver.drop`: [`Drop`] removes a database with its files, whoever is in it.

use async_trait::async_trait;
use drydock_step::target::LockClass;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, KindShape, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::AccessFacts;
use super::locks::{self, Patience};
use super::rights::watching;
use super::sql::Identifier;
use super::target::SqlServerConnection;
use super::watch::{Work, running, stop};
use crate::described::described;

inputs! {
    /// Inputs of `sqlserver.drop`.
    pub struct DropInputs {
        /// The database.
        database: Option<Identifier> = maybe(Shape::Text),
        /// Several databases instead of one, as `sqlserver.restore` took them.
        group: Option<Vec<Restored>> = maybe(Shape::List(&Shape::Map(&Shape::Any))),
    }
}

/// One database of a group that was restored; the rest of what was said of it does not count here.
#[derive(Debug, Clone, Deserialize)]
pub struct Restored {
    database: Identifier,
    #[serde(default)]
    into: Option<Identifier>,
}

impl DropInputs {
    /// The databases; nothing before all is known that says which.
    fn databases(&self) -> Option<Vec<Identifier>> {
        let (one, group) = (self.database.value()?, self.group.value()?);
        let members = group.iter().flatten().map(|one| one.into.as_ref().unwrap_or(&one.database));
        Some(one.iter().chain(members).cloned().collect())
    }

    fn named(&self) -> Result<Vec<Identifier>, StepError> {
        self.databases().ok_or_else(|| StepError::internal("an attempt began before its inputs were known"))
    }
}

const OUTPUTS: &[Field] =
    &[Field::required("dropped", Shape::List(&Shape::Text), "The databases that were there.")];

/// The databases that no server can be without.
const SYSTEM: [&str; 4] = ["master", "model", "msdb", "tempdb"];

/// Removes databases.
pub struct Drop;

/// What removes it. Nobody can be in one that waits for logs, and no ALTER DATABASE is taken there; one that is offline would leave its
/// files behind.
fn statements(name: &str, state: Option<&str>) -> Vec<String> {
    let alone = match state {
        Some("OFFLINE") => Some(format!("ALTER DATABASE {name} SET ONLINE")),
        None | Some("ONLINE") => {
            Some(format!("ALTER DATABASE {name} SET SINGLE_USER WITH ROLLBACK IMMEDIATE"))
        }
        Some(_) => None,
    };
    alone.into_iter().chain([format!("DROP DATABASE {name}")]).collect()
}

/// The databases that attempts of this step found there, this one among them.
fn found_there(ctx: &Ctx) -> Vec<Identifier> {
    let there = |note: &Value| Identifier::deserialize(note.get("there")?).ok();
    let mut found: Vec<Identifier> = ctx.notes.iter().filter_map(there).collect();
    found.dedup();
    found
}

fn outputs(dropped: &[Identifier]) -> Value {
    json!({ "dropped": dropped.iter().map(Identifier::as_str).collect::<Vec<_>>() })
}

#[async_trait]
impl StepKind for Drop {
    type Inputs = DropInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &["ALTER ANY DATABASE, or CONTROL on the database"],
            example: "gone:\n  uses: sqlserver.drop\n  target: sql\n  needs: [rows]\n  with: { database: OctopusDB_beside }\n",
            ..described(
                "sqlserver.drop",
                "Removes a database with its files; whoever is in it is ended. One that is not there is no failure: a drill's clean-up \
                 may come twice. The databases of the system are refused.",
            )
        }
    }

    fn judge(&self, inputs: &DropInputs) -> Result<(), StepError> {
        let Some(names) = inputs.databases() else { return Ok(()) };
        let system = |name: &&Identifier| SYSTEM.iter().any(|one| one.eq_ignore_ascii_case(name.as_str()));
        let refused = |message: String, help: &str| Err(StepError::new("input", message).help(help));
        match names.iter().find(system) {
            Some(name) => {
                refused(format!("`database` {name} is one of the system"), "name a database of your own")
            }
            None if names.is_empty() => {
                refused("nothing names a database".to_owned(), "give `database: NAME`, or a `group`")
            }
            None => Ok(()),
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &DropInputs) -> Vec<Touch> {
        let touch =
            |resource| Touch { target: target.map(str::to_owned), resource, access: Access::Destroys };
        match inputs.databases() {
            Some(names) => names.iter().map(|name| touch(format!("database {name}"))).collect(),
            None => vec![touch("?".into())],
        }
    }

    fn actions(&self, target: Option<&str>, inputs: &DropInputs, _facts: &Facts) -> Vec<Action> {
        let names = match inputs.databases() {
            Some(names) => names.iter().map(Identifier::bracketed).collect(),
            None => vec!["{database}".to_owned()],
        };
        let all = names.iter().flat_map(|name| statements(name, None));
        all.map(|sql| Action::writes(ActionKind::Sql, target, sql)).collect()
    }

    fn grants(&self, _inputs: &DropInputs) -> Vec<Grant> {
        let mut grants = watching(Duty::Restore);
        grants.push(Grant::at_server(Duty::Restore, "GRANT ALTER ANY DATABASE TO {login};"));
        grants
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &DropInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        StepKind::judge(self, inputs)?;
        let connection = ctx.connection().await?;
        let session = SqlServerConnection::of(&*connection)?.session();
        let mut dropped = found_there(ctx);
        for database in inputs.named()? {
            locks::take(session, database.as_str(), LockClass::Exclusive, Patience::Short).await?;
            let Some(access) = AccessFacts::ask(session, &database).await? else { continue };
            if !dropped.contains(&database) {
                ctx.note(json!({ "there": database.as_str() })).await?;
                dropped.push(database.clone());
            }
            for sql in statements(&database.bracketed(), Some(&access.state)) {
                session.work(&sql, &sql).await?;
            }
        }
        Ok(Ended::Outputs(outputs(&dropped)))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &DropInputs) -> Result<Reconciled, StepError> {
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        if !running(server, &ctx.attempt, Work::Any).await?.is_empty() {
            return Ok(Reconciled::Busy(500));
        }
        let found = found_there(ctx);
        let (mut left, mut begun) = (Vec::new(), false);
        for database in inputs.named()? {
            match AccessFacts::ask(server.session(), &database).await? {
                // Whoever was in it has left for this.
                Some(access) => {
                    begun |= found.contains(&database) && access.user_access == "SINGLE_USER";
                    left.push(database.as_str().to_owned());
                }
                None => begun |= found.contains(&database),
            }
        }
        Ok(match (left.is_empty(), begun) {
            (true, true) => Reconciled::Done(outputs(&found)),
            (false, true) => Reconciled::Partly(json!({ "left": left })),
            // What was never seen there may have been gone before: doing it again tells.
            (_, false) => Reconciled::NotDone,
        })
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &DropInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, judge, touches};

    use super::*;

    #[test]
    fn who_is_in_it_is_ended_and_what_waits_for_logs_is_dropped_at_once() {
        let of = |state| statements("[X]", Some(state));
        assert_eq!(of("RESTORING"), ["DROP DATABASE [X]"]);
        assert_eq!(of("OFFLINE"), ["ALTER DATABASE [X] SET ONLINE", "DROP DATABASE [X]"]);
        assert_eq!(of("ONLINE").len(), 2);
        let found = actions(&Drop, json!({ "database": "a]b" })).unwrap();
        let found: Vec<&str> = found.iter().map(|action| action.text.as_str()).collect();
        assert_eq!(
            found,
            ["ALTER DATABASE [a]]b] SET SINGLE_USER WITH ROLLBACK IMMEDIATE", "DROP DATABASE [a]]b]"]
        );
        let touched = touches(&Drop, json!({ "database": "X" })).unwrap();
        assert_eq!((touched[0].resource.as_str(), touched[0].access), ("database X", Access::Destroys));
        let group = json!({ "group": [{ "database": "A", "chain": [] }, { "database": "B", "into": "C", "chain": [] }] });
        let touched = touches(&Drop, group).unwrap();
        let touched: Vec<&str> = touched.iter().map(|one| one.resource.as_str()).collect();
        assert_eq!(touched, ["database A", "database C"]);
    }

    #[test]
    fn databases_of_the_system_stay() {
        for name in ["master", "MSDB"] {
            let error = judge(&Drop, json!({ "database": name })).unwrap_err();
            assert!(error.code == "input" && error.message.contains("one of the system"), "{error}");
        }
        let error = judge(&Drop, json!({})).unwrap_err();
        assert!(error.message.contains("nothing names a database"), "{error}");
    }
}
