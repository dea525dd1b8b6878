//! The routes of a node, and the cluster that is started with them. Main type: [`Qdrant`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::http::{Frame, Serving, empty, serve};
use crate::ledger::Ledger;
use crate::seed::Seed;

use super::agreement::agreed;
use super::deployment::Deployment;
use super::keys::{Keys, authorize, changes};
use super::node::Node;
use super::refusal::{Refusal, disk_full, worded};
use super::store::Store;
use super::{collections, moves, points, service, shard_snapshots, sharding, snapshots};

/// How much a JSON body may have: the default of the real server. An upload has no limit.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// What a practice Qdrant is started with.
#[derive(Debug, Clone)]
pub struct QdrantOptions {
    /// Where snapshots and unfinished files lie; each node has a folder of its own in it.
    pub dir: PathBuf,
    /// How many nodes; one is no cluster.
    pub nodes: usize,
    /// The port of the first node, and the others' after it; any free ones where it is 0.
    pub port: u16,
    /// The key that may do everything; without it nobody is asked for one.
    pub api_key: Option<String>,
    /// The key that may only read.
    pub read_only_key: Option<String>,
    /// What peer and segment ids are drawn from.
    pub seed: Seed,
    /// What snapshots are named and dated by.
    pub clock: Clock,
    /// Where requests are recorded, as `qdrant`, or `qdrant-0`, `qdrant-1`, ... of several nodes.
    pub ledger: Ledger,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

/// A running practice Qdrant; it stops when it is dropped.
#[derive(Debug)]
pub struct Qdrant {
    nodes: Vec<Serving>,
}

impl Qdrant {
    /// Starts the nodes on free ports of the loopback interface.
    ///
    /// # Errors
    /// When a folder cannot be made or a port not be bound.
    pub async fn start(options: QdrantOptions) -> io::Result<Self> {
        Self::start_as(options, Deployment::default()).await
    }

    /// The same, set up in another way.
    ///
    /// # Errors
    /// When a folder cannot be made or a port not be bound.
    pub async fn start_as(options: QdrantOptions, deployment: Deployment) -> io::Result<Self> {
        let count = options.nodes.max(1);
        let peers = (0..count).map(|index| peer_id(options.seed, index)).collect();
        let store = Arc::new(Store::new(peers, deployment.cluster));
        let alternative = deployment.alt_api_key.clone();
        let (full, read_only) = (options.api_key, options.read_only_key);
        let keys = Keys { full, alternative, read_only, tokens: deployment.jwt_rbac };
        let mut nodes = Vec::new();
        for index in 0..count {
            let dir = options.dir.join(format!("qdrant-{index}"));
            let (clock, seed) = (options.clock.clone(), options.seed);
            let node = Node::new(Arc::clone(&store), index, &dir, clock, seed, &deployment)?;
            let frame = Frame {
                server: if count == 1 { "qdrant".to_owned() } else { format!("qdrant-{index}") },
                ledger: options.ledger.clone(),
                faults: options.faults.clone(),
                writes: changes,
                refusal: worded,
                disk_full,
                repeats: None,
            };
            let after = u16::try_from(index).unwrap_or(0);
            let port = if options.port == 0 { 0 } else { options.port.saturating_add(after) };
            let listener = TcpListener::bind(("127.0.0.1", port)).await?;
            nodes.push(serve(listener, routes(Arc::new(node), keys.clone()), frame)?);
        }
        Ok(Self { nodes })
    }

    /// The address of each node, `http://host:port`.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Serving::url).collect()
    }

    /// Closes all connections and stops listening.
    pub fn stop(&self) {
        self.nodes.iter().for_each(Serving::stop);
    }
}

/// Sixteen digits, as real peer ids have.
fn peer_id(seed: Seed, index: usize) -> u64 {
    1_000_000_000_000_000 + seed.number(&format!("peer {index}")) % 8_000_000_000_000_000
}

fn routes(node: Arc<Node>, keys: Keys) -> Router {
    let shard = Router::new()
        .route("/snapshot", get(shard_snapshots::stream))
        .route("/snapshots", get(shard_snapshots::list_all).post(shard_snapshots::create))
        .route(
            "/snapshots/{file}",
            get(shard_snapshots::download)
                .delete(shard_snapshots::delete_one)
                .put(shard_snapshots::recover)
                .post(shard_snapshots::upload)
                .layer(DefaultBodyLimit::disable()),
        );
    let collection = Router::new()
        .route("/", get(collections::info).put(collections::create).delete(collections::delete))
        .route("/exists", get(collections::exists))
        .route("/cluster", get(service::collection_cluster).post(moves::change))
        .route("/aliases", get(collections::collection_aliases))
        .route("/index", put(collections::create_index))
        .route("/index/{field}", delete(collections::delete_index))
        .route("/points", put(points::upsert).post(points::retrieve))
        .route("/points/{id}", get(points::one))
        .route("/points/delete", post(points::delete))
        .route("/points/payload", post(points::set_payload))
        .route("/points/count", post(points::count_points))
        .route("/points/scroll", post(points::scroll))
        .route("/points/query", post(points::query))
        .route("/points/search", post(points::search))
        .route("/snapshots", get(snapshots::of_collection).post(snapshots::create))
        .route(
            "/snapshots/{file}",
            get(snapshots::download)
                .delete(snapshots::delete_one)
                .put(snapshots::recover)
                .post(snapshots::upload)
                .layer(DefaultBodyLimit::disable()),
        )
        .route("/shards", get(sharding::list).put(sharding::create))
        .route("/shards/delete", post(sharding::delete))
        .nest("/shards/{shard}", shard);
    Router::new()
        .route("/", get(service::about))
        .route("/healthz", get(service::healthy))
        .route("/livez", get(service::healthy))
        .route("/readyz", get(service::ready))
        .route("/cluster", get(service::cluster))
        .route("/metrics", get(service::metrics))
        .route("/telemetry", get(service::telemetry))
        .route("/issues", get(service::issues).delete(service::clear_issues))
        .route("/aliases", get(collections::aliases))
        .route("/collections", get(collections::list))
        .route("/collections/aliases", post(collections::change_aliases))
        .nest("/collections/{name}", collection)
        .route("/snapshots", get(snapshots::full).post(snapshots::create_full))
        .route("/snapshots/{file}", get(snapshots::download_full).delete(snapshots::delete_full))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&node), agreed))
        .layer(middleware::from_fn(no_head))
        .layer(middleware::from_fn_with_state((keys, Arc::clone(&node)), authorize))
        .with_state(node)
}

/// What a real server has and this one has not is refused in words; what neither has is an empty 404.
async fn unknown(method: Method, uri: Uri) -> Response {
    let known = [
        "/points/",
        "/facet",
        "/optimizations",
        "/shards",
        "/snapshot",
        "/locks",
        "/audit",
        "/cluster",
        "/logger",
    ];
    let path = uri.path();
    let recovery = path.ends_with("/snapshots/recover") || path.ends_with("/snapshots/upload");
    let patches = method == Method::PATCH && path.starts_with("/collections/");
    if !recovery && (patches || known.iter().any(|part| path.contains(part))) {
        return Refusal::NotDone(format!("{method} {path}")).into_response();
    }
    empty(StatusCode::NOT_FOUND)
}

/// The real server has no `HEAD`, not even where it has a `GET`.
async fn no_head(request: axum::extract::Request, next: middleware::Next) -> Response {
    if request.method() == Method::HEAD {
        return empty(StatusCode::NOT_FOUND);
    }
    next.run(request).await
}
