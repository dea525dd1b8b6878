//! A connection that can be cut from within a handler, as a pulled cable would. Main type: [`Wire`].

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A handle on one connection.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    cut: CancellationToken,
    /// The connection ends once what was written is sent.
    ending: Arc<AtomicBool>,
    leaves: mpsc::UnboundedSender<Leave>,
}

/// How long a server goes away, and whom to tell when it has gone.
type Leave = (Duration, oneshot::Sender<()>);

impl Wire {
    /// Cuts the connection: nothing more of any answer reaches the peer.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Cuts the connection once everything that was written so far has reached the system.
    pub(super) fn cut_when_sent(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Makes the server refuse connections for a time and drop those that it has. It returns when that is so.
    pub(super) async fn leave(&self, time: Duration) {
        let (gone, when_gone) = oneshot::channel();
        // Where the listener has ended, nobody is to be refused any more.
        if self.leaves.send((time, gone)).is_ok() {
            let _ = when_gone.await;
        }
    }
}

impl Connected<IncomingStream<'_, WireListener>> for Wire {
    fn connect_info(stream: IncomingStream<'_, WireListener>) -> Self {
        let stream = stream.io();
        Self { cut: stream.cut.clone(), ending: Arc::clone(&stream.ending), leaves: stream.leaves.clone() }
    }
}

/// A listener whose connections all end when `stop` is cancelled.
pub(super) struct WireListener {
    /// None while the server is away.
    listener: Option<TcpListener>,
    address: SocketAddr,
    stop: CancellationToken,
    /// Ends the connections that there are, when the server goes away.
    present: CancellationToken,
    leaves: (mpsc::UnboundedSender<Leave>, mpsc::UnboundedReceiver<Leave>),
}

impl WireListener {
    pub(super) fn new(listener: TcpListener, address: SocketAddr, stop: CancellationToken) -> Self {
        let present = stop.child_token();
        Self { listener: Some(listener), address, stop, present, leaves: mpsc::unbounded_channel() }
    }

    /// Closes the port and keeps it: nobody else may have it, and nobody is let in.
    async fn go_away(&mut self, (time, gone): Leave) {
        self.listener = None;
        let kept = bound(self.address);
        self.present.cancel();
        self.present = self.stop.child_token();
        // Whoever asked for it may have been cut with the rest.
        let _ = gone.send(());
        tokio::time::sleep(time).await;
        let opened = kept.and_then(|socket| socket.listen(BACKLOG));
        match opened {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => {
                tracing::error!(%error, address = %self.address, "a practice server did not come back")
            }
        }
    }
}

/// How many connections wait to be accepted.
const BACKLOG: u32 = 1024;

/// A socket that has the address and does not listen: connections are refused.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections that have just ended hold the port on Unix; on Windows the option means something else.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The next connection; of a server that did not come back, never.
async fn accepted(listener: Option<&mut TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => Listener::accept(listener).await.0,
        None => std::future::pending().await,
    }
}

impl Listener for WireListener {
    type Io = WireStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (WireStream, SocketAddr) {
        let stream = loop {
            let leave = tokio::select! {
                stream = accepted(self.listener.as_mut()) => break stream,
                leave = self.leaves.1.recv() => leave,
            };
            if let Some(leave) = leave {
                self.go_away(leave).await;
            }
        };
        // Answers are small and the client waits for each: do not let the kernel collect them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let address = stream.peer_addr().unwrap_or(self.address);
        let cut = self.present.child_token();
        let cancelled = Box::pin(cut.clone().cancelled_owned());
        (
            WireStream { stream, cancelled, cut, ending: Arc::default(), leaves: self.leaves.0.clone() },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// The stream of a connection, which fails at once when it is cut.
pub(super) struct WireStream {
    stream: TcpStream,
    cut: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    ending: Arc<AtomicBool>,
    leaves: mpsc::UnboundedSender<Leave>,
}

impl WireStream {
    fn alive(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.cut.is_cancelled() || self.cancelled.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl AsyncRead for WireStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        // What writes to this stream flushes it after everything that it had to write.
        if flushed.is_ready() && self.ending.load(Ordering::Acquire) {
            self.cut.cancel();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
