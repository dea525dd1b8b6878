//! Real servers of object stores on loopback: [`ObjectServer`], of the programs that `scripts/object-stores` installs.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpService};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// Where the programs are unless the environment says otherwise.
const PLACE: &str = "/var/tmp/drydock-object-stores";

/// The account that the Azure server has of itself, and its published key.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A server that runs; it ends with this.
pub(crate) struct ObjectServer {
    child: Child,
    /// Its address, without a slash at its end.
    pub(crate) address: String,
    _folder: TempDir,
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program, by the variable that names it or where the script puts it.
#[allow(clippy::disallowed_methods, reason = "a test has the environment to hand in")]
fn program(variable: &str, place: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map_or_else(|| PathBuf::from(PLACE).join(place), PathBuf::from);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "PASSED OVER: {} is not there, so that nothing was asked of a real object store. Run scripts/object-stores.",
        path.display()
    );
    None
}

fn free_ports<const N: usize>() -> [u16; N] {
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    std::array::from_fn(|at| held[at].local_addr().unwrap().port())
}

/// Returns when the server answers anything at all.
async fn answers(address: &str, child: &mut Child) {
    let client = client();
    for _ in 0..600 {
        if let Ok(answer) = client.get(format!("{address}/status")).send().await
            && answer.status().as_u16() != 503
        {
            return;
        }
        if let Some(ended) = child.try_wait().unwrap() {
            panic!("the server ended: {ended}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no answer from {address}");
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

impl ObjectServer {
    /// A server that speaks S3; `None`, loudly, where its program is not there.
    pub(crate) async fn s3() -> Option<Self> {
        let weed = program("DRYDOCK_TEST_WEED", "seaweedfs-4.48/bin/weed")?;
        let folder = tempfile::tempdir().unwrap();
        let identity = |name: &str, actions: &[&str]| json!({ "name": name, "credentials": [{ "accessKey": name, "secretKey": format!("{name}-secret") }], "actions": actions });
        let identities = json!({ "identities": [
            identity("drydock", &["Admin", "Read", "Write", "List", "Tagging"]),
            identity("reader", &["Read", "List"]),
        ] });
        std::fs::write(folder.path().join("s3.json"), identities.to_string()).unwrap();
        let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] = free_ports();
        let mut command = Command::new(weed);
        command.arg("server").args([
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
            "-master.telemetry=false",
        ]);
        command.args([
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=100",
        ]);
        command.arg(format!("-dir={}", folder.path().display()));
        command.arg(format!("-s3.config={}", folder.path().join("s3.json").display()));
        for (name, port) in [
            ("master.port", master),
            ("master.port.grpc", master_grpc),
            ("volume.port", volume),
            ("volume.port.grpc", volume_grpc),
            ("filer.port", filer),
            ("filer.port.grpc", filer_grpc),
            ("s3.port", s3),
            ("s3.port.grpc", s3_grpc),
        ] {
            command.arg(format!("-{name}={port}"));
        }
        Some(Self::started(command, folder, format!("http://127.0.0.1:{s3}")).await)
    }

    /// A server that speaks Azure's blobs.
    pub(crate) async fn azure() -> Option<Self> {
        let script =
            program("DRYDOCK_TEST_AZURITE", "azurite-3.35.0/node_modules/azurite/dist/src/blob/main.js")?;
        let folder = tempfile::tempdir().unwrap();
        let [port] = free_ports();
        let mut command = Command::new("node");
        command.arg(script).args([
            "--blobHost",
            "127.0.0.1",
            "--silent",
            "--disableTelemetry",
            "--skipApiVersionCheck",
        ]);
        command.args(["--blobPort", &port.to_string(), "--location"]).arg(folder.path());
        Some(Self::started(command, folder, format!("http://127.0.0.1:{port}")).await)
    }

    async fn started(mut command: Command, folder: TempDir, address: String) -> Self {
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        answers(&address, &mut child).await;
        Self { child, address, _folder: folder }
    }

    /// What S3 answers to a request that is signed and has no body: its status, and what it says.
    pub(crate) async fn asked(
        &self,
        method: reqwest::Method,
        path: &str,
        header: Option<(&'static str, &'static str)>,
    ) -> (u16, String) {
        let (key_id, secret_key) = ("drydock".to_owned(), "drydock-secret".to_owned());
        let credential = AwsCredential { key_id, secret_key, token: None };
        let mut request = HttpRequest::new(Vec::new().into());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}/{path}", self.address).parse().unwrap();
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        AwsAuthorizer::new(&credential, "s3", "us-east-1").try_authorize(&mut request, None).unwrap();
        let answer = client().call(request).await.unwrap();
        let status = answer.status().as_u16();
        (status, String::from_utf8_lossy(&answer.into_body().bytes().await.unwrap()).into_owned())
    }

    /// A new bucket of S3.
    pub(crate) async fn bucket(&self, name: &str, with_lock: bool) {
        let header = with_lock.then_some(("x-amz-bucket-object-lock-enabled", "true"));
        for _ in 0..600 {
            if (200..300).contains(&self.asked(reqwest::Method::PUT, name, header).await.0) {
                return;
            }
            // Its parts find each other after it first answers.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no bucket {name}");
    }

    /// A new container of Azure.
    pub(crate) async fn container(&self, name: &str) {
        azure_container(&self.address, name).await;
    }

    /// The settings of a target in a bucket of S3.
    pub(crate) fn s3_settings(&self, url: &str, identity: &str) -> Map<String, Value> {
        let values = json!({
            "url": url, "endpoint": self.address, "access_key": identity,
            "secret_key": format!("{identity}-secret"), "part_size": "5MiB",
        });
        values.as_object().unwrap().clone()
    }

    /// The settings of a target in a container.
    pub(crate) fn azure_settings(&self, url: &str) -> Map<String, Value> {
        let values = json!({
            "url": url, "account": AZURE_ACCOUNT, "account_key": AZURE_KEY,
            "endpoint": format!("{}/{AZURE_ACCOUNT}", self.address), "part_size": "5MiB",
        });
        values.as_object().unwrap().clone()
    }
}

/// Makes a container by a request that is signed with the account's key.
async fn azure_container(address: &str, name: &str) {
    use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(AZURE_KEY).unwrap());
    let mut request = HttpRequest::new(Vec::new().into());
    *request.method_mut() = reqwest::Method::PUT;
    let url = format!("{address}/{AZURE_ACCOUNT}/{name}?restype=container");
    *request.uri_mut() = url.parse().unwrap();
    request.headers_mut().insert("content-length", "0".parse().unwrap());
    AzureAuthorizer::new(&credential, AZURE_ACCOUNT).try_authorize(&mut request).unwrap();
    let answer = client().call(request).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}
