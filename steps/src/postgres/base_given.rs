//! A base backup as a step names it: [`BaseGiven`], by what another step gave, or by where it lies in the store.

use std::collections::BTreeSet;

use drydock_step::{ArtifactStore, StepError};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::base_chain::BaseChain;
use super::base_entry::BaseEntry;
use super::base_record::{path_in, read};

/// One base backup, with those that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseGiven {
    /// A full one, or a list that begins with one.
    Chain(Box<BaseChain>),
    /// An incremental one alone: those before it are looked for in the store.
    Newest(Box<BaseEntry>),
    /// The folder of one in the store: its `backup.json` is read, and those before it are looked for.
    Folder(String),
}

impl<'de> Deserialize<'de> for BaseGiven {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        match Value::deserialize(deserializer)? {
            Value::String(folder) => match folder.trim_end_matches('/') {
                "" => Err(D::Error::custom("an empty text is no folder of a base backup")),
                folder => Ok(Self::Folder(folder.to_owned())),
            },
            one @ Value::Object(_) => {
                let entry = BaseEntry::deserialize(one).map_err(D::Error::custom)?;
                Ok(match entry.against {
                    None => Self::Chain(Box::new(BaseChain::ending(Vec::new(), entry))),
                    Some(_) => Self::Newest(Box::new(entry)),
                })
            }
            list @ Value::Array(_) => {
                Box::<BaseChain>::deserialize(list).map(Self::Chain).map_err(D::Error::custom)
            }
            other => Err(D::Error::custom(format!(
                "{other} is no base backup: give the outputs of the step that took it, a list of them, or its folder in the store"
            ))),
        }
    }
}

impl BaseGiven {
    /// All that belong to it, where that is known without asking the store.
    pub(super) fn chain(&self) -> Option<&BaseChain> {
        match self {
            Self::Chain(chain) => Some(chain),
            Self::Newest(_) | Self::Folder(_) => None,
        }
    }

    /// The newest, where it is known without asking the store.
    pub(super) fn newest(&self) -> Option<&BaseEntry> {
        match self {
            Self::Chain(chain) => Some(chain.last()),
            Self::Newest(entry) => Some(entry),
            Self::Folder(_) => None,
        }
    }

    /// What is read of it.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Chain(chain) => chain.paths().join(", "),
            Self::Newest(entry) => format!("{} and those before it", entry.artifact.path),
            Self::Folder(folder) => format!("what {} names", path_in(folder)),
        }
    }

    /// The base backup that is meant, with those that it needs, each made against the one before it.
    ///
    /// # Errors
    /// `postgres.chain` when they are no chain, and those of [`read`].
    pub(super) async fn resolved(&self, store: &dyn ArtifactStore) -> Result<BaseChain, StepError> {
        let chain = match self {
            Self::Chain(chain) => (**chain).clone(),
            Self::Newest(entry) => chain_to(store, (**entry).clone()).await?,
            Self::Folder(folder) => chain_to(store, read(store, folder).await?).await?,
        };
        chain.fits()?;
        Ok(chain)
    }
}

/// Goes from one base backup to that which it was made against, in the folder beside its own, and so on to the full one.
async fn chain_to(store: &dyn ArtifactStore, newest: BaseEntry) -> Result<BaseChain, StepError> {
    let mut seen = BTreeSet::from([newest.label.clone()]);
    let (mut before, mut later) = (Vec::new(), newest.clone());
    while let Some(against) = later.against.clone() {
        let made = format!("{} was made against {}", later.label, against.label);
        if !seen.insert(against.label.clone()) {
            let message = format!("these base backups are no chain: {made}, which came after it");
            return Err(StepError::new("postgres.chain", message)
                .help("two backups have one label; name all that are needed as a list, a full one first"));
        }
        let folder = match later.folder().rsplit_once('/') {
            Some((around, _)) => format!("{around}/{}", against.label),
            None => against.label.clone(),
        };
        let found = read(store, &folder).await;
        let found =
            found.map_err(|error| StepError { message: format!("{made}: {}", error.message), ..error })?;
        later = found.clone();
        before.push(found);
    }
    before.reverse();
    Ok(BaseChain::ending(before, newest))
}

#[cfg(test)]
mod tests {
    use drydock_step::artifact::stream_of;
    use serde_json::json;

    use super::super::base_record::tests::entry;
    use super::super::base_record::text_of;
    use super::*;
    use crate::artifact::folder::FolderStore;

    async fn store_of(entries: &[BaseEntry]) -> (FolderStore, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let store = FolderStore::new(dir.path().join("store"));
        for entry in entries {
            let text = text_of(entry).unwrap();
            store.put(&format!("pg/{}/backup.json", entry.label), stream_of(text)).await.unwrap();
        }
        (store, dir)
    }

    async fn labels(store: &FolderStore, given: Value) -> Result<Vec<String>, (String, String)> {
        let given: BaseGiven = serde_json::from_value(given).unwrap();
        let chain = given.resolved(store).await.map_err(|error| (error.code, error.message))?;
        Ok(chain.entries().iter().map(|entry| entry.label.clone()).collect())
    }

    #[tokio::test]
    async fn an_incremental_one_is_followed_back_to_the_full_one() {
        let (full, one, two) = (entry("full", None), entry("one", Some("full")), entry("two", Some("one")));
        let (store, _dir) = store_of(&[full.clone(), one.clone(), two.clone()]).await;
        for given in [json!("pg/two"), json!("pg/two/"), json!(two), json!([full, one, two])] {
            assert_eq!(labels(&store, given).await.unwrap(), ["full", "one", "two"]);
        }
        assert_eq!(labels(&store, json!("pg/full")).await.unwrap(), ["full"]);
        assert_eq!(labels(&store, json!(full)).await.unwrap(), ["full"]);
    }

    #[tokio::test]
    async fn what_leads_to_no_full_one_is_refused() {
        let other = {
            let mut full = entry("full", None);
            "m-other".clone_into(&mut full.manifest.sha256);
            full
        };
        let (a, b) = (entry("a", Some("b")), entry("b", Some("a")));
        let lost = entry("lost", Some("gone"));
        let (store, _dir) = store_of(&[other, entry("one", Some("full")), a, b, lost.clone()]).await;
        store.put("pg/half/base.tar", stream_of("x")).await.unwrap();
        let list = json!([lost]);
        for (given, code, words) in [
            (json!("pg/none"), "artifact.absent", "there is no base backup in pg/none"),
            (
                json!("pg/half"),
                "postgres.base",
                "the base backup in pg/half is unfinished: it has no backup.json",
            ),
            (
                json!("pg/lost"),
                "artifact.absent",
                "lost was made against gone: there is no base backup in pg/gone",
            ),
            (json!("pg/one"), "postgres.chain", "one was made against full, and full stands before it"),
            (json!("pg/a"), "postgres.chain", "b was made against a, which came after it"),
            (list, "postgres.chain", "lost is incremental: gone must stand before it"),
        ] {
            let (found, message) = labels(&store, given).await.unwrap_err();
            assert!(found == code && message.contains(words), "{found}: {message}");
        }
        for wrong in [json!(""), json!(7), json!([]), json!({ "label": "x" })] {
            assert!(serde_json::from_value::<BaseGiven>(wrong).is_err());
        }
    }
}
