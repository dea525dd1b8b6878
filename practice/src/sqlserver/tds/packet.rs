//! Packets and the messages they carry. Main type: [`Message`].

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::bytes::Malformed;

/// Length of a packet's header.
pub const HEADER: usize = 8;
/// The packet size before and, unless the login asks otherwise, after the login.
pub const DEFAULT_SIZE: usize = 4096;
/// The largest message that is read; a client that sends more is cut off.
pub const MESSAGE_LIMIT: usize = 64 << 20;
const LAST: u8 = 0x01;
const LARGEST_PACKET: usize = 32767;

/// What a packet's first byte says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SQL batch, 0x01.
    Batch,
    /// Remote procedure call, 0x03.
    Rpc,
    /// Attention: cancel what is running, 0x06.
    Attention,
    /// Transaction manager request, 0x0E.
    Transaction,
    /// LOGIN7, 0x10.
    Login,
    /// PRELOGIN and the TLS handshake, 0x12.
    Prelogin,
}

impl Kind {
    /// The kind of a packet whose first byte is `byte`.
    ///
    /// # Errors
    /// A type that this server does not speak, bulk load among them.
    pub const fn parse(byte: u8) -> Result<Self, Malformed> {
        Ok(match byte {
            0x01 => Self::Batch,
            0x03 => Self::Rpc,
            0x06 => Self::Attention,
            0x0E => Self::Transaction,
            0x10 => Self::Login,
            0x12 => Self::Prelogin,
            _ => return Err(Malformed::new("packet", "its type is not one a client sends here")),
        })
    }
}

/// A whole message: the bodies of its packets, joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The type of its packets.
    pub kind: Kind,
    /// What they carry.
    pub body: Vec<u8>,
}

/// Why no further message can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The connection broke inside a message.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The bytes are not TDS.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A packet header's kind, whether it is the message's last, and the length of the body that follows.
///
/// # Errors
/// An unknown type or a length outside 8..=32767.
pub fn parse_header(header: [u8; HEADER]) -> Result<(Kind, bool, usize), Malformed> {
    let kind = Kind::parse(header[0])?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if !(HEADER..=LARGEST_PACKET).contains(&length) {
        return Err(Malformed::new("packet", "its length is impossible"));
    }
    Ok((kind, header[1] & LAST != 0, length - HEADER))
}

/// The next message, or nothing when the peer has closed the connection between two.
///
/// # Errors
/// [`ReadError`]; packets of different types in one message, and messages over [`MESSAGE_LIMIT`], too.
pub async fn next_message(from: &mut (impl AsyncRead + Unpin)) -> Result<Option<Message>, ReadError> {
    let mut message: Option<Message> = None;
    loop {
        let mut header = [0; HEADER];
        let read = from.read(&mut header).await?;
        if read == 0 && message.is_none() {
            return Ok(None);
        }
        from.read_exact(&mut header[read..]).await?;
        let (kind, last, length) = parse_header(header)?;
        let so_far = message.get_or_insert(Message { kind, body: Vec::new() });
        if so_far.kind != kind {
            return Err(Malformed::new("message", "its packets are of different types").into());
        }
        let start = so_far.body.len();
        if start + length > MESSAGE_LIMIT {
            return Err(Malformed::new("message", "it is longer than 64 MiB").into());
        }
        so_far.body.resize(start + length, 0);
        from.read_exact(&mut so_far.body[start..]).await?;
        if last {
            return Ok(message);
        }
    }
}

/// Writes a server's message in packets, as its parts come.
#[derive(Debug)]
pub struct Writer {
    size: usize,
    number: u8,
    waiting: Vec<u8>,
}

impl Writer {
    /// A writer of packets of at most `size` bytes, kept within what the protocol allows.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size: size.clamp(512, LARGEST_PACKET), number: 1, waiting: Vec::new() }
    }

    /// Adds `tokens`; whole packets leave, and with `now` what is left over too.
    pub async fn put(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        tokens: &[u8],
        now: bool,
    ) -> std::io::Result<()> {
        self.waiting.extend_from_slice(tokens);
        let room = self.size - HEADER;
        // The last packet must carry the end mark, so a full one waits until more is known to follow.
        while self.waiting.len() > room {
            let body: Vec<u8> = self.waiting.drain(..room).collect();
            self.packet(to, &body, 0).await?;
        }
        if now && !self.waiting.is_empty() {
            let body = std::mem::take(&mut self.waiting);
            self.packet(to, &body, 0).await?;
            to.flush().await?;
        }
        Ok(())
    }

    /// Ends the message.
    pub async fn end(&mut self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let body = std::mem::take(&mut self.waiting);
        self.packet(to, &body, LAST).await?;
        self.number = 1;
        to.flush().await
    }

    async fn packet(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        body: &[u8],
        status: u8,
    ) -> std::io::Result<()> {
        let length = u16::try_from(body.len() + HEADER).unwrap_or(u16::MAX).to_be_bytes();
        let mut packet = Vec::with_capacity(body.len() + HEADER);
        packet.extend_from_slice(&[0x04, status, length[0], length[1], 0, 0, self.number, 0]);
        packet.extend_from_slice(body);
        self.number = self.number.wrapping_add(1);
        to.write_all(&packet).await
    }
}
