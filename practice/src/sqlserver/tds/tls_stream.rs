//! TLS that is negotiated inside PRELOGIN packets. Main type: [`HandshakeStream`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::packet::HEADER;

const PRELOGIN: u8 = 0x12;

/// A connection on which TLS records travel in PRELOGIN packets until the handshake is over.
///
/// Reading tells the two forms apart by the first byte of each piece (a TLS record begins with 0x14 to
/// 0x17): the TLS stack reads ahead, so raw records may come before it says that the handshake is over.
#[derive(Debug)]
pub struct HandshakeStream<S> {
    inner: S,
    wrapping: bool,
    header: Vec<u8>,
    body_left: usize,
    raw: bool,
    out: Vec<u8>,
    out_at: usize,
}

impl<S> HandshakeStream<S> {
    /// A stream that wraps what is written.
    pub const fn new(inner: S) -> Self {
        Self {
            inner,
            wrapping: true,
            header: Vec::new(),
            body_left: 0,
            raw: false,
            out: Vec::new(),
            out_at: 0,
        }
    }

    /// Writes go out as they are from now on.
    pub const fn handshake_is_over(&mut self) {
        self.wrapping = false;
    }

    /// The connection itself.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HandshakeStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.raw && this.body_left == 0 {
            let missing = if this.header.is_empty() { 1 } else { HEADER - this.header.len() };
            let mut space = [0; HEADER];
            let mut piece = ReadBuf::new(&mut space[..missing]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.header.extend_from_slice(piece.filled());
            if this.header[0] != PRELOGIN {
                this.raw = true;
                break;
            }
            if this.header.len() == HEADER {
                let length = usize::from(u16::from_be_bytes([this.header[2], this.header[3]]));
                this.body_left = length.checked_sub(HEADER).ok_or(io::ErrorKind::InvalidData)?;
                this.header.clear();
            }
        }
        if this.raw {
            // The byte that showed the raw form comes first.
            let first = this.header.len().min(buf.remaining());
            if first > 0 {
                buf.put_slice(&this.header[..first]);
                this.header.drain(..first);
                return Poll::Ready(Ok(()));
            }
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        // Not beyond this packet: what follows may be a header, or raw.
        let room = this.body_left.min(buf.remaining());
        let mut limited = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.inner).poll_read(cx, &mut limited))?;
        let read = limited.filled().len();
        this.body_left -= read;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> HandshakeStream<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.out_at < self.out.len() {
            let sent = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.out[self.out_at..]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out_at += sent;
        }
        self.out.clear();
        self.out_at = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HandshakeStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        if !self.wrapping {
            return Pin::new(&mut self.inner).poll_write(cx, bytes);
        }
        let piece = &bytes[..bytes.len().min(4096 - HEADER)];
        let length = u16::try_from(piece.len() + HEADER).unwrap_or(u16::MAX).to_be_bytes();
        self.out.extend_from_slice(&[PRELOGIN, 0x01, length[0], length[1], 0, 0, 1, 0]);
        self.out.extend_from_slice(piece);
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
