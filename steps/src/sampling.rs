//! A sample of searches on its way into an artifact store: [`Writing`]. One search is in memory at a time.

use bytes::Bytes;
use drydock_step::artifact::ByteStream;
use drydock_step::{Ctx, StepError};
use futures_util::stream;
use serde_json::Value;

use crate::sample_file::{END, Head, LARGEST, SampledQuery};
use crate::searches::{Searches, matched, others};

/// How far a file is written.
enum Place {
    Head,
    Queries,
    Over,
}

/// A file that is made while it is stored: one search is in memory at a time.
pub struct Writing {
    /// The attempt.
    pub ctx: Ctx,
    /// Where is searched.
    pub searches: Box<dyn Searches>,
    /// What stands before the searches.
    pub head: Head,
    /// The points to search around, some of which may be gone or lack the vector.
    pub points: std::vec::IntoIter<Value>,
    /// How many of them are enough.
    pub wanted: u64,
}

/// How far it is.
struct Progress {
    writing: Writing,
    done: u64,
    length: usize,
    at: Place,
}

impl Writing {
    /// The file's bytes.
    pub fn body(self) -> ByteStream {
        let begin = Progress { writing: self, done: 0, length: 0, at: Place::Head };
        Box::pin(stream::try_unfold(begin, |mut progress| async move {
            let piece = progress.piece().await?;
            Ok(piece.map(|piece| (Bytes::from(piece), progress)))
        }))
    }
}

impl Progress {
    async fn piece(&mut self) -> Result<Option<String>, StepError> {
        let piece = match self.at {
            Place::Over => return Ok(None),
            Place::Head => {
                self.at = Place::Queries;
                self.writing.head.text()?
            }
            Place::Queries => match self.query().await? {
                Some(query) => {
                    let comma = if self.done > 0 { "," } else { "" };
                    self.done += 1;
                    self.writing.ctx.progress(
                        self.done,
                        Some(self.writing.wanted),
                        "queries",
                        self.writing.head.collection.as_str(),
                    );
                    let query = serde_json::to_string(&query)
                        .map_err(|error| StepError::internal(error.to_string()))?;
                    format!("{comma}\n{query}")
                }
                None => {
                    self.at = Place::Over;
                    END.to_owned()
                }
            },
        };
        self.length += piece.len();
        if self.length > LARGEST {
            let message = format!(
                "the sample of {} would be longer than {LARGEST} bytes",
                self.writing.head.collection
            );
            return Err(StepError::new("input", message).help("take fewer `queries`, or a smaller `k`"));
        }
        Ok(Some(piece))
    }

    /// The search around the next point that has a vector; nothing when there are enough, or no more.
    async fn query(&mut self) -> Result<Option<SampledQuery>, StepError> {
        let Writing { searches, points, wanted, .. } = &mut self.writing;
        if self.done >= *wanted {
            return Ok(None);
        }
        for point in points.by_ref() {
            let Some(vector) = searches.vector_of(&point).await? else { continue };
            let neighbours = searches.to(&vector, true).await?;
            let by_index = searches.to(&vector, false).await?;
            let (truth, found) =
                (others(&neighbours, &point, searches.k()), others(&by_index, &point, searches.k()));
            let (of, found) = (truth.len() as u64, matched(&truth, &found, false));
            return Ok(Some(SampledQuery { point, vector, neighbours, found, of }));
        }
        Ok(None)
    }
}
