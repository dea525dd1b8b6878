//! Where a store is: [`Location`], from the target's `url`.

use std::path::PathBuf;

use drydock_step::StepError;
use drydock_step::artifact::path_parts;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::http_client::refused_settings;

/// Whose interface a bucket has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// S3, of whoever speaks it.
    S3,
    /// Azure's blobs; a bucket is a container there.
    Azure,
    /// Google's.
    Gcs,
}

/// A part of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) service: Service,
    pub(super) name: String,
    /// Without slashes around it; empty for the whole bucket.
    pub(super) prefix: String,
    /// The account and the address, where the URL says them.
    pub(super) account: Option<(String, String)>,
}

/// Where a store is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// A folder; a relative one is relative to the environment file's folder.
    Folder(PathBuf),
    /// A part of a bucket.
    Bucket(Bucket),
}

fn refused(why: &str) -> StepError {
    refused_settings(why).help(
        "write `file:///srv/backups` or a path; `s3://bucket/prefix`; `az://container/prefix` or the https address of an Azure container; `gs://bucket/prefix`",
    )
}

impl Location {
    /// # Errors
    /// `target.settings`, when the text names no store.
    pub(super) fn parse(text: &str) -> Result<Self, StepError> {
        if text.is_empty() {
            return Err(refused("its `url` is empty"));
        }
        // The one letter before the colon of `D:\backups` is a drive.
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
            scheme.len() > 1
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        });
        let service = match scheme {
            None => return Ok(Self::Folder(PathBuf::from(text))),
            Some("file") => return folder_of(text).map(Self::Folder),
            Some("https") => return azure_of(text).map(Self::Bucket),
            Some("s3") => Service::S3,
            Some("az" | "azure") => Service::Azure,
            Some("gs") => Service::Gcs,
            Some(other) => return Err(refused(&format!("a store at `{other}:` is not supported"))),
        };
        let rest = text.split_once("://").map(|(_, rest)| rest);
        let rest = rest.ok_or_else(|| refused(&format!("its `url`, {text}, names no bucket")))?;
        bucket_of(service, rest, None, text).map(Self::Bucket)
    }
}

fn folder_of(text: &str) -> Result<PathBuf, StepError> {
    let url = Url::parse(text).map_err(|error| refused(&format!("its `url` is no URL: {error}")))?;
    let folder = if text.starts_with("file://") { url.to_file_path() } else { Err(()) };
    folder.map_err(|()| refused(&format!("its `url`, {text}, names no folder of this machine")))
}

/// `https://account.blob.<wherever>/container/prefix`.
fn azure_of(text: &str) -> Result<Bucket, StepError> {
    let url = Url::parse(text).map_err(|error| refused(&format!("its `url` is no URL: {error}")))?;
    let host = url.host_str().unwrap_or_default();
    let account = match host.split('.').collect::<Vec<_>>().as_slice() {
        [account, "blob" | "dfs", _, ..] if url.username().is_empty() && url.query().is_none() => *account,
        _ => {
            let why = format!("its `url`, {text}, is not the address of an Azure container");
            return Err(refused_settings(&why)
                .help("of another service write `s3://bucket/prefix` and give its address as `endpoint`"));
        }
    };
    let address = url.origin().ascii_serialization();
    let path = percent_decode_str(url.path()).decode_utf8_lossy();
    bucket_of(Service::Azure, path.trim_start_matches('/'), Some((account.to_owned(), address)), text)
}

fn bucket_of(
    service: Service,
    rest: &str,
    account: Option<(String, String)>,
    text: &str,
) -> Result<Bucket, StepError> {
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '$');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(refused(&format!("its `url`, {text}, names no bucket")));
    }
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() {
        path_parts(prefix).map_err(|error| refused(&format!("its `url`, {text}: {}", error.message)))?;
    }
    Ok(Bucket { service, name: name.to_owned(), prefix: prefix.to_owned(), account })
}

impl Bucket {
    /// As people write it, without the address.
    pub(super) fn shown(&self) -> String {
        let scheme = match self.service {
            Service::S3 => "s3",
            Service::Azure => "az",
            Service::Gcs => "gs",
        };
        format!("{scheme}://{}", self.name_and_prefix())
    }

    pub(super) fn name_and_prefix(&self) -> String {
        if self.prefix.is_empty() { self.name.clone() } else { format!("{}/{}", self.name, self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_buckets_with_what_is_below_a_prefix() {
        let check = |url: &str, service, name: &str, prefix: &str, account: Option<(&str, &str)>| {
            let account = account.map(|(account, address)| (account.to_owned(), address.to_owned()));
            let expected = Bucket { service, name: name.into(), prefix: prefix.into(), account };
            assert_eq!(Location::parse(url).unwrap(), Location::Bucket(expected), "{url}");
        };
        check("s3://octopus-backups/production", Service::S3, "octopus-backups", "production", None);
        check("s3://b", Service::S3, "b", "", None);
        check("s3://b/a b/100%/", Service::S3, "b", "a b/100%", None);
        check("az://c/p", Service::Azure, "c", "p", None);
        check("azure://c", Service::Azure, "c", "", None);
        check("gs://b/p/q", Service::Gcs, "b", "p/q", None);
        let account = Some(("octopus", "https://octopus.blob.example.test"));
        check("https://octopus.blob.example.test/c/my%20p", Service::Azure, "c", "my p", account);
    }

    #[test]
    fn what_names_no_store_is_refused() {
        let check = |url: &str, words: &str| {
            let error = Location::parse(url).unwrap_err();
            assert_eq!(error.code, "target.settings", "{url}");
            assert!(error.message.contains(words), "{url}: {error}");
        };
        check("", "its `url` is empty");
        check("file:relative", "names no folder of this machine");
        check("file://elsewhere/x", "names no folder of this machine");
        check("ftp://h/x", "a store at `ftp:` is not supported");
        check("https://h/x", "is not the address of an Azure container");
        check("s3:bucket", "names no bucket");
        check("s3:///p", "names no bucket");
        check("s3://bu cket/p", "names no bucket");
        check("s3://b/a//b", "it must be relative");
        check("s3://b/../c", "it must be relative");
    }
}
