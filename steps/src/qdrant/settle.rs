//! Waiting until a recovered collection has come to rest: [`settled`].

use std::time::Duration;

use drydock_step::{Ctx, StepError};

use super::answers::Count;
use super::members::Member;
use super::requests;
use super::standing::Standing;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A collection at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    /// Its exact number of points.
    pub(super) points: u64,
    /// `green`, or `grey` where nothing was optimised since the server's start.
    pub(super) status: String,
}

/// Returns when every copy of every shard is active, no update waits, nothing is being optimised, and two exact counts agree: after a
/// recovery is answered, the end of its write-ahead log may still be applied. How long that may take is the step's `timeout`.
///
/// # Errors
/// `qdrant.broken` for a collection that does not come back.
pub(super) async fn settled(ctx: &Ctx, members: &[Member], name: &str) -> Result<Settled, StepError> {
    let first = members.first().ok_or_else(|| StepError::internal("a Qdrant without nodes"))?;
    let (mut before, mut pause) = (None, FIRST_PAUSE);
    loop {
        let standing = Standing::of(members, name).await?;
        if standing.status == "red" {
            let message = format!("collection {name} is red: an operation on it failed");
            return Err(StepError::new("qdrant.broken", message).help("the server's own log says which"));
        }
        let count: Count = first.node.ask(&requests::count(name, true, None)).await?;
        let rests = standing.rests();
        if rests && before == Some(count.count) {
            return Ok(Settled { points: count.count, status: standing.status });
        }
        before = rests.then_some(count.count);
        ctx.progress(count.count, None, "points", format!("{name} is {}", standing.status));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
