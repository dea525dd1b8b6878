//! How a server is reached: encryption, named instances, and what is said when it is not.

use std::net::SocketAddr;

use serde_json::json;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_reached_by_every_kind_of_encryption() {
    for encrypt in ["required", "on", "off", "strict"] {
        let world = World::practice().await.set("encrypt", json!(encrypt));
        world.connection().await.ping().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_must_be_trusted_and_bear_the_name() {
    for encrypt in ["required", "strict"] {
        let world = World::practice().await.set("encrypt", json!(encrypt));
        let other = world.set("certificate_host", json!("sql.example"));
        let error = other.connected().await.err().unwrap();
        assert_eq!(error.code, "sqlserver.connect", "{error}");
        assert!(error.message.contains("certificate") && !error.transient, "{error}");
        assert!(error.help.unwrap().contains("`certificate_host`"));
        let mut anyone = World::practice().await.set("encrypt", json!(encrypt));
        anyone.settings.remove("ca");
        let error = anyone.connected().await.err().unwrap();
        assert!(error.message.contains("certificate"), "{error}");
        anyone.set("trust_certificate", json!(true)).connection().await.ping().await.unwrap();
    }
}

/// A SQL Server Browser that knows one instance.
async fn browser(port: u16) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let mut asked = [0; 64];
        let (length, from) = socket.recv_from(&mut asked).await.unwrap();
        assert_eq!(&asked[..length], b"\x04PROD");
        let told =
            format!("ServerName;SQL01;InstanceName;PROD;IsClustered;No;Version;16.0.4236.2;tcp;{port};;");
        let length = u16::try_from(told.len()).unwrap().to_le_bytes();
        let answer = [&[5, length[0], length[1]], told.as_bytes()].concat();
        socket.send_to(&answer, from).await.unwrap();
    });
    (address, answering)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_instance_is_found_by_the_browser() {
    let mut world = World::practice().await;
    let port = world.settings.remove("port").unwrap().as_u64().unwrap();
    let (address, answering) = browser(u16::try_from(port).unwrap()).await;
    let world = world.set("instance", json!("PROD")).set("browser_port", json!(address.port()));
    world.connection().await.ping().await.unwrap();
    answering.await.unwrap();
    // Nobody answers there any more.
    let error = world.connected().await.err().unwrap();
    assert!(error.code == "sqlserver.connect" && error.transient, "{error}");
    assert!(error.message.starts_with(r"connecting to 127.0.0.1\PROD: "), "{error}");
}
