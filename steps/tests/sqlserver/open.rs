//! `sqlserver.open`.

use drydock_step::test_host::given;
use drydock_step::{Kind, Reconciled};
use drydock_steps::sqlserver::open::Open;
use serde_json::{Value, json};

use crate::world::{World, octopus};

async fn restricted(world: &World) {
    octopus(world).await;
    world.run("master", "ALTER DATABASE [Octopus] SET RESTRICTED_USER WITH ROLLBACK IMMEDIATE").await;
}

async fn access(world: &World) -> Value {
    let sql = "SELECT user_access_desc FROM sys.databases WHERE name = N'Octopus'";
    world.one("master", sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restricted_database_is_opened_to_all() {
    let world = World::new().await;
    restricted(&world).await;
    let outputs = world.outputs(&Open, json!({ "database": "Octopus" })).await.unwrap();
    assert_eq!((&outputs["user_access"], &outputs["was"]), (&json!("MULTI_USER"), &json!("RESTRICTED_USER")));
    assert_eq!(access(&world).await, json!("MULTI_USER"));
    let again = world.outputs(&Open, json!({ "database": "Octopus" })).await.unwrap();
    assert_eq!(again["was"], "MULTI_USER", "what is open already stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_made_writable_and_its_broker_switched_on_while_most_are_kept_out() {
    let world = World::new().await;
    restricted(&world).await;
    world.run("master", "ALTER DATABASE [Octopus] SET READ_ONLY WITH ROLLBACK IMMEDIATE").await;
    let with = json!({ "database": "Octopus", "read_write": true, "broker": "new" });
    let outputs = world.outputs(&Open, with).await.unwrap();
    assert_eq!((&outputs["read_only"], &outputs["broker_enabled"]), (&json!(false), &json!(true)));
    assert_eq!(access(&world).await, json!("MULTI_USER"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_open_cannot_be_opened_to_all() {
    let world = World::new().await;
    octopus(&world).await;
    world.run("master", "ALTER DATABASE [Octopus] SET OFFLINE WITH ROLLBACK IMMEDIATE").await;
    let error = world.outputs(&Open, json!({ "database": "Octopus" })).await.unwrap_err();
    assert!(error.code == "open.state" && error.message.contains("is OFFLINE, not ONLINE"), "{error}");
    let error = world.outputs(&Open, json!({ "database": "nowhere" })).await.unwrap_err();
    assert!(error.code == "open.state" && error.message.contains("there is no database nowhere"), "{error}");
    let found = Open.preflight(&world.ctx(), given(json!({ "database": "nowhere" }))).await.unwrap();
    assert!(!found.findings[0].fatal, "a restore of the same plan may make it");
    world.run("master", "ALTER DATABASE [Octopus] SET ONLINE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_is_found_by_the_state_of_the_database() {
    // 1 makes it FULL, 2 restricts it, 3 switches the broker on, 4 lets everybody in.
    for (nth, expected) in [(3, Reconciled::Partly(json!({ "left": 1 }))), (4, Reconciled::Done(Value::Null))]
    {
        let fault = json!([{ "op": "alter database Octopus", "nth": nth, "do": "hold" }]).to_string();
        let world = World::with_faults(&fault).await;
        restricted(&world).await;
        let with = json!({ "database": "Octopus", "broker": "enable" });
        let (notes, found) = world.crashed(&Open, with.clone()).await;
        match (found, expected) {
            (Reconciled::Done(outputs), Reconciled::Done(_)) => assert_eq!(outputs["was"], "RESTRICTED_USER"),
            (Reconciled::Partly(from), Reconciled::Partly(expected)) => {
                assert_eq!(from, expected);
                let outputs = world.again(&Open, with, notes, Some(from)).await.unwrap();
                assert_eq!(
                    (&outputs["was"], &outputs["broker_enabled"]),
                    (&json!("RESTRICTED_USER"), &json!(true))
                );
            }
            (found, expected) => panic!("{nth}: {found:?}, not {expected:?}"),
        }
        assert_eq!(world.done("alter database Octopus"), 4, "each statement once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_needs_a_broker_of_its_own() {
    use drydock_steps::sqlserver::backup::Backup;
    use drydock_steps::sqlserver::restore::Restore;
    let world = World::practice().await;
    restricted(&world).await;
    world.outputs(&Open, json!({ "database": "Octopus", "broker": "enable" })).await.unwrap();
    let full = world.outputs(&Backup, json!({ "database": "Octopus", "type": "full" })).await.unwrap();
    let copy = json!({ "database": "Octopus", "into": "Copy", "chain": [full], "restricted_user": true });
    world.outputs(&Restore, copy).await.unwrap();
    let error = world.outputs(&Open, json!({ "database": "Copy", "broker": "enable" })).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.9772");
    assert!(error.help.unwrap().contains("`broker: new`"));
    let outputs = world.outputs(&Open, json!({ "database": "Copy", "broker": "new" })).await.unwrap();
    assert_eq!(outputs["broker_enabled"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_is_taken_back() {
    let world = World::new().await;
    octopus(&world).await;
    let inside = world.connection().await;
    inside.script().unwrap().run_script("Octopus", "SELECT 1").await.unwrap();
    let with = json!({ "database": "Octopus", "to": "administrators" });
    let outputs = world.outputs(&Open, with).await.unwrap();
    assert_eq!((&outputs["user_access"], &outputs["was"]), (&json!("RESTRICTED_USER"), &json!("MULTI_USER")));
    assert_eq!(access(&world).await, json!("RESTRICTED_USER"));
    world.outputs(&Open, json!({ "database": "Octopus" })).await.unwrap();
    assert_eq!(access(&world).await, json!("MULTI_USER"));
}
