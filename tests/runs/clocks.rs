//! Hosts whose clocks are an hour apart: a point's order and skew are the runner's own, its manifest says how far each clock was off, and a
//! restore to a time is cut where the server's own clock stood then.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::log_points::Story;
use crate::sql_plans::Practice;

/// Whole seconds and the ticks of a `datetime` lie within this.
const TICK: TimeDelta = TimeDelta::seconds(1);

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value} is no time")).parse().unwrap()
}

/// When a step of the last run ended, by the runner's clock.
fn ended(story: &Story, step: &str) -> DateTime<Utc> {
    let shown = story.shown(&format!("r{}", story.runs));
    time(&shown["steps"][step]["attempts"][0]["ended_at"])
}

fn point(story: &Story, id: &str) -> Value {
    let shown =
        story.world.drydock(&format!("points show {id} -e env.yaml --format json")).with_exit(0).stdout;
    serde_json::from_str(&shown).unwrap()
}

/// What a server's clock told lies between the two looks at the runner's, so far off.
#[track_caller]
fn check_clock(clock: &Value, off: TimeDelta) {
    let [told, asked, answered] = ["told", "asked_at", "answered_at"].map(|name| time(&clock[name]));
    assert!(asked + off - TICK <= told && told <= answered + off + TICK, "{clock}");
}

/// A whole cycle with the clocks of SQL Server and Qdrant so far off the runner's, and that of the API half an hour ahead.
fn check(sqlserver: &str, qdrant: &str, sql_off: TimeDelta, qdrant_off: TimeDelta) {
    let mut story = Story::new();
    let flags = ["--fill", "--clock", sqlserver, "--clock", qdrant, "--clock", "api=+30m"];
    let _practice = Practice::with(&story.world, "{}", &flags);
    story.add("before");
    let began = ended(&story, "now");

    // The same night it is said that a clock is off; the point is good all the same.
    let plan = format!("{}/../plans/octopus/backup.yaml", env!("CARGO_MANIFEST_DIR"));
    let missed = story.world.drydock(&format!("run {plan} -e env.yaml --run-id backup")).with_exit(22);
    let missed = missed.says("which is more than 1m. Point ").says("is sealed and good all the same");
    missed.says("the clock of PRACTICE went 3").says("the clock of http://127.0.0.1:");
    let listed = story.world.drydock("points list -e env.yaml --format json").with_exit(0).stdout;
    let id = serde_json::from_str::<Value>(&listed).unwrap()[0]["id"].as_str().unwrap().to_owned();
    let manifest = point(&story, &id);
    let node = manifest["qdrant"]["collections"][0]["snapshots"][0]["node"].as_str().unwrap();
    check_clock(&manifest["clocks"]["PRACTICE"], sql_off);
    check_clock(&manifest["clocks"][node], qdrant_off);
    let (marked, sealed) = (time(&manifest["marked_at"]), time(&manifest["sealed_at"]));
    let within = |told: DateTime<Utc>, off: TimeDelta| {
        assert!(began + off - TICK <= told && told <= sealed + off + TICK, "{told} {manifest}");
    };
    for collection in manifest["qdrant"]["collections"].as_array().unwrap() {
        let snapshot = &collection["snapshots"][0];
        let started = time(&snapshot["started_at"]);
        let skew = TimeDelta::milliseconds((collection["skew_s"].as_f64().unwrap() * 1_000.0).round() as i64);
        assert_eq!(skew, marked - started, "the skew is that of the runner's own calls");
        assert!(skew < TimeDelta::minutes(10), "{skew}");
        // The name and the time are the node's own.
        within(time(&snapshot["created_at"]), qdrant_off);
        let stamp = time(&snapshot["created_at"]).format("%Y-%m-%d-%H-%M").to_string();
        assert!(snapshot["name"].as_str().unwrap().contains(&stamp), "{snapshot}");
    }
    let octopus = &manifest["sqlserver"]["octopus"];
    for stored in octopus["backups"].as_array().unwrap() {
        within(time(&stored["backup"]["started_at"]), sql_off);
        within(time(&stored["backup"]["finished_at"]), sql_off);
    }
    within(time(&octopus["mark"]["at"]), sql_off);
    // The lease is the application's, by its own clock.
    within(time(&manifest["pause"]["expires_at"]) - TimeDelta::seconds(120), TimeDelta::minutes(30));
    let shown = story.world.drydock(&format!("points show {id} -e env.yaml")).with_exit(0).stdout;
    assert!(shown.contains("  clock of PRACTICE: ") && shown.contains(" s ahead of the runner's"), "{shown}");
    assert!(shown.contains(" s behind the runner's"), "{shown}");

    // A moment between two log points, by the runner's clock.
    story.add("first");
    let log = story.shipped("log", "")["log_point"].as_str().unwrap().to_owned();
    let look = point(&story, &log)["clocks"]["PRACTICE"].clone();
    check_clock(&look, sql_off);
    // How far a clock was off is known as exactly as its mark was quick.
    let known_to = time(&look["answered_at"]) - time(&look["asked_at"]);
    story.add("second");
    let moment = ended(&story, "now") + known_to + TimeDelta::milliseconds(50);
    std::thread::sleep((known_to + TimeDelta::milliseconds(100)).to_std().unwrap());
    story.add("third");
    story.shipped("log", "");
    story.add("never");
    let to = moment.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    story.shipped("restore", &format!("-p to={to}"));
    assert_eq!(story.agents(), ["before", "first", "second"]);
    let shown = story.shown(&format!("r{}", story.runs - 1));
    let chosen = &shown["steps"]["point"]["outputs"];
    assert_eq!(
        (&chosen["kind"], &chosen["vector_base"], &chosen["id"]),
        (&json!("time"), &json!(id), &json!(log))
    );
    assert_eq!(time(&chosen["at"]).timestamp_millis(), moment.timestamp_millis());
    let chain = &chosen["sqlserver"]["octopus"];
    let cut = time(&chain["stop_at"]) - moment;
    assert!(cut <= sql_off + TICK && cut >= sql_off - known_to - TICK, "{chain}");
    let told = chain["problems"].as_array().unwrap().iter().filter_map(Value::as_str);
    let told: Vec<&str> = told.filter(|one| one.starts_with("the clock of PRACTICE went 3")).collect();
    assert!(told.len() == 1 && told[0].ends_with(" by its own clock, where its log is cut"), "{chain}");
    let unknown = chosen["price"]["documents_unknown"].as_str().unwrap_or_default();
    assert!(unknown.starts_with("the clock of PRACTICE went 3"), "{}", chosen["price"]);
    let counts = &shown["steps"]["consistent"]["outputs"]["counts"];
    // Those of the third and of the last one, which came after the moment.
    assert_eq!((&counts["orphans"], &counts["missing"]), (&json!(2), &json!(0)), "{counts}");

    story.shipped("restore", "-p to=point:latest");
    assert_eq!(story.agents(), ["before"]);
    let shown = story.shown(&format!("r{}", story.runs - 1));
    let counts = &shown["steps"]["consistent"]["outputs"]["counts"];
    // Those of the first and the second, which came after the point.
    assert_eq!((&counts["orphans"], &counts["missing"], &counts["stale"]), (&json!(2), &json!(0), &json!(0)));
}

#[test]
fn a_truth_an_hour_behind_and_vectors_an_hour_ahead_make_one_point() {
    check("sqlserver=-1h", "qdrant=+1h", -TimeDelta::hours(1), TimeDelta::hours(1));
}

#[test]
fn a_truth_an_hour_ahead_and_vectors_an_hour_behind_make_one_point() {
    check("sqlserver=+1h", "qdrant=-1h", TimeDelta::hours(1), -TimeDelta::hours(1));
}
