//! Dry runs of the plans that ship, as people read them: golden files in `tests/dry_runs`, and nothing that a dry run leaves behind.
//! `UPDATE=1` writes them anew; then they are read before they are kept.

use drydock_recovery::manifest::Manifest;

use crate::world::World;

/// The plans, and what they have to be given.
pub(crate) const PLANS: &[(&str, &str)] = &[
    ("backup", ""),
    ("log", ""),
    ("differential", ""),
    ("restore", "-p to=point:latest"),
    ("restore-agent", "-p to=point:latest -p agent=7f3a"),
    ("failover", "-p to=end -p address=other.example"),
    ("prune", ""),
    ("pgvector-wal", ""),
    ("pgvector-backup", ""),
    ("pgvector-log", ""),
    ("pgvector-restore-agent", "-p to=point:latest -p agent=7f3a"),
    ("sql-full", ""),
    ("sql-differential", ""),
    ("sql-log", ""),
    ("sql-restore", "-p at=2026-07-14T03:10:00Z"),
    ("sql-objects", ""),
    ("sql-objects-restore", "-p script=sql/server/SQL01_objects_1.sql"),
    ("qdrant-prune", ""),
];

/// Plans whose dry run needs a whole base backup in the store: `pgvector.rs` has one, and reads theirs.
const ELSEWHERE: [&str; 2] = ["pgvector-failover", "pgvector-restore"];

/// Where their targets are. Nobody answers there but the store, and nobody else is asked.
const ENVIRONMENT: &str = "drydock: v1
environment: production
targets:
  sql: { kind: sqlserver, host: sql01, user: drydock, password: { env: NOBODY_KNOWS } }
  vectors: { kind: qdrant, nodes: ['http://qdrant-0:6333'], api_key: { env: NOBODY_KNOWS } }
  pgvector: { kind: postgres, host: pg-0, user: drydock, password: { env: NOBODY_KNOWS } }
  backups: { kind: artifacts, url: store }
  api: { kind: http, url: 'https://octopus.example' }
  hosts: { kind: http, url: 'https://hosts.example' }
  dns: { kind: http, url: 'https://dns.example' }
  hook: { kind: http, url: 'https://hooks.example' }
";

fn folder(name: &str) -> String {
    format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A store with a point, whose files are of the right length and empty otherwise. Plans of Qdrant find another one than those of PostgreSQL.
pub(crate) fn store(world: &World, golden: &str) {
    let text = std::fs::read_to_string(folder(&format!("tests/formats/{golden}.json"))).unwrap();
    let point = Manifest::parse(&text).unwrap();
    let store = world.path("store");
    let _ = std::fs::remove_dir_all(&store);
    for (_, artifact) in point.artifacts() {
        let path = store.join(&artifact.path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path).unwrap().set_len(artifact.size).unwrap();
    }
    let folder = store.join("points").join(point.id.as_str());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("manifest.json"), text).unwrap();
}

/// What was read, but for how long ago the point is.
fn read(shown: &str) -> String {
    let line = |line: &str| {
        let asked = line.find("Z? ").filter(|_| line.ends_with(" s of work are lost."));
        match asked {
            Some(at) => format!("{}Z? (so many) s of work are lost.", &line[..at]),
            None if line.ends_with(" of work in the truth are lost") => {
                "  point: (so much) of work in the truth are lost".to_owned()
            }
            None => line.to_owned(),
        }
    };
    shown.lines().map(|one| line(one) + "\n").collect()
}

/// What programs read is as the schema says that is committed for them.
fn fits_schema(world: &World, command: &str) {
    let schema = world.drydock("schema dry-run").with_exit(0).stdout;
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&world.drydock(command).with_exit(0).stdout).unwrap();
    let wrong: Vec<String> =
        schema.iter_errors(&shown).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{command}: {wrong:#?}");
}

/// The same as a comment on a pull request: what counts first, every step behind a fold.
fn in_markdown(world: &World, plan: &str, given: &str) {
    let shown = world.drydock(&format!("dry-run {plan} -e env.yaml {given} --format markdown")).with_exit(0);
    let shown = shown.stdout;
    let (first, folded) = shown.split_once("<details><summary>Every step</summary>").unwrap();
    assert!(first.starts_with("## Dry run of `octopus_restore`\n\n15 steps would run, "), "{shown}");
    for line in [
        "- `point`: skew 6.0 s\n",
        "**Destroys**\n\n- database OctopusDB on sql, by restore\\_sql\n",
        "- collections agent\\_\\* on vectors, by consistent\n",
        "- on `hook`: path / (by notify)\n",
    ] {
        assert!(first.contains(line), "{line} is not in\n{first}");
    }
    assert!(
        folded.contains("```text\nfence  http.request\n    beside point\n  ! api: POST /maintenance {\"enabled\":true}\n```\n"),
        "{shown}"
    );
    assert!(folded.ends_with("\n</details>\n"), "{shown}");
}

/// Three mistakes in the plan that restores: into another database, while the application goes on writing, and to a point that is not there. Each stands on the first screen.
#[test]
#[allow(clippy::disallowed_methods, reason = "UPDATE=1 writes golden files anew")]
fn three_mistakes_are_what_is_read_first() {
    let world = World::plan("").write("env.yaml", ENVIRONMENT);
    store(&world, "manifest-v2-whole");
    let plan = std::fs::read_to_string(folder("plans/octopus/restore.yaml")).unwrap();
    let wrong = plan.replacen(
        "database: \"{{ params.sql_database }}\"\n      chain:",
        "database: CrmDB\n      chain:",
        1,
    );
    let wrong = wrong.replacen(
        "    uses: http.request\n",
        "    uses: http.request\n    when: params.to == 'never'\n",
        1,
    );
    assert!(wrong.contains("database: CrmDB") && wrong.contains("'never'"), "{wrong}");
    for file in ["migrations.sql", "conversation.yaml", "erasures.txt", "backup.yaml"] {
        std::fs::copy(folder(&format!("plans/octopus/{file}")), world.path(file)).unwrap();
    }
    std::fs::write(world.path("wrong.yaml"), &wrong).unwrap();
    let shown =
        world.drydock("dry-run wrong.yaml -e env.yaml -p to=01K00000000000000000000009 -q").with_exit(11);
    let golden = folder("tests/dry_runs/three-mistakes.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, &shown.stdout).unwrap();
    }
    let ever = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(shown.stdout == ever, "the three mistakes read otherwise:\n{}", shown.stdout);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "UPDATE=1 writes golden files anew")]
fn dry_runs_of_shipped_plans_read_as_ever_and_leave_nothing_behind() {
    let world = World::plan("").write("env.yaml", ENVIRONMENT);
    for (plan, given) in PLANS {
        store(&world, if plan.starts_with("pgvector") { "manifest-v2-cluster" } else { "manifest-v2-whole" });
        let before = world.every_file();
        let path = folder(&format!("plans/octopus/{plan}.yaml"));
        let shown = world.drydock(&format!("dry-run {path} -e env.yaml {given}")).with_exit(0).stdout;
        let shown = read(&shown);
        fits_schema(&world, &format!("dry-run {path} -e env.yaml {given} --format json"));
        assert_eq!(world.every_file(), before, "the dry run of {plan} has left something behind");
        let golden = folder(&format!("tests/dry_runs/{plan}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &shown).unwrap();
        }
        if *plan == "restore" {
            in_markdown(&world, &path, given);
        }
        let ever = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(shown == ever, "the dry run of {plan} reads otherwise than {golden}:\n{shown}");
    }
    // None that ships is forgotten.
    let mut shipped: Vec<String> = std::fs::read_dir(folder("plans/octopus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .filter(|name| name != "conversation")
        .collect();
    shipped.sort();
    let mut named: Vec<&str> = PLANS.iter().map(|(plan, _)| *plan).chain(ELSEWHERE).collect();
    named.sort_unstable();
    assert_eq!(named, shipped);
}
