//! Backup files: a media header, then backup sets with their data and checksums. Main type: [`Media`].
//!
//! ```text
//! DRYDOCKM  u32 length  JSON media header  sha256
//! DRYDOCKS  u8 whole  u32 length  JSON set header  sha256  u64 length  data  8 bytes of sha256 per 64 KiB
//! ...
//! ```
//! `whole` is 0 until the set has been written to its end. Of a striped set each file holds one part of the data.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::database::{Access, Base, DataFile, Fork};
use super::lsn::Lsn;
use crate::sqlserver::lang::statement::RecoveryModel;

const MEDIA: &[u8; 8] = b"DRYDOCKM";
const SET: &[u8; 8] = b"DRYDOCKS";
/// What a file in Microsoft Tape Format begins with; those that are written here do not.
const TAPE: &[u8; 4] = b"TAPE";
/// How many bytes one checksum stands for: eight pages of 8 KiB.
const EXTENT: usize = 64 << 10;

/// What a media family says about itself and the whole media set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // The fields carry the names of LABELONLY's columns.
pub struct MediaHeader {
    pub name: Option<String>,
    pub description: Option<String>,
    pub media_set: Uuid,
    pub family: Uuid,
    pub family_count: usize,
    pub family_number: usize,
    pub made: DateTime<Utc>,
    pub compressed: bool,
    /// Which copy of the media set this is, from 0.
    #[serde(default)]
    pub mirror: usize,
    /// How many copies there are.
    #[serde(default = "one")]
    pub mirrors: usize,
    /// `BLOCKSIZE`.
    #[serde(default = "smallest_block")]
    pub block: u32,
    /// Whether its sets are encrypted; nothing is appended to such media.
    #[serde(default)]
    pub encrypted: bool,
}

const fn one() -> usize {
    1
}

const fn smallest_block() -> u32 {
    512
}

/// What a set is encrypted with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encrypted {
    /// HEADERONLY's `KeyAlgorithm`.
    pub algorithm: String,
    /// HEADERONLY's `EncryptorThumbprint`.
    pub thumbprint: Vec<u8>,
}

/// What a set backs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SetKind {
    Full,
    Log,
    Differential,
}

impl SetKind {
    /// HEADERONLY's number and words, and msdb's letter.
    #[must_use]
    pub const fn shown(self) -> (i64, &'static str, &'static str) {
        match self {
            Self::Full => (1, "Database", "D"),
            Self::Log => (2, "Transaction Log", "L"),
            Self::Differential => (5, "Database Differential", "I"),
        }
    }
}

/// Everything that HEADERONLY and FILELISTONLY print of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // The fields carry the names of HEADERONLY's columns.
pub struct SetHeader {
    pub kind: SetKind,
    pub position: usize,
    pub name: Option<String>,
    pub description: Option<String>,
    pub user: String,
    pub server: String,
    pub database: String,
    pub database_created: DateTime<Utc>,
    pub size: u64,
    pub first: Lsn,
    pub last: Lsn,
    pub checkpoint: Lsn,
    pub database_backup: Lsn,
    pub started: DateTime<Utc>,
    pub finished: DateTime<Utc>,
    pub last_valid_restore: Option<DateTime<Utc>>,
    pub guid: Uuid,
    pub binding: Uuid,
    pub family: Uuid,
    pub forks: Vec<Fork>,
    pub first_fork: Uuid,
    pub fork: Uuid,
    pub fork_point: Option<Lsn>,
    pub model: RecoveryModel,
    pub access: Access,
    pub read_only: bool,
    pub differential_base: Option<Base>,
    pub has_checksums: bool,
    pub compressed: bool,
    pub copy_only: bool,
    pub begins_chain: bool,
    pub tail: bool,
    pub tail_with_norecovery: bool,
    pub files: Vec<DataFile>,
    pub file_sizes: Vec<u64>,
    pub database_version: i64,
    pub created_by: String,
    /// `CompressionAlgorithm`.
    #[serde(default)]
    pub algorithm: Option<String>,
    /// The version whose rules the database follows, times ten.
    #[serde(default)]
    pub compatibility: Option<i64>,
    #[serde(default)]
    pub encrypted: Option<Encrypted>,
    /// Whether pages of it were damaged when it was taken.
    #[serde(default)]
    pub is_damaged: bool,
    /// The pages that were damaged in the database, told or not: they come back as they were.
    #[serde(default)]
    pub damaged_pages: Vec<u64>,
    /// Whether a log holds bulk-logged changes.
    #[serde(default)]
    pub has_bulk: bool,
    /// The server's major version and build.
    #[serde(default = "this_version")]
    pub software: (i64, i64),
    /// `DeviceType`: 2 is a file, 9 a URL.
    #[serde(default = "disk")]
    pub device_type: i64,
}

impl SetHeader {
    /// The version whose rules the database follows, times ten.
    #[must_use]
    pub fn level(&self) -> i64 {
        self.compatibility.unwrap_or(self.software.0 * 10)
    }
}

const fn this_version() -> (i64, i64) {
    (16, 4236)
}

const fn disk() -> i64 {
    2
}

/// A set as it stands in one file.
#[derive(Debug, Clone)]
pub struct SetOnMedia {
    /// Its header.
    pub header: SetHeader,
    /// Whether it was written to its end.
    pub whole: bool,
    data_at: usize,
    data_length: usize,
}

/// A backup file, read.
#[derive(Debug)]
pub struct Media {
    /// What the file says about itself.
    pub header: MediaHeader,
    /// Its sets, in order.
    pub sets: Vec<SetOnMedia>,
    /// Whether bytes follow the last readable set.
    pub has_torn_end: bool,
    bytes: Vec<u8>,
}

/// Why a file is no readable backup.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// It cannot be opened.
    #[error("{0}")]
    Open(io::Error),
    /// It has no bytes.
    #[error("the volume is empty")]
    Empty,
    /// It does not begin as a backup does.
    #[error("the media family is incorrectly formed")]
    NotMedia,
    /// It is in Microsoft Tape Format, and of another program.
    #[error("the data set is not a SQL Server backup set")]
    Foreign,
}

/// Why a set's data cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataError {
    /// The file ends before the data does.
    Cut,
    /// The data are not what was written; the page where they begin to differ.
    Damaged(u64),
}

impl Media {
    /// Reads a backup file.
    ///
    /// # Errors
    /// [`MediaError`].
    pub fn open(path: &Path) -> Result<Self, MediaError> {
        let mut bytes = Vec::new();
        File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(MediaError::Open)?;
        if bytes.is_empty() {
            return Err(MediaError::Empty);
        }
        if bytes.starts_with(TAPE) {
            return Err(MediaError::Foreign);
        }
        let mut at = 0;
        let header = take(&bytes, &mut at, MEDIA.len())
            .filter(|magic| *magic == MEDIA)
            .and_then(|_| document(&bytes, &mut at))
            .ok_or(MediaError::NotMedia)?;
        let mut sets = Vec::new();
        while let Some((set, after)) = set_at(&bytes, at) {
            sets.push(set);
            at = after;
        }
        let has_torn_end = at < bytes.len();
        Ok(Self { header, sets, has_torn_end, bytes })
    }

    /// A set's part of the data.
    ///
    /// # Errors
    /// [`DataError`]; damage is found only when `verify` is set.
    pub fn data(&self, set: &SetOnMedia, verify: bool) -> Result<&[u8], DataError> {
        let mut at = set.data_at;
        let data = take(&self.bytes, &mut at, set.data_length).ok_or(DataError::Cut)?;
        let sums = take(&self.bytes, &mut at, sums_length(set.data_length)).ok_or(DataError::Cut)?;
        let damaged =
            data.chunks(EXTENT).zip(sums.chunks(8)).position(|(extent, sum)| digest(extent)[..8] != *sum);
        match damaged {
            Some(extent) if verify => Err(DataError::Damaged(extent as u64 * 8)),
            _ => Ok(data),
        }
    }
}

fn take<'a>(bytes: &'a [u8], at: &mut usize, count: usize) -> Option<&'a [u8]> {
    let end = at.checked_add(count)?;
    let piece = bytes.get(*at..end)?;
    *at = end;
    Some(piece)
}

fn number(bytes: &[u8], at: &mut usize, width: usize) -> Option<usize> {
    let mut all = [0; 8];
    all[..width].copy_from_slice(take(bytes, at, width)?);
    usize::try_from(u64::from_le_bytes(all)).ok()
}

/// A length, JSON of that length, and its checksum.
fn document<T: DeserializeOwned>(bytes: &[u8], at: &mut usize) -> Option<T> {
    let length = number(bytes, at, 4)?;
    let json = take(bytes, at, length)?;
    let sum = take(bytes, at, 32)?;
    if digest(json) != *sum {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

const fn sums_length(data: usize) -> usize {
    data.div_ceil(EXTENT) * 8
}

/// The set that begins at `at`, and where the next one would begin.
fn set_at(bytes: &[u8], mut at: usize) -> Option<(SetOnMedia, usize)> {
    take(bytes, &mut at, SET.len()).filter(|magic| *magic == SET)?;
    let whole = number(bytes, &mut at, 1)? == 1;
    let header = document(bytes, &mut at)?;
    let data_length = number(bytes, &mut at, 8)?;
    let after = at.checked_add(data_length)?.checked_add(sums_length(data_length))?;
    Some((SetOnMedia { header, whole, data_at: at, data_length }, after.min(bytes.len())))
}

/// A set that is being written to one file.
#[derive(Debug)]
pub struct SetWriter {
    file: File,
    flag_at: u64,
    /// How long the header's text is, with room for the time at which the set is finished.
    header_length: usize,
    data: Vec<u8>,
    written: usize,
}

impl SetWriter {
    /// Begins a set: in a fresh file with `media`, or after what is there when `media` is nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(
        path: &Path,
        media: Option<&MediaHeader>,
        header: &SetHeader,
        data: Vec<u8>,
    ) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(media.is_some()).write(true).open(path)?;
        let mut head = Vec::new();
        if let Some(media) = media {
            head.extend_from_slice(MEDIA);
            put_document(&mut head, &serde_json::to_vec(media)?);
        }
        let start = file.seek(SeekFrom::End(0))?;
        head.extend_from_slice(SET);
        let flag_at = start + head.len() as u64;
        head.push(0);
        let header_length = serde_json::to_vec(header)?.len() + ROOM;
        put_document(&mut head, &text_of(header, header_length)?);
        head.extend((data.len() as u64).to_le_bytes());
        file.write_all(&head)?;
        Ok(Self { file, flag_at, header_length, data, written: 0 })
    }

    /// Writes the data up to `part` of `parts`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_part(&mut self, part: usize, parts: usize) -> io::Result<()> {
        let end = self.data.len() * part / parts.max(1);
        self.file.write_all(self.data.get(self.written..end).unwrap_or_default())?;
        self.written = end.max(self.written);
        Ok(())
    }

    /// Writes what is missing and the header as it has become, then says that the set is whole.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self, header: &SetHeader) -> io::Result<()> {
        self.write_part(1, 1)?;
        let sums: Vec<u8> =
            self.data.chunks(EXTENT).flat_map(|extent| digest(extent)[..8].to_vec()).collect();
        self.file.write_all(&sums)?;
        let mut head = vec![1];
        put_document(&mut head, &text_of(header, self.header_length)?);
        self.file.seek(SeekFrom::Start(self.flag_at))?;
        self.file.write_all(&head)?;
        self.file.sync_all()
    }
}

/// How much longer a header's text may become: a time has up to nine decimals.
const ROOM: usize = 16;

/// A header as text of this length; JSON may end with spaces.
fn text_of(header: &SetHeader, length: usize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(header)?;
    if text.len() > length {
        return Err(io::Error::other("the header of a set has outgrown its room"));
    }
    text.resize(length, b' ');
    Ok(text)
}

fn put_document(out: &mut Vec<u8>, json: &[u8]) {
    out.extend(u32::try_from(json.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(json);
    out.extend(digest(json));
}

/// What is backed up beside the header: a data image, then log records.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    /// The data file's bytes, for a full or differential.
    pub image: Vec<u8>,
    /// Log records as JSON lines.
    pub records: Vec<u8>,
}

impl Payload {
    /// The payload as one run of bytes.
    #[must_use]
    pub fn joined(&self) -> Vec<u8> {
        let mut bytes = (self.image.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.image);
        bytes.extend_from_slice(&self.records);
        bytes
    }

    /// The payload from its bytes; nothing when they are too few.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut at = 0;
        let length = number(bytes, &mut at, 8)?;
        let image = take(bytes, &mut at, length)?.to_vec();
        Some(Self { image, records: bytes[at..].to_vec() })
    }
}
