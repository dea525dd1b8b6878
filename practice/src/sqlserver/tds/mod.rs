//! TDS 7.4, the server's side. Main function: [`parse_client_message`].
//!
//! Nothing here trusts a length: hostile bytes end in [`bytes::Malformed`], never in a panic, and memory
//! grows only by what was received.

pub mod bytes;

pub mod packet;

pub mod prelogin;

pub mod login;

pub mod wire;

pub mod parameter;

pub mod tokens;

pub mod request;

pub mod tls_stream;

use bytes::Malformed;
use packet::{HEADER, Kind, MESSAGE_LIMIT, Message};

/// Reads one message from a client's bytes, packets joined, down to the last value: what a fuzzer calls.
///
/// # Errors
/// [`Malformed`] for whatever a client must not send.
pub fn parse_client_message(bytes: &[u8]) -> Result<(), Malformed> {
    let mut rest = bytes;
    let mut message: Option<Message> = None;
    loop {
        let (header, after) =
            rest.split_first_chunk::<HEADER>().ok_or(Malformed::new("packet", "ends in its header"))?;
        let (kind, last, length) = packet::parse_header(*header)?;
        let (body, after) =
            after.split_at_checked(length).ok_or(Malformed::new("packet", "ends too early"))?;
        let so_far = message.get_or_insert(Message { kind, body: Vec::new() });
        if so_far.kind != kind || so_far.body.len() + length > MESSAGE_LIMIT {
            return Err(Malformed::new("message", "its packets do not belong together"));
        }
        so_far.body.extend_from_slice(body);
        rest = after;
        if last {
            break;
        }
    }
    match message {
        Some(Message { kind: Kind::Prelogin, body }) => prelogin::parse(&body).map(|_| ()),
        Some(Message { kind: Kind::Login, body }) => login::Login::parse(&body).map(|_| ()),
        Some(message) => request::Request::parse(&message).map(|_| ()),
        None => Err(Malformed::new("message", "it has no packet")),
    }
}
