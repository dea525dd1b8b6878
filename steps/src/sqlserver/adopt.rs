//! `sqlserver.adopt`: [`Adopt`] makes a restored database at home on its server: its users, its owner, its settings, and the proof that
//! the application's login reaches its data.

use async_trait::async_trait;
use drydock_step::target::LockClass;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, In, KindShape, Preflight,
    PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::adopt_facts::{DatabaseNow, Orphan, orphans, sees_logins};
use super::adopt_proof::{Application, proved};
use super::failure::after_the_work;
use super::finding::{fatal, found, warning};
use super::locks::{self, Patience};
use super::rights::{OWNER, within};
use super::session::Session;
use super::sql::{Identifier, bracketed};
use super::target::SqlServerConnection;
use super::watch::{Work, running, stop};
use crate::described::described;

inputs! {
    /// Inputs of `sqlserver.adopt`.
    pub struct AdoptInputs {
        /// The database.
        database: Identifier = known(Shape::Text),
        /// Users whose SID no login has: `map` gives each the login of its name, `list` only tells of them.
        orphans: Orphans = maybe(Shape::OneOf(&["map", "list"])).or("\"map\""),
        /// Logins for users whose login has another name here, by user.
        logins: IndexMap<String, String> = maybe(Shape::Map(&Shape::Text)).or("{}"),
        /// The login that is to own it: a restore gives it to whoever restored.
        owner: Option<Identifier> = maybe(Shape::Text),
        /// The version whose rules its queries follow, times ten: 160 is 2022. A restore leaves it as it was.
        compatibility_level: Option<i64> = maybe(Shape::Integer),
        /// Whether what is in it may reach beyond it with its owner's rights; a restore switches it off.
        trustworthy: Option<bool> = maybe(Shape::Boolean),
        /// Its Service Broker, which a restore switches off: `enable` delivers under its old identity, `new` under one of its own and without the old conversations.
        broker: Option<Broker> = maybe(Shape::OneOf(&["enable", "new", "off"])),
        /// The application's login, which has to be let in and to read.
        application: Option<String> = maybe(Shape::Text),
        /// Its password: it then connects as the application does. Without it, it is played by this login (EXECUTE AS).
        application_password: Option<String> = maybe(Shape::Text).with_secrets(),
        /// Tables that it has to be able to read, as `Octopus_Agents` or `drydock.marks`.
        reads: Vec<String> = maybe(Shape::List(&Shape::Text)).or("[]"),
    }
}

/// What becomes of users without a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orphans {
    /// Each gets the login of its name.
    Map,
    /// They are told.
    List,
}

/// What becomes of the Service Broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broker {
    /// It delivers again.
    Enable,
    /// It delivers under an identity of its own.
    New,
    /// It does not deliver.
    Off,
}

const OUTPUTS: &[Field] = &[
    Field::required("database", Shape::Text, "The database's name."),
    Field::required(
        "mapped",
        Shape::List(&Shape::Record(&[
            Field::required("user", Shape::Text, "The user."),
            Field::required("login", Shape::Text, "The login that it has now."),
        ])),
        "Users that got a login.",
    ),
    Field::required(
        "orphans",
        Shape::List(&Shape::Record(&[
            Field::required("user", Shape::Text, "The user."),
            Field::required("sid", Shape::Text, "The SID that no login has, as `0x…`."),
            Field::optional("login", Shape::Text, "The login that it could have."),
            Field::optional("why", Shape::Text, "Why it could have none."),
        ])),
        "Users that have none.",
    ),
    Field::optional(
        "owner",
        Shape::Text,
        "The login that owns it; absent where the server has no such login.",
    ),
    Field::required("compatibility_level", Shape::Integer, "The version whose rules it follows, times ten."),
    Field::required("trustworthy", Shape::Boolean, "Whether what is in it may reach beyond it."),
    Field::required("broker_enabled", Shape::Boolean, "Whether its Service Broker delivers."),
    Field::optional(
        "application",
        Shape::Record(&[
            Field::required("login", Shape::Text, "The login."),
            Field::required("user", Shape::Text, "As which user it was let in."),
            Field::required("by", Shape::Text, "`connection` or `impersonation`."),
            Field::required("reads", Shape::List(&Shape::Text), "What it read."),
        ]),
        "The proof that the application reaches its data; absent where no login was named.",
    ),
];

/// Makes a restored database at home.
pub struct Adopt;

/// What is kept before the first statement is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    broker: Option<String>,
    mapping: Vec<(String, String)>,
}

/// One thing that is still to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    sql: String,
    /// Whether it is said inside of the database.
    inside: bool,
}

/// A database as it is, and what is left to do in it.
struct Standing {
    now: DatabaseNow,
    orphans: Vec<Orphan>,
}

impl AdoptInputs {
    fn name(&self) -> String {
        self.database.or_after(Identifier::bracketed)
    }

    fn maps(&self) -> bool {
        self.orphans.value() == Some(&Orphans::Map)
    }

    async fn standing(&self, session: &Session) -> Result<Standing, StepError> {
        let database = self.database.known()?;
        let help = "is the name spelled right, and is it this server?";
        let now = DatabaseNow::ask(session, database).await?.ok_or_else(|| {
            StepError::new("adopt.state", format!("there is no database {database} on this server"))
                .help(help)
        })?;
        if now.state != "ONLINE" {
            let message = format!("database {database} is {}, not ONLINE", now.state);
            return Err(StepError::new("adopt.state", message)
                .help("finish its restore first; no user can be changed before it is recovered"));
        }
        if !sees_logins(session).await? {
            let message =
                "this login is not shown the logins of others, so that every user would look like an orphan";
            return Err(StepError::new("adopt.rights", message)
                .help("give it VIEW ANY DEFINITION (`drydock grants`)"));
        }
        let orphans = orphans(session, database, self.logins.known()?).await?;
        Ok(Standing { now, orphans })
    }

    /// What has to be done: to a database in this state, or at the most.
    fn changes(&self, standing: Option<(&Standing, Option<&Before>)>) -> Vec<Change> {
        let name = self.name();
        let now = standing.map(|(standing, _)| &standing.now);
        let outside = |sql: String| Change { sql, inside: false };
        let set = |to: String| outside(format!("ALTER DATABASE {name} SET {to}"));
        let mut changes = Vec::new();
        if let (Some(Some(owner)), true) = (
            self.owner.value(),
            // Names of logins are compared as the server does mostly: case does not count.
            now.is_none_or(|now| {
                let owns = |owner: &Identifier| {
                    now.owner.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(owner.as_str()))
                };
                self.owner.value().and_then(Option::as_ref).is_some_and(|owner| !owns(owner))
            }),
        ) {
            changes
                .push(outside(format!("ALTER AUTHORIZATION ON DATABASE::{name} TO {}", owner.bracketed())));
        }
        if let (true, Some((standing, _))) = (self.maps(), standing) {
            for (user, login) in standing.mapping() {
                let sql = format!("ALTER USER {} WITH LOGIN = {}", bracketed(user), bracketed(login));
                changes.push(Change { sql, inside: true });
            }
        }
        if let Some(Some(level)) = self.compatibility_level.value()
            && now.is_none_or(|now| now.compatibility_level != *level)
        {
            changes.push(set(format!("COMPATIBILITY_LEVEL = {level}")));
        }
        if let Some(Some(on)) = self.trustworthy.value()
            && now.is_none_or(|now| now.trustworthy != *on)
        {
            changes.push(set(format!("TRUSTWORTHY {}", if *on { "ON" } else { "OFF" })));
        }
        let enabled = now.map(|now| now.broker_enabled);
        let is_new = standing.is_some_and(|(standing, before)| {
            enabled == Some(true) && before.is_some_and(|before| before.broker != standing.now.broker)
        });
        let end = " WITH ROLLBACK IMMEDIATE";
        match self.broker.value().copied().flatten() {
            Some(Broker::Enable) if enabled != Some(true) => changes.push(set(format!("ENABLE_BROKER{end}"))),
            Some(Broker::New) if !is_new => changes.push(set(format!("NEW_BROKER{end}"))),
            Some(Broker::Off) if enabled != Some(false) => changes.push(set(format!("DISABLE_BROKER{end}"))),
            _ => {}
        }
        changes
    }

    /// What is of an application needs one.
    fn fits_together(&self) -> Result<(), StepError> {
        let has_password = self.application_password.value().is_some_and(Option::is_some);
        let reads = self.reads.value().is_some_and(|reads| !reads.is_empty());
        if self.application.value() == Some(&None) && (has_password || reads) {
            let message = "`reads` and `application_password` are of an `application`, and none is named";
            return Err(StepError::new("input", message));
        }
        Ok(())
    }

    fn application(&self) -> Result<Option<Application<'_>>, StepError> {
        self.fits_together()?;
        let Some(login) = self.application.known()?.as_deref() else { return Ok(None) };
        let password = self.application_password.known()?.as_deref();
        Ok(Some(Application { login, password, reads: self.reads.known()? }))
    }

    fn told(
        &self,
        standing: &Standing,
        before: &Before,
        application: Option<Value>,
    ) -> Result<Value, StepError> {
        let now = &standing.now;
        let left: Vec<Value> = standing
            .orphans
            .iter()
            .map(|orphan| json!({ "user": orphan.user, "sid": orphan.sid, "login": orphan.login, "why": orphan.why }))
            .collect();
        let mapped: Vec<Value> =
            before.mapping.iter().map(|(user, login)| json!({ "user": user, "login": login })).collect();
        Ok(json!({
            "database": self.database.known()?.as_str(),
            "mapped": mapped,
            "orphans": left,
            "owner": now.owner,
            "compatibility_level": now.compatibility_level,
            "trustworthy": now.trustworthy,
            "broker_enabled": now.broker_enabled,
            "application": application,
        }))
    }

    async fn application_proved(&self, server: &SqlServerConnection) -> Result<Option<Value>, StepError> {
        match self.application()? {
            Some(application) => proved(server, self.database.known()?, &application).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Standing {
    /// Which user gets which login.
    fn mapping(&self) -> impl Iterator<Item = (&str, &str)> {
        self.orphans.iter().filter_map(|orphan| Some((orphan.user.as_str(), orphan.login.as_deref()?)))
    }

    fn before(&self, maps: bool) -> Before {
        let mapping =
            self.mapping().filter(|_| maps).map(|(user, login)| (user.to_owned(), login.to_owned()));
        Before { broker: self.now.broker.clone(), mapping: mapping.collect() }
    }
}

fn before(notes: &[Value]) -> Option<Before> {
    notes.iter().find_map(|note| Before::deserialize(note.get("before")?).ok())
}

#[async_trait]
impl StepKind for Adopt {
    type Inputs = AdoptInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &[
                "VIEW ANY DEFINITION, to tell orphans from users whose logins are hidden",
                "db_owner of the database, which whoever restores it is, unless it was restored in place",
                "sysadmin, for `trustworthy: true`",
                "IMPERSONATE on the new owner's login, and on the application's where its password is not given",
            ],
            example: "adopt:\n  uses: sqlserver.adopt\n  target: sql\n  needs: [restore]\n  with: { database: OctopusDB, owner: sa }\n  validate: [{ name: everybody has a login, assert: outputs.orphans | length == 0 }]\n",
            ..described(
                "sqlserver.adopt",
                "Makes a restored database at home on its server: users get the logins of their names, the owner and what a restore switches off \
                 are set, and the application's login proves that it is let in and can read. What has no login is listed.",
            )
        }
    }

    fn judge(&self, inputs: &AdoptInputs) -> Result<(), StepError> {
        inputs.fits_together()
    }

    fn touches(&self, target: Option<&str>, inputs: &AdoptInputs) -> Vec<Touch> {
        let resource = match &inputs.database {
            In::Known(name) => format!("database {name}"),
            In::After(_) => "?".into(),
        };
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Writes }]
    }

    fn actions(&self, target: Option<&str>, inputs: &AdoptInputs, facts: &Facts) -> Vec<Action> {
        let write = |text: String| Action::writes(ActionKind::Sql, target, text);
        let changes = facts.get("changes").and_then(|changes| Vec::<String>::deserialize(changes).ok());
        let mut actions = Vec::new();
        match changes {
            Some(changes) => actions.extend(changes.into_iter().map(write)),
            None => {
                if inputs.maps() {
                    actions.push(write(format!(
                        "ALTER USER … WITH LOGIN = … for each orphaned user of {}",
                        inputs.name()
                    )));
                }
                actions.extend(inputs.changes(None).into_iter().map(|change| write(change.sql)));
            }
        }
        let database = inputs.database.value();
        if let (Ok(Some(application)), Some(database)) = (inputs.application(), database) {
            let by = match application.password {
                Some(_) => format!("connect as {}: ", application.login),
                None => String::new(),
            };
            let texts = application.statements(database);
            actions.extend(
                texts.into_iter().map(|text| Action::reads(ActionKind::Sql, target, format!("{by}{text}"))),
            );
        }
        actions
    }

    fn grants(&self, inputs: &AdoptInputs) -> Vec<Grant> {
        let mut grants = vec![Grant::at_server(Duty::Restore, "GRANT VIEW ANY DEFINITION TO {login};")];
        // Whoever makes a database by its restore owns it; one that is restored in place keeps its owner.
        grants.push(within(Duty::Restore, &inputs.database, OWNER));
        // The documentation of TRUSTWORTHY: nobody else sets it.
        if inputs.trustworthy.value() == Some(&Some(true)) {
            grants.push(Grant::at_server(Duty::Restore, "ALTER SERVER ROLE [sysadmin] ADD MEMBER {login};"));
        }
        let impersonate = |login: &str| {
            Grant::at_server(
                Duty::Restore,
                &format!("GRANT IMPERSONATE ON LOGIN::{} TO {{login}};", bracketed(login)),
            )
        };
        grants.extend(inputs.owner.value().and_then(Option::as_ref).map(|owner| impersonate(owner.as_str())));
        if inputs.application_password.value() == Some(&None) {
            grants.extend(inputs.application.value().and_then(Option::as_deref).map(impersonate));
        }
        grants
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &AdoptInputs) -> Result<Preflight, StepError> {
        if inputs.database.value().is_none() || inputs.logins.value().is_none() {
            return Ok(Preflight::default());
        }
        let named = inputs.application.value().is_some()
            && inputs.application_password.value().is_some()
            && inputs.reads.value().is_some();
        if let (true, Err(error)) = (named, inputs.application()) {
            return Ok(Preflight { facts: Value::Null, findings: vec![found(error)] });
        }
        let connection = ctx.connection().await?;
        let session = SqlServerConnection::of(&*connection)?.session();
        let standing = match inputs.standing(session).await {
            Ok(standing) => standing,
            Err(error) if error.transient => return Err(error),
            // A dry run looks before the restore has made it.
            Err(error) => {
                let fatal = error.code != "adopt.state";
                let finding = PreflightFinding { fatal, ..found(error) };
                return Ok(Preflight { facts: Value::Null, findings: vec![finding] });
            }
        };
        let mut findings = Vec::new();
        for orphan in standing.orphans.iter().filter(|orphan| orphan.login.is_none()) {
            let why = orphan.why.as_deref().unwrap_or_default();
            findings.push(warning(
                "adopt.orphan",
                format!("user {} stays without a login: {why}", orphan.user),
                "name its login in `logins`, or bring logins back with their SIDs by `sqlserver.restore_objects`",
            ));
        }
        if let Some(Some(owner)) = inputs.owner.value() {
            let sql = format!("SELECT SUSER_ID({}) AS id", owner.quoted());
            let answer = session.ask("asking for the new owner", &sql).await?;
            if answer.first()?.number("id")?.is_none() {
                let message = format!("the server has no login {owner} to own the database");
                findings.push(fatal("adopt.login", message, "make it first, or name another `owner`"));
            }
        }
        let closed = standing.now.user_access != "MULTI_USER";
        if closed && inputs.application.value().is_some_and(Option::is_some) {
            findings.push(warning(
                "adopt.closed",
                format!("the database is {}, and keeps the application out", standing.now.user_access),
                "prove the application in a step after `sqlserver.open`",
            ));
        }
        let before = standing.before(inputs.maps());
        let changes = inputs.changes(Some((&standing, Some(&before)))).into_iter().map(|change| change.sql);
        Ok(Preflight { facts: json!({ "changes": changes.collect::<Vec<_>>() }), findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &AdoptInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.application()?;
        let database = inputs.database.known()?;
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let session = server.session();
        locks::take(session, database.as_str(), LockClass::Exclusive, Patience::Short).await?;
        let standing = inputs.standing(session).await?;
        let before = match before(&ctx.notes) {
            Some(before) => before,
            None => {
                let before = standing.before(inputs.maps());
                ctx.note(json!({ "before": before })).await?;
                before
            }
        };
        for change in inputs.changes(Some((&standing, Some(&before)))) {
            let place = if change.inside { database.as_str() } else { "master" };
            session.work_in(place, &change.sql, &change.sql).await?;
        }
        let standing = inputs.standing(session).await.map_err(after_the_work)?;
        if let Some(left) = inputs.changes(Some((&standing, Some(&before)))).first() {
            let message = format!("the server took all statements, and `{}` shows no effect", left.sql);
            return Err(StepError::new("adopt.state", message).help("see the server's error log"));
        }
        for orphan in &standing.orphans {
            ctx.log(format!("user {} of {database} has no login", orphan.user));
        }
        let application = inputs.application_proved(server).await?;
        Ok(Ended::Outputs(inputs.told(&standing, &before, application)?))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &AdoptInputs) -> Result<Reconciled, StepError> {
        let Some(before) = before(&ctx.notes) else { return Ok(Reconciled::NotDone) };
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        if !running(server, &ctx.attempt, Work::Any).await?.is_empty() {
            return Ok(Reconciled::Busy(500));
        }
        let standing = match inputs.standing(server.session()).await {
            Ok(standing) => standing,
            Err(error) if error.transient => return Err(error),
            Err(_) => return Ok(Reconciled::NotDone),
        };
        let left = inputs.changes(Some((&standing, Some(&before)))).len();
        if left > 0 {
            return Ok(Reconciled::Partly(json!({ "left": left })));
        }
        Ok(match inputs.application_proved(server).await {
            Ok(application) => Reconciled::Done(inputs.told(&standing, &before, application)?),
            Err(error) if error.transient => return Err(error),
            Err(_) => Reconciled::Partly(json!({ "left": 0 })),
        })
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &AdoptInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    fn texts(with: Value) -> Vec<String> {
        actions(&Adopt, with).unwrap().into_iter().map(|action| action.text).collect()
    }

    #[test]
    fn a_dry_run_shows_what_may_be_sent_and_no_password() {
        let with = json!({
            "database": "a]b", "owner": "sa", "compatibility_level": 160, "trustworthy": false, "broker": "new",
            "application": "o'app", "application_password": [{ "secret": "params.p" }], "reads": ["agents"],
        });
        assert_eq!(
            texts(with),
            [
                "ALTER USER … WITH LOGIN = … for each orphaned user of [a]]b]",
                "ALTER AUTHORIZATION ON DATABASE::[a]]b] TO [sa]",
                "ALTER DATABASE [a]]b] SET COMPATIBILITY_LEVEL = 160",
                "ALTER DATABASE [a]]b] SET TRUSTWORTHY OFF",
                "ALTER DATABASE [a]]b] SET NEW_BROKER WITH ROLLBACK IMMEDIATE",
                "connect as o'app: SELECT USER_NAME() AS name",
                "connect as o'app: SELECT TOP (1) 1 AS one FROM [a]]b].[dbo].[agents]",
            ]
        );
        let played = texts(json!({ "database": "X", "orphans": "list", "application": "o'app" }));
        assert_eq!(played, ["EXECUTE AS LOGIN = N'o''app'", "USE [X]", "SELECT USER_NAME() AS name"]);
        assert_eq!(touches(&Adopt, json!({ "database": "X" })).unwrap()[0].resource, "database X");
    }
}
