//! The target kind `artifacts`: [`ArtifactsTarget`], and what it connects to, [`ArtifactsConnection`].

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::target::Seals;
use drydock_step::{
    ArtifactStore, Connection, Field, Identity, Settings, Shape, StepError, TargetKind, TargetKindShape,
};
use serde::Deserialize;
use url::Url;

use super::folder::FolderStore;
use crate::seals::KeySeals;

/// The target kind `artifacts`.
pub struct ArtifactsTarget;

const FIELDS: &[Field] = &[
    Field::required(
        "url",
        Shape::Text,
        "Where the store is: `file:///srv/backups`, or a path; a relative one is relative to the environment file's folder.",
    ),
    Field::optional(
        "served_at",
        Shape::Url,
        "The address at which something serves the folder over HTTP, for servers that fetch from it by themselves.",
    ),
    Field::optional(
        "sign_with",
        Shape::Text,
        "The ed25519 key that signs manifests, records and marks: PEM as `openssl genpkey -algorithm ed25519` makes it, or its 32 bytes in base64.",
    )
    .with_secrets(),
    Field::optional(
        "trusted_keys",
        Shape::List(&Shape::Text),
        "The public ed25519 keys, 32 bytes in base64 each, whose signatures are believed. Points that none of them has signed are listed as `unsigned` or `foreign key`, and neither restored from nor removed.",
    ),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArtifactsSettings {
    url: String,
    served_at: Option<String>,
    sign_with: Option<String>,
    #[serde(default)]
    trusted_keys: Vec<String>,
}

#[async_trait]
impl TargetKind for ArtifactsTarget {
    fn shape(&self) -> TargetKindShape {
        TargetKindShape {
            name: "artifacts",
            docs: "The store that backups lie in: a folder. Its last part is made when something is stored.",
            fields: FIELDS,
        }
    }

    async fn connect(&self, settings: Settings) -> Result<Arc<dyn Connection>, StepError> {
        let read: ArtifactsSettings = settings.read()?;
        let folder = settings.folder.join(folder_of(&read.url)?);
        let served_at = read.served_at.as_deref().map(served_at).transpose()?;
        let seals = Arc::new(KeySeals::read(read.sign_with.as_deref(), &read.trusted_keys)?);
        Ok(Arc::new(ArtifactsConnection { store: FolderStore::new(folder).served_at(served_at), seals }))
    }
}

fn served_at(text: &str) -> Result<Url, StepError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.password().is_none() => Ok(url),
        _ => Err(StepError::new(
            "target.settings",
            format!(
                "the target's settings do not fit: its `served_at`, {text}, is no http or https URL without a password"
            ),
        )),
    }
}

/// The folder that a URL or a path names.
fn folder_of(text: &str) -> Result<PathBuf, StepError> {
    let refused = |why: String| {
        StepError::new("target.settings", format!("the target's settings do not fit: {why}"))
            .help("write `file:///srv/backups`, or a path")
    };
    if text.is_empty() {
        return Err(refused("its `url` is empty".into()));
    }
    // The one letter before the colon of `D:\backups` is a drive.
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
        scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    match scheme {
        None => Ok(PathBuf::from(text)),
        Some("file") => {
            let url = Url::parse(text).map_err(|error| refused(format!("its `url` is no URL: {error}")))?;
            let folder = if text.starts_with("file://") { url.to_file_path() } else { Err(()) };
            folder.map_err(|()| refused(format!("its `url`, {text}, names no folder of this machine")))
        }
        Some(other) => Err(refused(format!("a store at `{other}:` is not supported, only a folder"))),
    }
}

/// A store that is a folder.
pub struct ArtifactsConnection {
    store: FolderStore,
    seals: Arc<KeySeals>,
}

#[async_trait]
impl Connection for ArtifactsConnection {
    /// The folder is there, or can be made.
    async fn ping(&self) -> Result<(), StepError> {
        let root = self.store.root();
        let is_folder = async |path: Option<&std::path::Path>| match path {
            Some(path) => tokio::fs::metadata(path).await.map(|facts| facts.is_dir()),
            None => Ok(false),
        };
        let why = match is_folder(Some(root)).await {
            Ok(true) => return Ok(()),
            Ok(false) => "it is no folder".to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if is_folder(root.parent()).await.unwrap_or(false) {
                    return Ok(());
                }
                "nor is the folder above it there".to_owned()
            }
            Err(error) => error.to_string(),
        };
        let message = format!("the store {} cannot be used: {why}", root.display());
        Err(StepError::new("artifact.io", message).help("is its volume mounted?"))
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        let root = self.store.root();
        // Two paths to one folder are one store.
        let real = tokio::fs::canonicalize(root).await.unwrap_or_else(|_| root.to_owned());
        let name = real.file_name().unwrap_or(real.as_os_str()).to_string_lossy().into_owned();
        Ok(Identity { text: format!("artifacts {}", real.display()), name, version: String::new() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn seals(&self) -> Option<Arc<dyn Seals>> {
        Some(self.seals.clone())
    }

    fn store(&self) -> Option<&dyn ArtifactStore> {
        Some(&self.store)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn connected(url: &str, folder: &std::path::Path) -> Result<Arc<dyn Connection>, StepError> {
        let values = json!({ "url": url }).as_object().unwrap().clone();
        ArtifactsTarget.connect(Settings { values, folder: folder.into(), attempt: "r1/s/1".into() }).await
    }

    #[tokio::test]
    async fn urls_and_paths_name_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let check = async |url: &str, expected: &str| {
            let connection = connected(url, dir.path()).await.unwrap();
            let found = connection.store().unwrap().local_path("a/b").unwrap();
            assert_eq!(found, PathBuf::from(expected).join("a/b"), "{url}");
        };
        check("file:///srv/my%20backups", "/srv/my backups").await;
        check("/srv/backups", "/srv/backups").await;
        check("backups", dir.path().join("backups").to_str().unwrap()).await;
        check("./a:b", dir.path().join("./a:b").to_str().unwrap()).await;
    }

    #[tokio::test]
    async fn what_names_no_folder_is_refused() {
        let cases = [
            ("s3://bucket/x", "a store at `s3:` is not supported, only a folder"),
            ("https://h/x", "a store at `https:` is not supported"),
            ("file:relative", "names no folder of this machine"),
            ("file://elsewhere/x", "names no folder of this machine"),
            ("", "its `url` is empty"),
        ];
        for (url, words) in cases {
            let error = connected(url, "/".as_ref()).await.err().unwrap();
            assert_eq!(error.code, "target.settings", "{url}");
            assert!(error.message.contains(words), "{url}: {error}");
        }
    }

    #[tokio::test]
    async fn it_answers_when_it_can_be_used_and_is_one_by_whatever_path() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let ping = async |url: &str| connected(url, dir.path()).await.unwrap().ping().await;
        assert_eq!((ping(".").await, ping("new").await), (Ok(()), Ok(())));
        let error = ping("file").await.unwrap_err();
        assert!(error.message.ends_with("it is no folder"), "{error}");
        let error = ping("no/new").await.unwrap_err();
        assert_eq!(
            (error.code.as_str(), error.help.as_deref()),
            ("artifact.io", Some("is its volume mounted?"))
        );
        std::fs::create_dir(dir.path().join("store")).unwrap();
        let identity = async |url: &str| connected(url, dir.path()).await.unwrap().identity().await.unwrap();
        assert_eq!(identity("store").await, identity("./store/../store").await);
        assert_ne!(identity("store").await, identity("new").await);
        assert_eq!(identity("store").await.name, "store");
    }
}
