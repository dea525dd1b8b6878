//! The target kind `qdrant`: [`QdrantTarget`], and what it connects to, [`QdrantConnection`].

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use drydock_step::target::Collections;
use drydock_step::{
    Connection, Field, Identity, Millis, PlanPath, Settings, Shape, StepError, TargetKind, TargetKindShape,
};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder};
use serde::Deserialize;
use url::Url;

use super::answers::{Aliases, Cluster};
use super::claims::{Claims, Needs};
use super::members::{Member, members};
use super::node::Node;
use super::requests::{self, Ask};
use crate::http_client::{attempt_header, causes, certificates, refused_settings};

/// The target kind `qdrant`.
pub struct QdrantTarget;

const FIELDS: &[Field] = &[
    Field::required(
        "nodes",
        Shape::Either(&Shape::List(&Shape::Url), &Shape::Record(DNS)),
        "The REST address of every node, each node's own: `http://qdrant-0:6333`; or `{ dns: qdrant-headless:6333 }`, a name that has the address of every node.",
    ),
    Field::optional("api_key", Shape::Text, "A key with manage access.").with_secrets(),
    Field::optional("ca", Shape::Path, "A PEM file with certificates to trust, besides those of the system."),
    Field::optional(
        "timeout",
        Shape::Duration,
        "The longest that a small request may take, and that a download may stand still. What takes as long as the data are large has no limit but the step's.",
    )
    .or("\"30s\""),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QdrantSettings {
    nodes: Nodes,
    api_key: Option<String>,
    ca: Option<PlanPath>,
    timeout: Option<Millis>,
}

/// How the nodes are named.
#[derive(Deserialize)]
#[serde(untagged)]
enum Nodes {
    Each(Vec<String>),
    Dns(Dns),
}

const DNS: &[Field] = &[Field::required(
    "dns",
    Shape::Text,
    "A name with a port, over `http`, or a URL with them. Each of its addresses is a node.",
)];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dns {
    dns: String,
}

#[async_trait]
impl TargetKind for QdrantTarget {
    fn shape(&self) -> TargetKindShape {
        TargetKindShape {
            name: "qdrant",
            docs: "All nodes of a Qdrant, over REST. A node of its cluster that is not named is an error wherever shards matter.",
            fields: FIELDS,
        }
    }

    async fn connect(&self, settings: Settings) -> Result<Arc<dyn Connection>, StepError> {
        let read: QdrantSettings = settings.read()?;
        let found = match &read.nodes {
            Nodes::Each(urls) => {
                urls.iter().map(|url| node_url(url).map(Address::of)).collect::<Result<Vec<_>, _>>()?
            }
            Nodes::Dns(name) => addresses(&name.dns).await?,
        };
        let urls: Vec<Url> = found.iter().map(|one| one.url.clone()).collect();
        if urls.is_empty() {
            return Err(refused_settings("its `nodes` is empty"));
        }
        let timeout = Duration::from_millis(read.timeout.unwrap_or(Millis(30_000)).0);
        // The server closes a connection that was idle for five seconds; whoever writes into it just then is told nothing. A call that
        // takes hours sends nothing meanwhile, so that only keep-alives notice a server that went away.
        let builder = || -> Result<ClientBuilder, StepError> {
            let client = Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .default_headers(headers(&settings.attempt, read.api_key.as_deref())?)
                .connect_timeout(timeout.min(Duration::from_secs(10)))
                .pool_idle_timeout(Duration::from_secs(4))
                .tcp_keepalive(Duration::from_secs(30))
                .tcp_keepalive_interval(Duration::from_secs(10))
                .tcp_keepalive_retries(4);
            if urls.iter().all(|url| url.scheme() == "http") {
                // Without TLS the system's certificates need not be read.
                return Ok(client.tls_certs_only([]));
            }
            match &read.ca {
                Some(ca) => Ok(client.tls_certs_merge(certificates(&ca.resolved(&settings.folder))?)),
                None => Ok(client),
            }
        };
        let built = |client: ClientBuilder| {
            client
                .build()
                .map_err(|error| refused_settings(&format!("no client can be made: {}", causes(&error))))
        };
        let shared = built(builder()?)?;
        let node = |found: &Address| match &found.named {
            None => Ok(Node::new(found.url.as_str(), shared.clone(), timeout)),
            // The certificate is that of the name, whichever address it is asked at.
            Some((name, at)) => {
                let host = name.host_str().unwrap_or_default();
                let client = built(builder()?.resolve(host, *at))?;
                Ok(Node::new(found.url.as_str(), client, timeout).asked_as(name.as_str()))
            }
        };
        let nodes = found.iter().map(node).collect::<Result<Vec<_>, StepError>>()?;
        let claims = read.api_key.as_deref().and_then(Claims::of);
        Ok(Arc::new(QdrantConnection { nodes, urls, claims }))
    }
}

/// Where a node is.
struct Address {
    /// What it is known by.
    url: Url,
    /// The URL that its certificate is for, and the address that this name stands for here.
    named: Option<(Url, SocketAddr)>,
}

impl Address {
    fn of(url: Url) -> Self {
        Self { url, named: None }
    }
}

/// The nodes behind a name, in the order of their addresses.
///
/// # Errors
/// `qdrant.connect` (transient) for a name without addresses.
async fn addresses(dns: &str) -> Result<Vec<Address>, StepError> {
    let url = if dns.contains("://") { node_url(dns)? } else { node_url(&format!("http://{dns}"))? };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(refused_settings(&format!("its `dns`, {dns}, is no name with a port")));
    };
    let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
    let mut found: Vec<SocketAddr> = found
        .map_err(|error| {
            StepError::transient("qdrant.connect", format!("the nodes behind {dns} cannot be found: {error}"))
                .help("`dns` must be a name that has the address of every node, such as that of a headless service")
        })?
        .collect();
    found.sort();
    found.dedup();
    let address = |at: SocketAddr| {
        let text = format!("{}://{at}", url.scheme());
        let own = Url::parse(&text).map_err(|error| StepError::internal(format!("{text}: {error}")))?;
        let named = (url.scheme() == "https").then(|| (url.clone(), at));
        Ok(Address { url: own, named })
    };
    found.into_iter().map(address).collect()
}

/// The headers of every request. Answers are wanted as they are: a download that was compressed on the way has no length and cannot be
/// resumed.
fn headers(attempt: &str, key: Option<&str>) -> Result<HeaderMap, StepError> {
    let mut headers = HeaderMap::new();
    let (name, value) = attempt_header(attempt)?;
    headers.insert(name, value);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(key) = key {
        let mut value = HeaderValue::from_str(key)
            .map_err(|_| refused_settings("its `api_key` cannot stand in a header"))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static("api-key"), value);
    }
    Ok(headers)
}

fn node_url(text: &str) -> Result<Url, StepError> {
    match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err(refused_settings("a node's URL has a user or password in it; Qdrant takes an `api_key`"))
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => {
            Err(refused_settings(&format!("{text} must begin with http:// or https:// and name a host")))
        }
        Err(error) => Err(refused_settings(&format!("{text} is no URL: {error}"))),
    }
}

/// A Qdrant, all its nodes.
pub struct QdrantConnection {
    nodes: Vec<Node>,
    urls: Vec<Url>,
    claims: Option<Claims>,
}

impl QdrantConnection {
    /// The connection behind the trait.
    ///
    /// # Errors
    /// `internal`, when it is of another kind: the check let a plan pass that it should not have.
    pub(super) fn of(connection: &dyn Connection) -> Result<&Self, StepError> {
        let found = connection.as_any().downcast_ref();
        found.ok_or_else(|| StepError::internal("the target of a Qdrant step is no Qdrant"))
    }

    /// The nodes, each asked who it is.
    ///
    /// # Errors
    /// Those of [`members`].
    pub(super) async fn members(&self) -> Result<Vec<Member>, StepError> {
        members(&self.nodes).await
    }

    /// The aliases, each with its collection, by name.
    pub(super) async fn aliases(&self) -> Result<Vec<(String, String)>, StepError> {
        let answer: Aliases = self.ask(&requests::aliases()).await?;
        let pairs = answer.aliases.into_iter().map(|alias| (alias.alias_name, alias.collection_name));
        let mut pairs: Vec<(String, String)> = pairs.collect();
        pairs.sort();
        Ok(pairs)
    }

    /// What is wrong with the cluster's agreement, without which no collection is made and no replica becomes active.
    ///
    /// # Errors
    /// Those of the requests.
    pub(super) async fn ailing(&self) -> Result<Vec<StepError>, StepError> {
        let ask = requests::cluster();
        let answers: Vec<Cluster> =
            futures_util::future::try_join_all(self.nodes.iter().map(|node| node.ask(&ask))).await?;
        let ails =
            self.nodes.iter().zip(&answers).filter_map(|(node, cluster)| Some((node, cluster.ails()?)));
        let told = ails.map(|(node, why)| {
            StepError::new("qdrant.cluster", format!("{} {why}", node.url))
                .help("a cluster whose nodes do not agree makes no collection and activates no replica; look into the node's log")
        });
        Ok(told.collect())
    }

    /// Why the key cannot do what is asked of it, where it tells that by itself.
    pub(super) fn refuses(&self, needs: Needs<'_>, now_s: i64) -> Option<StepError> {
        self.claims.as_ref()?.refuses(needs, now_s)
    }

    /// The newest version that a node runs: what the newest wrote, an older may not read.
    pub(super) async fn version(&self) -> Result<String, StepError> {
        let versions = futures_util::future::try_join_all(self.nodes.iter().map(Node::version)).await?;
        let newest = versions.into_iter().max_by_key(|version| numbers(version));
        newest.ok_or_else(|| StepError::internal("a Qdrant without nodes"))
    }

    /// The answer of any node that can be reached, for what every node of a cluster answers alike.
    ///
    /// # Errors
    /// Those of the last node that was asked.
    pub(super) async fn ask<T: serde::de::DeserializeOwned>(&self, ask: &Ask) -> Result<T, StepError> {
        let mut failed = StepError::internal("a Qdrant without nodes");
        for node in &self.nodes {
            match node.ask(ask).await {
                // Nothing reached that node, so that another may be asked the same.
                Err(error) if error.code == "qdrant.connect" => failed = error,
                answer => return answer,
            }
        }
        Err(failed)
    }
}

/// The numbers of a version, `1.17.1`.
pub(super) fn numbers(version: &str) -> Vec<u64> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    core.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[async_trait]
impl Connection for QdrantConnection {
    /// Every node answers, also to a request that needs the key.
    async fn ping(&self) -> Result<(), StepError> {
        let ask = requests::cluster();
        let asked = self.nodes.iter().map(|node| node.ask::<serde_json::Value>(&ask));
        futures_util::future::try_join_all(asked).await.map(drop)
    }

    async fn identity(&self) -> Result<Identity, StepError> {
        let members = self.members().await?;
        let peers: Option<Vec<u64>> = members.iter().map(|member| member.peer).collect();
        let authority = |url: &Url| {
            let port = url.port_or_known_default().map_or(String::new(), |port| format!(":{port}"));
            format!("{}{port}", url.host_str().unwrap_or_default())
        };
        // A cluster is its peers, by whatever addresses; a node alone has no id that outlives a restart.
        let text = match peers {
            Some(mut peers) => {
                peers.sort_unstable();
                let peers: Vec<String> = peers.iter().map(u64::to_string).collect();
                format!("qdrant cluster of peers {}", peers.join(", "))
            }
            None => format!("qdrant {}", self.urls.first().map(authority).unwrap_or_default()),
        };
        let name = self.urls.first().and_then(Url::host_str).unwrap_or_default().to_owned();
        Ok(Identity { text, name, version: self.version().await? })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn collections(&self) -> Option<&dyn Collections> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn refused(values: Value) -> String {
        let values = values.as_object().unwrap().clone();
        let settings = Settings { values, folder: "/".into(), attempt: "r1/s/1".into() };
        let error = QdrantTarget.connect(settings).await.err().unwrap();
        assert_eq!(error.code, "target.settings");
        error.message
    }

    #[tokio::test]
    async fn settings_that_do_not_fit_are_told() {
        let check = async |values: Value, words: &str| {
            let message = refused(values).await;
            assert!(message.contains(words), "{message}");
        };
        check(json!({ "nodes": [] }), "its `nodes` is empty").await;
        check(json!({ "nodes": ["qdrant:6333"] }), "must begin with http:// or https://").await;
        check(json!({ "nodes": ["http://u:p4ss@h"] }), "Qdrant takes an `api_key`").await;
        check(json!({ "nodes": ["http://h"], "api_key": "a\nb" }), "its `api_key` cannot stand in a header")
            .await;
        check(json!({ "nodes": ["https://h"], "ca": "/no/such.pem" }), "/no/such.pem, cannot be read").await;
        check(json!({ "nodes": ["http://h"], "key": "x" }), "unknown field `key`").await;
        check(json!({ "nodes": { "dns": "http://u:p4ss@h" } }), "Qdrant takes an `api_key`").await;
        check(json!({ "nodes": { "name": "h:1" } }), "did not match any variant").await;
    }

    #[tokio::test]
    async fn a_name_stands_for_its_addresses() {
        let found = addresses("127.0.0.1:6333").await.unwrap();
        assert_eq!(found.iter().map(|one| one.url.as_str()).collect::<Vec<_>>(), ["http://127.0.0.1:6333/"]);
        assert!(found[0].named.is_none());
        let found = addresses("https://[::1]:6333").await.unwrap();
        assert_eq!(found[0].url.as_str(), "https://[::1]:6333/");
        assert_eq!(found[0].named.as_ref().unwrap().1, "[::1]:6333".parse().unwrap());
        let error = addresses("no-such-name.invalid:6333").await.err().unwrap();
        assert_eq!((error.code.as_str(), error.transient), ("qdrant.connect", true));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let newest = ["1.9.7", "1.17.1", "1.17.0-dev"].into_iter().max_by_key(|version| numbers(version));
        assert_eq!(newest, Some("1.17.1"));
    }
}
