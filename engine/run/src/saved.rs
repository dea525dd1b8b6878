//! A dry run that was saved, so that a run can do exactly that: [`Saved`].

use std::path::PathBuf;

use drydock_plan::name::{Digest, Name};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bound::Bound;

/// What a saved dry run says beside what it shows. No secret is in it: files name the sources of secrets, never their values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// It may be executed once, under this name.
    pub id: String,
    /// When it was made, in milliseconds since 1970, UTC.
    pub at_ms: i64,
    /// By whom and where, `user@host`.
    pub by: String,
    /// The plan file, as it was named.
    pub plan_file: PathBuf,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<SavedEnvironment>,
    /// The values of all parameters that are no secrets.
    pub params: Map<String, Value>,
    /// The secret parameters: their sources are asked again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Name>,
    /// Whether it is a drill.
    pub drill: bool,
    /// Only these steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Name>,
    /// All but these steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<Name>,
    /// Whether the servers were asked: only then a run can be bound to it.
    pub probed: bool,
    /// Plan, environment, and every file that an input names, in the order in which the plan's digest is over them.
    pub files: Vec<SavedFile>,
    /// What each step is bound to.
    pub steps: Bound,
}

/// The environment that it was made in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedEnvironment {
    /// Its name.
    pub name: String,
    /// Its file, as it was named.
    pub file: PathBuf,
    /// Over the file's bytes.
    pub digest: Digest,
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// As it was named.
    pub name: String,
    /// Over its bytes.
    pub digest: Digest,
    /// Its text; of the plan and the environment alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}
