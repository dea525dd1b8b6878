//! One node of the cluster: its folders, and what it is doing. Main type: [`Node`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::seed::{Draw, Seed};

use super::deployment::{Consensus, Deployment, Health};
use super::store::Store;

/// A node. Points and collections are the cluster's, in the [`Store`]; snapshots are its own.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) store: Arc<Store>,
    /// Its place among the nodes.
    pub(super) index: usize,
    pub(super) clock: Clock,
    pub(super) seed: Seed,
    pub(super) http: reqwest::Client,
    /// See [`Deployment::transfer_looks`].
    pub(super) patience: u32,
    /// See [`Deployment::s3`].
    pub(super) s3: bool,
    /// See [`Deployment::health`].
    pub(super) health: BTreeMap<String, Health>,
    /// See [`Deployment::consensus`].
    pub(super) consensus: Option<Consensus>,
    dir: PathBuf,
    scratch: AtomicU64,
    /// How many random samples were drawn.
    samples: AtomicU64,
    activity: Mutex<BTreeMap<String, Activity>>,
}

/// What a node is doing with one collection, and has done.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Activity {
    pub(super) snapshots_running: usize,
    pub(super) recoveries_running: usize,
    pub(super) snapshots_created: usize,
}

/// What is being done, for as long as this value lives.
#[derive(Debug)]
pub(super) struct Doing<'a> {
    node: &'a Node,
    collection: String,
    end: fn(&mut Activity),
}

impl Node {
    /// A node whose folders lie under `dir`; they are created.
    pub(super) fn new(
        store: Arc<Store>,
        index: usize,
        dir: &Path,
        clock: Clock,
        seed: Seed,
        deployment: &Deployment,
    ) -> io::Result<Self> {
        let dir = std::path::absolute(dir)?;
        for folder in ["snapshots", "storage/tmp"] {
            std::fs::create_dir_all(dir.join(folder))?;
        }
        // Symbolic links are resolved once, since a `file://` location is compared after resolving its own.
        let dir = dir.canonicalize()?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .read_timeout(std::time::Duration::from_secs(60))
            .build()
            .map_err(io::Error::other)?;
        let activity = Mutex::default();
        let (patience, s3) = (deployment.transfer_looks, deployment.s3);
        let (health, consensus) = (deployment.health.clone(), deployment.consensus.get(&index).cloned());
        let (scratch, samples) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self {
            store,
            index,
            clock,
            seed,
            http,
            patience,
            s3,
            health,
            consensus,
            dir,
            scratch,
            samples,
            activity,
        })
    }

    /// The node's peer id.
    pub(super) fn peer(&self) -> u64 {
        self.store.peers.get(self.index).copied().unwrap_or(0)
    }

    /// Where snapshots lie; a `file://` location must be inside.
    pub(super) fn snapshots(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    /// Where the snapshots lie that were made here.
    pub(super) fn kept(&self) -> PathBuf {
        if self.s3 { self.dir.join("bucket") } else { self.snapshots() }
    }

    /// Where uploads for a collection are put.
    pub(super) fn snapshots_of(&self, collection: &str) -> PathBuf {
        self.snapshots().join(collection)
    }

    /// The folder that a real server would keep the collection in; errors name it.
    pub(super) fn collection_place(&self, collection: &str) -> String {
        format!("{}/storage/collections/{collection}", self.dir.display())
    }

    /// A path that no other file of this node has, in the folder for unfinished things.
    pub(super) fn scratch(&self, label: &str) -> PathBuf {
        let number = self.scratch.fetch_add(1, Ordering::Relaxed);
        let tail: String = self.seed.uuid(&format!("{label} {number}")).simple().to_string();
        self.dir.join("storage/tmp").join(format!("{label}-{}", tail.get(..6).unwrap_or_default()))
    }

    /// Numbers for one random sample: others for the next.
    pub(super) fn draw(&self) -> Draw {
        self.seed.draw(&format!("sample {} {}", self.index, self.samples.fetch_add(1, Ordering::Relaxed)))
    }

    /// Notes that a snapshot of the collection is being made.
    pub(super) fn snapshotting(&self, collection: &str) -> Doing<'_> {
        self.doing(collection, |now| now.snapshots_running += 1, |now| now.snapshots_running -= 1)
    }

    /// Notes that the collection is being recovered.
    pub(super) fn recovering(&self, collection: &str) -> Doing<'_> {
        self.doing(collection, |now| now.recoveries_running += 1, |now| now.recoveries_running -= 1)
    }

    /// Counts a snapshot that was begun; also one that fails counts, or one of a collection that is not there.
    pub(super) fn count_snapshot(&self, collection: &str) {
        self.change(collection, |now| now.snapshots_created += 1);
    }

    /// What the node does and has done, by collection.
    pub(super) fn activity(&self) -> BTreeMap<String, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn doing(&self, collection: &str, begin: fn(&mut Activity), end: fn(&mut Activity)) -> Doing<'_> {
        self.change(collection, begin);
        Doing { node: self, collection: collection.to_owned(), end }
    }

    fn change(&self, collection: &str, act: fn(&mut Activity)) {
        let mut activity = self.activity.lock().unwrap_or_else(PoisonError::into_inner);
        act(activity.entry(collection.to_owned()).or_default());
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        self.node.change(&self.collection, self.end);
    }
}
