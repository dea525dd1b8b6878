//! `postgres.wal_status`: [`WalStatus`] says how an archive of WAL stands: who streams into it, what is missing, how old the newest is.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, KindShape, Millis, Reconciled, Shape, StepError,
    StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde_json::{Value, json};

use super::segment::SegmentSize;
use super::target::PostgresConnection;
use super::wal_archive::{Streaming, WalArchive, gap};
use super::wal_faults::{Check, faults, told};
use super::wal_server::SlotFacts;
use super::wal_streamer::ALIVE;
use crate::described::described;

/// The most faults that are told.
const MOST: usize = 100;

inputs! {
    /// Inputs of `postgres.wal_status`.
    pub struct WalStatusInputs {
        /// The target of the artifact store.
        from: String = known(Shape::Text),
        /// Where in the store, as `postgres.wal` was given it.
        prefix: String = maybe(Shape::Text).or("\"postgres/wal\""),
        /// How much is looked at: names and lengths, or how each segment begins as well, or every page of each.
        check: Check = maybe(Shape::OneOf(&["names", "headers", "whole"])).or("\"headers\""),
        /// The oldest that the newest WAL on the streamer's disk may be; more is a failure, `postgres.wal_late`.
        max_rpo: Option<Millis> = maybe(Shape::Duration),
        /// The target of the server, asked for its slot where it answers.
        server: Option<String> = maybe(Shape::Text),
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required(
        "streaming",
        Shape::Boolean,
        "Whether somebody streams now: said so within the last half minute.",
    ),
    Field::optional(
        "streamer",
        Shape::Any,
        "Who streams, or has streamed last: run, step, server, slot, and what it has done.",
    ),
    Field::optional("age_s", Shape::Number, "How old that is, in seconds."),
    Field::optional("system_identifier", Shape::Text, "The cluster's."),
    Field::required("segments", Shape::Integer, "How many segments there are."),
    Field::optional("first", Shape::Text, "The oldest."),
    Field::optional("newest", Shape::Text, "The newest."),
    Field::required("gaps", Shape::List(&Shape::Text), "What is missing between them, by name."),
    Field::required(
        "short",
        Shape::List(&Shape::Text),
        "Files that have not the length of a segment, by name.",
    ),
    Field::required(
        "faults",
        Shape::List(&Shape::Any),
        "What is wrong with the archive and its slot, each with `code`, `message` and `help`; the first hundred. None is a failure of this step.",
    ),
    Field::required("timelines", Shape::List(&Shape::Integer), "The timelines whose segments there are."),
    Field::optional(
        "rpo_s",
        Shape::Number,
        "How old the newest WAL on the streamer's disk is by now, in seconds.",
    ),
    Field::optional(
        "slot",
        Shape::Any,
        "What the server says of the slot; nothing where it was not asked or does not answer.",
    ),
    Field::optional(
        "server_error",
        Shape::Text,
        "Why the server does not answer, which is no failure of this step.",
    ),
]);

/// Looks at archives.
pub struct WalStatus;

#[async_trait]
impl StepKind for WalStatus {
    type Inputs = WalStatusInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::None,
            target_inputs: &[("from", &["artifacts"]), ("server", &["postgres"])],
            outputs: OUTPUTS,
            permissions: &["artifacts: read the store", "postgres, where it is asked: none but to connect"],
            example: "wal:\n  uses: postgres.wal_status\n  with: { from: backups, prefix: postgres/wal }\n",
            ..described(
                "postgres.wal_status",
                "Says how an archive of WAL stands: whether somebody streams into it, which segments are missing, cut off or of another cluster, how old the newest WAL is, and what the server says of the slot. A server that does not answer is a normal answer; with `max_rpo`, WAL that is older is a failure.",
            )
        }
    }

    fn touches(&self, _target: Option<&str>, inputs: &WalStatusInputs) -> Vec<Touch> {
        let resource = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![Touch { target: inputs.from.value().cloned(), resource, access: Access::Reads }]
    }

    fn actions(&self, _target: Option<&str>, inputs: &WalStatusInputs, _facts: &Facts) -> Vec<Action> {
        let text = format!("list {}", inputs.prefix);
        let mut actions =
            vec![Action::reads(ActionKind::Artifact, inputs.from.value().map(String::as_str), text)];
        if let Some(Some(server)) = inputs.server.value() {
            let text = "SELECT … FROM pg_replication_slots";
            actions.push(Action::reads(ActionKind::Sql, Some(server.as_str()), text));
        }
        actions
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &WalStatusInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let store = ctx.host.connect(inputs.from.known()?).await?;
        let store = store
            .store()
            .ok_or_else(|| StepError::internal("`from` of postgres.wal_status is no artifact store"))?;
        let archive = WalArchive::of(store, inputs.prefix.known()?);
        let streamer = archive.streaming().await?;
        let system = archive.system().await?;
        let size = system.as_ref().and_then(|system| SegmentSize::parse(system.segment_size));
        let age_ms = streamer.as_ref().map(|streamer| (ctx.now_ms() - streamer.at_ms).max(0));
        #[allow(clippy::cast_precision_loss, reason = "milliseconds since somebody streamed")]
        let age_s = age_ms.map(|ms| ms as f64 / 1000.0);
        let streams =
            streamer.as_ref().is_some_and(|streamer| !streamer.ended) && age_ms.is_some_and(|ms| ms < ALIVE);
        let rpo_s = streamer.as_ref().zip(age_s).map(|(streamer, age)| streamer.rpo_s + age);
        if let Some(max) = inputs.max_rpo.known()? {
            in_time(*max, rpo_s, streamer.as_ref(), streams)?;
        }
        let (slot, server_error) = match inputs.server.known()? {
            Some(server) => asked(ctx, server, streamer.as_ref()).await,
            None => (None, None),
        };
        let mut wrong: Vec<StepError> =
            slot.iter().zip(&streamer).filter_map(|(slot, streamer)| lost(slot, &streamer.slot)).collect();
        let mut outputs = json!({
            "streaming": streams, "streamer": streamer, "age_s": age_s,
            "system_identifier": system.as_ref().map(|system| &system.system_identifier),
            "segments": 0, "first": null, "newest": null, "gaps": [], "short": [], "faults": [], "timelines": [],
            "rpo_s": rpo_s, "slot": slot, "server_error": server_error,
        });
        // Without a system nothing was ever stored.
        if let Some((system, size)) = system.as_ref().zip(size) {
            let found = archive.holdings(size).await?;
            wrong.extend(faults(ctx, &archive, system, size, &found, *inputs.check.known()?).await?);
            let mut timelines: Vec<u32> = found.segments.iter().map(|segment| segment.timeline).collect();
            timelines.dedup();
            outputs["segments"] = json!(found.segments.len());
            outputs["first"] = json!(found.segments.first().map(|segment| segment.name(size)));
            outputs["newest"] = json!(found.newest().map(|segment| segment.name(size)));
            let gaps: Vec<String> = found.gaps(size).into_iter().map(|gap| gap.in_words(size)).collect();
            outputs["gaps"] = json!(gaps);
            outputs["short"] = json!(found.short.keys().collect::<Vec<_>>());
            outputs["timelines"] = json!(timelines);
        }
        outputs["faults"] = wrong.iter().take(MOST).map(told).collect();
        Ok(Ended::Outputs(outputs))
    }

    /// It only reads.
    async fn reconcile(&self, _ctx: &Ctx, _inputs: &WalStatusInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

/// What is wrong with the slot.
fn lost(slot: &SlotFacts, name: &str) -> Option<StepError> {
    if slot.wal_status.as_deref() == Some("lost") {
        return Some(gap(&format!("the server has given up what slot {name} keeps")));
    }
    let help = "let postgres.wal stream on, which makes it and sees whether anything is missing by then";
    let message =
        format!("the server has no replication slot {name}, so that it keeps nothing for the archive");
    (!slot.exists).then(|| StepError::new("postgres.wal_gap", message).help(help))
}

/// Nothing, when the newest WAL is not older than this.
///
/// # Errors
/// `postgres.wal_late`.
fn in_time(
    max: Millis,
    rpo_s: Option<f64>,
    streamer: Option<&Streaming>,
    streams: bool,
) -> Result<(), StepError> {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of an objective")]
    let max_s = max.0 as f64 / 1000.0;
    let late = |message: String, help: &str| Err(StepError::new("postgres.wal_late", message).help(help));
    let Some((rpo_s, streamer)) = rpo_s.zip(streamer) else {
        return late(
            "nobody has ever streamed into this archive".into(),
            "start a run with a step postgres.wal, and see that `prefix` is its own",
        );
    };
    if rpo_s <= max_s {
        return Ok(());
    }
    let who = format!("run {}, step {}, from {}", streamer.run, streamer.step, streamer.server);
    let message =
        format!("the newest WAL on the runner may be {rpo_s:.1} s old, and `max_rpo` is {max_s} s: {who}, ");
    match streams {
        true => late(
            message + "streams and does not keep up",
            "see whether the server answers, and whether the runner's disk and its network keep up; the run's log says what it waits for",
        ),
        false if streamer.ended => late(
            message + "has ended",
            "start it again, or resume the run where it failed; the slot keeps the WAL at the server meanwhile",
        ),
        false => late(
            message + "has not been heard since",
            "resume the run: its process is gone, or it does not reach the store; the slot keeps the WAL at the server meanwhile",
        ),
    }
}

/// What the server says of the streamer's slot, or why it says nothing.
async fn asked(ctx: &Ctx, server: &str, streamer: Option<&Streaming>) -> (Option<SlotFacts>, Option<String>) {
    let Some(streamer) = streamer else { return (None, None) };
    let asked = async {
        let connection = ctx.host.connect(server).await?;
        SlotFacts::of(PostgresConnection::of(&*connection)?.session(), &streamer.slot).await
    };
    match asked.await {
        Ok(facts) => (Some(facts), None),
        Err(error) => (None, Some(error.message)),
    }
}
