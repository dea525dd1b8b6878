//! From settings to a bucket's store: [`bucket_store`].
//!
//! Only what is written in the settings decides who signs: the client's own search through environment and home folder is never begun.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use drydock_step::{ByteCount, LockAsked, Settings, StepError};
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::list::PaginatedListStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};
use url::Url;

use super::bucket::BucketStore;
use super::bucket_put::PartSize;
use super::bucket_wire::{Locking, Wire};
use super::location::{Bucket, Service};
use super::settings::{ArtifactsSettings, Lent};
use crate::http_client::{attempt_header, certificates, refused_settings};

/// The two faces of a service's client.
type Faces = (Arc<dyn ObjectStore>, Arc<dyn PaginatedListStore>);

/// The bounds of S3 for a part, with room below 5 GiB.
const PARTS: std::ops::RangeInclusive<u64> = 5 * 1024 * 1024..=5 * 1024 * 1024 * 1024;

/// What every service's client is made of.
struct Making<'a> {
    bucket: &'a Bucket,
    read: &'a ArtifactsSettings,
    settings: &'a Settings,
    /// Without a slash at its end.
    endpoint: Option<String>,
    is_plain: bool,
}

/// The store, and how it is told from others.
///
/// # Errors
/// `target.settings`, when the settings do not fit.
pub(super) fn bucket_store(
    bucket: &Bucket,
    read: &ArtifactsSettings,
    settings: &Settings,
) -> Result<(BucketStore, String), StepError> {
    let endpoint = endpoint(read.endpoint.as_deref())?;
    let is_plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http:"));
    let making = Making { bucket, read, settings, endpoint, is_plain };
    let lock = read.lock.map(super::settings::LockSettings::asked).transpose()?;
    let (store, pages) = match bucket.service {
        Service::S3 => making.s3(lock)?,
        Service::Azure => making.azure()?,
        Service::Gcs => making.gcs()?,
    };
    let parts = match read.part_size {
        None => PartSize::Growing,
        Some(ByteCount(bytes)) if PARTS.contains(&bytes) => PartSize::Fixed(bytes),
        Some(_) => return Err(refused_settings("its `part_size` is not between 5MiB and 5GiB")),
    };
    let identity = making.identity();
    let (shown, prefix) = (bucket.shown(), bucket.prefix.clone());
    let lists_itself = bucket.service != Service::Azure;
    Ok((BucketStore { store, pages, shown, prefix, parts, lock, lists_itself }, identity))
}

fn endpoint(text: Option<&str>) -> Result<Option<String>, StepError> {
    let Some(text) = text else { return Ok(None) };
    let url = Url::parse(text).ok().filter(|url| {
        let is_bare = url.query().is_none() && url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && is_bare
    });
    match url {
        Some(_) => Ok(Some(text.trim_end_matches('/').to_owned())),
        None => Err(refused_settings(&format!(
            "its `endpoint`, {text}, is no http or https URL without a password"
        ))),
    }
}

fn refused(error: &object_store::Error) -> StepError {
    refused_settings(&format!("no client can be made: {error}"))
}

impl Making<'_> {
    /// What is the same of one store and different of any other.
    fn identity(&self) -> String {
        let at = match (&self.endpoint, self.account()) {
            (Some(endpoint), _) => format!(" at {endpoint}"),
            (None, Some((account, _))) => format!(" of {account}"),
            (None, None) => String::new(),
        };
        format!("artifacts {}{at}", self.bucket.shown())
    }

    /// Azure's account and its address, where they are known.
    fn account(&self) -> Option<(String, Option<String>)> {
        match (&self.bucket.account, &self.read.account) {
            (Some((account, address)), _) => Some((account.clone(), Some(address.clone()))),
            (None, Some(account)) => Some((account.clone(), None)),
            (None, None) => None,
        }
    }

    fn wire(&self, locking: Option<Locking>) -> Result<Wire, StepError> {
        let ca =
            self.read.ca.as_ref().map(|ca| certificates(&ca.resolved(&self.settings.folder))).transpose()?;
        let headers = [attempt_header(&self.settings.attempt)?].into_iter().collect();
        Ok(Wire { certificates: ca.unwrap_or_default(), headers, locking })
    }

    fn options(&self) -> ClientOptions {
        ClientOptions::new().with_allow_http(self.is_plain)
    }

    /// One of these, and no other; in words what is there to choose from.
    fn no_credentials(&self, choices: &str) -> StepError {
        refused_settings(&format!("{} needs {choices}", self.bucket.shown()))
            .help("nothing is looked for in the environment or the home folder: name a secret's source in the environment file")
    }

    fn token_file(&self) -> Result<String, StepError> {
        let file = self.read.token_file.as_ref();
        let file = file.ok_or_else(|| refused_settings("`identity: workload` needs a `token_file`"))?;
        Ok(file.resolved(&self.settings.folder).display().to_string())
    }

    fn s3(&self, lock: Option<LockAsked>) -> Result<Faces, StepError> {
        let read = self.read;
        let region = read.region.clone().unwrap_or_else(|| "us-east-1".to_owned());
        let credentials = Arc::new(OnceLock::new());
        let locking = Locking { asked: lock, region: region.clone(), credentials: Arc::clone(&credentials) };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket.name)
            .with_region(region)
            .with_retry(retries())
            .with_client_options(self.options())
            .with_http_connector(self.wire(Some(locking))?)
            // Each part is proved to the store as it arrives; a lock asks for it.
            .with_checksum_algorithm(Checksum::SHA256)
            .with_disable_tagging(true)
            .with_disable_bulk_delete(true);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        builder = match (read.identity, &read.access_key, &read.secret_key) {
            (None, Some(key), Some(secret)) => {
                let keyed = builder.with_access_key_id(key).with_secret_access_key(secret);
                read.session_token.iter().fold(keyed, |keyed, token| keyed.with_token(token))
            }
            (Some(Lent::None), None, None) => builder.with_skip_signature(true),
            (Some(Lent::Instance), None, None) => builder,
            (Some(Lent::Workload), None, None) => {
                let role = read.role.as_ref();
                let role = role.ok_or_else(|| refused_settings("`identity: workload` needs a `role`"))?;
                builder
                    .with_config(
                        object_store::aws::AmazonS3ConfigKey::WebIdentityTokenFile,
                        self.token_file()?,
                    )
                    .with_config(object_store::aws::AmazonS3ConfigKey::RoleArn, role)
            }
            _ => return Err(self.no_credentials("`access_key` and `secret_key`, or an `identity`")),
        };
        let store = Arc::new(builder.build().map_err(|error| refused(&error))?);
        // Only here are they set.
        let _ = credentials.set(Arc::clone(store.credentials()));
        Ok((store.clone(), store))
    }

    fn azure(&self) -> Result<Faces, StepError> {
        let read = self.read;
        let (account, address) =
            self.account().ok_or_else(|| refused_settings("an `az:` store needs an `account`"))?;
        if let (Some((said, _)), Some(other)) = (&self.bucket.account, &read.account)
            && said != other
        {
            return Err(refused_settings(&format!("its `url` says account {said}, its `account` {other}")));
        }
        let mut builder = MicrosoftAzureBuilder::new()
            .with_account(account)
            .with_container_name(&self.bucket.name)
            .with_retry(retries())
            .with_client_options(self.options())
            .with_http_connector(self.wire(None)?)
            .with_disable_tagging(true);
        if let Some(endpoint) = self.endpoint.clone().or(address) {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(client) = &read.client_id {
            builder = builder.with_client_id(client);
        }
        builder = match (read.identity, &read.account_key, &read.sas) {
            (None, Some(key), None) => builder.with_access_key(key).with_credential_type("access_key"),
            (None, None, Some(sas)) => {
                builder.with_config(AzureConfigKey::SasKey, sas).with_credential_type("sas_token")
            }
            (Some(Lent::None), None, None) => {
                builder.with_skip_signature(true).with_bearer_token_authorization("")
            }
            (Some(Lent::Instance), None, None) => builder.with_credential_type("managed_identity"),
            (Some(Lent::Workload), None, None) => {
                let (Some(tenant), Some(_)) = (&read.tenant_id, &read.client_id) else {
                    return Err(refused_settings(
                        "`identity: workload` needs a `client_id` and a `tenant_id`",
                    ));
                };
                builder
                    .with_tenant_id(tenant)
                    .with_federated_token_file(self.token_file()?)
                    .with_credential_type("workload_identity")
            }
            _ => return Err(self.no_credentials("one of `account_key`, `sas` and `identity`")),
        };
        let store = Arc::new(builder.build().map_err(|error| refused(&error))?);
        Ok((store.clone(), store))
    }

    fn gcs(&self) -> Result<Faces, StepError> {
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&self.bucket.name)
            .with_retry(retries())
            .with_client_options(self.options())
            .with_http_connector(self.wire(None)?);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_base_url(endpoint);
        }
        builder = match (self.read.identity, &self.read.service_account) {
            (None, Some(json)) => builder.with_service_account_key(json),
            (Some(Lent::None), None) => {
                let nobody = GcpCredential { bearer: String::new() };
                builder
                    .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
                    .with_skip_signature(true)
            }
            // The client would look through the environment and the home folder before it asked the machine.
            (Some(Lent::Instance | Lent::Workload), _) => {
                return Err(refused_settings("a `gs:` store has no `identity` but `none`")
                    .help("give it a `service_account`, as a secret"));
            }
            _ => return Err(self.no_credentials("a `service_account`, or `identity: none`")),
        };
        let store = Arc::new(builder.build().map_err(|error| refused(&error))?);
        Ok((store.clone(), store))
    }
}

/// How often a request is sent again within itself; what comes after that, a step's own `retry` decides.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: Duration::from_secs(60),
    }
}
