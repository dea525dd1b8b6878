//! The target kind `artifacts`: [`ArtifactsTarget`], and what it connects to, [`ArtifactsConnection`].

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use drydock_step::target::Seals;
use drydock_step::{
    ArtifactStore, ByteCount, Connection, Identity, Settings, StepError, TargetKind, TargetKindShape,
};
use url::Url;

use super::age_keys::Keys;
use super::bucket::BucketStore;
use super::bucket_target::bucket_store;
use super::encrypted::EncryptedStore;
use super::folder::FolderStore;
use super::location::{Bucket, Location};
use super::rate::{Limiter, RatedStore};
use super::settings::{ArtifactsSettings, FIELDS, fitting};
use crate::http_client::refused_settings;
use crate::seals::KeySeals;

/// The target kind `artifacts`.
pub struct ArtifactsTarget;

#[async_trait]
impl TargetKind for ArtifactsTarget {
    fn shape(&self) -> TargetKindShape {
        TargetKindShape {
            name: "artifacts",
            docs: "The store that backups lie in: a folder, whose last part is made when something is stored, or a part of a bucket of S3, Azure or GCS. Storing needs no right to delete; what a put that fails leaves behind is removed where that right is there, else by a rule of the bucket that ends incomplete uploads.",
            fields: FIELDS,
        }
    }

    async fn connect(&self, settings: Settings) -> Result<Arc<dyn Connection>, StepError> {
        let read: ArtifactsSettings = settings.read()?;
        let seals = Arc::new(KeySeals::read(read.sign_with.as_deref(), &read.trusted_keys)?);
        let (place, store, identity): (Place, Arc<dyn ArtifactStore>, String) =
            match Location::parse(&read.url)? {
                Location::Folder(folder) => {
                    fitting(&settings, None)?;
                    let folder = settings.folder.join(folder);
                    let served_at = read.served_at.as_deref().map(served_at).transpose()?;
                    let store = Arc::new(FolderStore::new(&folder).served_at(served_at));
                    let identity = folder.display().to_string();
                    (Place::Folder(folder), store, identity)
                }
                Location::Bucket(bucket) => {
                    fitting(&settings, Some(bucket.service))?;
                    let (store, identity) = bucket_store(&bucket, &read, &settings)?;
                    let store = Arc::new(store);
                    (
                        Place::Bucket { bucket, store: store.clone(), identity: identity.clone() },
                        store,
                        identity,
                    )
                }
            };
        let store = match Keys::read(&read.encrypt_to, read.decrypt_with.as_deref())? {
            Some(keys) => Arc::new(EncryptedStore::new(store, keys)),
            None => store,
        };
        let store = match read.rate {
            Some(ByteCount(0)) => return Err(refused_settings("its `rate` lets nothing through")),
            Some(ByteCount(rate)) => {
                Arc::new(RatedStore { inner: store, limiter: Limiter::shared(&identity, rate) })
            }
            None => store,
        };
        Ok(Arc::new(ArtifactsConnection { place, store, seals }))
    }
}

fn served_at(text: &str) -> Result<Url, StepError> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.password().is_none() => Ok(url),
        _ => {
            let why = format!("its `served_at`, {text}, is no http or https URL without a password");
            Err(refused_settings(&why))
        }
    }
}

/// Where a store is.
enum Place {
    Folder(PathBuf),
    Bucket { bucket: Bucket, store: Arc<BucketStore>, identity: String },
}

/// A store with what its settings lay around it.
pub struct ArtifactsConnection {
    place: Place,
    store: Arc<dyn ArtifactStore>,
    seals: Arc<KeySeals>,
}

#[async_trait]
impl Connection for ArtifactsConnection {
    async fn ping(&self) -> Result<(), StepError> {
        match &self.place {
            Place::Folder(root) => usable(root).await,
            Place::Bucket { store, .. } => store.ping().await,
        }
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        let (text, name) = match &self.place {
            Place::Folder(root) => {
                // Two paths to one folder are one store.
                let real = tokio::fs::canonicalize(root).await.unwrap_or_else(|_| root.to_owned());
                let name = real.file_name().unwrap_or(real.as_os_str()).to_string_lossy().into_owned();
                (format!("artifacts {}", real.display()), name)
            }
            Place::Bucket { bucket, identity, .. } => (identity.clone(), bucket.name_and_prefix()),
        };
        Ok(Identity { text, name, version: String::new() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn seals(&self) -> Option<Arc<dyn Seals>> {
        Some(self.seals.clone())
    }

    fn store(&self) -> Option<&dyn ArtifactStore> {
        Some(self.store.as_ref())
    }
}

/// The folder is there, or can be made.
///
/// # Errors
/// `artifact.io`, with why it cannot be used.
pub(super) async fn usable(root: &Path) -> Result<(), StepError> {
    let is_folder = async |path: Option<&Path>| match path {
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
    async fn what_does_not_go_together_is_refused() {
        let check = async |values: serde_json::Value, words: &str| {
            let values = values.as_object().unwrap().clone();
            let settings = Settings { values, folder: "/".into(), attempt: "r1/s/1".into() };
            let error = ArtifactsTarget.connect(settings).await.err().unwrap();
            assert_eq!(error.code, "target.settings");
            assert!(error.message.contains(words), "{error}");
        };
        check(json!({ "url": "ftp://h/x" }), "a store at `ftp:` is not supported").await;
        check(json!({ "url": "/srv", "region": "r" }), "`region` is nothing that a folder has").await;
        check(json!({ "url": "s3://b", "account": "a" }), "`account` is nothing that a bucket of S3 has")
            .await;
        check(json!({ "url": "s3://b" }), "s3://b needs `access_key` and `secret_key`, or an `identity`")
            .await;
        check(json!({ "url": "s3://b", "identity": "none", "access_key": "k" }), "or an `identity`").await;
        check(json!({ "url": "s3://b", "identity": "workload" }), "`identity: workload` needs a `role`")
            .await;
        let s3 = |more: serde_json::Value| {
            let mut values = json!({ "url": "s3://b", "access_key": "k", "secret_key": "s" });
            values.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            values
        };
        check(s3(json!({ "endpoint": "h:9000" })), "its `endpoint`, h:9000, is no http or https URL").await;
        check(s3(json!({ "part_size": "1MiB" })), "its `part_size` is not between 5MiB and 5GiB").await;
        check(s3(json!({ "rate": "0MiB" })), "its `rate` lets nothing through").await;
        check(s3(json!({ "lock": { "mode": "governance", "days": 0 } })), "are at least 1").await;
        check(s3(json!({ "encrypt_to": ["age1x"] })), "its `encrypt_to`, age1x, is no age recipient").await;
        check(s3(json!({ "decrypt_with": "secret" })), "a line that is no age identity").await;
        check(json!({ "url": "az://c", "account_key": "aw==" }), "an `az:` store needs an `account`").await;
        check(json!({ "url": "az://c", "account": "a" }), "one of `account_key`, `sas` and `identity`").await;
        check(
            json!({ "url": "az://c", "account": "a", "lock": { "mode": "compliance", "days": 1 } }),
            "`lock` is not supported by a container of Azure",
        )
        .await;
        check(json!({ "url": "gs://b" }), "needs a `service_account`, or `identity: none`").await;
        check(json!({ "url": "gs://b", "identity": "instance" }), "has no `identity` but `none`").await;
        check(json!({ "url": "gs://b", "service_account": "{}" }), "no client can be made").await;
    }

    #[tokio::test]
    async fn buckets_are_one_by_name_prefix_and_address() {
        let identity = async |values: serde_json::Value| {
            let values = values.as_object().unwrap().clone();
            let settings = Settings { values, folder: "/".into(), attempt: "r1/s/1".into() };
            ArtifactsTarget.connect(settings).await.unwrap().identity().await.unwrap()
        };
        let s3 =
            identity(json!({ "url": "s3://b/p/", "identity": "none", "endpoint": "http://127.0.0.1:9/" }))
                .await;
        assert_eq!((s3.text.as_str(), s3.name.as_str()), ("artifacts s3://b/p at http://127.0.0.1:9", "b/p"));
        let azure = identity(json!({ "url": "az://c", "account": "a", "identity": "none" })).await;
        assert_eq!((azure.text.as_str(), azure.name.as_str()), ("artifacts az://c of a", "c"));
        assert_eq!(
            identity(json!({ "url": "gs://b/p", "identity": "none" })).await.text,
            "artifacts gs://b/p"
        );
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
