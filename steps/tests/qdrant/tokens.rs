//! Keys that carry claims: what a token may not do is known before a run, and is the server's refusal in it.

use drydock_practice::qdrant::{Deployment, token};
use drydock_step::test_host::given;
use drydock_step::{Kind, PreflightFinding, StepError};
use drydock_steps::qdrant::recover::Recover;
use drydock_steps::qdrant::snapshot::Snapshot;
use serde_json::{Value, json};

use super::recover::backup_of;
use super::world::{KEY, World, refused, run};

/// What a dry run finds to stop a step that has a key with these claims, and what the step fails with.
async fn fails(kind: &dyn Kind, claims: Value) -> (Vec<(String, String)>, StepError) {
    let world = World::deployed(1, "[]", Deployment { jwt_rbac: true, ..Deployment::default() }).await;
    world.fill("c", 3, 1).await;
    let with = match kind.shape().name {
        "qdrant.snapshot" => json!({ "collections": "c" }),
        _ => backup_of(&world, "c").await,
    };
    let before = world.snapshots(0, "c").await;
    let host = world.host_at(&world.urls, &token(KEY, &claims)).await;
    let found = match kind.preflight(&host.ctx(Some("t")), given(with.clone())).await {
        Ok(found) => found.findings.into_iter().filter(|one| one.fatal).collect(),
        Err(StepError { code, message, help, .. }) => {
            vec![PreflightFinding { code, message, help, fatal: true }]
        }
    };
    let error = refused(run(kind, &host, &with).await, "qdrant.key", "answered 403 Forbidden: ");
    assert_eq!(
        (world.snapshots(0, "c").await, world.count("c").await),
        (before, json!(3)),
        "nothing changed"
    );
    (found.into_iter().map(|one| (one.code, one.message)).collect(), error)
}

#[track_caller]
fn found(findings: &[(String, String)], words: &str) {
    let matching = findings.iter().any(|(code, message)| code == "qdrant.key" && message.contains(words));
    assert!(matching, "{findings:?} does not say {words:?}");
}

#[tokio::test]
async fn a_token_that_may_only_read() {
    let manage = "this key may not do that: a key with manage access is needed";
    let (findings, error) = fails(&Snapshot, json!({ "access": "r" })).await;
    found(&findings, "the target's `api_key` is a token that may make no snapshot of collection c");
    assert!(error.message.contains("POST http"), "{error}");
    assert!(error.message.ends_with("Forbidden: Global manage access is required"), "{error}");
    assert_eq!(error.help.as_deref(), Some(manage));
    let (findings, error) = fails(&Recover, json!({ "access": "r" })).await;
    found(&findings, "is a token without manage access, and cannot recover");
    assert!(error.message.ends_with("Forbidden: Global manage access is required"), "{error}");
}

#[tokio::test]
async fn a_token_for_single_collections() {
    let claims = json!({ "access": [{ "collection": "c", "access": "rw" }] });
    let (findings, error) = fails(&Snapshot, claims.clone()).await;
    found(&findings, "/cluster answered 403 Forbidden: Forbidden: Global access is required");
    assert!(error.message.ends_with("/cluster answered 403 Forbidden: Forbidden: Global access is required"));
    let (findings, _) = fails(&Recover, claims).await;
    found(&findings, "Global access is required");
}

#[tokio::test]
async fn a_token_that_does_not_hold() {
    let (findings, error) = fails(&Snapshot, json!({ "exp": 1_000 })).await;
    found(&findings, "/cluster answered 403 Forbidden: ExpiredSignature");
    let help = "the target's `api_key` is a token that has ended: give it a new one";
    assert_eq!(error.help.as_deref(), Some(help));
    let world = World::deployed(1, "[]", Deployment { jwt_rbac: true, ..Deployment::default() }).await;
    let host = world.host_at(&world.urls, &token("another", &json!({}))).await;
    let with = json!({ "collections": "*" });
    let error = refused(run(&Snapshot, &host, &with).await, "qdrant.key", "403 Forbidden: InvalidSignature");
    let help = "the target's `api_key` is a token that another server's key signed, or one that was changed";
    assert_eq!(error.help.as_deref(), Some(help));
}

#[tokio::test]
async fn a_token_with_manage_access_is_as_good_as_the_key() {
    let world = World::deployed(1, "[]", Deployment { jwt_rbac: true, ..Deployment::default() }).await;
    world.fill("c", 3, 1).await;
    let host = world.host_at(&world.urls, &token(KEY, &json!({ "access": "m" }))).await;
    let made = run(&Snapshot, &host, &json!({ "collections": "c" })).await.unwrap();
    assert_eq!(made["collections"][0]["collection"], "c");
}
