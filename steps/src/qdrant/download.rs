//! The bytes of a snapshot: [`download`], which goes on where it was cut.

use std::time::Duration;

use bytes::Bytes;
use drydock_step::{ByteStream, StepError};
use futures_util::stream;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_MATCH, RANGE};
use reqwest::{Response, StatusCode};

use super::node::Node;
use super::refusal::lost;
use super::requests::{self, Ask, Twice, Whose};
use crate::http_client::causes;

/// The pauses after cuts in a row, between which nothing came.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(1500),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// A snapshot's bytes. After a cut the rest is asked for, and only of the very same file; `seen` hears the length of every piece.
///
/// Errors in it: `qdrant.lost` when it was cut again and again, `qdrant.changed` when the file is another one now, `qdrant.absent`.
pub(super) fn download(
    node: Node,
    whose: Whose<'_>,
    snapshot: &str,
    seen: impl Fn(u64) + Send + Sync + 'static,
) -> ByteStream {
    let ask = requests::download(whose, snapshot);
    let begun = Download { node, ask, offset: 0, total: None, etag: None, open: None, cuts: 0 };
    Box::pin(stream::try_unfold((begun, seen), |(mut download, seen)| async move {
        let piece = download.next().await?;
        Ok(piece.map(|piece| {
            seen(piece.len() as u64);
            (piece, (download, seen))
        }))
    }))
}

struct Download {
    node: Node,
    ask: Ask,
    /// How much has come.
    offset: u64,
    /// How much there is, where the server says it.
    total: Option<u64>,
    etag: Option<HeaderValue>,
    /// The answer that is being read.
    open: Option<Response>,
    /// Cuts since the last byte.
    cuts: usize,
}

impl Download {
    /// The next piece; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, StepError> {
        loop {
            let cut = match self.piece().await {
                Ok(Some(piece)) => {
                    self.offset += piece.len() as u64;
                    self.cuts = 0;
                    return Ok(Some(piece));
                }
                Ok(None) if self.total.is_none_or(|total| self.offset == total) => return Ok(None),
                Ok(None) => self.lost("ended early"),
                Err(error) if error.transient => error,
                Err(error) => return Err(error),
            };
            self.open = None;
            let pause = PAUSES.get(self.cuts).ok_or(cut)?;
            self.cuts += 1;
            tokio::time::sleep(*pause).await;
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, StepError> {
        let response = match &mut self.open {
            Some(open) => open,
            None => {
                let opened = self.opened().await?;
                self.open.insert(opened)
            }
        };
        match tokio::time::timeout(self.node.timeout, response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(self.lost(&format!("was cut: {}", causes(&error)))),
            Err(_) => Err(self.lost("stood still for longer than the target's `timeout`")),
        }
    }

    async fn opened(&mut self) -> Result<Response, StepError> {
        let mut headers = HeaderMap::new();
        if self.offset > 0 {
            let Some(etag) = &self.etag else {
                let error = self.lost("was cut, and the server cannot go on where it was");
                return Err(StepError { transient: false, ..error });
            };
            headers.insert(IF_MATCH, etag.clone());
            if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.offset)) {
                headers.insert(RANGE, range);
            }
        }
        let response = self.node.open(&self.ask, headers).await?;
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let (from, total) = if partial { range_of(&response) } else { (Some(0), response.content_length()) };
        if from != Some(self.offset) || (self.offset > 0 && total != self.total) {
            let name = self.node.name(&self.ask);
            let message = format!("{name} did not go on at byte {} of the same file", self.offset);
            return Err(StepError::new("qdrant.changed", message));
        }
        if self.offset == 0 {
            self.total = total;
            self.etag = response.headers().get(ETAG).cloned();
        }
        Ok(response)
    }

    fn lost(&self, why: &str) -> StepError {
        let of = self.total.map_or(String::new(), |total| format!(" of {total}"));
        let why = format!("{why}, at byte {}{of}", self.offset);
        lost(&self.node.name(&self.ask), &why, Twice::Reads)
    }
}

/// The first byte of a part and the length of the whole, `bytes 100-199/1000`.
fn range_of(response: &Response) -> (Option<u64>, Option<u64>) {
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let range = range.and_then(|range| range.strip_prefix("bytes "));
    let Some((part, total)) = range.and_then(|range| range.split_once('/')) else { return (None, None) };
    (part.split('-').next().and_then(|first| first.parse().ok()), total.parse().ok())
}
