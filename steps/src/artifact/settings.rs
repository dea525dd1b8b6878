//! The settings of a store: [`FIELDS`] describes them, [`ArtifactsSettings`] is as they are written.

use drydock_step::{ByteCount, Field, LockAsked, LockMode, PlanPath, Settings, Shape, StepError};
use serde::Deserialize;

use super::location::Service;
use crate::http_client::refused_settings;

const LOCK: &[Field] = &[
    Field::required(
        "mode",
        Shape::OneOf(&["governance", "compliance"]),
        "Who may still remove it: who has a special right, or nobody.",
    ),
    Field::required("days", Shape::Integer, "For how many days from its put on."),
];

pub(super) const FIELDS: &[Field] = &[
    Field::required(
        "url",
        Shape::Text,
        "Where the store is: `file:///srv/backups` or a path, a relative one relative to the environment file's folder; `s3://bucket/prefix`; `az://container/prefix` or the https address of an Azure container; `gs://bucket/prefix`.",
    ),
    Field::optional(
        "served_at",
        Shape::Url,
        "Of a folder: the address at which something serves it over HTTP, for servers that fetch from it by themselves.",
    ),
    Field::optional(
        "endpoint",
        Shape::Url,
        "Of a bucket: the address of the service, where it is not the cloud's own. Only where it is written with `http:` does anything go unencrypted.",
    ),
    Field::optional("region", Shape::Text, "Of S3: the bucket's region.").or("\"us-east-1\""),
    Field::optional("access_key", Shape::Text, "Of S3: the access key's id.").with_secrets(),
    Field::optional("secret_key", Shape::Text, "Of S3: the secret key that belongs to it.").with_secrets(),
    Field::optional("session_token", Shape::Text, "Of S3: the token of credentials that are lent for a time.").with_secrets(),
    Field::optional("account", Shape::Text, "Of Azure: the storage account, where the `url` does not say it."),
    Field::optional("account_key", Shape::Text, "Of Azure: a key of the account.").with_secrets(),
    Field::optional("sas", Shape::Text, "Of Azure: a shared access signature.").with_secrets(),
    Field::optional("service_account", Shape::Text, "Of GCS: the JSON of a service account's key.").with_secrets(),
    Field::optional(
        "identity",
        Shape::OneOf(&["instance", "workload", "none"]),
        "Of a bucket, instead of keys. `instance`: the machine's own, which its metadata service tells (S3, Azure). `workload`: the one that a cluster lends by `token_file` (S3, Azure). `none`: requests are not signed. Nothing is taken from the runner's environment or home folder; only Azure's `instance` sends on the `IDENTITY_HEADER` that the cloud sets there.",
    ),
    Field::optional("role", Shape::Text, "With `identity: workload` of S3: the role's name (ARN)."),
    Field::optional("client_id", Shape::Text, "With `identity: workload` or `instance` of Azure: the identity's client id."),
    Field::optional("tenant_id", Shape::Text, "With `identity: workload` of Azure: its tenant."),
    Field::optional("token_file", Shape::Path, "With `identity: workload`: the file that the cluster keeps a token in."),
    Field::optional("ca", Shape::Path, "Of a bucket: a PEM file with certificates to trust, besides those of the system."),
    Field::optional(
        "part_size",
        Shape::Size,
        "Of a bucket: the length of the parts that a large artifact is sent in, at least 5MiB; 10,000 of them are the most. Left out, parts grow from 16MiB to 512MiB, which is enough for almost 3 TiB; a service that wants all parts alike, or larger artifacts, needs it.",
    ),
    Field::optional(
        "rate",
        Shape::Size,
        "The most bytes a second, of all that is stored and read by this process together.",
    ),
    Field::optional(
        "encrypt_to",
        Shape::List(&Shape::Text),
        "The age recipients (`age1…`) that artifacts are encrypted to before they are stored. `size` and `sha256` of an artifact remain those of what was put; what lies there has both of its own, written down beside it. Reading and listing know both kinds, so that it may be set later. Manifests, records and marks stay plain, so that who only backs up can read which point to build on. Where no identity is at hand, `artifact.verify` and `point.seal` hash what lies there and compare it with what was written down: that proves that it is what was stored, not that the identity's keeper can read it.",
    ),
    Field::optional(
        "decrypt_with",
        Shape::Text,
        "An age identity (`AGE-SECRET-KEY-1…`, a line each; the file that age-keygen makes) to read with what is encrypted. A runner that only backs up needs none.",
    )
    .with_secrets(),
    Field::optional(
        "sign_with",
        Shape::Text,
        "The ed25519 key that signs manifests, records and marks: PEM as `openssl genpkey -algorithm ed25519` makes it, or its 32 bytes in base64.",
    )
    .with_secrets(),
    Field::optional(
        "trusted_keys",
        Shape::List(&Shape::Text),
        "The public ed25519 keys, 32 bytes in base64 each, whose signatures are believed. Points that none of them has signed are listed as `unsigned` or `foreign key`, and neither restored from nor removed. What was said about a point and none of them has signed (that it is held, bad, being removed) is listed and not believed; the point stays until somebody who is trusted holds or releases it.",
    ),
    Field::optional(
        "lock",
        Shape::Record(LOCK),
        "Of S3: object lock that each put asks for; the bucket must have been made with it. What is locked is not removed before its time, and a put of the same name leaves it as an older version. `point.seal` and `artifact.verify` name what lacks the lock. Other services are not supported: there, make a rule of the bucket.",
    ),
];

/// The settings as written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ArtifactsSettings {
    pub(super) url: String,
    pub(super) served_at: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) access_key: Option<String>,
    pub(super) secret_key: Option<String>,
    pub(super) session_token: Option<String>,
    pub(super) account: Option<String>,
    pub(super) account_key: Option<String>,
    pub(super) sas: Option<String>,
    pub(super) service_account: Option<String>,
    pub(super) identity: Option<Lent>,
    pub(super) role: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) token_file: Option<PlanPath>,
    pub(super) ca: Option<PlanPath>,
    pub(super) part_size: Option<ByteCount>,
    pub(super) rate: Option<ByteCount>,
    pub(super) encrypt_to: Vec<String>,
    pub(super) decrypt_with: Option<String>,
    pub(super) sign_with: Option<String>,
    pub(super) trusted_keys: Vec<String>,
    pub(super) lock: Option<LockSettings>,
}

/// An identity instead of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lent {
    Instance,
    Workload,
    None,
}

/// The lock as written.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LockSettings {
    mode: LockMode,
    days: u32,
}

impl LockSettings {
    /// # Errors
    /// `target.settings` for a lock that ends at once, or in more than a hundred years.
    pub(super) fn asked(self) -> Result<LockAsked, StepError> {
        if !(1..=36_500).contains(&self.days) {
            return Err(refused_settings("the `days` of its `lock` are at least 1, and at most 36500"));
        }
        Ok(LockAsked { mode: self.mode, days: self.days })
    }
}

/// What every store has.
const ANY: &[&str] = &["url", "rate", "encrypt_to", "decrypt_with", "sign_with", "trusted_keys"];
const FOLDER: &[&str] = &["served_at"];
const BUCKET: &[&str] = &["endpoint", "identity", "ca", "part_size"];
const S3: &[&str] = &["region", "access_key", "secret_key", "session_token", "role", "token_file", "lock"];
const AZURE: &[&str] = &["account", "account_key", "sas", "client_id", "tenant_id", "token_file"];
const GCS: &[&str] = &["service_account"];

/// Refuses settings that a store of this kind does not have; `None` is a folder.
pub(super) fn fitting(settings: &Settings, service: Option<Service>) -> Result<(), StepError> {
    let (words, known) = match service {
        None => ("a folder", [FOLDER, &[]]),
        Some(Service::S3) => ("a bucket of S3", [BUCKET, S3]),
        Some(Service::Azure) => ("a container of Azure", [BUCKET, AZURE]),
        Some(Service::Gcs) => ("a bucket of GCS", [BUCKET, GCS]),
    };
    let strange = settings.values.keys().find(|key| {
        let key = key.as_str();
        !ANY.contains(&key) && !known.iter().any(|known| known.contains(&key))
    });
    match strange {
        None => Ok(()),
        Some(key) if key == "lock" => Err(refused_settings(&format!("`lock` is not supported by {words}"))
            .help(
                "lock it by a rule of the store's own, such as an immutability policy; or use a bucket of S3",
            )),
        Some(key) => Err(refused_settings(&format!("`{key}` is nothing that {words} has"))),
    }
}
