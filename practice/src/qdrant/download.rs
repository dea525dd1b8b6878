//! A snapshot's file as an answer: whole or in ranges, streamed, with what a client needs to resume. Main
//! function: [`node_file`].

use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::node::Node;
use super::refusal::Refusal;

/// What of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// From the first byte up to and with the last.
    Range(u64, u64),
    Outside,
}

/// How much of a streamed snapshot is sent at a time.
const PIECE: usize = 4096;

/// Answers a snapshot that the node keeps. What lies in S3 is streamed whole, whatever is asked.
pub(super) async fn node_file(node: &Node, path: PathBuf, headers: &HeaderMap) -> Response {
    if !node.s3 {
        return file_response(path, headers).await;
    }
    match tokio::fs::read(&path).await {
        Ok(bytes) => streamed(bytes.into(), None),
        Err(error) => Refusal::io(&error).text(),
    }
}

/// Bytes in pieces, of which nobody is told how many there are.
pub(super) fn streamed(bytes: Bytes, file: Option<&str>) -> Response {
    let pieces: Vec<_> =
        bytes.chunks(PIECE).map(|piece| Ok::<_, std::io::Error>(bytes.slice_ref(piece))).collect();
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let mut response = ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response();
    if let Some(Ok(named)) = file.map(|file| format!("attachment; filename=\"{file}\"").parse()) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, named);
    }
    response
}

/// Answers the file at `path`: 200, 206 for one range, 412 when `If-Match` names another file, 416 for a
/// range that begins after its end.
async fn file_response(path: PathBuf, headers: &HeaderMap) -> Response {
    match open(&path, headers).await {
        Ok(response) => response,
        Err(error) => Refusal::io(&error).text(),
    }
}

async fn open(path: &Path, headers: &HeaderMap) -> std::io::Result<Response> {
    let mut file = File::open(path).await?;
    let facts = file.metadata().await?;
    let length = facts.len();
    let modified: DateTime<Utc> = facts.modified()?.into();
    let etag = format!("\"{length:x}:{:x}:{:x}\"", modified.timestamp(), modified.timestamp_subsec_nanos());
    let asked = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if asked(header::IF_MATCH).is_some_and(|wanted| wanted != "*" && !wanted.contains(&etag)) {
        return Ok(crate::http::empty(StatusCode::PRECONDITION_FAILED));
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let common = [
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::LAST_MODIFIED, modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
        (header::ETAG, etag),
    ];
    let (status, first, count) = match part(asked(header::RANGE), length) {
        Part::Whole => (StatusCode::OK, 0, length),
        Part::Range(first, last) => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
        Part::Outside => {
            let range = [(header::CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, common, range, Body::empty()).into_response());
        }
    };
    file.seek(SeekFrom::Start(first)).await?;
    let body = Body::from_stream(ReaderStream::new(file.take(count)));
    let sized = [(header::CONTENT_LENGTH, count.to_string())];
    let mut response = (status, common, sized, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = format!("bytes {first}-{}/{length}", first + count - 1).parse()
    {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    Ok(response)
}

/// Reads a `Range` header. What is not one range of bytes is overlooked, as the standard has it.
fn part(range: Option<&str>, length: u64) -> Part {
    let Some((first, last)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return Part::Whole;
    };
    let end = length.saturating_sub(1);
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(end)),
        (Ok(first), Err(_)) if last.is_empty() => (first, end),
        (Err(_), Ok(count)) if first.is_empty() && count > 0 => (length.saturating_sub(count), end),
        _ => return Part::Whole,
    };
    if first >= length { Part::Outside } else { Part::Range(first, last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cases = [
            (None, Part::Whole),
            (Some("bytes=0-99"), Part::Range(0, 99)),
            (Some("bytes=100-"), Part::Range(100, 999)),
            (Some("bytes=-10"), Part::Range(990, 999)),
            (Some("bytes=900-5000"), Part::Range(900, 999)),
            (Some("bytes=1000-"), Part::Outside),
            (Some("bytes=9-3"), Part::Whole),
            (Some("bytes=0-1,4-5"), Part::Whole),
            (Some("lines=1-2"), Part::Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(part(range, 1000), expected, "{range:?}");
        }
        assert_eq!(part(Some("bytes=0-"), 0), Part::Outside);
    }
}
