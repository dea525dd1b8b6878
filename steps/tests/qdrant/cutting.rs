//! A wire that is cut in the middle of an answer. Main function: [`cutting`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An address in front of `url` where each of the first `cuts` answers of more than `after` bytes ends there.
pub(crate) async fn cutting(url: &str, after: usize, cuts: usize) -> String {
    let behind = url.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let left = Arc::new(AtomicUsize::new(cuts));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&behind).await.unwrap();
            tokio::spawn(forward(client, server, after, left.clone()));
        }
    });
    format!("http://{address}")
}

async fn forward(client: TcpStream, server: TcpStream, after: usize, left: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = async {
        // A request begins a new answer.
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    };
    let answering = async {
        let (mut bytes, mut answered) = (vec![0; 1024], 0);
        loop {
            let read = match from_server.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(read) => read,
            };
            // Small answers are left alone; they come in one piece.
            answered = if read < bytes.len() && answered == 0 { 0 } else { answered + read };
            if answered > after
                && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
            {
                return;
            }
            if to_client.write_all(&bytes[..read]).await.is_err() {
                return;
            }
            if read < bytes.len() {
                answered = 0;
            }
        }
    };
    tokio::select! {
        () = asking => {}
        () = answering => {}
    }
}
