//! The media that a backup goes onto: fresh, continued or overwritten, with their mirrors. Main function: [`prepare`].

use std::path::Path;

use super::devices::{Device, cannot_open, devices, foreign, no_backup_folder};
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::{Backup, Text};
use crate::sqlserver::store::installation::ENTERPRISE;
use crate::sqlserver::store::media::{Media, MediaError, MediaHeader};

/// One copy of a media set.
pub(super) struct MediaCopy {
    pub(super) devices: Vec<Device>,
    /// A header a device to begin a fresh file with; nothing where a set is appended.
    pub(super) fresh: Vec<Option<MediaHeader>>,
    /// The headers that the devices will have.
    pub(super) headers: Vec<MediaHeader>,
}

/// Where a backup goes.
pub(super) struct Prepared {
    /// The first copy, then its mirrors.
    pub(super) copies: Vec<MediaCopy>,
    pub(super) position: usize,
    pub(super) compressed: bool,
}

impl Prepared {
    /// How many families the set is striped over.
    pub(super) fn families(&self) -> usize {
        self.copies.first().map_or(1, |copy| copy.devices.len()).max(1)
    }
}

/// What a device holds already.
type Found = Option<Media>;

pub(super) fn prepare(session: &Session, options: &Backup) -> Result<Prepared, SqlError> {
    let mut groups = vec![devices(session, &options.devices)?];
    for mirror in &options.mirrors {
        groups.push(devices(session, mirror)?);
    }
    mirrors_fit(session, &groups)?;
    let block = sizes(session, options, groups.iter().flatten().any(|device| device.is_url))?;
    let mut existing: Vec<Vec<Found>> = Vec::new();
    for group in &groups {
        existing.push(group.iter().map(|device| found(device, options)).collect::<Result<_, _>>()?);
    }
    let known = existing.iter().flatten().flatten().next().map(|media| media.header.clone());
    match known.filter(|_| !options.format) {
        Some(known) => continued(groups, existing, &known, options),
        None if groups.len() > 1 && !options.format => {
            Err(SqlError::new(3215, "Use WITH FORMAT to create a new mirrored backup set."))
        }
        None => fresh(session, groups, options, block),
    }
}

/// Whether mirrors are to be had here, and are like the first copy.
fn mirrors_fit(session: &Session, groups: &[Vec<Device>]) -> Result<(), SqlError> {
    let [first, mirrors @ ..] = groups else { return Ok(()) };
    if !mirrors.is_empty() && session.instance.setup.installation().engine != ENTERPRISE {
        let text = "Backup mirroring is not available in this edition of SQL Server. See Books Online for more details on feature support in different SQL Server editions.";
        return Err(SqlError::new(3218, text));
    }
    for mirror in mirrors {
        let unlike =
            mirror.len() != first.len() || mirror.iter().zip(first).any(|(a, b)| a.is_url != b.is_url);
        if let (true, Some(a), Some(b)) = (unlike, first.first(), mirror.first()) {
            let text = format!(
                "The mirror device \"{}\" and the mirror device \"{}\" have different device specifications.",
                a.name, b.name
            );
            return Err(SqlError::new(3212, text));
        }
    }
    Ok(())
}

/// `BLOCKSIZE`, once all sizes are ones that media can have.
fn sizes(session: &Session, options: &Backup, to_url: bool) -> Result<u32, SqlError> {
    let read =
        |given: &Option<Text>, what: &str, fits: &dyn Fn(u32) -> bool| -> Result<Option<u32>, SqlError> {
            let Some(given) = given else { return Ok(None) };
            let number = session.text(given)?.parse().ok().filter(|number| fits(*number));
            let text = format!("Invalid value specified for {what} parameter.");
            number.map(Some).ok_or_else(|| SqlError::new(3217, text))
        };
    let block =
        read(&options.block_size, "BLOCKSIZE", &|n| n.is_power_of_two() && (512..=65_536).contains(&n))?;
    read(&options.buffer_count, "BUFFERCOUNT", &|n| n >= 1)?;
    let most = if to_url { 20 << 20 } else { 4 << 20 };
    read(&options.max_transfer, "MAXTRANSFERSIZE", &|n| n > 0 && n.is_multiple_of(64 << 10) && n <= most)?;
    Ok(block.unwrap_or(512))
}

fn found(device: &Device, options: &Backup) -> Result<Found, SqlError> {
    if device.path.is_dir() || !device.path.parent().is_some_and(Path::is_dir) {
        return Err(no_backup_folder(device));
    }
    if device.is_url && !options.format && device.path.exists() {
        let text = format!(
            "A nonrecoverable I/O error occurred on file \"{0}:\" The file {0} exists on the remote endpoint, and WITH FORMAT was not specified. Backup cannot proceed..",
            device.name
        );
        return Err(SqlError::new(3271, text));
    }
    match Media::open(&device.path) {
        Ok(media) => Ok(Some(media)),
        Err(MediaError::Open(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(MediaError::Open(error)) => Err(cannot_open(device, &error, 1)),
        Err(MediaError::Empty) => Ok(None),
        Err(MediaError::NotMedia | MediaError::Foreign) if options.format => Ok(None),
        Err(MediaError::Foreign) => Err(foreign(device)),
        Err(MediaError::NotMedia) => {
            let text = format!(
                "The file on device '{}' is not a valid Microsoft Tape Format backup set.",
                device.name
            );
            Err(SqlError::new(3242, text))
        }
    }
}

/// A new media set.
fn fresh(
    session: &Session,
    groups: Vec<Vec<Device>>,
    options: &Backup,
    block: u32,
) -> Result<Prepared, SqlError> {
    let name = options.media_name.as_ref().map(|name| session.text(name)).transpose()?;
    let description = options.media_description.as_ref().map(|text| session.text(text)).transpose()?;
    let (media_set, made) = (session.instance.guids.next(), session.instance.clock.now());
    let compressed = options.compression.unwrap_or(false);
    let (mirrors, family_count) = (groups.len(), groups.first().map_or(0, Vec::len));
    // The copies of a family share its identity.
    let families: Vec<_> = (0..family_count).map(|_| session.instance.guids.next()).collect();
    let copy = |(mirror, devices): (usize, Vec<Device>)| {
        let header = |(at, family): (usize, &uuid::Uuid)| MediaHeader {
            name: name.clone(),
            description: description.clone(),
            media_set,
            family: *family,
            family_count,
            family_number: at + 1,
            made,
            compressed,
            mirror,
            mirrors,
            block,
            encrypted: options.encryption.is_some(),
        };
        let headers: Vec<MediaHeader> = families.iter().enumerate().map(header).collect();
        MediaCopy { devices, fresh: headers.iter().cloned().map(Some).collect(), headers }
    };
    Ok(Prepared { copies: groups.into_iter().enumerate().map(copy).collect(), position: 1, compressed })
}

/// Goes on with media that have a header: a set is appended, or with INIT replaces those that are there.
fn continued(
    groups: Vec<Vec<Device>>,
    existing: Vec<Vec<Found>>,
    known: &MediaHeader,
    options: &Backup,
) -> Result<Prepared, SqlError> {
    let incompatible = |asked: &str| {
        let text = format!(
            "The backup cannot be performed because '{asked}' was requested after the media was formatted with an incompatible structure. To append to this media set, either omit '{asked}' or specify the option that the media has. Alternatively, you can create a new media set by using WITH FORMAT in your BACKUP statement."
        );
        Err(SqlError::new(3098, text))
    };
    if options.encryption.is_some() || known.encrypted {
        return incompatible("ENCRYPTION");
    }
    let mut copies = Vec::new();
    let mut position = 1;
    for (devices, found) in groups.into_iter().zip(existing) {
        if known.family_count != devices.len() {
            let text = format!(
                "The media loaded on \"{}\" is formatted to support {} media families, but {} media families are expected according to the backup device specification.",
                devices.first().map_or("", |device| device.name.as_str()),
                known.family_count,
                devices.len()
            );
            return Err(SqlError::new(3231, text));
        }
        let mut headers = Vec::new();
        for (device, media) in devices.iter().zip(found) {
            let media = media.filter(|media| media.header.media_set == known.media_set);
            let media = media.ok_or_else(|| SqlError::new(3232, format!("The volume mounted on \"{}\" does not have the expected backup set identity. The volume may be obsolete due to a more recent overwrite of this media family.", device.name)))?;
            position = next_position(device, &media, options)?;
            headers.push(media.header);
        }
        let fresh = headers.iter().map(|header| options.init.then(|| header.clone())).collect();
        copies.push(MediaCopy { devices, fresh, headers });
    }
    match options.compression {
        Some(asked) if asked != known.compressed => {
            incompatible(if asked { "COMPRESSION" } else { "NO_COMPRESSION" })
        }
        _ => Ok(Prepared { copies, position, compressed: known.compressed }),
    }
}

/// Where the next set of a file stands.
fn next_position(device: &Device, media: &Media, options: &Backup) -> Result<usize, SqlError> {
    if options.init {
        return Ok(1);
    }
    // What an aborted backup left behind is no end that anything could follow.
    if media.has_torn_end || media.sets.last().is_some_and(|set| !set.whole) {
        let text = format!(
            "The backup data at the end of \"{}\" is incorrectly formatted. Backup sets on the media might be damaged and unusable. To determine the backup sets on the media, use RESTORE HEADERONLY. To determine the usability of the backup sets, run RESTORE VERIFYONLY. If all of the backup sets are incomplete, reformat the media using BACKUP WITH FORMAT, which destroys all the backup sets.",
            device.name
        );
        return Err(SqlError::new(3266, text));
    }
    Ok(media.sets.len() + 1)
}
