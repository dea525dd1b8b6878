//! How a practice Qdrant is set up, beyond its nodes and keys. Main type: [`Deployment`].

use std::collections::BTreeMap;

/// The set-up of a practice Qdrant. The default is a server as it comes.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Whether one node alone is a cluster as well, which shard keys need. Several nodes always are one.
    pub cluster: bool,
    /// How often a node is asked for a collection's state until a transfer of a shard gets on, of which it has
    /// two stages. A large number keeps shards moving for as long as a test wants.
    pub transfer_looks: u32,
    /// Whether snapshots are kept in S3, as it looks from outside: nobody knows their checksums, and they are
    /// downloaded whole, without a length. What is uploaded for a recovery is not among them.
    pub s3: bool,
    /// A second key that may do everything, beside the first.
    pub alt_api_key: Option<String>,
    /// Whether tokens are taken that one of the two keys signed, each of which says what it may do.
    pub jwt_rbac: bool,
    /// What is the matter with collections of these names, now and when they are made. Others are well.
    pub health: BTreeMap<String, Health>,
    /// What is the matter with the agreement of these nodes of a cluster, by their place. Others take part in it.
    pub consensus: BTreeMap<usize, Consensus>,
}

/// What is the matter with a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Something is being optimised, without end: it is yellow.
    Optimising,
    /// Nothing was optimised since the server's start: it is grey.
    Unoptimised,
    /// An operation failed: it is red.
    FailedOperation,
    /// The optimizer failed with these words: it is red, and says why.
    FailedOptimizer(String),
}

/// What is the matter with a node that takes no part in its cluster's agreement. Nothing that all must agree on can be
/// done over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consensus {
    /// No node leads.
    NoLeader,
    /// It was stopped.
    Stopped,
    /// It stopped with this error.
    Failed(String),
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            cluster: false,
            transfer_looks: 2,
            s3: false,
            alt_api_key: None,
            jwt_rbac: false,
            health: BTreeMap::new(),
            consensus: BTreeMap::new(),
        }
    }
}
