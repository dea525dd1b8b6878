//! Backup devices: files that are opened together and must belong together. Main type: [`Opened`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::session::Session;
use crate::sqlserver::cast::hex;
use crate::sqlserver::error::SqlError;
use crate::sqlserver::lang::media::is_url;
use crate::sqlserver::lang::statement::Text;
use crate::sqlserver::store::certificate::enciphered;
use crate::sqlserver::store::media::{DataError, Media, MediaError, MediaHeader, Payload, SetHeader};
use crate::sqlserver::store::paths::Paths;

/// A device as it was written and where it lies.
#[derive(Debug, Clone)]
pub struct Device {
    /// As it stands in messages and in msdb.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Whether it is a blob behind a URL.
    pub is_url: bool,
    /// How the server's paths are written.
    paths: Arc<Paths>,
    /// The thumbprints of the certificates with a private key that the server has: what it can decrypt.
    keys: Arc<[Vec<u8>]>,
}

impl Device {
    /// HEADERONLY's `DeviceType`.
    #[must_use]
    pub const fn kind(&self) -> i64 {
        if self.is_url { 9 } else { 2 }
    }

    fn opens(&self, thumbprint: &[u8]) -> bool {
        self.keys.iter().any(|own| own == thumbprint)
    }
}

/// The devices of a statement; a relative path lies in the server's backup folder.
///
/// # Errors
/// 137 for a variable that is not declared; 3298 for a URL that no credential opens, 3201 for one that leads nowhere.
pub fn devices(session: &Session, texts: &[Text]) -> Result<Vec<Device>, SqlError> {
    let paths = Arc::new(session.instance.setup.paths());
    let base = paths.backup_dir();
    let keys: Arc<[Vec<u8>]> = {
        let catalog = session.instance.catalog();
        let own = catalog.secured.certificates.iter().filter(|own| own.has_key);
        own.map(|own| own.thumbprint.clone()).collect()
    };
    let mut devices = Vec::new();
    for text in texts {
        let written = session.text(text)?;
        let (keys, paths) = (Arc::clone(&keys), Arc::clone(&paths));
        devices.push(if is_url(&written) {
            Device { path: blob(session, &written)?, name: written, is_url: true, paths, keys }
        } else {
            let path = paths.place(&written, &base);
            let device = Device { name: paths.shown(&path), path, is_url: false, paths, keys };
            if device.paths.is_malformed(&written) {
                let why = "123(The filename, directory name, or volume label syntax is incorrect.)";
                return Err(not_opened(&Device { name: written, ..device }, why, 1));
            }
            device
        });
    }
    Ok(devices)
}

/// Where a blob lies.
fn blob(session: &Session, url: &str) -> Result<PathBuf, SqlError> {
    let installation = &session.instance.setup.installation();
    let below = |prefix: &str| {
        let rest = url.strip_prefix(prefix.trim_end_matches('/'))?;
        rest.strip_prefix('/').map(str::to_owned)
    };
    let place = installation.urls.iter().find_map(|(prefix, folder)| Some(folder.join(below(prefix)?)));
    let Some(place) = place else {
        let text = format!(
            "Cannot open backup device '{url}'. Operating system error 12007(The server name or address could not be resolved.)."
        );
        return Err(SqlError::new(3201, text));
    };
    let catalog = session.instance.catalog();
    if !catalog.secured.credentials.iter().any(|(name, _)| below(name).is_some()) {
        let text = format!(
            "Backup/Restore to URL device error: no credential whose name is the beginning of '{url}' exists."
        );
        return Err(SqlError::new(3298, text));
    }
    Ok(place)
}

/// 3201; the state tells writing from reading.
#[must_use]
pub fn cannot_open(device: &Device, error: &io::Error, state: u8) -> SqlError {
    not_opened(device, &device.paths.os_error(&device.path, error), state)
}

/// 3201 where a backup's folder is not there, or is no folder's.
#[must_use]
pub fn no_backup_folder(device: &Device) -> SqlError {
    not_opened(device, device.paths.no_backup_folder(&device.path), 1)
}

fn not_opened(device: &Device, why: &str, state: u8) -> SqlError {
    let text = format!("Cannot open backup device '{}'. Operating system error {why}.", device.name);
    SqlError::new(3201, text).state(state)
}

/// 3143.
#[must_use]
pub fn foreign(device: &Device) -> SqlError {
    SqlError::new(3143, format!("The data set on device '{}' is not a SQL Server backup set.", device.name))
}

/// A device's media.
///
/// # Errors
/// 3201, 3254, 3241, 3143.
pub fn read_media(device: &Device) -> Result<Media, SqlError> {
    Media::open(&device.path).map_err(|error| match error {
        MediaError::Open(error) => cannot_open(device, &error, 2),
        MediaError::Empty => SqlError::new(3254, format!("The volume on device '{}' is empty.", device.name)),
        MediaError::Foreign => foreign(device),
        MediaError::NotMedia => {
            let text = format!(
                "The media family on device '{}' is incorrectly formed. SQL Server cannot process this media family.",
                device.name
            );
            SqlError::new(3241, text).state(0)
        }
    })
}

/// 3208: a file that ends before its first set begins.
fn no_set(device: &str) -> SqlError {
    tracing::debug!(device, "a backup file has a media header and no set");
    SqlError::new(
        3208,
        "Unexpected end of file while reading beginning of backup set. Confirm that the media contains a valid SQL Server backup set, and see the console error log for more details.",
    )
}

/// The media of a statement, in the order of their families.
#[derive(Debug)]
pub struct Opened {
    /// The devices.
    pub devices: Vec<Device>,
    /// What is on them.
    pub media: Vec<Media>,
}

/// Opens devices that must form one media set; `all` demands every family of it.
///
/// # Errors
/// Those of [`read_media`]; 3227, 3132, 3231, 3232 for files that do not belong together.
pub fn open(devices: Vec<Device>, all: bool) -> Result<Opened, SqlError> {
    let mut pairs = Vec::new();
    for device in devices {
        let media = read_media(&device)?;
        pairs.push((device, media));
    }
    pairs.sort_by_key(|(_, media)| media.header.family_number);
    let Some((_, first)) = pairs.first() else { return Err(SqlError::internal("no device")) };
    let (set, count) = (first.header.media_set, first.header.family_count);
    for window in pairs.windows(2) {
        let [(one, a), (other, b)] = window else { continue };
        if a.header.family == b.header.family {
            let text = format!(
                "The media family on \"{}\" is part of media family {} which has already been processed on \"{}\".",
                other.name, b.header.family_number, one.name
            );
            return Err(SqlError::new(3227, text));
        }
    }
    if let Some((device, _)) = pairs.iter().find(|(_, media)| media.header.media_set != set) {
        let text = format!(
            "The volume mounted on \"{}\" does not have the expected backup set identity. The volume may be obsolete due to a more recent overwrite of this media family.",
            device.name
        );
        return Err(SqlError::new(3232, text));
    }
    if pairs.len() > count {
        let text = format!(
            "The media loaded on \"{}\" is formatted to support {count} media families, but {} media families are expected according to the backup device specification.",
            pairs.first().map_or("", |(device, _)| device.name.as_str()),
            pairs.len()
        );
        return Err(SqlError::new(3231, text));
    }
    if all && pairs.len() < count {
        let text = format!(
            "The media set has {count} media families but only {} are provided. All members must be provided.",
            pairs.len()
        );
        return Err(SqlError::new(3132, text));
    }
    let (devices, media) = pairs.into_iter().unzip();
    Ok(Opened { devices, media })
}

impl Opened {
    /// The media headers, as msdb notes them.
    #[must_use]
    pub fn headers(&self) -> Vec<MediaHeader> {
        self.media.iter().map(|media| media.header.clone()).collect()
    }

    /// The devices' names, in the same order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.devices.iter().map(|device| device.name.clone()).collect()
    }

    fn first_device(&self) -> &str {
        self.devices.first().map_or("", |device| &device.name)
    }

    /// The header of the set at a position, which counts from 1.
    ///
    /// # Errors
    /// 3208 when the file has none at all, 3287 when there is none there, 3256 when it was not written to its end, 3232 when the files disagree, 33111 when it is encrypted with a
    /// certificate that the server has not.
    pub fn set(&self, position: usize) -> Result<&SetHeader, SqlError> {
        let set = self.header_of(position)?;
        match &set.encrypted {
            Some(lock) if !self.devices.iter().all(|device| device.opens(&lock.thumbprint)) => {
                let digits = hex(&lock.thumbprint);
                let text = format!("Cannot find server certificate with thumbprint '0x{digits}'.");
                Err(SqlError::new(33111, text))
            }
            _ => Ok(set),
        }
    }

    /// The same without a look at its encryption, which hides no header.
    ///
    /// # Errors
    /// As [`Opened::set`].
    pub fn header_of(&self, position: usize) -> Result<&SetHeader, SqlError> {
        let mut header: Option<&SetHeader> = None;
        for (device, media) in self.devices.iter().zip(&self.media) {
            if media.sets.is_empty() {
                return Err(no_set(&device.name));
            }
            let set = position.checked_sub(1).and_then(|at| media.sets.get(at)).ok_or_else(|| {
                let text = format!(
                    "The file ID {position} on device '{}' is incorrectly formed and can not be read.",
                    device.name
                );
                SqlError::new(3287, text)
            })?;
            if !set.whole {
                let text = format!(
                    "The backup set on device '{}' was terminated while it was being created and is incomplete. RESTORE sequence is terminated abnormally.",
                    device.name
                );
                return Err(SqlError::new(3256, text));
            }
            if header.is_some_and(|header| header.guid != set.header.guid) {
                let text = format!(
                    "The volume mounted on \"{}\" does not have the expected backup set identity.",
                    device.name
                );
                return Err(SqlError::new(3232, text));
            }
            header = Some(&set.header);
        }
        header.ok_or_else(|| SqlError::internal("no device"))
    }

    /// The data of the set at a position.
    ///
    /// # Errors
    /// 3203 when a file is cut; 3183 or, without checksums or while verifying, 3189 when it is damaged.
    pub fn payload(
        &self,
        position: usize,
        header: &SetHeader,
        verify: bool,
        target: &str,
    ) -> Result<Payload, SqlError> {
        let mut bytes = Vec::new();
        for (device, media) in self.devices.iter().zip(&self.media) {
            let set = position.checked_sub(1).and_then(|at| media.sets.get(at));
            let part = set.map_or(Err(DataError::Cut), |set| media.data(set, verify));
            match part {
                Ok(part) => bytes.extend_from_slice(part),
                Err(DataError::Cut) => {
                    let text =
                        format!("Read on \"{}\" failed: 38(Reached the end of the file.)", device.name);
                    return Err(SqlError::new(3203, text));
                }
                Err(DataError::Damaged(page)) if header.has_checksums && !target.is_empty() => {
                    let text = format!(
                        "RESTORE detected an error on page (1:{page}) in database \"{target}\" as read from the backup set."
                    );
                    return Err(SqlError::new(3183, text));
                }
                Err(DataError::Damaged(_)) => {
                    return Err(SqlError::new(3189, "Damage to the backup set was detected."));
                }
            }
        }
        if let Some(lock) = &header.encrypted {
            bytes = enciphered(&bytes, &lock.thumbprint);
        }
        Payload::parse(&bytes).ok_or_else(|| {
            let text =
                format!("Read on \"{}\" failed: 38(Reached the end of the file.)", self.first_device());
            SqlError::new(3203, text)
        })
    }
}
