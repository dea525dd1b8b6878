//! `drydock points`: the recovery points of the artifact store that an environment names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use drydock_machine::Exit;
use drydock_plan::check::{CheckInput, Checked, Demand, Files, check};
use drydock_plan::params::GivenParams;
use drydock_plan::show::Look;
use drydock_plan::source::SourceFile;
use drydock_recovery::Time;
use drydock_recovery::backup::clock;
use drydock_recovery::catalogue::{Catalogue, Listing, Record};
use drydock_recovery::manifest::{
    Artifact, ClusterPart, CollectionPart, DatabasePart, PointMark, PointMarkKind, ProvedClaim,
    TableSamplePart,
};
use drydock_run::services::Services;
use drydock_run::world::RunSite;
use drydock_step::StepError;
use drydock_steps::point::catalogue::{Found, catalogue_of};
use serde_json::{Value, json};

use crate::args::PointsCommand;
use crate::findings::written;
use crate::formats::Format;
use crate::load;
use crate::session::{Above, Refusal, Session, registry, runtime};

use super::{colored, print};

pub(crate) fn points(
    session: &Session,
    environment: &Path,
    target: Option<&str>,
    what: Option<PointsCommand>,
) -> Result<Exit, Refusal> {
    let text = std::fs::read_to_string(environment).map_err(|error| {
        Refusal::new(Exit::Usage, format!("cannot read {}: {error}", environment.display()))
    })?;
    let source = SourceFile::new(environment.to_string_lossy().as_ref(), text);
    // What is wrong with the environment itself is said before its stores are looked for.
    let own = checked(session, &source, None);
    if own.has_errors() {
        return Ok(invalid(session, &own));
    }
    let store = store_named(environment, target)?;
    let checked = checked_with(session, &source, &store);
    if checked.has_errors() {
        return Ok(invalid(session, &checked));
    }
    let found = found(session, environment, &store, checked)?;
    for file in &found.unreadable {
        eprintln!("warning: {file}");
    }
    let catalogue = found.catalogue();
    match what.unwrap_or(PointsCommand::List) {
        PointsCommand::List => list(session, &catalogue, &found),
        PointsCommand::Show { point } => show(session, &catalogue, &point),
    }
}

fn invalid(session: &Session, checked: &Checked) -> Exit {
    print(&written([checked], session.common.format, Look { color: colored(session), ..Look::default() }));
    Exit::Invalid
}

/// The artifact store's name: the one that was asked for, or the only one of the environment.
fn store_named(environment: &Path, target: Option<&str>) -> Result<String, Refusal> {
    let document = load::environment_values(environment).map_err(refused(Exit::Invalid))?;
    let targets = document.get("targets").and_then(Value::as_object);
    let is_store = |value: &Value| value.get("kind").and_then(Value::as_str) == Some("artifacts");
    let stores: Vec<&String> =
        targets.into_iter().flatten().filter(|(_, value)| is_store(value)).map(|(name, _)| name).collect();
    let usage = |message: String| Refusal::new(Exit::Usage, message);
    let named = stores.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
    match (target, stores.as_slice()) {
        (Some(name), _) if stores.iter().any(|store| *store == name) => Ok(name.to_owned()),
        (Some(name), []) => Err(usage(format!(
            "--target: {} names no artifact store {name}, nor any other",
            environment.display()
        ))),
        (Some(name), _) => {
            Err(usage(format!("--target: {} names no artifact store {name}", environment.display()))
                .help(format!("its artifact stores are {named}")))
        }
        (None, [only]) => Ok((*only).clone()),
        (None, []) => Err(usage(format!("{} names no artifact store", environment.display()))
            .help("give an environment with a target of `kind: artifacts`")),
        (None, _) => Err(usage(format!("{} names several artifact stores", environment.display()))
            .help(format!("say which with --target: {named}"))),
    }
}

fn refused(exit: Exit) -> impl Fn(StepError) -> Refusal {
    move |error| Refusal { help: error.help, ..Refusal::new(exit, error.message) }
}

/// A plan that needs the store alone has no files beside it.
struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Err("there is none".to_owned())
    }
}

/// The environment, checked with a plan that needs the store alone.
fn checked_with(session: &Session, environment: &SourceFile, store: &str) -> Checked {
    let plan = format!(
        "drydock: v1\nname: points\ntargets: {{ {store}: artifacts }}\nsteps: {{ ask: {{ uses: target.ping, target: {store} }} }}\n"
    );
    checked(session, &SourceFile::new("the plan of `drydock points`", plan), Some(environment))
}

fn checked(session: &Session, file: &SourceFile, environment: Option<&SourceFile>) -> Checked {
    let texts = session.outside.environment.iter();
    let variables: BTreeMap<String, String> = texts
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned())))
        .collect();
    check(&CheckInput {
        file,
        environment,
        catalog: &registry().catalog(),
        given: &GivenParams::default(),
        variables: &variables,
        files: &NoFiles,
        demand: Demand::Run,
    })
}

/// What lies in the store.
fn found(session: &Session, environment: &Path, store: &str, checked: Checked) -> Result<Found, Refusal> {
    let plan =
        checked.plan.ok_or_else(|| Refusal::new(Exit::Internal, "the plan of `drydock points` is none"))?;
    let absolute = session.outside.folder().join(environment);
    let folder = absolute.parent().map_or_else(std::path::PathBuf::new, Path::to_owned);
    let site = RunSite {
        run: "points".into(),
        folder: session.state.root().to_owned(),
        run_started_ms: (session.outside.clock)(),
        plan_folder: Arc::new(folder.clone()),
        environment_folder: folder,
    };
    let services = Services::new(
        Arc::new(session.world(Some(environment), &Above::outermost(environment))?),
        Arc::new(plan),
        site,
    );
    let runtime = runtime()?;
    let asked = runtime.block_on(async {
        let connection = services.connect(store, "points").await?;
        connection.ping().await?;
        let files =
            connection.store().ok_or_else(|| StepError::internal(format!("{store} is no artifact store")))?;
        catalogue_of(files).await
    });
    runtime.shutdown_background();
    asked.map_err(refused(Exit::CannotSucceed))
}

fn list(session: &Session, catalogue: &Catalogue, found: &Found) -> Result<Exit, Refusal> {
    let now = Time::from_timestamp_millis((session.outside.clock)()).unwrap_or_default();
    let listed = catalogue.list(now);
    if session.common.format == Format::Json {
        let mut entries = Vec::with_capacity(listed.len());
        for entry in &listed {
            let mut value = json!(entry);
            value["state"] = json!(state(entry));
            entries.push(value);
        }
        print(&format!("{:#}\n", Value::Array(entries)));
        return Ok(Exit::Done);
    }
    let mut text: String = listed.iter().map(line).collect();
    if listed.is_empty() {
        text.push_str("no points yet\n");
    }
    for id in &found.unsealed {
        text.push_str(&format!("{id}  opened, not sealed\n"));
    }
    print(&text);
    Ok(Exit::Done)
}

/// What is to be said of a point, in words.
fn state(entry: &Listing) -> Vec<String> {
    let mut words = vec!["sealed".to_owned()];
    if !entry.incomplete.is_empty() {
        words.push(format!("incomplete: {}", entry.incomplete.join(", ")));
    }
    words.extend(entry.verified_at.map(|at| format!("verified {}", clock(at))));
    if entry.held {
        words.push("held".to_owned());
    }
    words.extend(entry.bad.as_ref().map(|why| format!("bad: {why}")));
    if !entry.current {
        words.push("abandoned history".to_owned());
    }
    words
}

fn line(entry: &Listing) -> String {
    let skew = entry.skew_s.map_or("-".to_owned(), seconds);
    let vectors = match (entry.clusters, entry.collections) {
        (0, collections) => format!("{collections:>4} collections"),
        (1, 0) => "   1 cluster    ".to_owned(),
        (clusters, 0) => format!("{clusters:>4} clusters   "),
        (clusters, collections) => format!("{collections:>4} collections, {clusters} clusters"),
    };
    format!(
        "{}  {:<12}  {}  {:<20}  {vectors}  {:>10}  skew {skew:>7}  {}\n",
        entry.id,
        entry.kind,
        clock(entry.at).get(..19).unwrap_or_default(),
        entry.databases.join(", "),
        bytes(entry.size),
        state(entry).join(", "),
    )
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

/// A size as people read it, in units of 1024.
fn bytes(size: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut shown = size as f64;
    let mut unit = 0;
    while shown >= 1024.0 && unit + 1 < units.len() {
        shown /= 1024.0;
        unit += 1;
    }
    let unit_name = units.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{size} B") } else { format!("{shown:.1} {unit_name}") }
}

fn show(session: &Session, catalogue: &Catalogue, point: &str) -> Result<Exit, Refusal> {
    let wanted = point.strip_prefix("point:").unwrap_or(point).to_ascii_uppercase();
    let records = catalogue.records();
    let matching: Vec<&Record<'_>> =
        records.iter().filter(|one| one.id().as_str().starts_with(&wanted)).collect();
    let record = match matching.as_slice() {
        [only] => **only,
        [] => {
            return Err(Refusal::new(Exit::Usage, format!("no point's id begins with {point}"))
                .help("`drydock points list` shows them"));
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|one| one.id().as_str()).collect();
            let message = format!("{point} is the beginning of several points' ids: {}", ids.join(", "));
            return Err(Refusal::new(Exit::Usage, message).help("write more of it"));
        }
    };
    let marks = catalogue.marks(record.id());
    if session.common.format == Format::Json {
        let mut value = match record {
            Record::Point(manifest) => json!(manifest),
            Record::Log(log) => json!(log),
        };
        value["marks"] = json!(marks);
        print(&format!("{value:#}\n"));
    } else {
        print(&page(record, marks));
    }
    Ok(Exit::Done)
}

/// A point for people: what it is made of, and how each thing was proved.
fn page(record: Record<'_>, marks: &[PointMark]) -> String {
    let mut text =
        format!("{} {} of {}, mark {}\n", record.kind(), record.id(), clock(record.at()), record.mark());
    let clusters = match record {
        Record::Point(point) => Some(&point.postgres),
        Record::Log(_) => None,
    };
    let clusters = || clusters.into_iter().flatten();
    let (run, plan, collections, claims) = match record {
        Record::Point(point) => {
            let collections = point.qdrant.as_ref().map_or(&[][..], |part| &part.collections);
            (&point.run, &point.plan.name, collections, &point.claims)
        }
        Record::Log(log) => (&log.run, &log.plan.name, &[][..], &log.claims),
    };
    text.push_str(&format!("  sealed by run {run} of {plan}\n"));
    if !record.incomplete().is_empty() {
        text.push_str(&format!("  INCOMPLETE: {}\n", record.incomplete().join(", ")));
    }
    marks.iter().for_each(|mark| text.push_str(&format!("  {}\n", mark_words(mark))));
    for (name, part) in record.databases() {
        text.push_str(&database(name, part, claims));
    }
    for collection in collections {
        text.push_str(&collection_page(collection, claims));
    }
    for (name, part) in clusters() {
        text.push_str(&cluster_page(name, part, claims));
    }
    // What was proved of all together.
    let is_part = |of: &str| {
        record.databases().contains_key(of)
            || collections.iter().any(|one| one.collection == of)
            || clusters().any(|(name, _)| name == of)
    };
    for claim in claims.iter().filter(|claim| !is_part(&claim.of)) {
        text.push_str(&format!("  proved {}: {}\n", claim.name, claim.proof));
    }
    for (table, band) in record.rows() {
        text.push_str(&format!("  rows of {table}: {} to {}\n", band.low, band.high));
    }
    text
}

fn mark_words(mark: &PointMark) -> String {
    let at = clock(mark.at);
    match &mark.said {
        PointMarkKind::Verified { how, run } => format!("verified {at} by run {run}: {how}"),
        PointMarkKind::Held { until: Some(until), reason } => {
            format!("held until {}: {reason}", clock(*until))
        }
        PointMarkKind::Held { until: None, reason } => format!("held: {reason}"),
        PointMarkKind::Bad { reason } => format!("bad since {at}: {reason}"),
    }
}

fn database(name: &str, part: &DatabasePart, claims: &[ProvedClaim]) -> String {
    let mut text = format!(
        "  database {name}: {} on {}, mark at LSN {}\n",
        part.database, part.server.name, part.mark.lsn
    );
    for stored in &part.backups {
        text.push_str(&format!("    {}\n", stored.backup.label()));
        for artifact in &stored.artifacts {
            text.push_str(&format!(
                "      {}  {}  sha256 {}\n",
                artifact.path,
                bytes(artifact.size),
                artifact.sha256
            ));
        }
        if stored.artifacts.is_empty() {
            text.push_str(&format!("      {} (the server's own media)\n", stored.backup.media.join(", ")));
        }
    }
    text + &proofs(name, claims)
}

fn file_line(artifact: &Artifact, more: &str) -> String {
    format!("      {}  {}  {more}\n", artifact.path, bytes(artifact.size))
}

fn cluster_page(name: &str, part: &ClusterPart, claims: &[ProvedClaim]) -> String {
    let ClusterPart { cluster, skew_s } = part;
    let point = &cluster.restore_point;
    let mut text = format!(
        "  cluster {name}: {}, restore point {} at {}, skew {}\n",
        cluster.version,
        point.name,
        point.lsn,
        seconds(*skew_s)
    );
    let hashed = |artifact: &Artifact| file_line(artifact, &format!("sha256 {}", artifact.sha256));
    for base in &cluster.bases {
        text.push_str(&format!("    base backup {}, consistent from {} on\n", base.label, base.end_lsn));
        [&base.artifact, &base.manifest].into_iter().for_each(|one| text.push_str(&hashed(one)));
    }
    let segments = &cluster.wal.segments;
    if let (Some(first), Some(last)) = (segments.first(), segments.last()) {
        text.push_str(&format!("    {} segments of WAL: {} to {}\n", segments.len(), first.path, last.path));
    }
    for (table, band) in &cluster.tables {
        text.push_str(&format!("    rows of {table}: {} to {}\n", band.low, band.high));
    }
    for sample in &cluster.samples {
        let TableSamplePart { table, column, sampled, recall, artifact, .. } = sample;
        let more = format!("{sampled} searches by {column} of {table}, recall {recall}");
        text.push_str(&file_line(artifact, &more));
    }
    text + &proofs(name, claims)
}

fn collection_page(part: &CollectionPart, claims: &[ProvedClaim]) -> String {
    let mut text = format!(
        "  collection {}: {} to {} points, skew {}\n",
        part.collection,
        part.points.low,
        part.points.high,
        seconds(part.skew_s)
    );
    for snapshot in &part.snapshots {
        let artifact = &snapshot.artifact;
        text.push_str(&format!(
            "      {}  {}  sha256 {}\n",
            artifact.path,
            bytes(artifact.size),
            artifact.sha256
        ));
    }
    for sample in &part.samples {
        let using = sample.using.as_ref().map_or(String::new(), |name| format!(" by {name}"));
        text.push_str(&format!(
            "      {}  {}  {} searches{using}, recall {}\n",
            sample.artifact.path,
            bytes(sample.artifact.size),
            sample.sampled,
            sample.recall
        ));
    }
    text + &proofs(&part.collection, claims)
}

fn proofs(of: &str, claims: &[ProvedClaim]) -> String {
    let own = claims.iter().filter(|claim| claim.of == of);
    own.map(|claim| format!("    proved {}: {}\n", claim.name, claim.proof)).collect()
}
