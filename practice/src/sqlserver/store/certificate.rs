//! Certificates with their private keys, as a server keeps them and as files hold them. Main type: [`Certificate`].

use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::sqlserver::cast::hex;

/// A certificate in `master`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its subject.
    pub subject: String,
    /// The 20 bytes by which backups know it.
    pub thumbprint: Vec<u8>,
    /// When it ends.
    pub expires: DateTime<Utc>,
    /// Whether its private key is there.
    pub has_key: bool,
    /// When its private key was last backed up.
    pub backed_up: Option<DateTime<Utc>>,
}

/// The public part in a file.
#[derive(Serialize, Deserialize)]
struct PublicFile {
    subject: String,
    thumbprint: Vec<u8>,
    expires: DateTime<Utc>,
}

/// The private key in a file: what it belongs to, and what proves the password.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    thumbprint: Vec<u8>,
    lock: String,
}

/// Why a file gives no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It is not there, or is no such file.
    File,
    /// It is locked with another password.
    Password,
    /// The private key belongs to another certificate.
    OtherKey,
}

impl Certificate {
    /// A new one of this name, made of what is drawn.
    #[must_use]
    pub fn new(id: u32, name: &str, subject: &str, expires: DateTime<Utc>, drawn: &[u8]) -> Self {
        let thumbprint = Sha256::digest([drawn, subject.as_bytes()].concat())[..20].to_vec();
        let (name, subject) = (name.to_owned(), subject.to_owned());
        Self { id, name, subject, thumbprint, expires, has_key: true, backed_up: None }
    }

    /// Writes the public part into a file that is not there yet.
    ///
    /// # Errors
    /// When the file is there or cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let (subject, thumbprint) = (self.subject.clone(), self.thumbprint.clone());
        write_new(path, &PublicFile { subject, thumbprint, expires: self.expires })
    }

    /// Writes the private key, locked with a password, into a file that is not there yet.
    ///
    /// # Errors
    /// When the file is there or cannot be written.
    pub fn write_key(&self, path: &Path, password: &str) -> io::Result<()> {
        write_new(
            path,
            &KeyFile { thumbprint: self.thumbprint.clone(), lock: lock(&self.thumbprint, password) },
        )
    }

    /// A certificate of files.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(id: u32, name: &str, path: &Path, key: Option<(&Path, &str)>) -> Result<Self, Unreadable> {
        let public: PublicFile = read(path)?;
        if let Some((path, password)) = key {
            let key: KeyFile = read(path)?;
            if key.thumbprint != public.thumbprint {
                return Err(Unreadable::OtherKey);
            }
            if key.lock != lock(&key.thumbprint, password) {
                return Err(Unreadable::Password);
            }
        }
        let PublicFile { subject, thumbprint, expires } = public;
        let name = name.to_owned();
        Ok(Self { id, name, subject, thumbprint, expires, has_key: key.is_some(), backed_up: None })
    }
}

fn lock(thumbprint: &[u8], password: &str) -> String {
    hex(&Sha256::digest([thumbprint, password.as_bytes()].concat()))
}

fn write_new(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    io::Write::write_all(&mut file, &serde_json::to_vec(content)?)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Unreadable> {
    let bytes = std::fs::read(path).map_err(|_| Unreadable::File)?;
    serde_json::from_slice(&bytes).map_err(|_| Unreadable::File)
}

/// Bytes as they stand on encrypted media, or back again: without the certificate nobody has the key that this is drawn from.
#[must_use]
pub fn enciphered(bytes: &[u8], thumbprint: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (at, block) in bytes.chunks(32).enumerate() {
        let pad = Sha256::digest([thumbprint, &(at as u64).to_le_bytes()].concat());
        out.extend(block.iter().zip(pad).map(|(byte, pad)| byte ^ pad));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_with_its_password_alone() {
        let dir = std::env::temp_dir().join(format!("drydock-certificate-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (file, key) = (dir.join("c.cer"), dir.join("c.pvk"));
        let made = Certificate::new(256, "c", "Backups", DateTime::UNIX_EPOCH, b"7");
        made.write(&file).unwrap();
        made.write_key(&key, "Harbour-7").unwrap();
        assert!(made.write(&file).is_err(), "it is never written over");
        let read = |password| Certificate::read(256, "c", &file, Some((&key, password)));
        assert_eq!(read("Harbour-7"), Ok(made.clone()));
        assert_eq!(read("Harbour-8"), Err(Unreadable::Password));
        assert_eq!(Certificate::read(256, "c", &key, None), Err(Unreadable::File));
        let other = Certificate::new(257, "d", "Other", DateTime::UNIX_EPOCH, b"8");
        other.write(&dir.join("d.cer")).unwrap();
        let mixed = Certificate::read(257, "d", &dir.join("d.cer"), Some((&key, "Harbour-7")));
        assert_eq!(mixed, Err(Unreadable::OtherKey));
        std::fs::remove_dir_all(&dir).unwrap();
        let text: Vec<u8> = (0..100).collect();
        let hidden = enciphered(&text, &made.thumbprint);
        assert_ne!(hidden, text);
        assert_eq!(enciphered(&hidden, &made.thumbprint), text);
        assert_ne!(enciphered(&hidden, &other.thumbprint), text);
    }
}
