//! `sqlserver.restore` beside what is there, and the names that are swapped.

use drydock_step::test_host::given;
use drydock_step::{Kind, Reconciled};
use drydock_steps::sqlserver::restore::Restore;
use serde_json::{Value, json};

use crate::restore_story::{access, check_at_the_mark, pair, story, with};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_said_a_living_database_is_kept_until_the_copy_is_proved() {
    let world = World::new().await;
    let chain = story(&world).await;
    let with = json!({ "database": "Octopus", "chain": chain, "replace": true });
    let outputs = world.outputs(&Restore, with).await.unwrap();
    assert_eq!((&outputs["strategy"], &outputs["database"]), (&json!("beside"), &json!("Octopus")));
    check_at_the_mark(&world, "Octopus").await;
    let kept = outputs["kept_as"].as_str().unwrap();
    let state = format!("SELECT state_desc FROM sys.databases WHERE name = N'{kept}'");
    assert_eq!(world.one("master", &state).await, json!("OFFLINE"));
}

async fn names(world: &World) -> Value {
    let sql = "SELECT name FROM sys.databases WHERE name LIKE N'Octopus%' ORDER BY name";
    let connection = world.connection().await;
    let found = connection.rows().unwrap().rows(Some("master"), sql).await.unwrap();
    found.rows.iter().map(|row| row["name"].clone()).collect()
}

fn beside(chain: &Value, keep_old: bool) -> Value {
    let mut with = with(chain);
    with["strategy"] = json!("beside");
    with["keep_old"] = json!(keep_old);
    with
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_restored_beside_takes_the_name_once_it_has_proved_itself() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let outputs = world.outputs(&Restore, beside(&chain, true)).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
    assert_eq!(
        (&outputs["strategy"], &outputs["kept_as"], &outputs["database"]),
        (&json!("beside"), &json!("Octopus_before_restore"), &json!("Octopus"))
    );
    assert_eq!(names(&world).await, json!(["Octopus", "Octopus_before_restore"]));
    assert_eq!(access(&world, "Octopus_before_restore").await, json!("OFFLINE SINGLE_USER"));
    world.run("master", "ALTER DATABASE [Octopus_before_restore] SET ONLINE").await;
    assert_eq!(world.one("Octopus_before_restore", "SELECT MAX(Id) FROM agents").await, json!(5));
    // Once more: the names and paths of the first time are taken.
    let outputs = world.outputs(&Restore, beside(&chain, false)).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
    assert_eq!(outputs["kept_as"], Value::Null);
    assert_eq!(names(&world).await, json!(["Octopus", "Octopus_before_restore"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_prove_itself_beside_destroys_nothing() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let file = world.dir.path().join("store").join(chain["backups"][2]["artifacts"][0].as_str().unwrap());
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    let host = world.host("r1/step/1", Vec::new());
    let error = Restore.execute(&host.ctx(Some("t")), given(beside(&chain, true)), None).await.unwrap_err();
    assert_eq!(error.code, "sqlserver.3201");
    assert_eq!(access(&world, "Octopus").await, json!("ONLINE MULTI_USER"), "the patient was not touched");
    assert_eq!(world.one("Octopus", "SELECT MAX(Id) FROM agents").await, json!(5));
    std::fs::rename(&away, &file).unwrap();
    world.again(&Restore, beside(&chain, true), host.notes(), None).await.unwrap();
    check_at_the_mark(&world, "Octopus").await;
    assert_eq!(world.done("restore database *"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_were_half_swapped_are_swapped_to_the_end() {
    // 1 makes it FULL; then the patient is closed (2) and renamed (3), the other gets its name (4), the patient goes offline, the
    // database is opened to all (5).
    for (op, nth) in [
        ("alter database Octopus", 2),
        ("alter database Octopus", 3),
        ("alter database Octopus_restoring", 1),
        ("alter database Octopus_before_restore", 1),
        ("alter database Octopus", 4),
    ] {
        let fault = json!([{ "op": op, "nth": nth, "do": "hold" }]).to_string();
        let world = World::with_faults(&fault).await;
        let chain = story(&world).await;
        let (notes, found) = world.crashed(&Restore, beside(&chain, true)).await;
        if let Reconciled::Partly(from) = found {
            assert_eq!(from, json!("swapping"), "{op} {nth}");
            world.again(&Restore, beside(&chain, true), notes, Some(from)).await.unwrap();
        } else {
            assert!(matches!(found, Reconciled::Done(_)) && nth == 4, "{op} {nth}: {found:?}");
        }
        check_at_the_mark(&world, "Octopus").await;
        assert_eq!(names(&world).await, json!(["Octopus", "Octopus_before_restore"]), "{op} {nth}");
        assert_eq!(access(&world, "Octopus_before_restore").await, json!("OFFLINE SINGLE_USER"));
        assert_eq!((world.done("restore database *"), world.done("restore log *")), (1, 2), "{op} {nth}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_goes_beside_where_it_can_and_says_why() {
    let world = World::practice().await;
    let chain = story(&world).await;
    let mut auto = with(&chain);
    auto["strategy"] = json!("auto");
    let found = Restore.preflight(&world.ctx(), given(auto.clone())).await.unwrap();
    let said = found.findings.iter().find(|finding| finding.code == "restore.beside").unwrap();
    assert!(
        said.message.contains("beside what is there: what is there is ONLINE, and there is room"),
        "{said:?}"
    );
    let shown = Restore
        .actions(
            Some("t"),
            &drydock_step::Given { with: &given(auto.clone()).with, fill: None },
            &found.facts,
        )
        .unwrap();
    let shown: Vec<&str> = shown.iter().map(|action| action.text.as_str()).collect();
    assert!(shown[0].starts_with("RESTORE DATABASE [Octopus_restoring] FROM"), "{shown:?}");
    assert!(shown[4].contains("MODIFY NAME = [Octopus_before_restore]"), "{shown:?}");
    world.run("master", "ALTER DATABASE [Octopus] SET OFFLINE WITH ROLLBACK IMMEDIATE").await;
    let found = Restore.preflight(&world.ctx(), given(auto.clone())).await.unwrap();
    let said = found.findings.iter().find(|finding| finding.code == "restore.beside").unwrap();
    assert!(said.message.contains("in place: database Octopus is OFFLINE"), "{said:?}");
    let mut insisted = auto.clone();
    insisted["strategy"] = json!("beside");
    let error = world.outputs(&Restore, insisted).await.unwrap_err();
    assert!(error.code == "restore.beside" && error.message.contains("only one that is ONLINE"), "{error}");
    let outputs = world.outputs(&Restore, auto).await.unwrap();
    assert_eq!(outputs["strategy"], "in_place");
    check_at_the_mark(&world, "Octopus").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_goes_beside_and_both_names_are_swapped() {
    let world = World::practice().await;
    let mut group = pair(&world).await;
    group["strategy"] = json!("beside");
    group["restricted_user"] = json!(true);
    let outputs = world.outputs(&Restore, group).await.unwrap();
    for name in ["Octopus", "Second"] {
        assert_eq!(world.one(name, "SELECT MAX(Id) FROM agents").await, json!(4), "{name}");
        assert_eq!(access(&world, name).await, json!("ONLINE RESTRICTED_USER"));
        assert_eq!(outputs["databases"][name]["kept_as"], json!(format!("{name}_before_restore")));
    }
}
