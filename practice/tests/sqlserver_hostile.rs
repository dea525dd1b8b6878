//! Bytes that no honest client sends: the practice SQL Server closes the connection or answers an error, and lives on.

mod sqlserver_support;

use drydock_practice::sqlserver::parse_client_message;
use sqlserver_support::raw::{Raw, batch, call, login, packet, prelogin};
use sqlserver_support::{Draws, World, one};

/// Valid messages, to be spoilt.
fn honest() -> Vec<Vec<u8>> {
    vec![
        prelogin(),
        login("drydock r/s/1"),
        batch("SELECT name FROM sys.databases WHERE name = N'master' ORDER BY 1"),
        batch("DECLARE @x int = 1; IF @x = 1 BEGIN PRINT 'x' END ELSE SELECT CASE WHEN 1 = 1 THEN 'a' END"),
        batch("BACKUP DATABASE master TO DISK = N'NUL' WITH CHECKSUM, STATS = 5, NAME = N'x'"),
        call("SELECT @P1, @P2"),
        packet(0x0E, &[22, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, 0, 2, 0]),
        packet(0x06, &[]),
    ]
}

fn spoilt(draws: &mut Draws, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for _ in 0..=draws.below(4) {
        match draws.below(5) {
            0 if !bytes.is_empty() => {
                let at = draws.below(bytes.len());
                bytes[at] ^= 1 << draws.below(8);
            }
            1 if !bytes.is_empty() => {
                let at = draws.below(bytes.len());
                bytes[at] = [0, 0xFF, 0x7F, 0x80][draws.below(4)];
            }
            2 => bytes.truncate(draws.below(bytes.len() + 1)),
            3 => {
                let at = draws.below(bytes.len() + 1);
                bytes.splice(at..at, std::iter::repeat_n(0xFE, draws.below(16)));
            }
            _ if bytes.len() > 9 => {
                let at = draws.below(bytes.len() - 1);
                let to = at + draws.below(bytes.len() - at);
                bytes.drain(at..to);
            }
            _ => {}
        }
    }
    bytes
}

/// Puts a length into the header that fits, so that the spoilt part is reached.
fn framed(mut bytes: Vec<u8>) -> Vec<u8> {
    if let (4.., Ok(length)) = (bytes.len(), u16::try_from(bytes.len().max(8))) {
        bytes[1] = 1;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

#[test]
fn thousands_of_spoilt_messages_are_errors_and_no_panics() {
    let honest = honest();
    for message in &honest {
        parse_client_message(message).unwrap();
    }
    let mut draws = Draws(1);
    let mut refused = 0;
    for _ in 0..50_000 {
        let chosen = draws.below(honest.len());
        let message = spoilt(&mut draws, &honest[chosen]);
        refused += usize::from(parse_client_message(&message).is_err());
        refused += usize::from(parse_client_message(&framed(message)).is_err());
    }
    assert!(refused > 20_000, "{refused}");
}

#[test]
fn complaints_say_what_is_wrong() {
    let cases = [
        (packet(0x12, &[1, 0, 200, 0, 1, 0xFF]), "malformed PRELOGIN: an option lies outside it"),
        (packet(0x10, &[1, 0, 0, 0]), "malformed LOGIN7: its length is not the message's"),
        (packet(0x01, &[3, 0, 0, 0]), "malformed batch: its headers are too short"),
        (packet(0x07, &[]), "malformed packet: its type is not one a client sends here"),
        (vec![1, 1, 0, 3, 0, 0, 0, 0], "malformed packet: its length is impossible"),
        (vec![1, 1, 0, 90, 0, 0, 0, 0], "malformed packet: ends too early"),
        (
            packet(0x03, &[4, 0, 0, 0, 0xFF, 0xFF, 10, 0, 0, 0, 0, 0, 0x26, 3]),
            "malformed RPC: an integer type has an impossible size",
        ),
        (
            packet(0x03, &[4, 0, 0, 0, 0xFF, 0xFF, 10, 0, 0, 0, 0, 0, 0x6C, 17, 99, 0]),
            "malformed RPC: a decimal's precision is impossible",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(parse_client_message(&bytes).unwrap_err().to_string(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_outlives_hostile_connections() {
    let world = World::new().await;
    let address = world.server.addr();
    let honest = honest();
    let mut draws = Draws(2);
    for at in 0..600 {
        let mut raw = if at % 3 == 0 { Raw::silent(address).await } else { Raw::open(address).await };
        for _ in 0..3 {
            let chosen = draws.below(honest.len());
            let message = spoilt(&mut draws, &honest[chosen]);
            raw.send(&framed(message)).await;
        }
        drop(raw);
    }
    // Sessions of connections that are gone end by themselves.
    let mut conn = world.connect().await;
    while one(&mut conn, "SELECT COUNT(*) FROM sys.dm_exec_sessions").await != "1" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spoilt_statements_are_answered() {
    let world = World::new().await;
    let mut raw = Raw::open(world.server.addr()).await;
    let mut draws = Draws(3);
    let statements = [
        "SELECT TOP (3) a.name, COUNT(*) FROM sys.databases a JOIN sys.master_files f ON f.database_id = a.database_id GROUP BY a.name HAVING COUNT(*) > 0 ORDER BY 1",
        "RESTORE DATABASE [x] FROM DISK = N'y' WITH MOVE N'a' TO N'b', STOPATMARK = N'm' AFTER '2026-01-01', NORECOVERY, FILE = 2",
        "CREATE TABLE #t (id int IDENTITY(1,1) PRIMARY KEY, n nvarchar(max) NOT NULL DEFAULT (N'x'), CONSTRAINT u UNIQUE (n)); INSERT INTO #t (n) VALUES (N'a'); DROP TABLE #t",
        "BEGIN TRY BEGIN TRAN; SELECT CAST(1.5 AS decimal(9,2)) * 3 + 0x0A; COMMIT END TRY BEGIN CATCH THROW END CATCH",
        "ALTER DATABASE [x] SET RECOVERY SIMPLE WITH NO_WAIT; DBCC CHECKDB ('x') WITH NO_INFOMSGS; KILL 3000; EXEC sp_getapplock 'a', 'Shared'",
    ];
    for _ in 0..1500 {
        let chosen = draws.below(statements.len());
        let text: Vec<u8> = spoilt(&mut draws, statements[chosen].as_bytes());
        let text = String::from_utf8_lossy(&text).replace("DELAY", "");
        raw.send(&batch(&text)).await;
        assert!(raw.message().await.is_some_and(|answer| !answer.is_empty()), "{text}");
        raw.send(&batch("WHILE @@TRANCOUNT > 0 ROLLBACK; USE master")).await;
        assert!(raw.message().await.is_some(), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_statements_are_refused_and_not_followed() {
    let world = World::new().await;
    let mut raw = Raw::open(world.server.addr()).await;
    let deep = [
        format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000)),
        format!("SELECT 1{}", " + 1".repeat(5000)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(2500)),
        format!("SELECT {}1", "- ".repeat(3000)),
        format!("SELECT 1 WHERE 1 = 1{}", " AND (1 = 1 OR 2 = 2)".repeat(200)),
        format!("{} SELECT 1", "IF 1 = 1 ".repeat(3000)),
        format!("{} SELECT 1 {}", "BEGIN ".repeat(3000), "END ".repeat(3000)),
        format!("SELECT {} 1 {}", "CASE WHEN 1 = 1 THEN ".repeat(1500), "END ".repeat(1500)),
    ];
    for sql in &deep {
        // A message may be longer than one packet.
        let whole = batch(sql.get(..30_000.min(sql.len())).unwrap());
        let mut sent = whole[..8].to_vec();
        let body = &whole[8..];
        for (at, piece) in body.chunks(4000).enumerate() {
            let last = (at + 1) * 4000 >= body.len();
            let length = u16::try_from(piece.len() + 8).unwrap().to_be_bytes();
            sent.splice(.., [1, u8::from(last), length[0], length[1], 0, 0, 1, 0]);
            raw.send(&sent).await;
            raw.send(piece).await;
        }
        let answer = raw.tokens().await;
        assert!(answer[0].starts_with("ERROR"), "{answer:?} {}", &sql[..40]);
    }
}
