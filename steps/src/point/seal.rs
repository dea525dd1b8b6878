//! `point.seal`: [`Seal`] proves every claim of a recovery point or log point by asking, and writes its record, once.

use async_trait::async_trait;
use bytes::Bytes;
use drydock_recovery::Time;
use drydock_recovery::catalogue::Catalogue;
use drydock_recovery::manifest::{
    Evidence, LockEvidence, LockFound, LogPointKind, Marked, Opened, PointId, SealRefusal, SealTerms,
    Unproved, seal, seal_log_point,
};
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Connection, Ctx, Effect, Ended, Facts, Field, In, KindShape,
    Millis, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use indexmap::IndexMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::adopted::with_awaited;
use super::asked::proved_by_server;
use super::catalogue::{catalogue_of, manifest_text};
use super::evidence::{Given, gathered};
use super::given::{
    BackupGiven, CertificateGiven, ClusterGiven, MarkGiven, ObjectsGiven, PauseGiven, Pointed, QdrantGiven,
};
use super::open::store_of;
use super::read_back::ReadBack;
use super::sealed::SealedRecord;
use super::{layout, moment};
use crate::described::described;
use crate::rehash::hex;

inputs! {
    /// Inputs of `point.seal`.
    pub struct SealInputs {
        /// The outputs of `point.open`.
        point: Pointed = known(Shape::Map(&Shape::Any)),
        /// The outputs of `sqlserver.mark`.
        mark: MarkGiven = known(Shape::Map(&Shape::Any)),
        /// Seals a log point between two points instead: what a `log` or `differential` run took, without bases and without Qdrant. The newest good point is its vector base.
        log_point: Option<LogPointKind> = maybe(Shape::OneOf(&["log", "differential"])),
        /// For each database, by the name that the mark step gave it, the outputs of the `sqlserver.backup` steps: what leads from a base to the mark. Logs that another run took meanwhile are found in the catalogue, and proved like the others.
        sqlserver: IndexMap<String, Vec<BackupGiven>> = known(Shape::Map(&Shape::List(&Shape::Map(&Shape::Any)))),
        /// The outputs of the `sqlserver.certificate` steps that saved what encrypts these backups.
        certificates: Vec<CertificateGiven> = maybe(Shape::List(&Shape::Map(&Shape::Any))).or("[]"),
        /// The outputs of `qdrant.snapshot`, and of the `foreach` of `qdrant.fetch` and `qdrant.sample`.
        qdrant: Option<QdrantGiven> = maybe(Shape::Record(QDRANT)),
        /// PostgreSQL clusters, by a name each: their base backups, the WAL behind them, and the restore point in it. Of a log point without `base`: its WAL begins where that of the record before it ends.
        postgres: IndexMap<String, ClusterGiven> = maybe(Shape::Map(&Shape::Record(CLUSTER))).or("{}"),
        /// The application's own answers in a pause; null where there was none. That nothing was in flight, that it was one lease, and that nothing changed is proved then, or the point is refused.
        pause: Option<PauseGiven> = maybe(Shape::Record(PAUSE)),
        /// The outputs of `sqlserver.server_objects`, by a name for each server: logins and jobs, which no backup of a database holds.
        server_objects: IndexMap<String, ObjectsGiven> = maybe(Shape::Map(&Shape::Map(&Shape::Any))).or("{}"),
        /// Versions to record: of the application, of the embedding model.
        versions: IndexMap<String, Value> = maybe(Shape::Map(&Shape::Any)).or("{}"),
        /// The target that holds the truth: it is asked to read every backup.
        truth: String = known(Shape::Text),
        /// The target of the vectors: its version is recorded.
        derived: Option<String> = maybe(Shape::Text),
        /// The longest time that a snapshot may have begun, or a restore point been asked for, before the mark. Where it is longer the point is sealed, and the step fails with exit code 22.
        skew: Option<Millis> = maybe(Shape::Duration),
        /// How far the clock of a server may be off the runner's. Where one is farther the point is sealed, and the step fails with exit code 22: the order of a point never depends on servers' clocks, but whoever looks for a time in its rows does.
        clocks: Option<Millis> = maybe(Shape::Duration),
        /// Databases, collections and clusters that the point may lack or that may be unproved. The point is then incomplete, and taken only on request.
        accept_missing: Vec<String> = maybe(Shape::List(&Shape::Text)).or("[]"),
    }
}

const QDRANT: &[Field] = &[
    Field::required("snapshot", Shape::Map(&Shape::Any), "The outputs of `qdrant.snapshot`."),
    Field::required("fetched", Shape::List(&Shape::Any), "The outputs of the `foreach` of `qdrant.fetch`."),
    Field::optional(
        "samples",
        Shape::List(&Shape::Any),
        "The outputs of the `foreach` of `qdrant.sample`, or a list with the outputs of such steps.",
    ),
];

const PAUSE: &[Field] = &[
    Field::required(
        "before",
        Shape::Any,
        "Its answer before the snapshots: `enabled`, `in_flight` and `expires_at`. Null, as `after`, where there was no pause.",
    ),
    Field::required("after", Shape::Any, "Its answer after the mark."),
    Field::optional(
        "watermarks",
        Shape::Record(&[
            Field::required("before", Shape::Any, "What the stores answered before the snapshots."),
            Field::required("after", Shape::Any, "What they answered to the same after the mark."),
        ]),
        "What must not change in the pause, such as the newest row of each table.",
    ),
];

const CLUSTER: &[Field] = &[
    Field::optional(
        "base",
        Shape::Any,
        "The outputs of `postgres.basebackup`, or a list of them: a full one and the incremental ones after it.",
    ),
    Field::required("restore_point", Shape::Map(&Shape::Any), "The outputs of `postgres.restore_point`."),
    Field::required("wal", Shape::Map(&Shape::Any), "The outputs of `postgres.wal_range`."),
    Field::optional(
        "counts",
        Shape::List(&Shape::Any),
        "The outputs of `postgres.count` before and after the restore point.",
    ),
    Field::optional("samples", Shape::List(&Shape::Any), "The outputs of `postgres.sample`."),
];

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("id", Shape::Text, "The point's id."),
    Field::required("manifest", Shape::Text, "Where its manifest lies in the store."),
    Field::required(
        "claims",
        Shape::List(&Shape::Text),
        "The names of what was proved; the manifest says how.",
    ),
    Field::optional(
        "skew_s",
        Shape::Number,
        "The greatest skew of its collections and clusters, in seconds.",
    ),
    Field::required("marked_at", Shape::Datetime, "The moment that it stands for."),
    Field::required("bands", Shape::Map(&Shape::Band), "Row counts around the mark, by table."),
    Field::required("incomplete", Shape::List(&Shape::Text), "What it lacks, by name."),
    Field::required(
        "clocks",
        Shape::Map(&Shape::Number),
        "The servers whose clocks went otherwise than the runner's, and how many seconds ahead.",
    ),
]);

/// Seals a point.
pub struct Seal;

impl SealInputs {
    /// The versions that the plan says, as texts; one that is empty is not known.
    fn versions(&self) -> Result<IndexMap<String, String>, StepError> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let said = self.versions.known()?.iter().map(|(name, value)| (name.clone(), text(value)));
        Ok(said.filter(|(_, version)| !version.is_empty()).collect())
    }

    /// What a record misses of what was wanted.
    fn missed_by(&self, record: &SealedRecord) -> Result<Option<String>, StepError> {
        Ok(record.missed(*self.skew.known()?, *self.clocks.known()?))
    }

    /// Whether it is a log point.
    fn between(&self) -> Result<bool, StepError> {
        Ok(self.log_point.known()?.is_some())
    }

    /// What goes together.
    fn fits_together(&self) -> Result<(), StepError> {
        let refused = |why: &str, help: &str| Err(StepError::new("input", why).help(help));
        let Some(between) = self.log_point.value().map(Option::is_some) else { return Ok(()) };
        let has_base = |one: &ClusterGiven| one.base.is_some();
        let clusters = self.postgres.value();
        if between && clusters.is_some_and(|clusters| clusters.values().any(has_base)) {
            return refused("the clusters of a log point have no `base`", "its point has the base backups");
        }
        let has_start = |one: &ClusterGiven| one.wal.start_lsn.is_some();
        if between && clusters.is_some_and(|clusters| !clusters.values().all(has_start)) {
            return refused(
                "the `wal` of a log point's cluster does not say where it begins",
                "give it the outputs of postgres.wal_range",
            );
        }
        if !between && clusters.is_some_and(|clusters| !clusters.values().all(has_base)) {
            return refused(
                "each cluster of a point needs its `base`",
                "give it the outputs of postgres.basebackup, or say `log_point: log`",
            );
        }
        let may_be = |given: Option<bool>| between && given == Some(true);
        if may_be(self.qdrant.value().map(Option::is_some)) {
            return refused("a log point has no `qdrant`", "the newest point is its vector base");
        }
        if may_be(self.pause.value().map(Option::is_some)) {
            return refused("a log point has no `pause`", "pause ingestion for a point");
        }
        Ok(())
    }
}

/// The point as it was opened, from the store, so that what is sealed was begun here and by this run.
async fn opened(ctx: &Ctx, store: &dyn ArtifactStore, inputs: &SealInputs) -> Result<Opened, StepError> {
    let (point, mark) = (inputs.point.known()?, inputs.mark.known()?);
    let path = layout::opened(&point.id);
    let refused = |why: String| StepError::new("point.opened", format!("point {} {why}", point.id));
    let text = manifest_text(store, &path).await?;
    let text = text.ok_or_else(|| {
        refused(format!("was not opened in this store: {path} is not there"))
            .help("`point.open` and `point.seal` take the same target")
    })?;
    let opened = Opened::parse(&text)
        .map_err(|error| refused(format!("has a {path} that cannot be read: {error}")))?;
    if opened.origin.run != *ctx.run {
        return Err(refused(format!("was opened by run {}", opened.origin.run)));
    }
    if opened.mark != point.mark || opened.mark != mark.mark {
        return Err(refused(format!(
            "has the mark {}, and the databases were marked {}",
            opened.mark, mark.mark
        ))
        .help("give `sqlserver.mark` the mark that `point.open` gave"));
    }
    Ok(opened)
}

/// The newest point whose vectors stand for those of a log point.
async fn vector_base(connection: &dyn Connection, at: Time) -> Result<Option<PointId>, StepError> {
    let catalogue: Catalogue = catalogue_of(connection).await?.taken_catalogue();
    let good = catalogue.points().iter().filter(|point| catalogue.barred(&point.id).is_none());
    let mut before = good.filter(|point| point.marked_at <= at && point.has_vectors());
    Ok(before.next().map(|point| point.id.clone()))
}

/// What the store says of the locks that it was asked for.
async fn locks(store: &dyn ArtifactStore, read: &ReadBack) -> Result<Option<LockEvidence>, StepError> {
    let Some(asked) = store.lock_asked() else { return Ok(None) };
    let mut found = IndexMap::new();
    for file in read.files() {
        let lock = store.locked(&file.path).await?;
        let lock = lock.and_then(|lock| {
            let until = Time::from_timestamp_millis(lock.until_ms)?;
            Some(LockFound { mode: lock.mode.word().to_owned(), until })
        });
        found.insert(file.path, lock);
    }
    Ok(Some(LockEvidence { mode: asked.mode.word().to_owned(), found }))
}

/// Asks store and servers, and seals.
async fn sealed(
    ctx: &Ctx,
    connection: &dyn Connection,
    inputs: &SealInputs,
) -> Result<SealedRecord, StepError> {
    let store = store_of(connection)?;
    let opened = opened(ctx, store, inputs).await?;
    let (mark, between) = (inputs.mark.known()?, inputs.between()?);
    let sqlserver = with_awaited(ctx, connection, inputs.sqlserver.known()?, mark, between).await?;
    let given = Given {
        mark,
        sqlserver: &sqlserver,
        certificates: inputs.certificates.known()?,
        qdrant: inputs.qdrant.known()?.as_ref(),
        postgres: inputs.postgres.known()?,
        pause: inputs.pause.known()?.as_ref().filter(|pause| pause.is_given()),
        server_objects: inputs.server_objects.known()?,
        between,
    };
    let mut versions = inputs.versions()?;
    let mut unproved = asked(ctx, inputs, &given, &mut versions).await?;
    let read = ReadBack::of(ctx, store, &given.paths()).await?;
    let mut evidence = gathered(&given, &read, versions, moment::now(ctx)?, &mut unproved);
    evidence.locks = locks(store, &read).await?;
    // The skew is asked of the manifest once it is written: that it is missed is no reason not to seal.
    let mut accept_missing = inputs.accept_missing.known()?.clone();
    // Agents are deleted on any day, and the others' vectors are good: the point lacks this one by its name.
    for gone in given.qdrant.into_iter().flat_map(QdrantGiven::gone) {
        ctx.log(format!(
            "{gone} was deleted before its snapshot could be fetched: the point is sealed without it"
        ));
        accept_missing.push(gone.to_owned());
    }
    let terms = SealTerms { accept_missing, ..SealTerms::default() };
    let marked: Marked = given.marked(opened);
    let sealed = match inputs.log_point.known()? {
        None => seal(marked, evidence, &terms).map(|one| SealedRecord::Point(Box::new(one.manifest))),
        Some(kind) => {
            for (name, place) in marked.places.iter().filter(|_| *kind == LogPointKind::Log) {
                let behind = |one: &BackupGiven| one.backup.first_lsn > place.lsn;
                if sqlserver.get(name).is_some_and(|logs| logs.iter().all(behind)) {
                    ctx.log(format!(
                        "{name}: another run, which has not sealed it yet, backed up the log that holds the mark; the log behind it is \
                         sealed, so that later chains lead through it"
                    ));
                }
            }
            let base = vector_base(connection, marked.answered_at).await?;
            log_point(marked, *kind, evidence, base, &terms)
        }
    };
    agreed(sealed, unproved, &terms).map_err(|refusal| {
        StepError::new("point.unproved", refusal.to_string())
            .help("mend what is named and run the plan again; `accept_missing` seals the point without it")
    })
}

fn log_point(
    marked: Marked,
    kind: LogPointKind,
    evidence: Evidence,
    base: Option<PointId>,
    terms: &SealTerms,
) -> Result<SealedRecord, SealRefusal> {
    seal_log_point(marked, kind, evidence, base, terms).map(|log| SealedRecord::Log(Box::new(log)))
}

/// Has the servers say who they are and prove that they read the backups.
async fn asked(
    ctx: &Ctx,
    inputs: &SealInputs,
    given: &Given<'_>,
    versions: &mut IndexMap<String, String>,
) -> Result<Vec<Unproved>, StepError> {
    let truth = inputs.truth.known()?;
    let server = ctx.host.connect(truth).await?;
    versions.insert(truth.clone(), server.identity().await?.version);
    if let Some(derived) = inputs.derived.known()? {
        versions.insert(derived.clone(), ctx.host.connect(derived).await?.identity().await?.version);
    }
    let proves = server.proves().ok_or_else(|| {
        StepError::new("point.truth", format!("target {truth} cannot prove that backups can be read"))
    })?;
    let mut unproved = Vec::new();
    for (name, backups) in given.sqlserver {
        unproved.extend(proved_by_server(ctx, proves, name, backups).await?);
    }
    Ok(unproved)
}

/// What was found here and what the seal found, together: sealed where all that is unproved was accepted.
fn agreed(
    sealed: Result<SealedRecord, SealRefusal>,
    unproved: Vec<Unproved>,
    terms: &SealTerms,
) -> Result<SealedRecord, SealRefusal> {
    let (accepted, refused): (Vec<Unproved>, Vec<Unproved>) =
        unproved.into_iter().partition(|one| terms.accept_missing.contains(&one.of));
    match sealed {
        Ok(mut sealed) if refused.is_empty() => {
            let incomplete = sealed.incomplete();
            incomplete.extend(accepted.into_iter().map(|one| one.of));
            incomplete.sort();
            incomplete.dedup();
            Ok(sealed)
        }
        Ok(_) => Err(SealRefusal { unproved: refused }),
        Err(refusal) => {
            let mut all = refused;
            for one in refusal.unproved {
                if !all.iter().any(|known| known.claim == one.claim && known.of == one.of) {
                    all.push(one);
                }
            }
            Err(SealRefusal { unproved: all })
        }
    }
}

/// Writes the record. Its digest is noted before, so that a later attempt knows it for its own.
async fn written(ctx: &Ctx, connection: &dyn Connection, record: &SealedRecord) -> Result<(), StepError> {
    let (store, text) = (store_of(connection)?, record.text(connection)?);
    ctx.note(json!({ "manifest_sha256": hex(&Sha256::digest(&text)) })).await?;
    store.put_new(&record.path(), Bytes::from(text)).await?;
    Ok(())
}

/// The record that an earlier attempt of this step has written, where there is one.
async fn own_record(
    ctx: &Ctx,
    store: &dyn ArtifactStore,
    inputs: &SealInputs,
) -> Result<Option<SealedRecord>, StepError> {
    let between = inputs.between()?;
    let path = SealedRecord::place(&inputs.point.known()?.id, between);
    let Some(text) = manifest_text(store, &path).await? else { return Ok(None) };
    let digest = hex(&Sha256::digest(text.as_bytes()));
    let noted = |note: &Value| note.get("manifest_sha256").and_then(Value::as_str) == Some(&digest);
    if !ctx.notes.iter().any(noted) {
        return Err(StepError::new(
            "point.sealed",
            format!("{path} is there already, and this run did not write it"),
        )
        .help("a point is sealed once; begin a new run"));
    }
    SealedRecord::parse(&text, between)
        .map(Some)
        .map_err(|error| StepError::internal(format!("{path}: {error}")))
}

/// How the step ends with a record in the store.
fn ended(record: &SealedRecord, missed: Option<String>) -> Result<Ended, StepError> {
    let Some(missed) = missed else { return Ok(Ended::Outputs(record.outputs())) };
    let (id, path) = (record.id(), record.path());
    let message = format!("{missed}. Point {id} is sealed and good all the same: {path}");
    Err(StepError::new("objective.missed", message).help(
        "for the skew, pause ingestion before the snapshots, make them of fewer collections at once, or allow more with `skew`; set a clock \
         that is off, or allow more with `clocks`",
    ))
}

fn paths_shown(inputs: &SealInputs) -> In<String> {
    let between = inputs.log_point.value().is_some_and(Option::is_some);
    inputs.point.map(|point| SealedRecord::place(&point.id, between))
}

#[async_trait]
impl StepKind for Seal {
    type Inputs = SealInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            target_inputs: &[("truth", &["sqlserver"]), ("derived", &["qdrant", "postgres"])],
            outputs: OUTPUTS,
            effect: Effect::Writes,
            permissions: &[
                "read and put artifacts in the store",
                "RESTORE HEADERONLY and VERIFYONLY on the truth",
            ],
            example: EXAMPLE,
            ..described(
                "point.seal",
                "Seals a recovery point, or a log point between two of them: every file is read back and hashed, the server reads every backup, and each claim is \
                 proved; what is not proved is refused by name. Then the manifest is written, once.",
            )
        }
    }

    fn judge(&self, inputs: &SealInputs) -> Result<(), StepError> {
        inputs.fits_together()
    }

    fn touches(&self, target: Option<&str>, inputs: &SealInputs) -> Vec<Touch> {
        let touch = |target: Option<&str>, resource: String, access| Touch {
            target: target.map(str::to_owned),
            resource,
            access,
        };
        let store = paths_shown(inputs).or_after(|path| format!("path {path}"));
        let mut touches = vec![touch(target, store, Access::Writes)];
        if let Some(truth) = inputs.truth.value() {
            touches.push(touch(Some(truth), "backups".to_owned(), Access::Reads));
        }
        touches
    }

    fn actions(&self, target: Option<&str>, inputs: &SealInputs, _facts: &Facts) -> Vec<Action> {
        let truth = inputs.truth.value().map(String::as_str);
        vec![
            Action::reads(
                ActionKind::Sql,
                truth,
                "RESTORE HEADERONLY and VERIFYONLY WITH CHECKSUM of every backup of the point",
            ),
            Action::reads(ActionKind::Artifact, target, "read back and hash every artifact of the point"),
            Action::writes(ActionKind::Artifact, target, format!("put {}", paths_shown(inputs))),
        ]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &SealInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let store = store_of(&*connection)?;
        inputs.fits_together()?;
        let record = match own_record(ctx, store, inputs).await? {
            Some(record) => record,
            None => {
                let sealed = ctx.or_cancelled(sealed(ctx, &*connection, inputs)).await?;
                written(ctx, &*connection, &sealed).await?;
                sealed
            }
        };
        record.clocks_told().into_iter().for_each(|line| ctx.log(line));
        ended(&record, inputs.missed_by(&record)?)
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &SealInputs) -> Result<Reconciled, StepError> {
        let connection = ctx.connection().await?;
        match own_record(ctx, store_of(&*connection)?, inputs).await {
            // A missed objective is an error of the attempt: the next one finds the record and says it again.
            Ok(Some(record)) if inputs.missed_by(&record)?.is_none() => {
                Ok(Reconciled::Done(record.outputs()))
            }
            Ok(_) => Ok(Reconciled::NotDone),
            Err(error) if error.code == "point.sealed" => Ok(Reconciled::NotDone),
            Err(error) => Err(error),
        }
    }
}

const EXAMPLE: &str = r#"seal:
  uses: point.seal
  target: backups
  needs: [full, open, snapshot, mark, log, fetch, sample]
  with:
    point: "{{ steps.open.outputs }}"
    mark: "{{ steps.mark.outputs }}"
    sqlserver: { octopus: ["{{ steps.full.outputs }}", "{{ steps.log.outputs }}"] }
    qdrant: { snapshot: "{{ steps.snapshot.outputs }}", fetched: "{{ steps.fetch.outputs }}", samples: "{{ steps.sample.outputs }}" }
    truth: sql
    derived: vectors
    skew: 2m
"#;
