//! PRELOGIN: the two sides agree whether the connection is encrypted. Main type: [`Encryption`].

use super::bytes::{Malformed, Reader};

const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const TERMINATOR: u8 = 0xFF;

/// How much of a connection goes through TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// The login alone (0).
    LoginOnly,
    /// Everything (1).
    On,
    /// Nothing (2).
    NotSupported,
    /// Everything, or no connection (3).
    Required,
}

impl Encryption {
    fn parse(byte: u8) -> Result<Self, Malformed> {
        Ok(match byte {
            0 => Self::LoginOnly,
            1 => Self::On,
            2 => Self::NotSupported,
            3 => Self::Required,
            _ => return Err(Malformed::new("PRELOGIN", "its encryption option is unknown")),
        })
    }

    const fn byte(self) -> u8 {
        match self {
            Self::LoginOnly => 0,
            Self::On => 1,
            Self::NotSupported => 2,
            Self::Required => 3,
        }
    }
}

/// What a client's PRELOGIN asks for; a client that names no encryption gets none.
///
/// # Errors
/// Options that point outside the message, or an unknown encryption value.
pub fn parse(body: &[u8]) -> Result<Encryption, Malformed> {
    let mut options = Reader::new("PRELOGIN", body);
    let mut asked = Encryption::NotSupported;
    loop {
        let option = options.u8()?;
        if option == TERMINATOR {
            return Ok(asked);
        }
        let offset = usize::from(options.u16_be()?);
        let length = usize::from(options.u16_be()?);
        let value = body
            .get(offset..)
            .and_then(|rest| rest.get(..length))
            .ok_or_else(|| options.malformed("an option lies outside it"))?;
        if option == ENCRYPTION {
            let byte = value.first().ok_or_else(|| options.malformed("its encryption option is empty"))?;
            asked = Encryption::parse(*byte)?;
        }
    }
}

/// The server's answer: its version, the encryption, and empty values for the other options.
#[must_use]
pub fn reply(version: [u8; 4], encryption: Encryption) -> Vec<u8> {
    let [major, minor, high, low] = version;
    let values: [(u8, &[u8]); 5] = [
        (VERSION, &[major, minor, high, low, 0, 0]),
        (ENCRYPTION, &[encryption.byte()]),
        (2, &[0]),
        (3, &[]),
        (4, &[0]),
    ];
    let mut offset = u16::try_from(values.len() * 5 + 1).unwrap_or(u16::MAX);
    let mut out = Vec::new();
    for (option, value) in &values {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        out.push(*option);
        out.extend_from_slice(&offset.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        offset += length;
    }
    out.push(TERMINATOR);
    values.iter().for_each(|(_, value)| out.extend_from_slice(value));
    out
}
