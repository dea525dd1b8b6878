//! The practice SQL Server's reading of what a client sends: every length is checked before it is believed.

use drydock_practice::sqlserver::parse_client_message;

/// Any bytes as a message.
pub fn check(bytes: &[u8]) {
    // What it says of the bytes does not matter here; that it comes back does.
    let _ = parse_client_message(bytes);
    // Most mutations spoil the header's length first: once more with one that fits, so that what follows it is reached.
    if let (8.., Ok(length)) = (bytes.len(), u16::try_from(bytes.len())) {
        let mut framed = bytes.to_vec();
        framed[1] = 1;
        framed[2..4].copy_from_slice(&length.to_be_bytes());
        let _ = parse_client_message(&framed);
    }
}
