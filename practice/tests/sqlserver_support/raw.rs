//! A client that shows every token as it stands on the wire. Main type: [`Raw`].

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An unencrypted connection.
pub struct Raw {
    tcp: TcpStream,
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A packet that is a whole message.
pub fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 8).unwrap().to_be_bytes();
    [&[kind, 1, length[0], length[1], 0, 0, 1, 0], body].concat()
}

/// A PRELOGIN that asks for no encryption.
pub fn prelogin() -> Vec<u8> {
    packet(0x12, &[0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF, 11, 0, 0, 0, 0, 0, 2])
}

/// A LOGIN7 of the test's login.
pub fn login(program: &str) -> Vec<u8> {
    login_as(program, "drydock", "Harbour-7")
}

/// A LOGIN7 of a login.
pub fn login_as(program: &str, user: &str, password: &str) -> Vec<u8> {
    let password: Vec<u8> = utf16(password).iter().map(|byte| byte.rotate_left(4) ^ 0xA5).collect();
    let fields = [
        utf16("host"),
        utf16(user),
        password,
        utf16(program),
        utf16("sql01"),
        Vec::new(),
        utf16("raw"),
        Vec::new(),
        Vec::new(),
    ];
    let mut table = Vec::new();
    let mut data = Vec::new();
    for field in &fields {
        table.extend(u16::try_from(94 + data.len()).unwrap().to_le_bytes());
        table.extend(u16::try_from(field.len() / 2).unwrap().to_le_bytes());
        data.extend_from_slice(field);
    }
    let mut body = Vec::new();
    body.extend(u32::try_from(94 + data.len()).unwrap().to_le_bytes());
    body.extend(0x7400_0004_u32.to_le_bytes());
    body.extend(4096_u32.to_le_bytes());
    body.resize(36, 0);
    body.extend(table);
    body.resize(94, 0);
    body.extend(data);
    packet(0x10, &body)
}

/// A batch.
pub fn batch(sql: &str) -> Vec<u8> {
    let mut body = vec![22, 0, 0, 0, 18, 0, 0, 0, 2, 0];
    body.resize(18, 0);
    body.extend([1, 0, 0, 0]);
    body.extend(utf16(sql));
    packet(0x01, &body)
}

/// `sp_executesql` with one nvarchar and one bigint parameter.
pub fn call(sql: &str) -> Vec<u8> {
    let mut body = batch("")[8..].to_vec();
    body.extend([0xFF, 0xFF, 10, 0, 0, 0]);
    let text = |name: &str, value: &str| {
        let bytes = utf16(value);
        let mut parameter = vec![u8::try_from(name.len()).unwrap()];
        parameter.extend(utf16(name));
        parameter.extend([0, 0xE7, 0x40, 0x1F, 9, 4, 0xD0, 0, 0x34]);
        parameter.extend(u16::try_from(bytes.len()).unwrap().to_le_bytes());
        parameter.extend(bytes);
        parameter
    };
    body.extend(text("stmt", sql));
    body.extend(text("params", "@P1 nvarchar(4000),@P2 bigint"));
    body.extend(text("@P1", "value"));
    body.extend([3]);
    body.extend(utf16("@P2"));
    body.extend([0, 0x26, 8, 8, 7, 0, 0, 0, 0, 0, 0, 0]);
    packet(0x03, &body)
}

impl Raw {
    /// A connection that has not said anything.
    pub async fn silent(address: SocketAddr) -> Self {
        Self { tcp: TcpStream::connect(address).await.unwrap() }
    }

    /// A connection that has logged in.
    pub async fn open(address: SocketAddr) -> Self {
        let mut raw = Self::silent(address).await;
        raw.send(&prelogin()).await;
        raw.message().await.unwrap();
        raw.send(&login("raw client")).await;
        raw.message().await.unwrap();
        raw
    }

    /// The same with another login, at a server that may be a real one: unencrypted, which it has to allow.
    pub async fn open_as(address: &str, user: &str, password: &str) -> Self {
        let mut raw = Self { tcp: TcpStream::connect(address).await.unwrap() };
        raw.send(&prelogin()).await;
        raw.message().await.unwrap();
        raw.send(&login_as("raw client", user, password)).await;
        raw.message().await.unwrap();
        raw
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        // A server that has hung up already is what some tests want to see at the next read.
        let _ = self.tcp.write_all(bytes).await;
    }

    /// The next message's body; nothing when the server has closed the connection.
    pub async fn message(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut header = [0; 8];
            self.tcp.read_exact(&mut header).await.ok()?;
            let length = usize::from(u16::from_be_bytes([header[2], header[3]])) - 8;
            let start = body.len();
            body.resize(start + length, 0);
            self.tcp.read_exact(&mut body[start..]).await.ok()?;
            if header[1] & 1 == 1 {
                return Some(body);
            }
        }
    }

    /// The tokens of the next message.
    pub async fn tokens(&mut self) -> Vec<String> {
        self.message().await.map_or_else(|| vec!["closed".to_owned()], |body| tokens(&body))
    }

    /// The tokens that answer a batch.
    pub async fn ask(&mut self, sql: &str) -> Vec<String> {
        self.send(&batch(sql)).await;
        self.tokens().await
    }
}

fn u16_at(body: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([body[at], body[at + 1]]))
}

/// Tokens in words: `ERROR number state class`, `INFO number state class`, `DONE status command rows`, `COLUMNS n`, ...
/// Rows are passed over only where all columns are integers or short texts, which the tests see to.
pub fn tokens(body: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut types = Vec::new();
    while at < body.len() {
        let token = body[at];
        at += 1;
        match token {
            0xAA | 0xAB => {
                let length = u16_at(body, at);
                let number = i32::from_le_bytes(body[at + 2..at + 6].try_into().unwrap());
                let name = if token == 0xAA { "ERROR" } else { "INFO" };
                found.push(format!("{name} {number} state {} class {}", body[at + 6], body[at + 7]));
                at += 2 + length;
            }
            0xE3 => {
                found.push(format!("ENVCHANGE {}", body[at + 2]));
                at += 2 + u16_at(body, at);
            }
            0xFD..=0xFF => {
                let name = ["DONE", "DONEPROC", "DONEINPROC"][usize::from(token - 0xFD)];
                let rows = u64::from_le_bytes(body[at + 4..at + 12].try_into().unwrap());
                found.push(format!("{name} {:#04x} {} {rows}", u16_at(body, at), u16_at(body, at + 2)));
                at += 12;
            }
            0x79 => {
                found.push("RETURNSTATUS".into());
                at += 4;
            }
            0x81 => {
                let count = u16_at(body, at);
                found.push(format!("COLUMNS {count}"));
                at += 2;
                types.clear();
                for _ in 0..count {
                    let ty = body[at + 6];
                    types.push(ty);
                    at += 7 + match ty {
                        0xE7 | 0xEF | 0xA7 | 0xAF => 7,
                        0xA5 | 0xAD => 2,
                        0x6C => 3,
                        0x28 => 0,
                        _ => 1,
                    };
                    at += 1 + usize::from(body[at]) * 2;
                }
            }
            0xD1 => {
                found.push("ROW".into());
                for ty in &types {
                    at += match ty {
                        0xE7 | 0xEF | 0xA7 | 0xAF | 0xA5 | 0xAD if u16_at(body, at) == 0xFFFF => 2,
                        0xE7 | 0xEF | 0xA7 | 0xAF | 0xA5 | 0xAD => 2 + u16_at(body, at),
                        _ => 1 + usize::from(body[at]),
                    };
                }
            }
            other => {
                found.push(format!("token {other:#04x}"));
                return found;
            }
        }
    }
    found
}
