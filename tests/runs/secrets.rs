//! Canaries in every place where a secret may be; then every byte that was written is searched for them.

use crate::world::World;

const CANARY: &str = "c4n4ry/+Wert&lang?";

/// The canary as it may come back.
fn forms() -> Vec<String> {
    let percent: String =
        CANARY
            .bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") }
            })
            .collect();
    let base64 = ["YzRuNHJ5LytXZXJ0Jmxhbmc", "NG40cnkvK1dlcnQmbGFuZz8", "RuNHJ5LytXZXJ0Jmxhbm"];
    let mut forms = vec![CANARY.to_owned(), percent.to_lowercase(), percent];
    forms.extend(base64.map(str::to_owned));
    forms
}

fn check_nowhere(world: &World, said: &[&str]) {
    for form in forms() {
        for (path, bytes) in world.every_file() {
            if path.ends_with("secret.txt") {
                continue;
            }
            let found = bytes.windows(form.len()).any(|window| window == form.as_bytes());
            assert!(!found, "`{form}` lies in {}", path.display());
        }
        for text in said {
            assert!(!text.contains(&form), "`{form}` was said:\n{text}");
        }
    }
}

const PLAN: &str = r#"
drydock: v1
name: canaries
params:
  token: { type: secret, default: { env: CANARY } }
  filed: { type: secret, default: { file: ./secret.txt } }
  asked: { type: secret, default: { command: [cat, secret.txt] } }
steps:
  argv: { uses: process.run, on_failure: ignore, with: { argv: [sh, -c, 'echo "$1"; echo "$1" >&2; exit 4', x, "{{ params.token }}"] } }
  inside: { uses: process.run, with: { argv: [cat], stdin: "user:{{ params.filed }}@host" } }
  named: { uses: process.run, with: { argv: [sh, -c, 'printf %s "$T" | base64; printf %s "x$T" | base64'], env: { T: "{{ params.asked }}" } } }
  kept: { uses: flow.set, needs: [inside, named], with: { values: { all: "{{ steps.inside.outputs.stdout }} {{ steps.named.outputs.stdout }}" } } }
outputs:
  all: "{{ steps.kept.outputs.all }}"
"#;

#[test]
fn no_byte_of_a_secret_is_written_or_said() {
    let world = World::plan(PLAN).write("secret.txt", &format!("{CANARY}\n")).with("CANARY", CANARY);
    let ran = world.drydock("run plan.yaml --run-id r -vv").with_exit(0);
    let events = world.drydock("run plan.yaml --run-id r2 --format json").with_exit(0);
    let shown = world.drydock("runs show r --format json").with_exit(0);
    let dry = world.drydock("dry-run plan.yaml --format json").with_exit(0);
    assert!(dry.stdout.contains("***"), "{}", dry.stdout);
    assert!(shown.stdout.contains("user:***@host"), "{}", shown.stdout);
    check_nowhere(
        &world,
        &[&ran.stdout, &ran.stderr, &events.stdout, &events.stderr, &shown.stdout, &dry.stdout],
    );
}

#[test]
fn what_an_environment_names_lies_beside_the_environment() {
    let plan = "drydock: v1\nname: p\nparams:\n  filed: { type: secret, required: true }\n  asked: { type: secret, required: true }\n  own: { type: secret, default: { file: secret.txt } }\nsteps:\n  a: { uses: process.run, with: { argv: [sh, -c, 'test \"$1$2$3\" = theirstheirsours', x, \"{{ params.filed }}\", \"{{ params.asked }}\", \"{{ params.own }}\"] } }\n";
    let world = World::plan(plan).write("secret.txt", "ours\n");
    std::fs::create_dir(world.path("env")).unwrap();
    let world = world.write("env/secret.txt", "theirs\n").write(
        "env/here.yaml",
        "drydock: v1\nenvironment: here\ntargets: {}\nparams:\n  filed: { file: secret.txt }\n  asked: { command: [cat, secret.txt] }\n",
    );
    world.drydock("run plan.yaml -e env/here.yaml --run-id r").with_exit(0);
    std::fs::remove_file(world.path("env/secret.txt")).unwrap();
    let missing = world.drydock("run plan.yaml -e env/here.yaml --run-id r2").with_exit(11);
    missing.says("params.filed cannot be read").says("env/secret.txt");
}

#[test]
fn a_child_does_not_inherit_what_secrets_are_read_from() {
    let plan = "drydock: v1\nname: p\nparams: { token: { type: secret, default: { env: CANARY } } }\nsteps:\n  a: { uses: process.run, with: { argv: [sh, -c, 'echo ${CANARY:-nothing} ${OTHER:-nothing}'] } }\n  b: { uses: process.run, with: { argv: [sh, -c, 'test \"$T\" = \"$(cat secret.txt)\"'], env: { T: '{{ params.token }}' } } }\n";
    let world = World::plan(plan).write("secret.txt", CANARY).with("CANARY", CANARY).with("OTHER", "here");
    world.run().with_exit(0);
    assert_eq!(world.shown()["steps"]["a"]["outputs"]["stdout"], "nothing here");
}

#[test]
fn a_missing_source_is_found_before_the_first_step() {
    let plan = "drydock: v1\nname: p\nparams: { token: { type: secret, default: { env: NOT_SET_ANYWHERE } } }\nsteps:\n  a: { uses: process.run, with: { argv: [touch, made] } }\n  b: { uses: process.run, needs: [a], with: { argv: [\"true\"], env: { T: '{{ params.token }}' } } }\n";
    let world = World::plan(plan);
    world.drydock("check plan.yaml").with_exit(0);
    world.drydock("dry-run plan.yaml").with_exit(0);
    world.run().with_exit(11).says("NOT_SET_ANYWHERE");
    assert!(!world.path("made").exists());
}
