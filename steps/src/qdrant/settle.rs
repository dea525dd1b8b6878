//! Waiting until a recovered collection has come to rest: [`settled`].

use std::time::Duration;

use drydock_step::{Ctx, StepError};
use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::time::Instant;

use super::answers::Count;
use super::members::Member;
use super::requests;
use super::standing::Standing;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long nodes may be found at rest and to count differently: by then nothing is under way that would make them equal.
const DIFFERING: Duration = Duration::from_secs(60);

/// A collection at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    /// Its exact number of points.
    pub(super) points: u64,
    /// `green`, or `grey` where nothing was optimised since the server's start.
    pub(super) status: String,
    /// By node.
    pub(super) nodes: Vec<NodeCount>,
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct NodeCount {
    node: String,
    /// The exact number of points of the whole collection, as this node finds it: in its own replicas, and in others' where it has none.
    points: u64,
    /// The shards that it has.
    shards: Vec<u32>,
}

/// Returns when every copy of every shard is active, no update waits, nothing is being optimised, and every node has counted the same
/// twice: after a recovery is answered, the end of its write-ahead log may still be applied, and other replicas are still to be filled.
/// How long that may take is the step's `timeout`.
///
/// # Errors
/// `qdrant.broken` for a collection that does not come back, `qdrant.optimizer` for one that is not optimised, `qdrant.replicas` for nodes that go on counting differently.
pub(super) async fn settled(ctx: &Ctx, members: &[Member], name: &str) -> Result<Settled, StepError> {
    let (begun, mut before, mut differ_since) = (Instant::now(), None, None);
    loop {
        let standing = Standing::of(members, name).await?;
        if standing.status == "red" {
            return Err(match standing.optimizer {
                Some(why) => {
                    let message = format!("collection {name} is red: its optimizer has failed: {why}");
                    StepError::new("qdrant.optimizer", message)
                        .help("its points are there, and searches are slower; the server's own log says more")
                }
                None => {
                    let message = format!("collection {name} is red: an operation on it failed");
                    StepError::new("qdrant.broken", message).help("the server's own log says which")
                }
            });
        }
        let ask = requests::count(name, true, None);
        let counts: Vec<Count> = try_join_all(members.iter().map(|member| member.node.ask(&ask))).await?;
        let counts: Vec<u64> = counts.into_iter().map(|count| count.count).collect();
        let rests = standing.rests();
        if rests && before.as_ref() == Some(&counts) {
            if counts.iter().all(|count| counts.first() == Some(count)) {
                return told(members, standing, &counts);
            }
            if differ_since.get_or_insert_with(Instant::now).elapsed() >= DIFFERING {
                return Err(differing(members, name, &counts));
            }
        } else {
            differ_since = None;
        }
        let points = counts.iter().max().copied().unwrap_or(0);
        before = rests.then_some(counts);
        ctx.progress(points, None, "points", format!("{name} is {}", standing.status));
        // What took long already may take longer.
        tokio::time::sleep((begun.elapsed() / 8).clamp(FIRST_PAUSE, LONGEST_PAUSE)).await;
    }
}

fn told(members: &[Member], standing: Standing, counts: &[u64]) -> Result<Settled, StepError> {
    let points = *counts.first().ok_or_else(|| StepError::internal("a Qdrant without nodes"))?;
    let nodes = members.iter().zip(standing.held).zip(counts);
    let nodes = nodes.map(|((member, held), points)| NodeCount {
        node: member.node.url.clone(),
        points: *points,
        shards: held.shards.into_keys().collect(),
    });
    Ok(Settled { points, status: standing.status, nodes: nodes.collect() })
}

fn differing(members: &[Member], name: &str, counts: &[u64]) -> StepError {
    let each = members.iter().zip(counts).map(|(member, count)| format!("{count} on {}", member.node.url));
    let each: Vec<String> = each.collect();
    let message = format!("the nodes count the points of collection {name} differently: {}", each.join(", "));
    StepError::new("qdrant.replicas", message)
        .help("its replicas are not the same; drop the replica that is wrong, and the cluster makes it anew from another")
}
