//! Why a restore cannot work, a situation each: the dry run that asks names it before anything is touched, and the run that is forced past it
//! fails for that very reason.

use drydock_recovery::manifest::Manifest;
use drydock_recovery::sealed::text_of;
use serde_json::Value;

use crate::dry_runs::store;
use crate::flipped::files_of;
use crate::log_points::{Story, obliging};
use crate::sql_plans::Practice;
use crate::world::World;

/// One reason.
struct Reason {
    /// What people call it.
    what: &'static str,
    /// What is given to the plan.
    given: &'static str,
    /// The code of the finding.
    code: &'static str,
    /// Words of it.
    words: &'static str,
    /// The code that the forced run fails with.
    fails: &'static str,
    /// Codes of what is found beside it, which the run is forced past as well.
    beside: &'static str,
}

impl Reason {
    const fn new(what: &'static str, given: &'static str, code: &'static str, words: &'static str) -> Self {
        Self { what, given, code, words, fails: code, beside: code }
    }

    /// A run that fails with a code of the server's own.
    const fn fails(self, fails: &'static str) -> Self {
        Self { fails, ..self }
    }

    /// With other findings beside it.
    const fn beside(self, beside: &'static str) -> Self {
        Self { beside, ..self }
    }

    /// The dry run names it, as an error, and changes nothing; the forced run ends with it.
    fn holds(&self, world: &World, plan: &str) {
        self.asked(world, plan, "--probe");
        self.ignored(world, plan);
    }

    /// The same where only reading everything tells it.
    fn holds_deep(&self, world: &World, plan: &str) {
        let line = format!("dry-run {plan} -e env.yaml {} --probe", self.given);
        world.drydock(&line).with_exit(0);
        self.asked(world, plan, "--probe=deep");
        self.ignored(world, plan);
    }

    fn asked(&self, world: &World, plan: &str, how: &str) {
        let line = format!("dry-run {plan} -e env.yaml {} {how} --format json", self.given);
        let ended = world.drydock(&line);
        let shown: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
        let found = shown["findings"].as_array().cloned().unwrap_or_default();
        let is_it = |found: &&Value| {
            let message = found["message"].as_str().unwrap_or_default();
            found["code"] == self.code && found["severity"] == "error" && message.contains(self.words)
        };
        assert!(
            ended.code == Some(11) && found.iter().any(|found| is_it(&found)),
            "{}: exit {:?}\n{found:#?}\n{}",
            self.what,
            ended.code,
            ended.stderr
        );
        // A run asks the same before it begins, and reads nothing to its end.
        if how == "--probe" {
            let run = format!("run {plan} -e env.yaml {} -q --run-id never", self.given);
            world.drydock(&run).with_exit(11).says(&format!("[{}]", self.code));
        }
    }

    fn ignored(&self, world: &World, plan: &str) {
        let run = format!(
            "run {plan} -e env.yaml {} -q --run-id r --force-past {},{}",
            self.given, self.code, self.beside
        );
        let ended = world.drydock(&run);
        let shown = world.drydock("runs show r --format json").stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
        let errors: Vec<&Value> = shown["steps"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, step)| &step["error"])
            .filter(|error| !error.is_null())
            .collect();
        assert!(
            ended.code == Some(20) && errors.iter().any(|error| error["code"] == self.fails),
            "{}: exit {:?}, {errors:#?}\n{}",
            self.what,
            ended.code,
            ended.stderr
        );
        std::fs::remove_dir_all(world.path(".drydock")).unwrap();
    }
}

/// A point is chosen, and its snapshots looked at: nothing of it needs a server.
const CHOOSE: &str = "drydock: v1
name: choose
params: { to: { type: string, required: true }, accept: { type: list, default: [] } }
targets: { backups: artifacts }
steps:
  point: { uses: point.select, target: backups, with: { to: '{{ params.to }}', accept_missing: '{{ params.accept }}' } }
  files: { uses: artifact.verify, target: backups, needs: [point], with: { prefix: sql } }
";

const BACKUPS: &str = "drydock: v1\nenvironment: e\ntargets:\n  backups: { kind: artifacts, url: ./store }\n";

/// A store with one point, whose files are empty.
fn choosing() -> World {
    let world = World::plan(CHOOSE).write("env.yaml", BACKUPS);
    store(&world, "manifest-v2-whole");
    world
}

const ID: &str = "01K00000000000000000000002";
const BY_ID: &str = "-p to=01K00000000000000000000002";

fn path_of_manifest(world: &World) -> std::path::PathBuf {
    world.path("store/points").join(ID).join("manifest.json")
}

#[test]
fn points_that_cannot_be_gone_back_to() {
    let world = choosing();
    let plan = "plan.yaml";
    Reason::new("there is no such point", "-p to=01J", "point.none", "01J").holds(&world, plan);
    Reason::new("nothing is that old", "-p to=2001-01-01T00:00:00Z", "point.none", "2001")
        .holds(&world, plan);

    let log = world.path("store/sql/log-3.bak");
    let kept = std::fs::read(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    Reason::new(
        "a log of the chain is missing",
        BY_ID,
        "point.unusable",
        "sql/log-3.bak is not in the store",
    )
    .holds(&world, plan);
    std::fs::write(&log, &kept[1..]).unwrap();
    Reason::new("a log was cut", BY_ID, "point.unusable", "bytes long and was").holds(&world, plan);
    std::fs::write(&log, &kept).unwrap();
    let full = world.path("store/sql/full-1.bak");
    std::fs::rename(&full, world.path("elsewhere")).unwrap();
    Reason::new("the full backup is missing", BY_ID, "point.unusable", "sql/full-1.bak is not in the store")
        .holds(&world, plan);
    std::fs::rename(world.path("elsewhere"), &full).unwrap();
    let deep = Reason::new(
        "a byte of the full backup is another",
        BY_ID,
        "artifact.damaged",
        "sql/full-1.bak has sha256",
    );
    deep.asked(&world, plan, "--probe=deep");

    let manifest = path_of_manifest(&world);
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"W. Europe", "\"E. Europe")).unwrap();
    Reason::new("the manifest was changed", BY_ID, "point.none", "manifest.json").holds(&world, plan);
    std::fs::write(&manifest, &text).unwrap();

    let mut point = Manifest::parse(&text).unwrap();
    point.incomplete = vec!["agent_7f3a".to_owned()];
    std::fs::write(&manifest, text_of(&point, None).unwrap()).unwrap();
    Reason::new("it lacks a collection", BY_ID, "point.unusable", "it is incomplete (agent_7f3a)")
        .holds(&world, plan);
    std::fs::write(&manifest, &text).unwrap();

    world.drydock(&format!("points bad {ID} -e env.yaml --by Ann --reason rehearsal")).with_exit(0);
    Reason::new("it was marked as bad", BY_ID, "point.unusable", "bad").holds(&world, plan);

    let trusting =
        BACKUPS.replace("./store", "./store, trusted_keys: ['11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=']");
    let world = world.write("env.yaml", &trusting);
    Reason::new("nobody that is trusted has signed it", BY_ID, "point.unusable", "not trusted: unsigned")
        .holds(&world, plan);
    let world = world.write("env.yaml", &BACKUPS.replace("./store", "./nowhere/store"));
    Reason::new("the artifact store is not there", BY_ID, "artifact.io", "nowhere").holds(&world, plan);
}

/// A world with practice servers that hold an Octopus, and a point of it.
struct Harbour {
    world: World,
    practice: Option<Practice>,
    point: String,
}

impl Harbour {
    fn open() -> Self {
        let mut story = Story::new();
        let practice = Some(Practice::start(&story.world, "{}"));
        let point = story.shipped("backup", "-p pause=false")["point"].as_str().unwrap().to_owned();
        std::fs::remove_dir_all(story.world.path(".drydock")).unwrap();
        Self { world: story.world, practice, point }
    }

    /// The same servers anew, as servers of another kind.
    fn again(&mut self, kind: &str, more: &[&str]) {
        self.practice = None;
        std::fs::remove_file(self.world.path("ports.json")).unwrap();
        self.practice = Some(Practice::with(&self.world, kind, &[&["--seed", "7"], more].concat()));
    }

    /// Other servers with nothing in them, which see the same store.
    fn elsewhere(&mut self, kind: &str) {
        self.practice = None;
        std::fs::rename(self.world.path("servers"), self.world.path("home")).unwrap();
        std::fs::remove_file(self.world.path("ports.json")).unwrap();
        self.practice = Some(Practice::empty(&self.world, kind));
    }

    /// Back from there.
    fn back(&mut self) {
        self.practice = None;
        std::fs::remove_dir_all(self.world.path("servers")).unwrap();
        std::fs::rename(self.world.path("home"), self.world.path("servers")).unwrap();
        self.again("{}", &[]);
    }

    /// A plan that goes back to the point: what it does with the chain or with a snapshot of it.
    fn plan(&self, step: &str) {
        let targets = "{ sql: sqlserver, vectors: qdrant, backups: artifacts }";
        let used: Vec<&str> = targets
            .trim_matches(['{', '}', ' '])
            .split(", ")
            .filter(|one| {
                one.starts_with("backups") || step.contains(&format!(": {}", one.split(':').next().unwrap()))
            })
            .collect();
        let plan = format!(
            "drydock: v1\nname: back\ntargets: {{ {} }}\nsteps:\n  point: {{ uses: point.select, target: backups, with: {{ to: {} }} }}\n{step}",
            used.join(", "),
            self.point
        );
        std::fs::write(self.world.path("back.yaml"), plan).unwrap();
    }

    fn restore(&self, with: &str) {
        self.plan(&format!(
            "  restore: {{ uses: sqlserver.restore, target: sql, needs: [point], with: {{ database: OctopusDB, chain: '{{{{ steps.point.outputs.sqlserver.octopus }}}}', {with} }} }}\n"
        ));
    }

    fn holds(&self, reason: &Reason) {
        reason.holds(&self.world, "back.yaml");
    }

    /// With another text in the environment.
    fn with_environment(&self, from: &str, to: &str, reason: &Reason) {
        let own = self.world.text("env.yaml");
        assert!(own.contains(from), "{own}");
        std::fs::write(self.world.path("env.yaml"), own.replace(from, to)).unwrap();
        self.holds(reason);
        std::fs::write(self.world.path("env.yaml"), own).unwrap();
    }

    /// A file of the artifact store that is called so.
    fn artifact(&self, part: &str) -> std::path::PathBuf {
        let files = files_of(&self.world, "env.yaml", &self.point);
        self.world.path("artifacts").join(files.iter().find(|file| file.contains(part)).unwrap())
    }
}

/// The `port: N` of the SQL Server.
fn port_of(world: &World) -> String {
    let environment = world.text("env.yaml");
    environment.lines().find(|line| line.trim().starts_with("port:")).unwrap().trim().to_owned()
}

/// A login that may do nothing.
const LOGIN: &str = "drydock: v1
name: login
targets: { sql: sqlserver }
steps:
  make: { uses: sqlserver.script, target: sql, with: { database: master, idempotent: true, sql: \"CREATE LOGIN [guest_of_honour] WITH PASSWORD = N'Pier-22x'\" } }
";

#[test]
fn a_sql_server_that_cannot_restore() {
    let mut harbour = Harbour::open();
    let new = Reason::new;
    harbour.restore("into: Copy");
    let password = harbour.world.text("servers/sql-password");
    std::fs::write(harbour.world.path("servers/sql-password"), "guess").unwrap();
    harbour.holds(&new("the password is wrong", "", "sqlserver.18456", "Login failed for user"));
    std::fs::write(harbour.world.path("servers/sql-password"), password).unwrap();
    let port = port_of(&harbour.world);
    harbour.with_environment(
        &port,
        "port: 1",
        &new("nobody listens there", "", "sqlserver.connect", "refused"),
    );
    harbour.with_environment(
        "sees: [ { artifacts: sql/, as: \"",
        "sees: [ { artifacts: sql/, as: \"/nowhere",
        &new("the server sees no such file", "", "sqlserver.3201", "nowhere"),
    );

    let full = harbour.artifact(".bak");
    let kept = std::fs::read(&full).unwrap();
    std::fs::write(&full, vec![b'x'; kept.len()]).unwrap();
    harbour.holds(&new("the file is no backup", "", "sqlserver.3241", "incorrectly formed"));
    let mut flipped = kept.clone();
    flipped[kept.len() / 2] ^= 0x10;
    std::fs::write(&full, flipped).unwrap();
    // The run that ignores it leaves a database in the middle.
    harbour.restore("into: Torn");
    new("a byte of the full backup is another", "", "sqlserver.3189", "Damage to the backup set")
        .fails("sqlserver.3183")
        .holds_deep(&harbour.world, "back.yaml");
    std::fs::write(&full, kept).unwrap();

    harbour.restore("replace: false");
    harbour.holds(
        &new("the database is there", "", "restore.exists", "is there already").beside("sqlserver.3159"),
    );
    harbour.restore("into: Copy, stop_at: 2099-01-01T00:00:00Z");
    harbour.holds(&new("no log leads so far", "", "restore.chain", "2099-01-01T00:00:00Z is later"));
    harbour.restore("into: Copy, stop_at_mark: dd_never");
    harbour.holds(&new("there is no such mark", "", "restore.mark", "dd_never"));
    let own = harbour.world.path("servers/sqlserver/data/OctopusDB.mdf");
    harbour.restore(&format!("into: Copy, move: {{ OctopusDB: '{}' }}", own.display()));
    harbour.holds(&new(
        "another database has the file",
        "",
        "sqlserver.1834",
        "in use by database OctopusDB",
    ));
    harbour.restore("into: Copy, data_folder: /nowhere");
    harbour.holds(&new("there is no such folder", "", "sqlserver.5133", "/nowhere"));

    harbour.restore("replace: true, strategy: in_place");
    harbour.again(r#"{ "secondaries": ["OctopusDB"] }"#, &[]);
    harbour.holds(&new("an availability group has it", "", "sqlserver.3104", "availability group"));
    harbour.restore("into: Copy");
    harbour.again("{}", &[]);
    std::fs::write(harbour.world.path("login.yaml"), LOGIN).unwrap();
    harbour.world.drydock("run login.yaml -e env.yaml -q").with_exit(0);
    let password = harbour.world.text("servers/sql-password");
    std::fs::write(harbour.world.path("servers/sql-password"), "Pier-22x").unwrap();
    harbour.with_environment(
        "user: sa",
        "user: guest_of_honour",
        &new("the login may not", "", "sqlserver.262", "CREATE DATABASE permission denied"),
    );
    std::fs::write(harbour.world.path("servers/sql-password"), password).unwrap();

    harbour.elsewhere(r#"{ "major": 15 }"#);
    harbour.holds(&new("the server is older", "", "sqlserver.3169", "and this server is 15"));
    harbour.back();
    harbour
        .elsewhere(r#"{ "volumes": [{ "mount": "/", "total_bytes": 1000000, "available_bytes": 1000 }] }"#);
    harbour.holds(&new("the volume is full", "", "sqlserver.3257", "1000 bytes free"));

    // A step before that works on something else of the server makes no room; one that works on all of it may.
    let restore = harbour.world.text("back.yaml");
    for (database, exit) in [("msdb", 11), ("master", 0)] {
        let before = format!(
            "steps:\n  before: {{ uses: sqlserver.script, target: sql, with: {{ database: {database}, idempotent: true, sql: SELECT 1 }} }}\n"
        );
        let plan = restore.replace("steps:\n", &before).replace("needs: [point]", "needs: [point, before]");
        std::fs::write(harbour.world.path("after.yaml"), plan).unwrap();
        let shown = harbour.world.drydock("dry-run after.yaml -e env.yaml --probe").with_exit(exit).stdout;
        assert!(shown.contains("1000 bytes free") && shown.contains("[sqlserver.3257]"), "{shown}");
    }

    harbour.back();
    harbour.elsewhere(
        r#"{ "volumes": [{ "mount": "/", "total_bytes": 9000000, "available_bytes": 4000000 }] }"#,
    );
    let line = restore.lines().last().unwrap();
    let second = line.replace("  restore:", "  second:").replace("into: Copy", "into: Second");
    std::fs::write(harbour.world.path("two.yaml"), format!("{restore}{second}\n")).unwrap();
    let shown = harbour.world.drydock("dry-run two.yaml -e env.yaml --probe").with_exit(11).stdout;
    let words = "cannot succeed: restore, second: / has 4000000 bytes free, and these steps need ";
    assert!(shown.contains(words), "{shown}");
    harbour.world.drydock("dry-run back.yaml -e env.yaml --probe").with_exit(0);
}

#[test]
fn a_qdrant_that_cannot_recover() {
    let harbour = Harbour::open();
    let new = Reason::new;
    let recover = |with: &str| {
        harbour.plan(&format!(
            "  vectors: {{ uses: qdrant.recover, target: vectors, needs: [point], with: {{ from: backups, snapshot: '{{{{ steps.point.outputs.qdrant.collections[0] }}}}'{with} }} }}\n"
        ));
    };
    recover(", version: '1.99.0'");
    harbour.holds(&new("the snapshot is of a newer server", "", "qdrant.version", "made by 1.99.0"));
    recover("");
    let ports: Value = serde_json::from_str(&harbour.world.text("ports.json")).unwrap();
    let node = ports.pointer("/qdrant/nodes/0").and_then(Value::as_str).unwrap();
    harbour.with_environment(
        node,
        "http://127.0.0.1:1",
        &new("the node is down", "", "qdrant.connect", "127.0.0.1:1"),
    );
    let more = format!("{node}\", \"http://127.0.0.1:1");
    harbour.with_environment(node, &more, &new("one node is absent", "", "qdrant.connect", "127.0.0.1:1"));
    let key = harbour.world.text("servers/qdrant-key");
    std::fs::write(harbour.world.path("servers/qdrant-key"), "guess").unwrap();
    harbour.holds(&new("the key is wrong", "", "qdrant.key", "key"));
    std::fs::write(harbour.world.path("servers/qdrant-key"), key).unwrap();
    let file = harbour.artifact(".snapshot");
    let kept = std::fs::read(&file).unwrap();
    let mut flipped = kept.clone();
    flipped[kept.len() / 2] ^= 0x10;
    std::fs::write(&file, flipped).unwrap();
    new("a byte of the snapshot is another", "", "artifact.damaged", "has sha256")
        .holds_deep(&harbour.world, "back.yaml");
    std::fs::write(&file, kept).unwrap();
}

/// The shipped plan beside an older release of the application, which does not know the point's last migration.
fn older_release(world: &World) {
    let plans = format!("{}/../plans/octopus", env!("CARGO_MANIFEST_DIR"));
    for file in ["restore.yaml", "backup.yaml", "conversation.yaml", "erasures.txt", "migrations.sql"] {
        std::fs::copy(format!("{plans}/{file}"), world.path(file)).unwrap();
    }
    let script = world.text("migrations.sql");
    // The last but one: the practice Octopus has not been led to the last.
    let from = script.find("N'20251118160327_").unwrap();
    let from = script[..from].rfind("IF NOT EXISTS").unwrap();
    std::fs::write(world.path("migrations.sql"), &script[..from]).unwrap();
}

#[test]
fn an_application_that_is_older_than_the_point() {
    let harbour = Harbour::open();
    let new = Reason::new;
    older_release(&harbour.world);
    let to = format!("-p to={}", harbour.point);
    let to: &'static str = Box::leak(to.into_boxed_str());
    new(
        "the point is newer than the application",
        to,
        "ef.point",
        "the point has migrations that the application does not know",
    )
    .fails("ef.newer")
    .holds(&harbour.world, "restore.yaml");
}

#[test]
fn a_database_that_somebody_else_works_on() {
    let mut harbour = Harbour::open();
    let faults = harbour.world.path("faults.json");
    std::fs::write(&faults, r#"[{ "op": "restore database *", "do": "hold" }]"#).unwrap();
    harbour.again("{}", &["--faults", faults.to_str().unwrap()]);
    harbour.restore("into: Copy, replace: true");
    let holder = harbour.world.text("back.yaml").replace("name: back", "name: holder");
    std::fs::write(harbour.world.path("holder.yaml"), holder).unwrap();
    let mut held = harbour
        .world
        .command("run holder.yaml -e env.yaml -q --state-dir held --run-id held")
        .spawn()
        .unwrap();
    let locked =
        Reason::new("another run restores it", "", "locked", "database Copy is locked by another run");
    let dry = "dry-run back.yaml -e env.yaml --probe";
    while !harbour.world.drydock(dry).stdout.contains("[locked]") {
        assert!(held.try_wait().unwrap().is_none(), "it holds the lock until it is ended");
    }
    harbour.holds(&locked);
    held.kill().unwrap();
    held.wait().unwrap();
}

/// A full backup that only this server's certificate opens.
const ENCRYPTED: &str = "drydock: v1
name: encrypted
targets: { sql: sqlserver }
steps:
  key: { uses: sqlserver.script, target: sql, with: { database: master, idempotent: true, sql: \"CREATE MASTER KEY ENCRYPTION BY PASSWORD = N'Harbour-9'\\nGO\\nCREATE CERTIFICATE Vault WITH SUBJECT = N'backups'\" } }
  full: { uses: sqlserver.backup, target: sql, needs: [key], with: { database: OctopusDB, type: full, encryption: { algorithm: aes_256, certificate: Vault } } }
";

/// A restore from whatever lies in the store.
const FROM_FOLDER: &str = "drydock: v1
name: back
targets: { sql: sqlserver }
steps:
  known: { uses: sqlserver.history, target: sql, with: { database: OctopusDB, folder: sql } }
  restore: { uses: sqlserver.restore, target: sql, needs: [known], with: { database: OctopusDB, into: Copy, chain: '{{ steps.known.outputs }}' } }
";

#[test]
fn keys_that_are_not_there() {
    let world = World::plan("").write("encrypted.yaml", ENCRYPTED).write("back.yaml", FROM_FOLDER);
    let practice = Some(Practice::start(&world, "{}"));
    world.drydock("run encrypted.yaml -e env.yaml -q --run-id e").with_exit(0);
    std::fs::remove_dir_all(world.path(".drydock")).unwrap();
    let mut harbour = Harbour { world, practice, point: String::new() };
    harbour.elsewhere("{}");
    harbour.holds(&Reason::new("the certificate is not on this server", "", "sqlserver.33111", "thumbprint"));

    let place = "drydock: v1\nname: p\ntargets: { open: artifacts, sealed: artifacts }\nsteps:\n  in: { uses: artifact.copy, target: open, with: { artifacts: [a], to: sealed } }\n";
    let out = "drydock: v1\nname: p\ntargets: { sealed: artifacts }\nsteps:\n  out: { uses: artifact.place, target: sealed, with: { artifacts: [a], folder: out } }\n";
    let stores = "drydock: v1\nenvironment: e\ntargets:\n  open: { kind: artifacts, url: ./open }\n  sealed: { kind: artifacts, url: ./sealed, encrypt_to: [age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj] }\n";
    let world = World::plan(place).write("env.yaml", stores).write("out.yaml", out);
    ["open", "sealed"].iter().for_each(|folder| std::fs::create_dir(world.path(folder)).unwrap());
    let world = world.write("open/a", "hello");
    world.drydock("run plan.yaml -e env.yaml -q --run-id in").with_exit(0);
    Reason::new("no identity opens it", "", "artifact.encrypted", "a is encrypted").holds(&world, "out.yaml");
}

#[test]
fn an_application_that_does_not_answer() {
    let (url, _) = obliging();
    let environment = format!(
        "drydock: v1\nenvironment: e\ntargets:\n  api: {{ kind: http, url: 'http://127.0.0.1:1' }}\n  hosts: {{ kind: http, url: '{url}' }}\n"
    );
    let plan = "drydock: v1\nname: p\ntargets: { api: http }\nsteps:\n  open: { uses: http.request, target: api, with: { method: POST, path: /open } }\n";
    let started = "drydock: v1\nname: p\ntargets: { api: http, hosts: http }\nsteps:\n  start: { uses: http.request, target: hosts, with: { method: POST, path: /start } }\n  open: { uses: http.request, target: api, needs: [start], with: { method: POST, path: /open } }\n";
    let world = World::plan(plan).write("env.yaml", &environment).write("started.yaml", started);
    Reason::new("the application is down", "", "http.connect", "takes no connection")
        .fails("http.connect")
        .holds(&world, "plan.yaml");
    // One that a step before may start is not known.
    let shown = world.drydock("dry-run started.yaml -e env.yaml --probe").with_exit(0).stdout;
    assert!(shown.contains("  not known: open: ") && shown.contains("[http.connect]"), "{shown}");
}
