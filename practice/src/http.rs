//! What the practice servers that speak HTTP share: each request meets its fault, does its work even when
//! the client has gone, and is recorded before its answer leaves. Main types: [`Frame`], [`Serving`].

mod body;
mod repeats;
mod wire;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::faults::{Fault, Faults};
use crate::ledger::{Ledger, Line};

use body::BodyDigest;
pub use repeats::Repeats;
use wire::{Wire, WireListener};

/// The header in which a client names the attempt that a request belongs to.
pub const ATTEMPT_HEADER: &str = "x-drydock-attempt";

/// What surrounds the routes of one HTTP server.
#[derive(Clone)]
pub struct Frame {
    /// The server's name in the ledger and in fault rules.
    pub server: String,
    /// Where every request is recorded.
    pub ledger: Ledger,
    /// What goes wrong on purpose.
    pub faults: Faults,
    /// Whether a request with this method and path could change something.
    pub writes: fn(&Method, &str) -> bool,
    /// An error as this server words it, for faults that answer one.
    pub refusal: fn(StatusCode, &str) -> Response,
    /// What it answers a request for this address when its disk is full.
    pub disk_full: fn(&Uri) -> Response,
    /// The answers that it gives again to requests with the same `Idempotency-Key`, where it heeds that header.
    pub repeats: Option<Repeats>,
}

/// A server that listens until it is stopped or dropped.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Serving {
    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes the listener and every connection, also those whose answer is held back.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Serves `routes` on `listener` inside `frame`.
///
/// # Errors
/// When the listener cannot tell its address.
pub fn serve(listener: TcpListener, routes: Router, frame: Frame) -> std::io::Result<Serving> {
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let framed = routes.layer(middleware::from_fn_with_state(Arc::new(frame), observe));
    let listener = WireListener::new(listener, address, stop.clone());
    let service = framed.into_make_service_with_connect_info::<Wire>();
    let stopped = stop.clone().cancelled_owned();
    tokio::spawn(async move {
        tokio::select! {
            () = stopped => {}
            ended = axum::serve(listener, service) => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a practice server ended");
                }
            }
        }
    });
    Ok(Serving { address, stop })
}

/// One request: its fault, its work, its line in the ledger, its answer.
async fn observe(
    State(frame): State<Arc<Frame>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
    next: Next,
) -> Response {
    let attempt =
        request.headers().get(ATTEMPT_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let op = format!("{} {}", request.method(), request.uri().path());
    let writes = (frame.writes)(request.method(), request.uri().path());
    let fault = frame.faults.hit(&frame.server, attempt.as_deref(), &op);
    let text = request.uri().query().map(str::to_owned);
    let mut line = Line { server: frame.server.clone(), attempt, op, writes, text, ..Line::default() };
    match &fault {
        Some(Fault::CutBefore) => return cut(&wire),
        Some(Fault::Slow { ms }) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        Some(Fault::Error { code, message }) => return refused(&frame, line, *code, message),
        Some(Fault::DiskFull) if writes => {
            let answer = (frame.disk_full)(request.uri());
            // The body is read all the same, so that the client hears the answer.
            let mut body = request.into_body().into_data_stream();
            while let Some(Ok(_)) = body.next().await {}
            frame.ledger.record(Line { writes: false, ..line });
            return answer;
        }
        _ => {}
    }
    let digest = BodyDigest::default();
    let mut request = digest.clone().watch(request);
    if let Some(fault) = &fault {
        // Some faults are the handler's.
        request.extensions_mut().insert(fault.clone());
    }
    line.held = fault == Some(Fault::Hold);
    // A client that goes away does not stop the work: as with the real servers, it is done and counts.
    let refusal = frame.refusal;
    let work = tokio::spawn(async move {
        let (response, before) = match &frame.repeats {
            Some(repeats) => repeats.answer(request, |request| next.run(request)).await,
            None => (next.run(request).await, false),
        };
        line.writes &= !response.status().is_client_error() && !before;
        line.sha256 = digest.hex();
        frame.ledger.record(line);
        response
    });
    let response = work.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response());
    match fault {
        Some(Fault::CutAfter) => cut(&wire),
        Some(Fault::Hold) => pending().await,
        Some(Fault::CutAt { bytes }) => cut_at(response, bytes, wire),
        Some(Fault::ErrorAfter { code, message }) => refusal(status(code), &message),
        Some(Fault::Away { ms }) => {
            wire.leave(Duration::from_millis(ms)).await;
            cut(&wire)
        }
        _ => response,
    }
}

/// Cuts the connection; the response is only there to end the handler.
fn cut(wire: &Wire) -> Response {
    wire.cut();
    empty(StatusCode::SERVICE_UNAVAILABLE)
}

/// The same answer, whose body ends after so many bytes with its connection. What is sent before that is sent.
fn cut_at(response: Response, bytes: u64, wire: Wire) -> Response {
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    let (parts, body) = response.into_parts();
    let pieces = body.into_data_stream().map(move |piece| {
        piece.map(|mut piece| {
            piece.truncate(left);
            left -= piece.len();
            (piece, left == 0)
        })
    });
    let until_cut = pieces.scan(false, |over, piece| {
        let go_on = !*over;
        *over = matches!(&piece, Ok((_, true)));
        std::future::ready(go_on.then(|| piece.map(|(piece, _)| piece)))
    });
    let end = futures_util::stream::once(async move {
        wire.cut_when_sent();
        pending().await
    });
    Response::from_parts(parts, Body::from_stream(until_cut.chain(end)))
}

fn refused(frame: &Frame, line: Line, code: i64, message: &str) -> Response {
    frame.ledger.record(Line { writes: false, ..line });
    (frame.refusal)(status(code), message)
}

fn status(code: i64) -> StatusCode {
    let status = u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// An answer with nothing in it but its status.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    (status, Body::empty()).into_response()
}
