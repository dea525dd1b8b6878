//! LOGIN7: who connects, to which database, as which program. Main type: [`Login`].

use super::bytes::{Malformed, Reader, utf16_text};

/// Where the table of offsets begins; it holds 9 pairs that matter here.
const TABLE: usize = 36;

/// What a client says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The packet size that it asks for.
    pub packet_size: u32,
    /// The client's machine.
    pub host: String,
    /// The login's name.
    pub user: String,
    /// The password, unscrambled.
    pub password: String,
    /// The program's name; an attempt of a run writes its id here.
    pub application: String,
    /// The database to start in; empty for the default.
    pub database: String,
}

impl Login {
    /// Reads a LOGIN7 message.
    ///
    /// # Errors
    /// A message that is too short, or a field that lies outside it.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let mut fixed = Reader::new("LOGIN7", body);
        let length = fixed.u32()? as usize;
        if length != body.len() {
            return Err(fixed.malformed("its length is not the message's"));
        }
        let _tds_version = fixed.u32()?;
        let packet_size = fixed.u32()?;
        let mut table = Reader::new("LOGIN7", body);
        table.take(TABLE)?;
        let field = |table: &mut Reader<'_>| -> Result<&[u8], Malformed> {
            let offset = usize::from(table.u16()?);
            let units = usize::from(table.u16()?);
            let bytes = body.get(offset..).and_then(|rest| rest.get(..units * 2));
            bytes.ok_or_else(|| table.malformed("a field lies outside it"))
        };
        let host = utf16_text(field(&mut table)?);
        let user = utf16_text(field(&mut table)?);
        let password = utf16_text(&unscrambled(field(&mut table)?));
        let application = utf16_text(field(&mut table)?);
        let _server = field(&mut table)?;
        // The extension block's length counts bytes, so it is not a field like the others.
        table.take(4)?;
        let _library = field(&mut table)?;
        let _language = field(&mut table)?;
        let database = utf16_text(field(&mut table)?);
        Ok(Self { packet_size, host, user, password, application, database })
    }
}

/// A password's bytes: on the wire the halves of each are swapped and all bits of 0xA5 turned.
fn unscrambled(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| (byte ^ 0xA5).rotate_right(4)).collect()
}
