//! `postgres.wal_range`: [`WalRange`] reads the WAL in an archive from a base backup to a place, and proves that it leads there.

use std::time::Duration;

use async_trait::async_trait;
use drydock_recovery::manifest::Artifact;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, In, KindShape, Millis, Reconciled, Shape,
    StepError, StepKind, TargetNeed, Touch, inputs, known, maybe,
};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::recover_to::lsn_number;
use super::segment::{Segment, SegmentSize};
use super::segment_header::checked;
use super::wal_archive::WalArchive;
use crate::artifact_shape::ARTIFACT;
use crate::described::described;
use crate::rehash::hex;

/// Between two looks at an archive that a segment may come into.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The most segments that outputs, which are at most 1 MiB as JSON, can name.
const MOST: u64 = 4000;

inputs! {
    /// Inputs of `postgres.wal_range`.
    pub struct WalRangeInputs {
        /// Where in the store, as `postgres.wal` was given it.
        prefix: String = maybe(Shape::Text).or("\"postgres/wal\""),
        /// The base backup that recovery begins with, as `postgres.basebackup` gives it; of a list its last.
        base: RangeBase = known(Shape::Any),
        /// Begin here instead of where the base backup does: the `lsn` of the restore point that everything before is known to lead to.
        from: Option<String> = maybe(Shape::Text),
        /// The place that it has to lead to, `0/8348C48`: the `lsn` of a restore point.
        to: String = known(Shape::Text),
        /// How long to wait for segments that are not there yet.
        within: Millis = maybe(Shape::Duration).or("\"0s\""),
    }
}

/// What of a base backup says where its WAL begins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Begin {
    label: String,
    timeline: u32,
    start_lsn: String,
    segment_size: u64,
    #[serde(default)]
    system_identifier: Option<String>,
}

/// A base backup, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "the outputs of `postgres.basebackup`, or a list of them")]
pub enum RangeBase {
    /// One.
    One(Begin),
    /// A full one, and the incremental ones after it.
    Several(Vec<Begin>),
}

impl RangeBase {
    fn last(&self) -> Option<&Begin> {
        match self {
            Self::One(one) => Some(one),
            Self::Several(several) => several.last(),
        }
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("prefix", Shape::Text, "Where the archive lies in the store."),
    Field::required(
        "system_identifier",
        Shape::Text,
        "The cluster's own number, by the segments themselves.",
    ),
    Field::required("timeline", Shape::Integer, "The timeline."),
    Field::required("start_lsn", Shape::Text, "Where it begins."),
    Field::required("to_lsn", Shape::Text, "Where it leads to."),
    Field::required("segments", Shape::List(&ARTIFACT), "The segments, in their order."),
    Field::required("bytes", Shape::Integer, "Their bytes together."),
]);

/// Reads a part of an archive.
pub struct WalRange;

/// What is asked for, understood.
struct Wanted<'a> {
    base: &'a Begin,
    from: &'a str,
    size: SegmentSize,
    first: u64,
    last: u64,
}

impl WalRangeInputs {
    fn wanted(&self) -> Result<Wanted<'_>, StepError> {
        let refused = |message: String, help: &str| Err(StepError::new("input", message).help(help));
        let Some(base) = self.base.known()?.last() else {
            return refused("`base` is an empty list".into(), "give it the outputs of postgres.basebackup");
        };
        let from = self.from.known()?.as_ref().unwrap_or(&base.start_lsn);
        let Some(begin) = lsn_number(from) else {
            return refused(
                format!("`from`, `{from}`, is no place in the WAL such as `0/8348C48`"),
                "it is the `lsn` that postgres.restore_point gives",
            );
        };
        let (Some(size), Some(start)) = (SegmentSize::parse(base.segment_size), lsn_number(&base.start_lsn))
        else {
            return refused(
                format!("`base`, {}, does not say where its WAL begins", base.label),
                "give it the outputs of postgres.basebackup",
            );
        };
        let to = self.to.known()?;
        let Some(end) = lsn_number(to) else {
            return refused(
                format!("`to`, `{to}`, is no place in the WAL such as `0/8348C48`"),
                "it is the `lsn` that postgres.restore_point gives",
            );
        };
        if end <= start || begin < start {
            let (what, place) = if begin < start { ("from", from) } else { ("to", to) };
            return refused(
                format!(
                    "`{what}`, {place}, does not lie behind the beginning of {} at {}",
                    base.label, base.start_lsn
                ),
                "take a base backup that began before that place",
            );
        }
        if end <= begin {
            return refused(
                format!("`to`, {to}, does not lie behind `from`, {from}"),
                "give `from` the restore point before the one of `to`",
            );
        }
        // A record that ends with a segment lies in that one.
        let (first, last) = (begin / size.bytes(), (end - 1) / size.bytes());
        if last - first >= MOST {
            return refused(
                format!("{} segments lie between {from} and {to}; at most {MOST} are read", last - first + 1,),
                "take a newer base backup",
            );
        }
        Ok(Wanted { base, from, size, first, last })
    }
}

#[async_trait]
impl StepKind for WalRange {
    type Inputs = WalRangeInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["artifacts"]),
            outputs: OUTPUTS,
            permissions: &["artifacts: read the store"],
            example: "wal:\n  uses: postgres.wal_range\n  target: backups\n  needs: [base, named]\n  with: { prefix: postgres/wal, base: \"{{ steps.base.outputs }}\", to: \"{{ steps.named.outputs.lsn }}\" }\n",
            ..described(
                "postgres.wal_range",
                "Reads the WAL in an archive from the beginning of a base backup to a place such as a restore point, segment by segment: each is there, whole, of this cluster, and where its name says.",
            )
        }
    }

    fn judge(&self, inputs: &WalRangeInputs) -> Result<(), StepError> {
        match (inputs.base.value(), inputs.from.value(), inputs.to.value()) {
            (Some(_), Some(_), Some(_)) => inputs.wanted().map(drop),
            _ => Ok(()),
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &WalRangeInputs) -> Vec<Touch> {
        let resource = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &WalRangeInputs, _facts: &Facts) -> Vec<Action> {
        let of_base =
            || inputs.base.or_after(|base| base.last().map_or(String::new(), |base| base.start_lsn.clone()));
        let from = match &inputs.from {
            In::Known(None) => of_base(),
            from => from.or_after(|from| from.clone().unwrap_or_default()),
        };
        let text =
            format!("read the segments below {} from {from} to {} and hash them", inputs.prefix, inputs.to);
        vec![Action::reads(ActionKind::Artifact, target, text)]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &WalRangeInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let connection = ctx.connection().await?;
        let store = connection
            .store()
            .ok_or_else(|| StepError::internal("the target of postgres.wal_range is no artifact store"))?;
        let wanted = inputs.wanted()?;
        let archive = WalArchive::of(store, inputs.prefix.known()?);
        let reading = read(ctx, archive, &wanted, inputs.within.known()?.0);
        let (system_identifier, segments) = ctx.or_cancelled(reading).await?;
        let bytes: u64 = segments.iter().map(|segment| segment.size).sum();
        Ok(Ended::Outputs(json!({
            "prefix": archive.prefix, "system_identifier": system_identifier, "timeline": wanted.base.timeline,
            "start_lsn": wanted.from, "to_lsn": inputs.to.known()?, "segments": segments, "bytes": bytes,
        })))
    }

    /// It only reads.
    async fn reconcile(&self, _ctx: &Ctx, _inputs: &WalRangeInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

/// Every segment, as it is, and whose they are.
///
/// # Errors
/// `postgres.wal_gap`, `postgres.wal_damaged`, `postgres.wal_foreign`, or what the store says.
async fn read(
    ctx: &Ctx,
    archive: WalArchive<'_>,
    wanted: &Wanted<'_>,
    within_ms: u64,
) -> Result<(String, Vec<Artifact>), StepError> {
    let (base, total) = (wanted.base, wanted.last - wanted.first + 1);
    let until = ctx.now_ms().saturating_add(i64::try_from(within_ms).unwrap_or(i64::MAX));
    let mut of = base.system_identifier.clone();
    let mut segments = Vec::new();
    for number in wanted.first..=wanted.last {
        let name = Segment { timeline: base.timeline, number }.name(wanted.size);
        ctx.progress(number - wanted.first, Some(total), "segments", name.as_str());
        let path = archive.path(&name);
        let mut found = archive.segment(&name, wanted.size).await?;
        while found.is_none() && ctx.now_ms() < until {
            tokio::time::sleep(LOOK_AGAIN).await;
            found = archive.segment(&name, wanted.size).await?;
        }
        let Some(bytes) = found else {
            let message = format!(
                "{path} is not in the archive: the WAL does not lead from {} to where it should",
                base.label
            );
            return Err(StepError::new("postgres.wal_gap", message).help(
                "is it still being streamed? See postgres.wal_status; where it is gone, or the server was promoted, take a new base backup",
            ));
        };
        let facts = checked(&name, &bytes)
            .map_err(|error| StepError { message: format!("{path}: {}", error.message), ..error })?;
        match &of {
            Some(of) if *of != facts.system_identifier => {
                let message = format!(
                    "{path} is of cluster {}, and {} of cluster {of}",
                    facts.system_identifier, base.label
                );
                return Err(StepError::new("postgres.wal_foreign", message)
                    .help("give each cluster a `prefix` of its own, and name the one that the base backup belongs to"));
            }
            _ => of = Some(facts.system_identifier),
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        segments.push(Artifact { path, size: bytes.len() as u64, sha256 });
    }
    Ok((of.unwrap_or_default(), segments))
}

#[cfg(test)]
mod tests {
    use super::super::segment_header::tests::segment;
    use super::*;
    use crate::artifact::folder::FolderStore;
    use drydock_step::ArtifactStore;
    use drydock_step::artifact::stream_of;
    use drydock_step::test_host::TestHost;

    fn begin(system: &str) -> Begin {
        Begin {
            label: "base1".into(),
            timeline: 1,
            start_lsn: "0/300028".into(),
            segment_size: 1 << 20,
            system_identifier: Some(system.into()),
        }
    }

    async fn found(
        base: &Begin,
        last: u64,
        stored: &[(u64, Vec<u8>)],
    ) -> Result<(String, Vec<Artifact>), StepError> {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path().join("store"));
        for (number, bytes) in stored {
            let path = format!("wal/00000001/{:024X}", (1_u128 << 64) + u128::from(*number));
            store.put(&path, stream_of(bytes.clone())).await.unwrap();
        }
        let ctx = std::sync::Arc::new(TestHost::new(dir.path())).ctx(None);
        let wanted = Wanted {
            base,
            from: &base.start_lsn,
            size: SegmentSize::parse(1 << 20).unwrap(),
            first: 3,
            last,
        };
        read(&ctx, WalArchive::of(&store, "wal"), &wanted, 0).await
    }

    #[tokio::test]
    async fn it_is_read_to_its_end_or_the_first_that_is_wrong_is_named() {
        let whole: Vec<(u64, Vec<u8>)> = (3..=5).map(|n| (n, segment(n, 77))).collect();
        let (of, segments) = found(&begin("77"), 5, &whole).await.unwrap();
        assert_eq!((of.as_str(), segments.len()), ("77", 3));
        assert_eq!(segments[2].path, "wal/00000001/000000010000000000000005");
        assert_eq!(segments[2].sha256, hex(&Sha256::digest(segment(5, 77))));
        let refused = async |base: &Begin, last, stored: &[(u64, Vec<u8>)], code: &str, words: &str| {
            let error = found(base, last, stored).await.unwrap_err();
            assert!(error.code == code && error.message.contains(words), "{error}");
        };
        refused(
            &begin("77"),
            6,
            &whole,
            "postgres.wal_gap",
            "000000010000000000000006 is not in the archive",
        )
        .await;
        refused(&begin("78"), 5, &whole, "postgres.wal_foreign", "is of cluster 77, and base1 of cluster 78")
            .await;
        let mut spoiled = whole.clone();
        spoiled[1].1 = segment(4, 79);
        refused(
            &begin("77"),
            5,
            &spoiled,
            "postgres.wal_foreign",
            "000000010000000000000004 is of cluster 79",
        )
        .await;
        spoiled[1].1 = segment(4, 77)[..8192].to_vec();
        refused(&begin("77"), 5, &spoiled, "postgres.wal_damaged", "it has 8192 bytes of 1048576").await;
        spoiled[1].1 = segment(5, 77);
        refused(&begin("77"), 5, &spoiled, "postgres.wal_damaged", "and its name says").await;
    }

    #[test]
    fn a_question_without_an_answer_is_refused() {
        let refused = |base: Value, to: &str, words: &str| {
            let inputs = json!({ "prefix": "wal", "base": base, "to": to });
            let given = drydock_step::test_host::given(inputs);
            let inputs = drydock_step::Given { with: &given.with, fill: None };
            let error = drydock_step::Kind::judge(&WalRange, &inputs).unwrap_err();
            assert!(error.code == "input" && error.message.contains(words), "{error}");
        };
        let base =
            json!({ "label": "base1", "timeline": 1, "start_lsn": "0/300028", "segment_size": 1 << 20 });
        refused(base.clone(), "half", "is no place in the WAL such as");
        refused(base.clone(), "0/300028", "does not lie behind the beginning of base1 at 0/300028");
        refused(base.clone(), "FF/0", "segments lie between 0/300028 and FF/0");
        let from = |from: &str, to: &str, words: &str| {
            let inputs = json!({ "prefix": "wal", "base": base, "from": from, "to": to });
            let given = drydock_step::test_host::given(inputs);
            let inputs = drydock_step::Given { with: &given.with, fill: None };
            let error = drydock_step::Kind::judge(&WalRange, &inputs).unwrap_err();
            assert!(error.code == "input" && error.message.contains(words), "{error}");
        };
        from("half", "0/400000", "`from`, `half`, is no place in the WAL");
        from("0/200000", "0/400000", "`from`, 0/200000, does not lie behind the beginning of base1");
        from("0/500000", "0/400000", "`to`, 0/400000, does not lie behind `from`, 0/500000");
        refused(json!([]), "0/300029", "`base` is an empty list");
        let mut odd = base;
        odd["segment_size"] = json!(77);
        refused(odd, "0/300029", "does not say where its WAL begins");
    }
}
