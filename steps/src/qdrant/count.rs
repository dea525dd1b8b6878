//! `qdrant.count`: [`Count`] counts the points of a collection.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Ended, Facts, Field, KindShape, Reconciled, Shape, StepError, StepKind,
    TargetNeed, Touch, inputs, known, maybe,
};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::answers::{self, Placement};
use super::requests::{self, Ask};
use super::target::QdrantConnection;
use crate::described::described;

inputs! {
    /// Inputs of `qdrant.count`.
    pub struct CountInputs {
        /// The collection, or an alias.
        collection: String = known(Shape::Text),
        /// Count every point; else the server estimates.
        exact: bool = maybe(Shape::Boolean).or("true"),
        /// Count only what fits: a filter as Qdrant takes it.
        filter: Option<Value> = maybe(Shape::Map(&Shape::Any)),
        /// Also ask every node what its own shards hold. No server counts one shard exactly: these are its estimates, which change while a shard is optimized. Where the collection has shard keys of its own, the points under each are counted exactly beside it.
        per_node: bool = maybe(Shape::Boolean).or("false"),
    }
}

impl CountInputs {
    fn ask(&self) -> Result<Ask, StepError> {
        Ok(requests::count(self.collection.known()?, *self.exact.known()?, self.filter.known()?.as_ref()))
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("points", Shape::Integer, "How many."),
    Field::optional(
        "nodes",
        Shape::List(&Shape::Record(&[
            Field::required("node", Shape::Text, "The node's URL."),
            Field::optional("peer_id", Shape::Integer, "The node's peer id, where it is a cluster."),
            Field::required(
                "points",
                Shape::Integer,
                "About so many are in its active shards, of which others may have copies.",
            ),
            Field::required(
                "shards",
                Shape::List(&Shape::Record(&[
                    Field::required("id", Shape::Integer, "The shard's id."),
                    Field::optional("key", Shape::Any, "Its shard key, where the collection has some."),
                    Field::required("state", Shape::Text, "`Active`, or what keeps it from answering."),
                    Field::required("points", Shape::Integer, "About so many are in it."),
                ])),
                "Its shards.",
            ),
        ])),
        "What each node holds of it, estimated; with `per_node`.",
    ),
    Field::optional(
        "shard_keys",
        Shape::List(&Shape::Record(&[
            Field::required("key", Shape::Any, "The shard key."),
            Field::required("points", Shape::Integer, "How many points are under it, exactly."),
        ])),
        "The points under each shard key; with `per_node`, where the collection has some.",
    ),
]);

/// Counts points.
pub struct Count;

#[async_trait]
impl StepKind for Count {
    type Inputs = CountInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["qdrant"]),
            outputs: OUTPUTS,
            permissions: &["qdrant: a read-only key"],
            example: "counted:\n  uses: qdrant.count\n  target: vectors\n  with: { collection: agent_7f3a }\n",
            ..described(
                "qdrant.count",
                "Counts the points of a collection, over all nodes, or also node by node.",
            )
        }
    }

    fn judge(&self, inputs: &CountInputs) -> Result<(), StepError> {
        match (inputs.per_node.value(), inputs.filter.value()) {
            (Some(true), Some(Some(_))) => {
                Err(StepError::new("input", "`per_node` counts all that a node holds, without a `filter`"))
            }
            _ => Ok(()),
        }
    }

    fn touches(&self, target: Option<&str>, inputs: &CountInputs) -> Vec<Touch> {
        let resource = inputs.collection.value().map_or("?".into(), |name| format!("collection {name}"));
        vec![Touch { target: target.map(str::to_owned), resource, access: Access::Reads }]
    }

    fn actions(&self, target: Option<&str>, inputs: &CountInputs, _facts: &Facts) -> Vec<Action> {
        let line = inputs.ask().map(|ask| ask.line());
        let line = line.unwrap_or_else(|_| format!("count the points of {}", inputs.collection));
        let mut lines = vec![line];
        if let (Some(true), Some(collection)) = (inputs.per_node.value(), inputs.collection.value()) {
            lines.push(format!("{} on every node", requests::placement(collection).line()));
        }
        lines.into_iter().map(|line| Action::reads(ActionKind::Http, target, line)).collect()
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &CountInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        self.judge(inputs)?;
        let (ask, collection) = (inputs.ask()?, inputs.collection.known()?);
        let connection = ctx.connection().await?;
        let qdrant = QdrantConnection::of(&*connection)?;
        let work = async {
            let answers::Count { count } = qdrant.ask(&ask).await?;
            let mut outputs = json!({ "points": count });
            if *inputs.per_node.known()? {
                by_node(qdrant, collection, &mut outputs).await?;
            }
            Ok(outputs)
        };
        ctx.or_cancelled(work).await.map(Ended::Outputs)
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &CountInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }
}

/// Adds what each node holds, and what is under each shard key.
async fn by_node(qdrant: &QdrantConnection, collection: &str, outputs: &mut Value) -> Result<(), StepError> {
    let members = qdrant.members().await?;
    let ask = requests::placement(collection);
    let placements: Vec<Placement> = try_join_all(members.iter().map(|member| member.node.ask(&ask))).await?;
    let mut keys: Vec<Value> = Vec::new();
    let mut nodes = Vec::new();
    for (member, placement) in members.iter().zip(placements) {
        let active = placement.local_shards.iter().filter(|shard| shard.state == "Active");
        let mut node =
            json!({ "node": member.node.url, "points": active.map(|shard| shard.points_count).sum::<u64>() });
        if let Some(peer) = member.peer {
            node["peer_id"] = json!(peer);
        }
        let mut shards = Vec::new();
        for shard in placement.local_shards {
            let mut told =
                json!({ "id": shard.shard_id, "state": shard.state, "points": shard.points_count });
            if let Some(key) = shard.shard_key {
                told["key"] = key.clone();
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            shards.push(told);
        }
        shards.sort_by_key(|shard| shard["id"].as_u64());
        node["shards"] = json!(shards);
        nodes.push(node);
    }
    outputs["nodes"] = json!(nodes);
    if !keys.is_empty() {
        keys.sort_by_key(Value::to_string);
        let mut counted = Vec::new();
        for key in keys {
            let answers::Count { count } = qdrant.ask(&requests::count_of_key(collection, &key)).await?;
            counted.push(json!({ "key": key, "points": count }));
        }
        outputs["shard_keys"] = json!(counted);
    }
    Ok(())
}
