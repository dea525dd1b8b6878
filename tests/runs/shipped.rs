//! The plans that ship: checked against every environment that ships, and rehearsed.

use crate::world::{World, ended, program};

/// A file of the repository.
fn shipped(path: &str) -> String {
    format!("{}/../plans/{path}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn shipped_plans_are_right_in_every_environment() {
    let world = World::plan("");
    for plan in [
        "backup",
        "restore",
        "sql-full",
        "sql-differential",
        "sql-log",
        "sql-restore",
        "sql-objects",
        "sql-objects-restore",
        "qdrant-prune",
        "pgvector-wal",
        "pgvector-backup",
        "pgvector-restore",
        "pgvector-log",
        "log",
        "restore-agent",
        "failover",
        "pgvector-restore-agent",
        "pgvector-failover",
        "prune",
        "differential",
    ] {
        // Practice servers have neither a PostgreSQL nor hosts and names to lead elsewhere.
        let practice = !plan.contains("pgvector") && plan != "failover";
        let plan = &format!("octopus/{plan}.yaml");
        world.drydock(&format!("check {}", shipped(plan))).with_exit(0);
        for environment in ["production", "drill"].into_iter().chain(practice.then_some("practice")) {
            let environment = shipped(&format!("environments/{environment}.yaml"));
            world.drydock(&format!("check {} -e {environment}", shipped(plan))).with_exit(0);
        }
    }
    world.drydock(&format!("check {}", shipped("octopus/conversation.yaml"))).with_exit(0);
}

#[test]
fn the_whole_story_is_told_and_proved() {
    let world = World::plan("");
    let mut command = std::process::Command::new(program());
    command
        .args(["rehearse", "--seed", "3", "--format", "json", "--keep"])
        .arg(world.path("kept"))
        .env("CI", "true");
    let told = ended(&mut command).with_exit(0);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&told["ok"], &told["seed"]), (&true.into(), &3.into()));
    let steps = told["steps"].as_array().unwrap();
    let status = |plan: &str, step: &str| {
        let found = steps.iter().find(|told| told["plan"] == plan && told["step"] == step);
        found.unwrap_or_else(|| panic!("no {plan} {step}"))["status"].clone()
    };
    for (plan, step) in
        [("backup", "seal"), ("restore", "restore_sql"), ("restore", "consistent"), ("restore", "recall")]
    {
        assert_eq!(status(plan, step), "succeeded", "{plan} {step}");
    }
    assert!(told["rpo_s"].as_f64().unwrap() > 0.0 && told["rto_s"].as_f64().unwrap() > 0.0);
    for kept in ["environment.yaml", "ledger.jsonl", "artifacts/points", "state/restore/journal.jsonl"] {
        assert!(world.path("kept").join(kept).exists(), "{kept}");
    }
}
