//! A bucket whose identity has no right to delete: a whole night goes through, and only what removes is told that it may not.

use drydock_step::artifact::stream_of;
use drydock_steps::artifact::verify::Verify;
use drydock_steps::point::seal::Seal;
use drydock_steps::point::select::Select;
use drydock_steps::point::verify::Verify as VerifyPoint;
use serde_json::{Value, json};

use crate::object_stores::ObjectServer;
use crate::without_delete::WithoutDelete;
use crate::world::World;

const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

/// More than two parts, of which the least is 5 MiB.
const LARGE: usize = 11 * 1024 * 1024;

#[tokio::test]
async fn a_night_needs_no_right_to_delete() {
    let Some(server) = ObjectServer::s3().await else { return };
    server.bucket("night", false).await;
    let proxy = WithoutDelete::before(&server.address).await;
    for (prefix, more) in [("plain", json!({})), ("sealed", json!({ "encrypt_to": [RECIPIENT] }))] {
        let mut settings = server.s3_settings(&format!("s3://night/{prefix}"), "drydock");
        settings.insert("endpoint".into(), json!(proxy.address));
        settings.extend(more.as_object().unwrap().clone());
        let mut world = World::with(Value::Object(settings)).await;
        let night = world.night().await;
        world.files().put("sql/large.bak", stream_of(vec![7; LARGE])).await.unwrap();
        let sealed = world.outputs(&Seal, night).await;
        world.outputs(&Verify, json!({ "prefix": "sql" })).await;
        world.outputs(&VerifyPoint, json!({ "point": sealed["id"] })).await;
        world.forget();
        let chosen = world.outputs(&Select, json!({ "to": "point:latest" })).await;
        assert_eq!(chosen["id"], sealed["id"]);

        let (done, refused) = proxy.requests();
        assert_eq!(refused, Vec::<String>::new(), "{prefix}: nothing is removed on the way");
        let parts =
            done.iter().filter(|line| line.starts_with("PUT ") && line.contains("partNumber=")).count();
        assert!(parts >= 3, "{prefix}: it was put in parts: {done:?}");

        // Whoever prunes is another identity; this one is told what it may not.
        let error = world.files().delete("sql/large.bak").await.unwrap_err();
        assert_eq!(error.code, "artifact.denied", "{error}");
        assert!(
            error.message.contains("it answered 403") && error.message.starts_with("removing sql/large.bak"),
            "{error}"
        );
        assert!(!proxy.requests().1.is_empty(), "{prefix}: it was tried");
    }
}
