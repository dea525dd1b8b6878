//! The routes of the API, and the server that is started with them. Main type: [`Api`].

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::http::{Frame, Repeats, Serving, empty, serve};
use crate::ledger::Ledger;
use crate::seed::Seed;

use super::super::addresses::Addresses;
use super::answer::worded;
use super::state::Octopus;
use super::{agents, conversation, health};

/// What an Octopus API is started with.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// The stores behind it.
    pub addresses: Addresses,
    /// Its port; any free one where it is 0.
    pub port: u16,
    /// What new ids are drawn from.
    pub seed: Seed,
    /// What episodes are dated by and leases expire by.
    pub clock: Clock,
    /// Where requests are recorded, as `api`.
    pub ledger: Ledger,
    /// What goes wrong on purpose.
    pub faults: Faults,
}

/// A running Octopus API; it stops when it is dropped.
#[derive(Debug)]
pub struct Api {
    serving: Serving,
}

impl Api {
    /// Starts the API on a free port of the loopback interface. The stores need not be there yet.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(options: ApiOptions) -> io::Result<Self> {
        let ApiOptions { addresses, port, seed, clock, ledger, faults } = options;
        let octopus = Octopus::new(addresses, clock, seed).map_err(io::Error::other)?;
        let repeats = Some(Repeats::default());
        let disk_full =
            |_: &Uri| worded(StatusCode::INTERNAL_SERVER_ERROR, "No space left on device (os error 28)");
        let frame =
            Frame { server: "api".into(), ledger, faults, writes, refusal: worded, disk_full, repeats };
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        Ok(Self { serving: serve(listener, routes(Arc::new(octopus)), frame)? })
    }

    /// `http://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        self.serving.url()
    }

    /// Closes all connections and stops listening.
    pub fn stop(&self) {
        self.serving.stop();
    }
}

fn routes(octopus: Arc<Octopus>) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route("/maintenance", get(health::maintenance).post(health::set_maintenance))
        .route("/hook", get(health::hooks).post(health::hook))
        // A client that joins the address of the hook and the path `/` asks for this one.
        .route("/hook/", get(health::hooks).post(health::hook))
        .route("/reindex", post(agents::reindex))
        .route("/agents", get(agents::list).post(agents::create))
        .route("/agents/{id}", delete(agents::delete))
        .route("/agents/{id}/episodes", get(agents::episodes).post(agents::add_episode))
        .route("/agents/{id}/documents", post(agents::add_document))
        .route("/agents/{id}/search", post(conversation::search))
        .route("/agents/{id}/conversation", post(conversation::converse))
        .fallback(|| async { empty(StatusCode::NOT_FOUND) })
        .with_state(octopus)
}

/// Whether a request can change something; a conversation counts, since it may be recorded.
fn writes(method: &Method, path: &str) -> bool {
    !matches!(*method, Method::GET | Method::HEAD) && !path.ends_with("/search")
}
