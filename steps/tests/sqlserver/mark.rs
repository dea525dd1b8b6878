//! `sqlserver.mark`.

use drydock_step::Kind;
use drydock_step::Reconciled;
use drydock_step::test_host::given;
use drydock_steps::sqlserver::mark::Mark;
use serde_json::{Value, json};

use crate::world::{World, octopus};

fn with() -> Value {
    json!({
        "mark": "dd_01J8ZQ4Q7V0000000000000000",
        "databases": { "octopus": "Octopus" },
        "rows": ["agents", "drydock.marks"],
    })
}

fn check_outputs(outputs: &Value) {
    assert_eq!(outputs["mark"], "dd_01J8ZQ4Q7V0000000000000000");
    assert_eq!(
        outputs["rows"]["octopus"],
        json!({
            "agents": { "before": 2, "after": 2 },
            "drydock.marks": { "before": 0, "after": 1 },
        })
    );
    assert_eq!(outputs["migrations"], json!({ "octopus": ["20250101000000_Initial"] }));
    let place = &outputs["databases"]["octopus"];
    assert_eq!(place["database"], "Octopus");
    assert!(place["lsn"].as_str().unwrap().bytes().all(|byte| byte.is_ascii_digit()), "{place}");
    for time in [&outputs["sent_at"], &outputs["answered_at"], &place["at"]] {
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_has_its_row_its_place_and_its_bands() {
    let world = World::new().await;
    octopus(&world).await;
    check_outputs(&world.outputs(&Mark, with()).await.unwrap());
    let row = world
        .one("Octopus", "SELECT run FROM drydock.marks WHERE mark = N'dd_01J8ZQ4Q7V0000000000000000'")
        .await;
    assert_eq!(row, "r1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_whose_answer_was_lost_is_found_again() {
    let world = World::with_faults(r#"[{"op": "mark *", "do": "hold"}]"#).await;
    octopus(&world).await;
    let (_, found) = world.crashed(&Mark, with()).await;
    let Reconciled::Done(outputs) = found else { panic!("{found:?}") };
    check_outputs(&outputs);
    assert_eq!(world.done("mark *"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_was_not_set_is_set_by_the_next_attempt() {
    let world = World::with_faults(r#"[{"op": "mark *", "do": "cut_before"}]"#).await;
    octopus(&world).await;
    let host = world.host("r1/step/1", Vec::new());
    let error = Mark.execute(&host.ctx(Some("t")), given(with()), None).await.unwrap_err();
    assert!(error.unknown && error.code == "sqlserver.lost", "{error}");
    assert_eq!(world.settled(&Mark, with(), host.notes()).await, Reconciled::NotDone);
    check_outputs(&world.again(&Mark, with(), host.notes(), None).await.unwrap());
    assert_eq!(world.done("mark *"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_marked_is_found_before() {
    let world = World::new().await;
    octopus(&world).await;
    world.run("Octopus", "DROP TABLE drydock.marks\nGO\nALTER DATABASE [Octopus] SET RECOVERY SIMPLE").await;
    let with =
        json!({ "mark": "dd_1", "databases": { "a": "Octopus", "b": "Elsewhere" }, "rows": ["nowhere"] });
    let found = Mark.preflight(&world.ctx(), given(with)).await.unwrap();
    let found: Vec<_> = found.findings.iter().map(|finding| (finding.code.as_str(), finding.fatal)).collect();
    assert_eq!(
        found,
        [("sqlserver.4208", true), ("sqlserver.911", true), ("sqlserver.marks", true), ("mark.table", true)]
    );
    let error =
        world.outputs(&Mark, json!({ "mark": "a b", "databases": { "a": "Octopus" } })).await.unwrap_err();
    assert!(error.code == "input" && error.message.contains("cannot name a mark"), "{error}");
}
