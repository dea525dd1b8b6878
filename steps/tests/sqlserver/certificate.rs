//! `sqlserver.certificate`: backed up, brought back, and what a restore says where it is missing.

use drydock_step::test_host::given;
use drydock_step::{Ended, Kind, Reconciled};
use drydock_steps::sqlserver::backup::Backup;
use drydock_steps::sqlserver::certificate::Certificate;
use drydock_steps::sqlserver::restore::Restore;
use serde_json::{Value, json};

use crate::world::{World, octopus};

const MADE: &str = "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Harbour-8'\nGO\nCREATE CERTIFICATE backups WITH SUBJECT = 'Backups'";

fn with(more: Value) -> Value {
    let mut with = json!({ "name": "backups", "password": "Key's-9" });
    for (key, value) in more.as_object().unwrap() {
        with[key] = value.clone();
    }
    with
}

fn from(outputs: &Value) -> Value {
    json!({ "certificate": outputs["artifacts"][0], "key": outputs["artifacts"][1] })
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_into_the_store_and_comes_back() {
    let world = World::practice().await;
    world.run("master", MADE).await;
    let saved = world.outputs(&Certificate, with(json!({}))).await.unwrap();
    let artifact = saved["artifacts"][1].as_str().unwrap();
    assert!(artifact.starts_with("sql/backups_") && artifact.ends_with("_r1_step_1.pvk"), "{saved}");
    assert!(world.dir.path().join("store").join(artifact).is_file());
    assert_eq!((&saved["subject"], &saved["created"]), (&json!("Backups"), &json!(false)));
    assert!(saved["expires_at"].as_str().unwrap().ends_with('Z'));
    // Never written over.
    let error = world.outputs(&Certificate, with(json!({}))).await.unwrap_err();
    assert_eq!(error.code, "backup.exists");
    let back = with(json!({ "from": from(&saved), "thumbprint": saved["thumbprint"] }));
    let same = world.outputs(&Certificate, back.clone()).await.unwrap();
    assert_eq!((&same["created"], world.done("create certificate *")), (&json!(false), 1));
    world.run("master", "DROP CERTIFICATE backups").await;
    let wrong = with(json!({ "from": from(&saved), "password": "other" }));
    let error = world.outputs(&Certificate, wrong).await.unwrap_err();
    assert!(
        error.code == "sqlserver.15465" && error.help.unwrap().contains("is the password the one"),
        "{}",
        error.message
    );
    assert!(!error.message.contains("other"), "{}", error.message);
    let created = world.outputs(&Certificate, back).await.unwrap();
    assert_eq!((&created["created"], &created["thumbprint"]), (&json!(true), &saved["thumbprint"]));
    let other = with(json!({ "from": from(&saved), "thumbprint": "0x00" }));
    let error = world.outputs(&Certificate, other).await.unwrap_err();
    assert!(error.code == "certificate.exists" && error.message.contains("0x00 is wanted"), "{error}");
    let unsaid = with(json!({ "from": from(&saved) }));
    assert_eq!(world.outputs(&Certificate, unsaid).await.unwrap_err().code, "certificate.exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_working_is_found_before() {
    let world = World::practice().await;
    let codes = async |with: Value| -> Vec<String> {
        let found = Certificate.preflight(&world.ctx(), given(with)).await.unwrap();
        found.findings.into_iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(with(json!({}))).await, ["sqlserver.15151"]);
    assert_eq!(codes(with(json!({ "to": "/nowhere" }))).await, ["sqlserver.3201", "sqlserver.15151"]);
    let absent = with(json!({ "from": { "certificate": "sql/a.cer", "key": "sql/a.pvk" } }));
    assert_eq!(codes(absent.clone()).await, ["sqlserver.15581", "sqlserver.15208", "sqlserver.15208"]);
    assert_eq!(world.outputs(&Certificate, absent).await.unwrap_err().code, "sqlserver.15581");
    world.run("master", MADE).await;
    assert_eq!(codes(with(json!({}))).await, [""; 0]);
    assert_eq!(codes(with(json!({ "thumbprint": "0x00" }))).await, ["certificate.exists"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_it_whose_answer_was_lost_is_found_again() {
    let world = World::with_faults(r#"[{"op": "backup certificate *", "do": "hold"}]"#).await;
    world.run("master", MADE).await;
    let (_, found) = world.crashed(&Certificate, with(json!({}))).await;
    let Reconciled::Done(outputs) = found else { panic!("{found:?}") };
    assert_eq!(outputs["files"].as_array().unwrap().len(), 2);
    let world = World::with_faults(r#"[{"op": "backup certificate *", "do": "cut_before"}]"#).await;
    world.run("master", MADE).await;
    let host = world.host("r1/step/1", Vec::new());
    let error = Certificate.execute(&host.ctx(Some("t")), given(with(json!({}))), None).await.unwrap_err();
    assert!(error.unknown && !error.message.contains("Key's-9"), "{error}");
    assert_eq!(world.settled(&Certificate, with(json!({})), host.notes()).await, Reconciled::NotDone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_without_it_is_refused_before_with_the_way_out() {
    let world = World::practice().await;
    octopus(&world).await;
    world.run("master", MADE).await;
    let taken = async |step: &str, kind: &str, encrypts: bool| -> Value {
        let ctx = world.host(&format!("r1/{step}/1"), Vec::new()).ctx(Some("t"));
        let mut with = json!({ "database": "Octopus", "type": kind });
        if encrypts {
            with["encryption"] = json!({ "certificate": "backups" });
        }
        match Backup.execute(&ctx, given(with), None).await.unwrap() {
            Ended::Outputs(outputs) => outputs,
            waits => panic!("{waits:?}"),
        }
    };
    // The full could be read; the log behind it could not.
    let (full, log) = (taken("full", "full", false).await, taken("log", "log", true).await);
    let restore = json!({ "database": "Octopus", "into": "Copy", "chain": [full, log] });
    let found = Restore.preflight(&world.ctx(), given(restore.clone())).await.unwrap();
    assert!(!found.findings.iter().any(|finding| finding.code == "sqlserver.33111"), "{:?}", found.findings);
    world.run("master", "DROP CERTIFICATE backups").await;
    let found = Restore.preflight(&world.ctx(), given(restore)).await.unwrap();
    let missing = found.findings.iter().find(|finding| finding.code == "sqlserver.33111").unwrap();
    assert!(
        missing.fatal && missing.message.contains(full["encryptor_thumbprint"].as_str().unwrap_or("0x")),
        "{missing:?}"
    );
    assert!(missing.help.as_deref().unwrap().contains("`sqlserver.certificate` with `from`"), "{missing:?}");
}
