//! `postgres.wal`: [`Wal`] streams a server's WAL into an artifact store as it is written.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Effect, Ended, Facts, Field, Grant, KindShape, Millis, PlanPath,
    Preflight, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::finding::found;
use super::programs::Program;
use super::recover_to::lsn_number;
use super::target::PostgresConnection;
use super::wal_archive::{Streaming, System, WalArchive};
use super::wal_preflight::{Outlook, segment_size};
use super::wal_server::{Lag, may_stream};
use super::wal_spool::Spool;
use super::wal_streamer::{ALIVE, Enough, Streamer, outputs, own_slot, slot_statement};
use crate::described::described;

/// Its name.
const PROGRAM: &str = "pg_receivewal";

/// The longest name of a slot.
const LONGEST: usize = 63;

inputs! {
    /// Inputs of `postgres.wal`.
    pub struct WalInputs {
        /// The target of the artifact store.
        to: String = known(Shape::Text),
        /// Where in the store; one cluster's WAL alone lies below it.
        prefix: String = maybe(Shape::Text).or("\"postgres/wal\""),
        /// A folder on the runner that outlives runs: what is streamed is on its disk first.
        spool: PlanPath = known(Shape::Path),
        /// The replication slot, which keeps at the server what is not on the runner's disk. Made of the plan, the step and `prefix` where it is left out.
        slot: Option<String> = maybe(Shape::Text),
        /// Make the slot where there is none.
        create_slot: bool = maybe(Shape::Boolean).or("true"),
        /// End when the segment that holds this place, `0/8348C48`, is in the store.
        until: Option<String> = maybe(Shape::Text),
        /// End so long after the step began. Without `until` and `for` it streams until `postgres.wal_stop` asks it to end.
        span as "for": Option<Millis> = maybe(Shape::Duration),
        /// Sync each piece as it comes, so that a synchronous commit may wait for it.
        synchronous: bool = maybe(Shape::Boolean).or("true"),
        /// How old the newest WAL on the runner may be before that is told.
        max_rpo: Option<Millis> = maybe(Shape::Duration),
        /// Go on behind a gap: once, after a new base backup.
        accept_gap: bool = maybe(Shape::Boolean).or("false"),
    }
}

impl WalInputs {
    fn fits(&self) -> Result<(), StepError> {
        if let Some(Some(until)) = self.until.value()
            && lsn_number(until).is_none()
        {
            let message = format!("`until`, `{until}`, is no place in the WAL such as `0/8348C48`");
            return Err(StepError::new("input", message).help("it is what pg_current_wal_lsn() gives"));
        }
        let is_slot = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        match self.slot.value() {
            Some(Some(slot)) if slot.is_empty() || slot.len() > LONGEST || !slot.chars().all(is_slot) => {
                let message = format!("`slot`, `{slot}`, is no name of a replication slot");
                Err(StepError::new("input", message).help("up to 63 lower-case letters, digits and `_`"))
            }
            _ => Ok(()),
        }
    }

    fn slot(&self, ctx: &Ctx) -> Result<String, StepError> {
        Ok(match self.slot.known()? {
            Some(slot) => slot.clone(),
            None => own_slot(ctx, self.prefix.known()?),
        })
    }

    /// The arguments of the program, as far as they are known.
    fn arguments(&self, spool: &str, slot: &str) -> Vec<String> {
        let mut arguments = vec![format!("--directory={spool}"), format!("--slot={slot}")];
        if self.synchronous.value() != Some(&false) {
            arguments.push("--synchronous".into());
        }
        arguments.extend(["--no-loop", "--no-password", "--status-interval=1"].map(str::to_owned));
        arguments
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("segments", Shape::Integer, "How many segments this step has stored."),
    Field::required("bytes", Shape::Integer, "Their bytes."),
    Field::optional("first", Shape::Text, "The first of them."),
    Field::optional("last", Shape::Text, "The newest segment in the store."),
    Field::optional("flushed_lsn", Shape::Text, "Up to where WAL was on the runner's disk."),
    Field::optional("timeline", Shape::Integer, "The newest segment's timeline."),
    Field::required(
        "rpo_s",
        Shape::Number,
        "How old the newest WAL on the runner was at the end, in seconds.",
    ),
    Field::required("max_rpo_s", Shape::Number, "The most that this has been."),
    Field::required("late", Shape::Boolean, "Whether that has been more than `max_rpo`."),
    Field::required("restarts", Shape::Integer, "How often streaming was begun again."),
]);

/// Streams WAL.
pub struct Wal;

#[async_trait]
impl StepKind for Wal {
    type Inputs = WalInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["postgres"]),
            target_inputs: &[("to", &["artifacts"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &[
                "postgres: LOGIN REPLICATION, and a `replication` line for the role in pg_hba.conf",
                "postgres: a free walsender and a free replication slot (max_wal_senders, max_replication_slots)",
                "artifacts: write to the store",
            ],
            example: "stream:\n  uses: postgres.wal\n  target: vectors\n  with: { to: backups, prefix: postgres/wal, spool: /var/lib/drydock/spool, max_rpo: 10s }\n",
            ..described(
                "postgres.wal",
                "Streams a server's WAL into the artifact store as it is written: first onto the runner's disk, then, each segment that is whole and is seen to be this cluster's, into the store, where nothing is ever overwritten. A connection that is lost is made again; WAL that is gone is an error.",
            )
        }
    }

    fn judge(&self, inputs: &WalInputs) -> Result<(), StepError> {
        inputs.fits()
    }

    fn touches(&self, target: Option<&str>, inputs: &WalInputs) -> Vec<Touch> {
        let path = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        let spool = inputs.spool.value().map_or("?".into(), |spool| format!("path {spool}"));
        vec![
            Touch { target: target.map(str::to_owned), resource: "slot".into(), access: Access::Writes },
            Touch { target: inputs.to.value().cloned(), resource: path, access: Access::Writes },
            Touch { target: None, resource: spool, access: Access::Writes },
        ]
    }

    fn actions(&self, target: Option<&str>, inputs: &WalInputs, _facts: &Facts) -> Vec<Action> {
        let to = inputs.to.value().map(String::as_str);
        let slot =
            inputs.slot.or_after(|slot| slot.clone().unwrap_or_else(|| "drydock_wal_<plan and step>".into()));
        let mut actions = Vec::new();
        if inputs.create_slot.value() != Some(&false) {
            let text = format!("{}; -- where there is none", slot_statement(&slot));
            actions.push(Action::writes(ActionKind::Sql, target, text));
        }
        let line = format!("{PROGRAM} {}", inputs.arguments(&inputs.spool.to_string(), &slot).join(" "));
        actions.push(Action::writes(ActionKind::Process, target, line));
        let text = format!("store {}/<timeline>/<segment>, each that is whole", inputs.prefix);
        actions.push(Action::writes(ActionKind::Artifact, to, text));
        actions
    }

    fn grants(&self, _inputs: &WalInputs) -> Vec<Grant> {
        vec![Grant::at_server(Duty::Backup, "ALTER ROLE {login} REPLICATION;")]
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &WalInputs) -> Result<Preflight, StepError> {
        let connection = ctx.connection().await?;
        let connection = PostgresConnection::of(&*connection)?;
        let facts = connection.facts().await?;
        let mut hindrances: Vec<StepError> =
            may_stream(connection.session(), facts).await.err().into_iter().collect();
        let folders = &connection.settings().programs;
        hindrances.extend(Program::find(ctx, folders, PROGRAM, facts.major()).await.err());
        let store = ctx.host.connect(inputs.to.known()?).await?;
        let store =
            store.store().ok_or_else(|| StepError::internal("`to` of postgres.wal is no artifact store"))?;
        let slot = inputs.slot(ctx)?;
        let outlook = Outlook {
            session: connection.session(),
            facts,
            archive: WalArchive::of(store, inputs.prefix.known()?),
            spool: &absolute(&inputs.spool.known()?.resolved(&ctx.folder)),
            slot: &slot,
        };
        let (more, slot) = outlook.hindrances(*inputs.accept_gap.known()?).await?;
        hindrances.extend(more);
        Ok(Preflight { facts: json!({ "server": facts, "slot": slot }), ..found(hindrances) })
    }

    async fn execute(&self, ctx: &Ctx, inputs: &WalInputs, from: Option<&Value>) -> Result<Ended, StepError> {
        let store = ctx.host.connect(inputs.to.known()?).await?;
        let store =
            store.store().ok_or_else(|| StepError::internal("`to` of postgres.wal is no artifact store"))?;
        let archive = WalArchive::of(store, inputs.prefix.known()?);
        let connection = ctx.connection().await?;
        let postgres = PostgresConnection::of(&*connection)?;
        let facts = postgres.facts().await?;
        may_stream(postgres.session(), facts).await?;
        let size = segment_size(facts)?;
        if let Some(system_identifier) = facts.system_identifier.value.clone() {
            let first_seen = String::new();
            archive.is_of(&System { system_identifier, segment_size: size.bytes(), first_seen }).await?;
        }
        let program = Program::find(ctx, &postgres.settings().programs, PROGRAM, facts.major()).await?;
        let spool = Spool::taken(&absolute(&inputs.spool.known()?.resolved(&ctx.folder)))?;
        let slot = inputs.slot(ctx)?;
        let state = begun(ctx, archive, postgres, &slot, from).await?;
        let arguments = inputs.arguments(&spool.folder().display().to_string(), &slot);
        let lag = Lag::since(state.at_ms, state.rpo_s, state.flushed_lsn.as_deref());
        let ms = |millis: &Option<Millis>| millis.map(|millis| i64::try_from(millis.0).unwrap_or(i64::MAX));
        let mut streamer = Streamer {
            ctx,
            archive,
            spool,
            size,
            slot: &slot,
            create_slot: *inputs.create_slot.known()?,
            accept_gap: *inputs.accept_gap.known()?,
            enough: Enough {
                until: inputs.until.known()?.as_deref().and_then(lsn_number),
                after_ms: ms(inputs.span.known()?),
            },
            max_rpo_ms: ms(inputs.max_rpo.known()?),
            state,
            holdings: archive.holdings(size).await?,
            lag,
            is_late: false,
            store_again_ms: None,
            connection: Some(connection.clone()),
        };
        let streamed = streamer.stream(&program, &arguments).await;
        // What ended it counts more than what is said of the end.
        let told = streamer.ended(streamed.is_ok()).await;
        streamed.and(told)?;
        archive.forget_stop().await?;
        Ok(Ended::Outputs(streamer.outputs()))
    }

    /// What it does is never lost and never done twice; the next attempt goes on where the spool and the slot say.
    async fn reconcile(&self, ctx: &Ctx, inputs: &WalInputs) -> Result<Reconciled, StepError> {
        let store = ctx.host.connect(inputs.to.known()?).await?;
        let store =
            store.store().ok_or_else(|| StepError::internal("`to` of postgres.wal is no artifact store"))?;
        let found = WalArchive::of(store, inputs.prefix.known()?).streaming().await?;
        Ok(match found.filter(|found| is_ours(found, ctx)) {
            Some(found) if found.done && found.attempt == *ctx.attempt => Reconciled::Done(outputs(&found)),
            Some(found) if !found.done => Reconciled::Partly(json!(found)),
            // Nobody's, or what the step did when it was last asked to.
            _ => Reconciled::NotDone,
        })
    }
}

fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

fn is_ours(streaming: &Streaming, ctx: &Ctx) -> bool {
    streaming.run == *ctx.run && streaming.step == *ctx.step
}

/// What the attempt begins with: what an earlier one of the same step has done.
///
/// # Errors
/// `postgres.wal_busy` (transient), when somebody else streams into the archive.
async fn begun(
    ctx: &Ctx,
    archive: WalArchive<'_>,
    connection: &PostgresConnection,
    slot: &str,
    from: Option<&Value>,
) -> Result<Streaming, StepError> {
    use serde::Deserialize;
    let now = ctx.now_ms();
    let noted = from.and_then(|from| Streaming::deserialize(from).ok());
    let found = archive.streaming().await?;
    if let Some(other) =
        found.as_ref().filter(|found| !found.ended && !is_ours(found, ctx) && now - found.at_ms < ALIVE)
    {
        let message = format!(
            "run {}, step {}, streams from {} into {} by slot {}",
            other.run, other.step, other.server, archive.prefix, other.slot
        );
        return Err(StepError::transient("postgres.wal_busy", message)
            .help("end it with postgres.wal_stop; one that was killed counts as gone after half a minute"));
    }
    let earlier = noted.or(found.filter(|found| is_ours(found, ctx) && !found.done));
    if earlier.is_none() {
        // A wish that was meant for somebody who is gone.
        archive.forget_stop().await?;
    }
    Ok(Streaming {
        run: ctx.run.to_string(),
        step: ctx.step.to_string(),
        attempt: ctx.attempt.to_string(),
        server: connection.settings().place(),
        slot: slot.to_owned(),
        began_ms: earlier.as_ref().map_or(now, |earlier| earlier.began_ms),
        ended: false,
        done: false,
        ..earlier.unwrap_or_default()
    })
}
