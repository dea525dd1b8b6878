//! `postgres.restore_point`: [`RestorePoint`] names a moment in a server's WAL, and sees that the WAL which leads there is archived.

use std::time::Duration;

use async_trait::async_trait;
use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, KindShape, Millis, PlanPath,
    Preflight, PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known,
    maybe,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::last_word;
use super::segment::SegmentSize;
use super::segment_header::checked;
use super::server::ServerFacts;
use super::session::Session;
use super::sql::quoted;
use super::target::PostgresConnection;
use super::wal_archive::WalArchive;
use crate::described::described;

/// The longest name that a server takes, in bytes.
const LONGEST: usize = 63;
/// Between two looks at the archive.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A commit, for recovery to a time stops at commits alone: taking a number is enough for one, and changes nothing.
const COMMIT: &str = "SELECT txid_current() AS number";
/// Ends the segment, so that it can be archived.
const SWITCH: &str = "SELECT pg_switch_wal()::text AS lsn";

inputs! {
    /// Inputs of `postgres.restore_point`.
    pub struct RestorePointInputs {
        /// Its name, at most 63 bytes. Recovery stops at the first of a name: each point needs its own.
        name: String = known(Shape::Text),
        /// Where the WAL is archived, which is looked at: `from` (a target) and `prefix`, as `postgres.wal` fills it, or `folder` on the runner. Left out, nothing is waited for.
        archived: Option<Archived> = maybe(ARCHIVED),
        /// How long to wait for the archive.
        within: Millis = maybe(Shape::Duration).or("\"5m\""),
    }
}

const ARCHIVED: Shape = Shape::Record(&[
    Field::optional("from", Shape::Text, "The target of the artifact store."),
    Field::optional("prefix", Shape::Text, "Where in the store: `postgres/wal` by default."),
    Field::optional("folder", Shape::Path, "The folder that the server's archive_command fills."),
]);

/// Where WAL is archived.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archived {
    from: Option<String>,
    prefix: Option<String>,
    folder: Option<PlanPath>,
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required(
        "name",
        Shape::Text,
        "The point's name: with a number behind it where an earlier attempt has made one or may have, so that it is the only one of its name.",
    ),
    Field::required("lsn", Shape::Text, "Where it is in the WAL: the end of its record."),
    Field::required("segment", Shape::Text, "The segment that holds it."),
    Field::required("timeline", Shape::Integer, "The timeline."),
    Field::required("at", Shape::Datetime, "When it was made, by the server's clock."),
    Field::required("started_at", Shape::Datetime, "When it was asked for, by the runner's clock."),
    Field::required("answered_at", Shape::Datetime, "When the answer was there, by the runner's clock."),
    Field::optional(
        "archived_at",
        Shape::Datetime,
        "When its segment was seen whole in the archive, by the server's clock.",
    ),
    Field::optional("system_identifier", Shape::Text, "The cluster's."),
]);

/// A point that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    name: String,
    lsn: String,
    segment: String,
    timeline: u32,
    at: String,
    started_at: String,
    answered_at: String,
}

impl RestorePointInputs {
    fn fits(&self) -> Result<(), StepError> {
        if let Some(name) = self.name.value()
            && (name.is_empty() || name.len() > LONGEST || name.chars().any(char::is_control))
        {
            let message =
                format!("`name` has {} bytes, or characters that no restore point can have", name.len());
            return Err(StepError::new("input", message).help("1 to 63 bytes, no control characters"));
        }
        match self.archived.value() {
            Some(Some(Archived { from, prefix, folder }))
                if from.is_some() == folder.is_some() || (folder.is_some() && prefix.is_some()) =>
            {
                let message = "`archived` names no archive, or two";
                Err(StepError::new("input", message)
                    .help("either `from` (and `prefix`), or `folder`; leave `archived` out where nothing is archived"))
            }
            _ => Ok(()),
        }
    }
}

/// Makes restore points.
pub struct RestorePoint;

#[async_trait]
impl StepKind for RestorePoint {
    type Inputs = RestorePointInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &["postgres: EXECUTE on pg_create_restore_point and pg_switch_wal, or a superuser"],
            example: "named:\n  uses: postgres.restore_point\n  target: vectors\n  with: { name: before_release, archived: { from: backups, prefix: postgres/wal } }\n",
            ..described(
                "postgres.restore_point",
                "Names this moment in the server's WAL, commits once after it, ends the segment, and waits until that lies in the archive, whole and of this cluster: looked at, not assumed.",
            )
        }
    }

    fn judge(&self, inputs: &RestorePointInputs) -> Result<(), StepError> {
        inputs.fits()
    }

    fn touches(&self, target: Option<&str>, inputs: &RestorePointInputs) -> Vec<Touch> {
        let mut touches =
            vec![Touch { target: target.map(str::to_owned), resource: "wal".into(), access: Access::Writes }];
        if let Some(Some(Archived { from, prefix, folder })) = inputs.archived.value() {
            let path = folder.as_ref().map(|folder| folder.0.clone()).or(prefix.clone()).unwrap_or_default();
            touches.push(Touch {
                target: from.clone(),
                resource: format!("path {path}"),
                access: Access::Reads,
            });
        }
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &RestorePointInputs, _facts: &Facts) -> Vec<Action> {
        let name = inputs.name.or_after(|name| name.clone());
        [creating(&name).as_str(), COMMIT, SWITCH]
            .map(|sql| Action::writes(ActionKind::Sql, target, sql))
            .into()
    }

    fn grants(&self, _inputs: &RestorePointInputs) -> Vec<Grant> {
        let right = |function: &str| {
            Grant::at_server(Duty::Backup, &format!("GRANT EXECUTE ON FUNCTION {function} TO {{login}};"))
        };
        vec![right("pg_create_restore_point(text)"), right("pg_switch_wal()")]
    }

    async fn preflight(&self, ctx: &Ctx, _inputs: &RestorePointInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let facts = connection.facts().await?;
        let mut findings = Vec::new();
        if let Err(StepError { code, message, help, .. }) = may_be_made(connection.session(), facts).await {
            findings.push(PreflightFinding { code, fatal: true, message, help });
        }
        Ok(Preflight { facts: json!({ "server": facts }), findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RestorePointInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let (session, facts) = (connection.session(), connection.facts().await?);
        let made = match noted(ctx) {
            Some(made) => made,
            None => {
                may_be_made(session, facts).await?;
                let made = made(ctx, session, inputs.name.known()?).await?;
                ctx.note(json!({ "made": made })).await?;
                made
            }
        };
        let archived_at = match inputs.archived.known()? {
            None => {
                ended(session).await?;
                None
            }
            Some(archived) => {
                ended(session).await?;
                let waiting = Waiting { ctx, session, facts, archived, segment: &made.segment };
                ctx.or_cancelled(waiting.seen(inputs.within.known()?.0)).await?;
                Some(clock(super::clock::now(session).await?))
            }
        };
        let mut outputs = json!(made);
        outputs["archived_at"] = json!(archived_at);
        outputs["system_identifier"] = json!(facts.system_identifier.value);
        last_word::noted(ctx, &outputs).await?;
        Ok(Ended::Outputs(outputs))
    }

    /// A point whose making was noted is there; the next attempt waits for its segment. Of one whose answer was lost nobody knows: the next
    /// attempt makes another one, under another name, so that neither stands in the other's way.
    async fn reconcile(&self, ctx: &Ctx, _inputs: &RestorePointInputs) -> Result<Reconciled, StepError> {
        if let Some(outputs) = last_word::of(ctx) {
            return Ok(Reconciled::Done(outputs.clone()));
        }
        Ok(match (noted(ctx), last_word::open_notes(ctx).is_empty()) {
            (Some(made), _) => Reconciled::Partly(json!(made)),
            (None, false) => Reconciled::Partly(json!({ "tried": tried(ctx) })),
            (None, true) => Reconciled::NotDone,
        })
    }
}

/// The statement that makes a point.
fn creating(name: &str) -> String {
    format!("SELECT pg_create_restore_point({})::text AS lsn", quoted(name))
}

/// The point that this step has made, and has not handed on yet.
fn noted(ctx: &Ctx) -> Option<Made> {
    last_word::open_notes(ctx).iter().rev().find_map(|note| Made::deserialize(note.get("made")?).ok())
}

/// How many names were tried, also by attempts whose points were handed on: each of them may be in the WAL.
fn tried(ctx: &Ctx) -> usize {
    ctx.notes.iter().filter(|note| note.get("trying").is_some()).count()
}

/// The name for the attempt after so many that may have made a point each.
fn name_after(name: &str, tried: usize) -> String {
    if tried == 0 {
        return name.to_owned();
    }
    let number = format!("_{}", tried + 1);
    let mut end = name.len().min(LONGEST - number.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{number}", name.get(..end).unwrap_or_default())
}

async fn made(ctx: &Ctx, session: &Session, name: &str) -> Result<Made, StepError> {
    let name = name_after(name, tried(ctx));
    ctx.note(json!({ "trying": name })).await?;
    let now = || clock(Time::from_timestamp_millis(ctx.now_ms()).unwrap_or_default());
    let started_at = now();
    let answer = session.work("making the restore point", &creating(&name)).await?;
    let answered_at = now();
    let lsn = answer.first()?.known("lsn")?.to_owned();
    let at = clock(super::clock::now(session).await?);
    let sql = format!("SELECT pg_walfile_name({}::pg_lsn) AS segment", quoted(&lsn));
    let answer = session.ask("asking which segment holds the restore point", &sql).await?;
    let segment = answer.first()?.known("segment")?.to_owned();
    let timeline = segment.get(..8).and_then(|timeline| u32::from_str_radix(timeline, 16).ok());
    let timeline = timeline.ok_or_else(|| {
        StepError::new("postgres.answer", format!("the server names its segment `{segment}`"))
    })?;
    Ok(Made { name, lsn, segment, timeline, at, started_at, answered_at })
}

/// Commits once, and ends the segment. Done again it ends another one, which changes nothing.
async fn ended(session: &Session) -> Result<(), StepError> {
    session.work("committing after the restore point", COMMIT).await?;
    session.work("ending the segment", SWITCH).await.map(drop)
}

/// Nothing, when the server lets the role make a point.
///
/// # Errors
/// `postgres.unavailable`, or what the server says.
async fn may_be_made(session: &Session, facts: &ServerFacts) -> Result<(), StepError> {
    let refused = |message: &str, help: &str| Err(StepError::new("postgres.unavailable", message).help(help));
    if facts.in_recovery {
        return refused(
            "the server is a standby or in recovery, and writes no WAL",
            "name the primary in `host` of the target",
        );
    }
    if facts.wal_level == "minimal" {
        return refused(
            "the server writes no WAL that leads to a point (wal_level is minimal)",
            "set wal_level = replica, and restart the server",
        );
    }
    let sql = "SELECT has_function_privilege('pg_create_restore_point(text)', 'EXECUTE') AND has_function_privilege('pg_switch_wal()', 'EXECUTE') AS may";
    match session.ask("asking for rights", sql).await?.first()?.flag("may")? {
        true => Ok(()),
        false => refused(
            "the role may not make a restore point or end a segment",
            "GRANT EXECUTE ON FUNCTION pg_create_restore_point(text), pg_switch_wal() TO the role; `drydock grants` prints it",
        ),
    }
}

/// Waiting for a segment to be in an archive.
struct Waiting<'a> {
    ctx: &'a Ctx,
    session: &'a Session,
    facts: &'a ServerFacts,
    archived: &'a Archived,
    segment: &'a str,
}

impl Waiting<'_> {
    /// Returns when it lies there whole.
    async fn seen(&self, within_ms: u64) -> Result<(), StepError> {
        let began = self.ctx.now_ms();
        let within = i64::try_from(within_ms).unwrap_or(i64::MAX);
        loop {
            let why = match self.look().await? {
                None => return Ok(()),
                Some(why) => why,
            };
            let waited = self.ctx.now_ms() - began;
            if waited > within {
                let archiver = self.archiver().await.unwrap_or_default();
                let message = format!("{} is not in the archive: {why}{archiver}", self.segment);
                return Err(StepError::transient("postgres.not_archived", message).help(
                    "does postgres.wal stream, or the server's archive_command work? See postgres.wal_status, pg_stat_archiver and the server's log",
                ));
            }
            self.ctx.progress(
                u64::try_from(waited / 1000).unwrap_or(0),
                None,
                "seconds",
                format!("waiting for {}", self.segment),
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Nothing when it lies there whole; else why not. A file that is still being copied may be short for a while.
    async fn look(&self) -> Result<Option<String>, StepError> {
        let Some(bytes) = self.bytes().await? else { return Ok(Some("it is not there".into())) };
        let facts = match checked(self.segment, &bytes) {
            Ok(facts) => facts,
            Err(error) => return Ok(Some(error.message)),
        };
        match &self.facts.system_identifier.value {
            Some(ours) if *ours != facts.system_identifier => {
                let message = format!(
                    "the archive has {} of another cluster: system {}, and the server is {ours}",
                    self.segment, facts.system_identifier
                );
                Err(StepError::new("postgres.wal_foreign", message)
                    .help("is `archived` the archive of this server? Each cluster needs its own"))
            }
            _ => Ok(None),
        }
    }

    async fn bytes(&self) -> Result<Option<Vec<u8>>, StepError> {
        if let Some(folder) = &self.archived.folder {
            let path = folder.resolved(&self.ctx.folder).join(self.segment);
            return match tokio::fs::read(&path).await {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => {
                    let message = format!("{} cannot be read: {error}", path.display());
                    Err(StepError::new("postgres.not_archived", message)
                        .help("the runner must be allowed to read the folder that the server archives into"))
                }
            };
        }
        let target = self.archived.from.as_deref().unwrap_or_default();
        let connection = self.ctx.host.connect(target).await?;
        let store = connection.store().ok_or_else(|| {
            StepError::new("input", format!("`archived.from`, `{target}`, is no artifact store"))
        })?;
        let size = u64::try_from(self.facts.segment_size).ok().and_then(SegmentSize::parse);
        let size = size.ok_or_else(|| StepError::internal("the server's segments have no known length"))?;
        let prefix = self.archived.prefix.as_deref().unwrap_or("postgres/wal");
        WalArchive::of(store, prefix).segment(self.segment, size).await
    }

    /// What the server says of its own archiver, when that has failed.
    async fn archiver(&self) -> Option<String> {
        let sql = "SELECT failed_count, last_failed_wal FROM pg_stat_archiver WHERE failed_count > 0";
        let answer = self.session.ask("asking for the archiver", sql).await.ok()?;
        let row = answer.rows().next()?;
        let (count, last) = (row.number("failed_count").ok()??, row.text("last_failed_wal").ok()??);
        Some(format!("; the server's archiver has failed {count} times, last with {last}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_a_name_that_fits() {
        assert_eq!(name_after("before", 0), "before");
        assert_eq!(name_after("before", 1), "before_2");
        let long = "ä".repeat(31);
        let name = name_after(&long, 11);
        assert_eq!((name.len(), name.ends_with("ä_12")), (63, true), "{name}");
    }
}
