//! A restored collection or table asked what was asked of it at the backup: [`compared`], [`Compared`], [`Loss`].

use drydock_recovery::manifest::Artifact;
use drydock_step::{ArtifactStore, Ctx, Field, Shape, StepError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sample_file::{SampleFile, artifact as as_stored, bytes, share};
use crate::searches::{Searches, matched, others};

/// The share that is wanted where nothing is said, of data and of what the index found then.
const WANTED: f64 = 0.95;

/// How much less than then an index may find where nothing is said: one that was built again finds others among the nearest.
const TOLERATED: f64 = 0.05;

/// How many of the worst queries the outputs name, and how many of them an error.
const NAMED: usize = 5;
const IN_WORDS: usize = 3;

const POINT: Shape = Shape::Either(&Shape::Integer, &Shape::Text);

/// The outputs of a kind that compares.
pub const RECALLED: Shape = Shape::Record(&[
    Field::required(
        "recall",
        Shape::Number,
        "The share of the stored neighbours that a search finds now, 0 to 1; 1 where there was nothing to compare. Of several samples, the least.",
    ),
    Field::required(
        "recall_then",
        Shape::Number,
        "The share that a search found when that sample was taken.",
    ),
    Field::required(
        "agreement",
        Shape::Number,
        "The share of the stored neighbours that are there with the scores that they had, by comparing all points: below 1 the data are others.",
    ),
    Field::required("queries", Shape::Integer, "How many searches were compared."),
    Field::required(
        "passed_over",
        Shape::Integer,
        "How many were not, because neighbours that were stored are not there.",
    ),
    Field::required(
        "worst",
        Shape::List(&Shape::Record(&[
            Field::required("point", POINT, "The point that was searched around."),
            Field::optional("using", Shape::Text, "The name of the vector."),
            Field::required(
                "of",
                Shape::Integer,
                "How many neighbours were stored, but for the point itself.",
            ),
            Field::required("found", Shape::Integer, "How many of them a search finds now."),
            Field::required(
                "stored",
                Shape::Integer,
                "How many neighbours were stored, the point itself among them.",
            ),
            Field::required(
                "agree",
                Shape::Integer,
                "How many of them are there with the scores that they had.",
            ),
            Field::required("absent", Shape::Integer, "How many of them are not there."),
        ])),
        "The searches that lost the most, up to five; none where none lost anything.",
    ),
]);

/// What is done about a search of which stored neighbours are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// They are lost.
    Fail,
    /// They may be newer than what was restored: the search says nothing.
    PassOver,
}

/// The text of a sample, as it was stored.
///
/// # Errors
/// `artifact.absent`, `artifact.damaged`, or what the store says.
pub async fn text_of(store: &dyn ArtifactStore, artifact: &Artifact) -> Result<Vec<u8>, StepError> {
    let text = bytes(store, &artifact.path).await.map_err(|error| match error.code.as_str() {
        "artifact.absent" => error.help("without it nobody can say whether searches find what they found; what was restored is not worse for it"),
        _ => error,
    })?;
    let found = as_stored(&artifact.path, &text);
    if !found.same_content(artifact) {
        let message = format!(
            "{} was stored as {} bytes, sha256 {}, and is now {} bytes, sha256 {}",
            artifact.path, artifact.size, artifact.sha256, found.size, found.sha256
        );
        return Err(StepError::new("artifact.damaged", message));
    }
    Ok(text)
}

/// One search, compared.
#[derive(Debug, Clone, Serialize)]
struct Lost {
    point: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    using: Option<String>,
    of: u64,
    found: u64,
    stored: u64,
    agree: u64,
    absent: u64,
}

impl Lost {
    /// How much it lost, of one.
    fn severity(&self) -> f64 {
        1.0 - share(self.found, self.of).min(share(self.agree, self.stored))
    }
}

/// What was found out; the outputs of the kind.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// The share of the stored neighbours that a search finds now; of several samples the least.
    pub recall: f64,
    /// The share that a search found when that sample was taken.
    pub recall_then: f64,
    /// The share of the stored neighbours that are there with the scores that they had.
    pub agreement: f64,
    queries: u64,
    passed_over: u64,
    worst: Vec<Lost>,
}

impl Default for Compared {
    fn default() -> Self {
        Self { recall: 1.0, recall_then: 1.0, agreement: 1.0, queries: 0, passed_over: 0, worst: Vec::new() }
    }
}

/// Asks every search of a sample again.
///
/// # Errors
/// What the server says.
pub async fn compared(
    ctx: &Ctx,
    searches: &dyn Searches,
    file: SampleFile,
    absent: Absent,
) -> Result<Compared, StepError> {
    let mut all = Compared { queries: file.queries.len() as u64, ..Compared::default() };
    let (mut of, mut found, mut then, mut stored, mut agree) = (0, 0, 0, 0, 0);
    for (done, query) in file.queries.into_iter().enumerate() {
        ctx.progress(done as u64, Some(all.queries), "queries", searches.of());
        let (exact, by_index) =
            (searches.to(&query.vector, true).await?, searches.to(&query.vector, false).await?);
        let wanted = others(&query.neighbours, &query.point, searches.k());
        let (whole, now): (Vec<_>, Vec<_>) = (query.neighbours.iter().collect(), exact.iter().collect());
        let mut lost = Lost {
            of: wanted.len() as u64,
            found: matched(&wanted, &others(&by_index, &query.point, searches.k()), false),
            stored: whole.len() as u64,
            agree: matched(&whole, &now, true),
            absent: 0,
            using: file.head.using.clone(),
            point: query.point.clone(),
        };
        if absent == Absent::PassOver && lost.severity() > 0.0 {
            let ids: Vec<Value> = query.neighbours.iter().map(|one| one.id.clone()).collect();
            if searches.there(&ids).await? < lost.stored {
                (all.passed_over, all.queries) = (all.passed_over + 1, all.queries - 1);
                continue;
            }
        }
        (of, found, then) = (of + lost.of, found + lost.found, then + query.found);
        (stored, agree) = (stored + lost.stored, agree + lost.agree);
        if lost.severity() > 0.0 {
            let ids: Vec<Value> = query.neighbours.iter().map(|one| one.id.clone()).collect();
            if all.is_among_the_worst(&lost) {
                lost.absent = lost.stored.saturating_sub(searches.there(&ids).await?);
                all.name(lost);
            }
        }
    }
    (all.recall, all.recall_then, all.agreement) = (share(found, of), share(then, of), share(agree, stored));
    Ok(all)
}

impl Compared {
    fn is_among_the_worst(&self, lost: &Lost) -> bool {
        self.worst.len() < NAMED || self.worst.last().is_some_and(|least| lost.severity() > least.severity())
    }

    fn name(&mut self, lost: Lost) {
        self.worst.push(lost);
        self.worst.sort_by(|a, b| b.severity().total_cmp(&a.severity()));
        self.worst.truncate(NAMED);
    }

    /// Together with another sample: the least counts.
    pub fn add(&mut self, other: Self) {
        if other.queries > 0 && (self.queries == 0 || other.recall < self.recall) {
            (self.recall, self.recall_then) = (other.recall, other.recall_then);
        }
        self.agreement = self.agreement.min(other.agreement);
        self.queries += other.queries;
        self.passed_over += other.passed_over;
        other.worst.into_iter().for_each(|lost| self.name(lost));
    }

    /// The share that an index shall find: what is said, or hardly less than then.
    fn wanted(&self, min: Option<f64>) -> f64 {
        // Shares are rounded to a few digits.
        min.unwrap_or_else(|| (self.recall_then - TOLERATED).clamp(0.0, WANTED) - 1e-9)
    }

    /// What speaks against it, where less than `min` is found again; where that is not said, less than then.
    pub fn lost(&self, min: Option<f64>) -> Option<Loss> {
        let (least, min) = (self.wanted(min), min.unwrap_or(WANTED));
        if self.recall >= least && self.agreement >= min {
            return None;
        }
        let explained = |lost: &Lost| {
            lost.agree + lost.absent >= lost.stored && lost.found + lost.absent >= lost.of && lost.absent > 0
        };
        Some(if self.worst.iter().all(explained) {
            Loss::Points
        } else if self.agreement < min {
            Loss::Data
        } else if self.recall_then < least {
            Loss::Nothing
        } else {
            Loss::Index
        })
    }

    /// In words, what was found of the neighbours that were stored.
    pub fn in_words(&self, of: &str, min: Option<f64>) -> String {
        let min = (self.wanted(min) * 1000.0).round() / 1000.0;
        let words = |lost: &Lost| {
            let using = lost.using.as_ref().map_or(String::new(), |name| format!(" by {name}"));
            let absent = match lost.absent {
                0 => String::new(),
                some => format!(", and {some} are not there at all"),
            };
            format!(
                "around point {}{using} a search finds {} of {}, and {} of {} have the scores that they had{absent}",
                lost.point, lost.found, lost.of, lost.agree, lost.stored
            )
        };
        let worst: Vec<String> = self.worst.iter().take(IN_WORDS).map(words).collect();
        format!(
            "of the neighbours that were stored of {of}, a search finds {} (then {}), and {} are there with the scores that they \
             had; at least {min} is wanted. The worst: {}",
            self.recall,
            self.recall_then,
            self.agreement,
            worst.join("; ")
        )
    }
}

/// What the searches lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Some points are not there, and all others are as they were.
    Points,
    /// The data are others.
    Data,
    /// The index finds less than it did.
    Index,
    /// It finds no less than it did, which was less than is wanted.
    Nothing,
}
