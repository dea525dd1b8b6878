//! An object store whose identity has no right to delete: [`WithoutDelete`] stands before a real server and refuses every removal.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What S3 answers to an identity that may not.
const REFUSAL: &str =
    "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";

/// Hands requests on, but for those that remove something.
pub(crate) struct WithoutDelete {
    /// Its address, without a slash at its end.
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl WithoutDelete {
    /// Before a server at `http://127.0.0.1:port`. Signatures stay good: what is forwarded bears the host that was asked for.
    pub(crate) async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (to, seen) = (server.trim_start_matches("http://").to_owned(), Arc::default());
        let noted = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(between(client, server, Arc::clone(&noted)));
            }
        });
        Self { address, seen }
    }

    /// The lines of all requests since they were last asked for, `PUT /bucket/a HTTP/1.1`: those that were handed on, and those that were refused.
    pub(crate) fn requests(&self) -> (Vec<String>, Vec<String>) {
        std::mem::take(&mut *self.seen.lock().unwrap()).into_iter().partition(|line| !removes(line))
    }
}

/// Whether a request removes an object, several of them, or the parts of an upload.
fn removes(line: &str) -> bool {
    let mut words = line.split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let query = target.split_once('?').map_or("", |(_, query)| query);
    method == Some("DELETE")
        || (method == Some("POST") && query.split('&').any(|part| part.split('=').next() == Some("delete")))
}

/// The first line of what begins a request; bodies and their pieces have none.
fn request_line(piece: &[u8]) -> Option<String> {
    const METHODS: [&str; 5] = ["GET /", "PUT /", "POST /", "DELETE /", "HEAD /"];
    METHODS.iter().any(|method| piece.starts_with(method.as_bytes())).then_some(())?;
    let line = piece.split(|byte| *byte == b'\r').next()?;
    line.ends_with(b" HTTP/1.1").then(|| String::from_utf8_lossy(line).into_owned())
}

async fn between(client: TcpStream, server: TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    let (mut from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let to_client = tokio::sync::Mutex::new(to_client);
    // When either side is gone, so is the other; and so is a line on which something was refused.
    tokio::select! {
        () = asked(&mut from_client, &mut to_server, &to_client, &seen) => {}
        () = answered(&mut from_server, &to_client) => {}
    }
}

async fn asked(
    client: &mut OwnedReadHalf,
    server: &mut OwnedWriteHalf,
    back: &tokio::sync::Mutex<OwnedWriteHalf>,
    seen: &Mutex<Vec<String>>,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = client.read(&mut piece).await {
        if let Some(line) = request_line(&piece[..length]) {
            seen.lock().unwrap().push(line.clone());
            if removes(&line) {
                let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\nconnection: close";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{REFUSAL}", REFUSAL.len());
                let _ = back.lock().await.write_all(answer.as_bytes()).await;
                return;
            }
        }
        if server.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

async fn answered(server: &mut OwnedReadHalf, client: &tokio::sync::Mutex<OwnedWriteHalf>) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = server.read(&mut piece).await {
        if client.lock().await.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
