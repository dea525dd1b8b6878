//! Lines that are cut, and rights that are not there: a proxy of the test stands before a real server.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use drydock_step::artifact::{bytes_of, stream_of};
use drydock_step::{ByteStream, StepError};
use futures_util::{StreamExt, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::ObjectServer;
use crate::world::{connected, with};

const LARGE: usize = 6 * 1024 * 1024;

/// Hands bytes on, and notes the methods of requests. Answers are cut after a number of bytes as often as it is told to.
struct Proxy {
    address: String,
    methods: Arc<Mutex<Vec<String>>>,
    cuts: Arc<AtomicU32>,
}

impl Proxy {
    /// Before a server at `http://127.0.0.1:port`. Signatures stay good: what is forwarded bears the host that was asked for.
    async fn before(server: &str, cut_after: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let to = server.trim_start_matches("http://").to_owned();
        let (methods, cuts) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU32::new(0)));
        let (seen, left) = (Arc::clone(&methods), Arc::clone(&cuts));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(handed_on(client, server, Arc::clone(&seen), Arc::clone(&left), cut_after));
            }
        });
        Self { address, methods, cuts }
    }

    /// Returns when a request of this method has come since what came was last asked for.
    async fn sees(&self, method: &str) {
        for _ in 0..600 {
            if self.methods.lock().unwrap().iter().any(|one| one == method) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("no {method}");
    }

    fn methods(&self) -> Vec<String> {
        std::mem::take(&mut *self.methods.lock().unwrap())
    }
}

async fn handed_on(
    client: TcpStream,
    server: TcpStream,
    methods: Arc<Mutex<Vec<String>>>,
    cuts: Arc<AtomicU32>,
    cut_after: usize,
) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let asked = async move {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut piece).await {
            for method in ["GET ", "PUT ", "POST ", "DELETE ", "HEAD "] {
                if piece[..length].starts_with(method.as_bytes()) {
                    methods.lock().unwrap().push(method.trim().to_owned());
                }
            }
            if to_server.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    };
    let answered = async move {
        let (mut piece, mut passed) = (vec![0; 64 * 1024], 0);
        while let Ok(length @ 1..) = from_server.read(&mut piece).await {
            passed += length;
            let cut = passed > cut_after
                && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            if cut || to_client.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    };
    // When either side is gone, so is the other.
    tokio::select! { () = asked => {}, () = answered => {} }
}

fn pattern() -> Bytes {
    (0..LARGE).map(|at| (at ^ (at >> 9)).to_le_bytes()[0]).collect::<Vec<u8>>().into()
}

#[tokio::test]
async fn a_read_goes_on_over_lines_that_are_cut() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("bucket", false).await;
    let proxy = Proxy::before(&server.address, 700_000).await;
    let settings = with(server.s3_settings("s3://bucket", "drydock"), json!({ "endpoint": proxy.address }));
    let connection = connected(settings).await.unwrap();
    let store = connection.store().unwrap();
    store.put("a", stream_of(pattern())).await.unwrap();
    for offset in [0, 1_000_000] {
        proxy.cuts.store(5, Ordering::SeqCst);
        let read = bytes_of(store.open("a", offset).await.unwrap(), LARGE).await.unwrap();
        assert!(read == pattern()[usize::try_from(offset).unwrap()..], "from {offset}");
        assert_eq!(proxy.cuts.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn what_was_replaced_in_the_middle_is_never_glued_together() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("bucket", false).await;
    let proxy = Proxy::before(&server.address, 700_000).await;
    let direct = connected(server.s3_settings("s3://bucket", "drydock")).await.unwrap();
    let settings = with(server.s3_settings("s3://bucket", "drydock"), json!({ "endpoint": proxy.address }));
    let connection = connected(settings).await.unwrap();
    direct.store().unwrap().put("a", stream_of(pattern())).await.unwrap();
    let mut read = connection.store().unwrap().open("a", 0).await.unwrap();
    let first = read.next().await.unwrap().unwrap();
    assert!(pattern().starts_with(&first));
    let other = Bytes::from(vec![1; LARGE]);
    direct.store().unwrap().put("a", stream_of(other)).await.unwrap();
    proxy.cuts.store(1, Ordering::SeqCst);
    let error = bytes_of(read, LARGE).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.transient), ("artifact.changed", false), "{error}");
}

#[tokio::test]
async fn storing_and_reading_remove_nothing() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("bucket", false).await;
    let proxy = Proxy::before(&server.address, usize::MAX).await;
    for more in [json!({}), json!({ "encrypt_to": [crate::encryption::RECIPIENT] })] {
        let settings =
            with(server.s3_settings("s3://bucket", "drydock"), json!({ "endpoint": proxy.address }));
        let connection = connected(with(settings, more)).await.unwrap();
        let store = connection.store().unwrap();
        store.put("small", stream_of("x")).await.unwrap();
        store.put("large", stream_of(pattern())).await.unwrap();
        store.put_new("new", Bytes::from("x")).await.unwrap();
        let again = store.put_new("new", Bytes::from("y")).await.unwrap_err();
        assert_eq!(again.code, "artifact.exists");
        assert_eq!(store.list("").await.unwrap().len(), 3);
        let _ = store.open("small", 0).await;
        connection.ping().await.unwrap();
        let methods = proxy.methods();
        assert!(methods.iter().any(|method| method == "PUT"), "{methods:?}");
        assert!(!methods.iter().any(|method| method == "DELETE"), "{methods:?}");
        let cleared = connected(server.s3_settings("s3://bucket", "drydock")).await.unwrap();
        for one in cleared.store().unwrap().list("").await.unwrap() {
            cleared.store().unwrap().delete(&one.path).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_parts_of_a_put_that_fails_are_removed() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("bucket", false).await;
    let proxy = Proxy::before(&server.address, usize::MAX).await;
    let settings = with(server.s3_settings("s3://bucket", "drydock"), json!({ "endpoint": proxy.address }));
    let connection = connected(settings).await.unwrap();
    let store = connection.store().unwrap();
    let cut: ByteStream =
        Box::pin(stream::iter([Ok(pattern()), Err(StepError::new("cut", "the line went dead"))]));
    let error = store.put("a", cut).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.help), ("cut", None));
    assert!(proxy.methods().iter().any(|method| method == "DELETE"));

    // One whose attempt is stopped as well, though nobody waits for it.
    let stands: ByteStream = Box::pin(stream::iter([Ok(pattern())]).chain(stream::pending()));
    tokio::select! {
        ended = store.put("b", stands) => panic!("{ended:?}"),
        () = proxy.sees("PUT") => {}
    }
    proxy.sees("DELETE").await;
}
