//! `sqlserver.open`: [`Open`] lets everybody into a database that was restored for its owner and administrators alone.

use async_trait::async_trait;
use drydock_step::target::LockClass;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, In, KindShape, Preflight,
    Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::AccessFacts;
use super::failure::after_the_work;
use super::finding::found;
use super::locks::{self, Patience};
use super::rights::watching;
use super::session::Session;
use super::sql::Identifier;
use super::target::SqlServerConnection;
use super::users::Entered;
use super::watch::{Work, running, stop};
use crate::described::described;

inputs! {
    /// Inputs of `sqlserver.open`.
    pub struct OpenInputs {
        /// The database.
        database: Identifier = known(Shape::Text),
        /// Who may enter from now on. `administrators` takes an opening back: all others are ended and kept out.
        to: Audience = maybe(Shape::OneOf(&["everybody", "administrators"])).or("\"everybody\""),
        /// Let it be changed, should it be read-only.
        read_write: bool = maybe(Shape::Boolean).or("false"),
        /// Its Service Broker, which a restore switches off: `enable` delivers again under its old identity, `new` under one of its own and without the old conversations.
        broker: Option<Broker> = maybe(Shape::OneOf(&["enable", "new"])),
    }
}

/// Who may enter a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Whoever has a user in it.
    Everybody,
    /// Its owner, and the members of dbcreator and sysadmin.
    Administrators,
}

/// What becomes of the Service Broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broker {
    /// It delivers again.
    Enable,
    /// It delivers under an identity of its own.
    New,
}

const OUTPUTS: &[Field] = &[
    Field::required("database", Shape::Text, "The database's name."),
    Field::required("state", Shape::Text, "Its state: `ONLINE`."),
    Field::required("user_access", Shape::Text, "Who may enter: `MULTI_USER` or `RESTRICTED_USER`."),
    Field::required("was", Shape::Text, "Who might enter before."),
    Field::required("read_only", Shape::Boolean, "Whether it refuses changes."),
    Field::required("broker_enabled", Shape::Boolean, "Whether its Service Broker delivers."),
];

/// Lets everybody in.
pub struct Open;

/// What is kept before the first statement is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    access: String,
    broker: Option<String>,
}

/// One thing that is still to be done, and its statement.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    sql: String,
    /// Whether others have to leave for it.
    alone: bool,
}

impl OpenInputs {
    fn name(&self) -> String {
        self.database.or_after(Identifier::bracketed)
    }

    fn broker(&self) -> Option<Broker> {
        self.broker.value().copied().flatten()
    }

    fn read_write(&self) -> bool {
        self.read_write.value() == Some(&true)
    }

    /// What has to be done: to a database in this state, or at the most. Who has to leave for a change leaves while most are still kept out.
    fn changes(&self, now: Option<(&AccessFacts, &Before)>) -> Vec<Change> {
        let change = |to: &str, alone: bool| {
            let end = if alone { " WITH ROLLBACK IMMEDIATE" } else { "" };
            Change { sql: format!("ALTER DATABASE {} SET {to}{end}", self.name()), alone }
        };
        let is_read_only = now.is_none_or(|(access, _)| access.is_read_only);
        let has_broker = now.is_some_and(|(access, _)| access.has_broker);
        let has_new = now.is_some_and(|(access, before)| access.has_broker && access.broker != before.broker);
        let closes = self.to.value() == Some(&Audience::Administrators);
        let wanted = if closes { "RESTRICTED_USER" } else { "MULTI_USER" };
        let is_other = now.is_none_or(|(access, _)| access.user_access != wanted);
        let mut changes = Vec::new();
        changes.extend((self.read_write() && is_read_only).then(|| change("READ_WRITE", true)));
        match self.broker() {
            Some(Broker::Enable) if !has_broker => changes.push(change("ENABLE_BROKER", true)),
            Some(Broker::New) if !has_new => changes.push(change("NEW_BROKER", true)),
            _ => {}
        }
        changes.extend(is_other.then(|| change(wanted, closes)));
        changes
    }
}

/// The database as it is, if it can be opened to all.
async fn openable(session: &Session, database: &Identifier) -> Result<AccessFacts, StepError> {
    let refused = |what: String, help: &str| Err(StepError::new("open.state", what).help(help));
    match AccessFacts::ask(session, database).await? {
        None => refused(
            format!("there is no database {database} on this server"),
            "is the name spelled right, and is it this server?",
        ),
        Some(access) if access.is_standby => refused(
            format!("database {database} waits for further logs and can only be read"),
            "restore the rest of its logs without `standby`, which opens it",
        ),
        Some(access) if access.is_online() => Ok(access),
        Some(access) => refused(
            format!("database {database} is {}, not ONLINE", access.state),
            "finish its restore first; no ALTER DATABASE is taken while it is RESTORING",
        ),
    }
}

fn outputs(database: &Identifier, access: &AccessFacts, was: &str) -> Value {
    json!({
        "database": database.as_str(),
        "state": access.state,
        "user_access": access.user_access,
        "was": was,
        "read_only": access.is_read_only,
        "broker_enabled": access.has_broker,
    })
}

fn before(notes: &[Value]) -> Option<Before> {
    notes.iter().find_map(|note| Before::deserialize(note.get("before")?).ok())
}

#[async_trait]
impl StepKind for Open {
    type Inputs = OpenInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &["ALTER on the database", "VIEW SERVER STATE, to tell who is in it"],
            example: "open:\n  uses: sqlserver.open\n  target: sql\n  needs: [consistent]\n  with: { database: OctopusDB }\n",
            ..described(
                "sqlserver.open",
                "Lets everybody into a database that `restricted_user` left to its owner and administrators; on the way it can be made \
                 writable and its Service Broker switched on. `to: administrators` takes it back, as a step of `finally` that \
                 `undoes` it.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &OpenInputs) -> Vec<Touch> {
        let resource = match &inputs.database {
            In::Known(name) => format!("database {name}"),
            In::After(_) => "?".into(),
        };
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Writes }]
    }

    fn actions(&self, target: Option<&str>, inputs: &OpenInputs, facts: &Facts) -> Vec<Action> {
        let changes = match facts.get("changes").and_then(|changes| Vec::<String>::deserialize(changes).ok())
        {
            Some(changes) => changes,
            None => inputs.changes(None).into_iter().map(|change| change.sql).collect(),
        };
        changes.into_iter().map(|sql| Action::writes(ActionKind::Sql, target, sql)).collect()
    }

    fn grants(&self, _inputs: &OpenInputs) -> Vec<Grant> {
        let mut grants = watching(Duty::Restore);
        grants.push(Grant::at_server(Duty::Restore, "GRANT ALTER ANY DATABASE TO {login};"));
        grants
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &OpenInputs) -> Result<Preflight, StepError> {
        let Some(database) = inputs.database.value() else { return Ok(Preflight::default()) };
        let connection = ctx.connection().await?;
        let session = SqlServerConnection::of(&*connection)?.session();
        match openable(session, database).await {
            Ok(access) => {
                let before = Before { access: access.user_access.clone(), broker: access.broker.clone() };
                let changes = inputs.changes(Some((&access, &before))).into_iter().map(|change| change.sql);
                let changes: Vec<String> = changes.collect();
                Ok(Preflight { facts: json!({ "changes": changes }), findings: Vec::new() })
            }
            Err(error) if error.transient => Err(error),
            // A dry run looks before the restore has made it.
            Err(error) => {
                let finding = drydock_step::PreflightFinding { fatal: false, ..found(error) };
                Ok(Preflight { facts: Value::Null, findings: vec![finding] })
            }
        }
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &OpenInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let database = inputs.database.known()?;
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let session = server.session();
        locks::take(session, database.as_str(), LockClass::Exclusive, Patience::Short).await?;
        let access = openable(session, database).await?;
        let before = match before(&ctx.notes) {
            Some(before) => before,
            None => {
                let before = Before { access: access.user_access.clone(), broker: access.broker.clone() };
                ctx.note(json!({ "before": before })).await?;
                before
            }
        };
        let changes = inputs.changes(Some((&access, &before)));
        if changes.iter().any(|change| change.alone) {
            for entered in Entered::all(session, database).await.unwrap_or_default() {
                ctx.log(format!("database {database} is closed to {entered} for a moment"));
            }
        }
        for change in &changes {
            session.work(&change.sql, &change.sql).await?;
        }
        let access = openable(session, database).await.map_err(after_the_work)?;
        if let Some(left) = inputs.changes(Some((&access, &before))).first() {
            let message = format!("the server took all statements, and `{}` shows no effect", left.sql);
            return Err(StepError::new("open.state", message).help("see the server's error log"));
        }
        Ok(Ended::Outputs(outputs(database, &access, &before.access)))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &OpenInputs) -> Result<Reconciled, StepError> {
        let Some(before) = before(&ctx.notes) else { return Ok(Reconciled::NotDone) };
        let database = inputs.database.known()?;
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        if !running(server, &ctx.attempt, Work::Any).await?.is_empty() {
            return Ok(Reconciled::Busy(500));
        }
        let Some(access) = AccessFacts::ask(server.session(), database).await? else {
            return Ok(Reconciled::NotDone);
        };
        let (all, left) = (inputs.changes(None).len(), inputs.changes(Some((&access, &before))).len());
        Ok(match left {
            0 => Reconciled::Done(outputs(database, &access, &before.access)),
            // What was so before counts as left to nobody; what is done already is not done again.
            left if left < all => Reconciled::Partly(json!({ "left": left })),
            _ => Reconciled::NotDone,
        })
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &OpenInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    #[test]
    fn a_dry_run_shows_what_may_be_sent() {
        let texts = |with: Value| -> Vec<String> {
            actions(&Open, with).unwrap().into_iter().map(|action| action.text).collect()
        };
        assert_eq!(texts(json!({ "database": "a]b" })), ["ALTER DATABASE [a]]b] SET MULTI_USER"]);
        assert_eq!(
            texts(json!({ "database": "X", "read_write": true, "broker": "new" })),
            [
                "ALTER DATABASE [X] SET READ_WRITE WITH ROLLBACK IMMEDIATE",
                "ALTER DATABASE [X] SET NEW_BROKER WITH ROLLBACK IMMEDIATE",
                "ALTER DATABASE [X] SET MULTI_USER",
            ]
        );
        assert_eq!(
            texts(json!({ "database": "X", "to": "administrators" })),
            ["ALTER DATABASE [X] SET RESTRICTED_USER WITH ROLLBACK IMMEDIATE"]
        );
        let error = actions(&Open, json!({ "database": "X", "broker": "old" })).unwrap_err();
        assert!(error.code == "input" && error.message.contains("`broker`"), "{error}");
        assert_eq!(touches(&Open, json!({ "database": "X" })).unwrap()[0].resource, "database X");
    }
}
