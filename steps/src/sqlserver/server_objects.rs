//! `sqlserver.server_objects`: [`ServerObjects`] writes what a server has beside its databases into the artifact store, as a script.

use async_trait::async_trait;
use chrono::DateTime;
use drydock_recovery::backup::clock;
use drydock_step::artifact::{bytes_of, stream_of};
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Connection, Ctx, Duty, Effect, Ended, Facts, Field, Grant,
    KindShape, Preflight, Reconciled, Shape, StepError, StepKind, Stored, TargetNeed, Touch, inputs, known,
    maybe,
};
use serde_json::{Map, Value, json};

use super::backup_file::stamp;
use super::finding::warning;
use super::object_inventory::{by_hand, inventory};
use super::object_machine::left_out;
use super::object_script::{ObjectScript, PARTS, Part};
use super::target::SqlServerConnection;
use crate::described::described;
use crate::rehash::rehashed;

/// The longest script that is read: ten thousand jobs have less.
pub(super) const LONGEST: usize = 256 << 20;

/// The words of all parts.
pub(super) const PART: Shape = Shape::OneOf(&[
    "logins",
    "roles",
    "permissions",
    "credentials",
    "linked_servers",
    "operators",
    "jobs",
    "configuration",
    "endpoints",
]);

inputs! {
    /// Inputs of `sqlserver.server_objects`.
    pub struct ServerObjectsInputs {
        /// The target of the artifact store. Who can read the script can try to guess the passwords whose hashes are in it.
        to: String = known(Shape::Text),
        /// The folder of the store that it is written into.
        prefix: String = maybe(Shape::Text).or("\"sql/server\""),
        /// What to write; all of it when left out.
        parts: Option<Vec<Part>> = maybe(Shape::List(&PART)),
    }
}

/// Something that has a name, in outputs.
pub(super) const NAMED: &[Field] = &[
    Field::required("what", Shape::Text, "What it is: `login`, `job`."),
    Field::required("name", Shape::Text, "Which."),
];

/// Something that somebody has to make, in outputs.
pub(super) const BY_HAND: &[Field] = &[
    Field::required("what", Shape::Text, "What it is: `credential`."),
    Field::required("name", Shape::Text, "Which."),
    Field::required("why", Shape::Text, "What is missing, for the script cannot tell it."),
];

const OUTPUTS: &[Field] = &[
    Field::required("server", Shape::Text, "The server's name."),
    Field::required(
        "artifact",
        Shape::Record(&[
            Field::required("path", Shape::Text, "Its path in the store."),
            Field::required("size", Shape::Integer, "Its length in bytes."),
            Field::required("sha256", Shape::Text, "The SHA-256 of its bytes."),
        ]),
        "The script.",
    ),
    Field::required(
        "counts",
        Shape::Map(&Shape::Integer),
        "How many objects and settings of each part it makes.",
    ),
    Field::required(
        "by_hand",
        Shape::List(&Shape::Record(BY_HAND)),
        "What it holds as comments alone, because something is not told by any server.",
    ),
    Field::required(
        "left_out",
        Shape::List(&Shape::Record(&[
            Field::required("what", Shape::Text, "What: `server audits`."),
            Field::required("count", Shape::Integer, "How many."),
        ])),
        "What the server has and the script does not make.",
    ),
];

/// Writes the script.
pub struct ServerObjects;

impl ServerObjectsInputs {
    fn parts(&self) -> Result<Vec<Part>, StepError> {
        Ok(self.parts.known()?.clone().unwrap_or_else(|| PARTS.to_vec()))
    }

    /// Where a script of this name lies.
    fn path(&self, name: &str) -> String {
        let prefix = self.prefix.or_after(|prefix| prefix.trim_matches('/').to_owned());
        format!("{prefix}/{name}.sql")
    }
}

/// The text with `_` for each character that a file's name should not have.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' }).collect()
}

/// The artifact store that a connection is.
///
/// # Errors
/// `internal`, when it is none: the check let a plan pass that it should not have.
pub(super) fn store_of(connection: &dyn Connection) -> Result<&dyn ArtifactStore, StepError> {
    connection
        .store()
        .ok_or_else(|| StepError::internal("the target of a server's objects is no artifact store"))
}

/// The script in a store.
///
/// # Errors
/// What the store says, `artifact.large`, `objects.script`.
pub(super) async fn script_in(store: &dyn ArtifactStore, path: &str) -> Result<ObjectScript, StepError> {
    let bytes = bytes_of(store.open(path, 0).await?, LONGEST).await?;
    let text = String::from_utf8(bytes)
        .map_err(|_| StepError::new("objects.script", format!("{path} is no script: it is not UTF-8")))?;
    ObjectScript::parse(&text)
        .map_err(|error| StepError { message: format!("{path}: {}", error.message), ..error })
}

/// The outputs, from the script as it lies in the store.
async fn told(store: &dyn ArtifactStore, server: &str, stored: Stored) -> Result<Value, StepError> {
    let script = script_in(store, &stored.path).await?;
    let mut counts = Map::new();
    for item in script.items.iter().filter(|item| item.by_hand.is_none()) {
        let before = counts.get(item.key.part.word()).and_then(Value::as_u64).unwrap_or_default();
        counts.insert(item.key.part.word().to_owned(), json!(before + 1));
    }
    Ok(json!({
        "server": server,
        "artifact": stored,
        "counts": counts,
        "by_hand": by_hand(&script.items),
        "left_out": script.left_out,
    }))
}

#[async_trait]
impl StepKind for ServerObjects {
    type Inputs = ServerObjectsInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            target_inputs: &[("to", &["artifacts"])],
            outputs: Shape::Record(OUTPUTS),
            effect: Effect::Writes,
            permissions: &[
                "CONTROL SERVER: hashes of passwords and jobs of others are shown to nobody else",
                "artifacts: write to the store",
            ],
            example: "objects:\n  uses: sqlserver.server_objects\n  target: sql\n  with: { to: backups }\n",
            ..described(
                "sqlserver.server_objects",
                "Writes what a server has beside its databases into one script: logins with their SIDs and hashed passwords, roles, permissions, \
                 jobs and operators of SQL Server Agent, linked servers, the names of credentials, the configuration, endpoints. No backup of a \
                 database holds them. The script runs as it stands in sqlcmd, and `sqlserver.restore_objects` brings back what is missing.",
            )
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &ServerObjectsInputs) -> Vec<Touch> {
        let server = Touch {
            target: target.map(str::to_owned),
            resource: "server objects".into(),
            access: Access::Reads,
        };
        let folder = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![server, Touch { target: inputs.to.value().cloned(), resource: folder, access: Access::Writes }]
    }

    fn actions(&self, target: Option<&str>, inputs: &ServerObjectsInputs, _facts: &Facts) -> Vec<Action> {
        let parts = inputs.parts.or_after(|parts| {
            let parts = parts.as_deref().unwrap_or(&PARTS);
            parts.iter().map(|part| part.word()).collect::<Vec<_>>().join(", ")
        });
        let to = inputs.to.value().map(String::as_str);
        vec![
            Action::reads(
                ActionKind::Sql,
                target,
                format!("SELECT from the server's catalogue and msdb: {parts}"),
            ),
            Action::writes(
                ActionKind::Artifact,
                to,
                format!("store {}", inputs.path("(server)_(time)_attempt")),
            ),
        ]
    }

    fn grants(&self, _inputs: &ServerObjectsInputs) -> Vec<Grant> {
        vec![Grant::at_server(Duty::Backup, "GRANT CONTROL SERVER TO {login};")]
    }

    async fn preflight(&self, ctx: &Ctx, _inputs: &ServerObjectsInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let session = SqlServerConnection::of(&*connection)?.session();
        let sql = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, N'CONTROL SERVER') AS may";
        let may = session.ask("asking what this login may see", sql).await?.first()?.flag("may")?;
        let finding = warning(
            "objects.hidden",
            "this login has no CONTROL SERVER, and is shown neither hashes of passwords nor jobs of others",
            "give it the right (`drydock grants`); else the script holds logins as comments, to be made by hand",
        );
        Ok(Preflight { facts: json!({}), findings: (!may).then_some(finding).into_iter().collect() })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &ServerObjectsInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let (connection, store) = (ctx.connection().await?, ctx.host.connect(inputs.to.known()?).await?);
        let (server, store) = (SqlServerConnection::of(&*connection)?, store_of(&*store)?);
        let written = async {
            let facts = server.facts().await?;
            let items = inventory(server.session(), &inputs.parts()?).await?;
            let script = ObjectScript { items, left_out: left_out(server.session()).await };
            let now = DateTime::from_timestamp_millis(ctx.now_ms()).unwrap_or_default();
            let name = format!("{}_{}_{}", plain(&facts.name), stamp(now), plain(&ctx.attempt));
            let path = inputs.path(&name);
            ctx.note(json!({ "path": path, "server": facts.name })).await?;
            let text = script.text(&facts.name, &facts.version, &clock(now));
            let stored = store.put(&path, stream_of(text)).await?;
            told(store, &facts.name, stored).await
        };
        ctx.or_cancelled(written).await.map(Ended::Outputs)
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &ServerObjectsInputs) -> Result<Reconciled, StepError> {
        let text = |key: &str| ctx.notes.iter().find_map(|note| note.get(key)?.as_str());
        let (Some(path), Some(server)) = (text("path"), text("server")) else {
            return Ok(Reconciled::NotDone);
        };
        let store = ctx.host.connect(inputs.to.known()?).await?;
        let store = store_of(&*store)?;
        if store.size(path).await?.is_none() {
            return Ok(Reconciled::NotDone);
        }
        let stored = rehashed(store, path, |_| {}).await?;
        Ok(Reconciled::Done(told(store, server, stored).await?))
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::*;

    #[test]
    fn a_dry_run_shows_what_is_asked_and_where_it_goes() {
        let with = json!({ "to": "backups", "parts": ["logins", "jobs"] });
        let texts: Vec<String> =
            actions(&ServerObjects, with.clone()).unwrap().into_iter().map(|a| a.text).collect();
        assert_eq!(
            texts,
            [
                "SELECT from the server's catalogue and msdb: logins, jobs",
                "store sql/server/(server)_(time)_attempt.sql"
            ]
        );
        let touched = touches(&ServerObjects, with).unwrap();
        assert_eq!((touched[0].access, touched[1].resource.as_str()), (Access::Reads, "path sql/server"));
        let error = actions(&ServerObjects, json!({ "to": "b", "parts": ["alerts"] })).unwrap_err();
        assert!(error.code == "input" && error.message.contains("`parts`"), "{error}");
    }
}
