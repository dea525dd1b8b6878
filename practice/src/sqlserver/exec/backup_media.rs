//! The media that a backup goes onto: fresh, continued or overwritten. Main function: [`prepare`].

use std::path::Path;

use super::devices::{Device, cannot_open};
use super::session::Session;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::statement::Backup;
use crate::sqlserver::store::media::{Media, MediaError, MediaHeader};

/// What the devices hold already, and the media headers to go on with.
pub(super) struct Prepared {
    /// A header a device to begin a fresh file with; nothing where a set is appended.
    pub(super) fresh: Vec<Option<MediaHeader>>,
    /// The headers that the devices will have.
    pub(super) headers: Vec<MediaHeader>,
    pub(super) position: usize,
    pub(super) compressed: bool,
}

pub(super) fn prepare(session: &Session, devices: &[Device], options: &Backup) -> Result<Prepared, SqlError> {
    let mut existing: Vec<Option<Media>> = Vec::new();
    for device in devices {
        if device.path.is_dir() || !device.path.parent().is_some_and(Path::is_dir) {
            // As captured on Linux, where a folder that is not there is told like one that may not be entered.
            return Err(cannot_open(device, &std::io::ErrorKind::PermissionDenied.into(), 1));
        }
        existing.push(match Media::open(&device.path) {
            Ok(media) => Some(media),
            Err(MediaError::Open(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(MediaError::Open(error)) => return Err(cannot_open(device, &error, 1)),
            Err(MediaError::Empty) => None,
            Err(MediaError::NotMedia) if options.format => None,
            Err(MediaError::NotMedia) => {
                let text = format!(
                    "The file on device '{}' is not a valid Microsoft Tape Format backup set.",
                    device.name
                );
                return Err(SqlError::new(3242, text));
            }
        });
    }
    let name = options.media_name.as_ref().map(|name| session.text(name)).transpose()?;
    let description = options.media_description.as_ref().map(|text| session.text(text)).transpose()?;
    let known =
        existing.iter().flatten().next().map(|media| media.header.clone()).filter(|_| !options.format);
    let Some(known) = known else {
        let (media_set, made) = (session.instance.guids.next(), session.instance.clock.now());
        let compressed = options.compression.unwrap_or(false);
        let header = |at: usize| MediaHeader {
            name: name.clone(),
            description: description.clone(),
            media_set,
            family: session.instance.guids.next(),
            family_count: devices.len(),
            family_number: at + 1,
            made,
            compressed,
        };
        let headers: Vec<MediaHeader> = (0..devices.len()).map(header).collect();
        return Ok(Prepared {
            fresh: headers.iter().cloned().map(Some).collect(),
            headers,
            position: 1,
            compressed,
        });
    };
    continued(devices, existing, &known, options)
}

/// Goes on with media that have a header: a set is appended, or with INIT replaces those that are there.
pub(super) fn continued(
    devices: &[Device],
    existing: Vec<Option<Media>>,
    known: &MediaHeader,
    options: &Backup,
) -> Result<Prepared, SqlError> {
    if known.family_count != devices.len() {
        let text = format!(
            "The media loaded on \"{}\" is formatted to support {} media families, but {} media families are expected according to the backup device specification.",
            devices[0].name,
            known.family_count,
            devices.len()
        );
        return Err(SqlError::new(3231, text));
    }
    let mut headers = Vec::new();
    let mut position = 1;
    for (device, media) in devices.iter().zip(existing) {
        let media = media.filter(|media| media.header.media_set == known.media_set).ok_or_else(|| {
            SqlError::new(3232, format!("The volume mounted on \"{}\" does not have the expected backup set identity. The volume may be obsolete due to a more recent overwrite of this media family.", device.name))
        })?;
        if media.has_torn_end && !options.init {
            let text = format!(
                "The backup data at the end of \"{}\" is incorrectly formatted. Backup sets on the media might be damaged and unusable. To determine the backup sets on the media, use RESTORE HEADERONLY. To determine the usability of the backup sets, run RESTORE VERIFYONLY. If all of the backup sets are incomplete, reformat the media using BACKUP WITH FORMAT, which destroys all the backup sets.",
                device.name
            );
            return Err(SqlError::new(3266, text));
        }
        position = if options.init { 1 } else { media.sets.len() + 1 };
        headers.push(media.header);
    }
    match options.compression {
        Some(asked) if asked != known.compressed => {
            let asked = if asked { "COMPRESSION" } else { "NO_COMPRESSION" };
            let text = format!(
                "The backup cannot be performed because '{asked}' was requested after the media was formatted with an incompatible structure. To append to this media set, either omit '{asked}' or specify the option that the media has."
            );
            Err(SqlError::new(3098, text))
        }
        _ => {
            let fresh = headers.iter().map(|header| options.init.then(|| header.clone())).collect();
            Ok(Prepared { fresh, headers, position, compressed: known.compressed })
        }
    }
}
