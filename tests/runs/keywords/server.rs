//! A small HTTP server in the test: [`Server`]. It says which request it got, and some paths behave badly once.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A server that lives as long as the test's process.
pub(crate) struct Server(SocketAddr);

impl Server {
    /// On a free port of this machine.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut met = HashSet::new();
            for stream in listener.incoming().flatten() {
                // A client that goes away is its own affair.
                let _ = answer(stream, &mut met);
            }
        });
        Self(address)
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> String {
        self.0.to_string()
    }
}

/// Answers one request with its method, path, header `X-Drill` and body, and with what a Qdrant without a cluster says about itself. Below `/cut` the first request of a path is done and gets no answer; below `/busy`
/// it gets a 503.
fn answer(stream: TcpStream, met: &mut HashSet<String>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut length, mut drill) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if let Some(value) = line.strip_prefix("x-drill:") {
            value.trim().clone_into(&mut drill);
        }
    }
    let mut sent = String::new();
    (&mut reader).take(length).read_to_string(&mut sent)?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_first = met.insert(path.to_owned());
    let status = match path {
        path if path.contains("/cut") && is_first => return Ok(()),
        path if path.contains("/busy") && is_first => "503 Service Unavailable",
        _ => "200 OK",
    };
    let about = serde_json::json!({ "method": method, "path": path, "version": "1.17.1", "result": { "status": "disabled" }, "drill": drill, "sent": sent });
    let body = about.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    reader.get_mut().write_all(head.as_bytes())?;
    reader.get_mut().write_all(body.as_bytes())
}
