//! The keys of a parameter. A second sitting takes no new values: what the run was started with is typed and checked again.

use serde_json::json;

use super::keyword::{Keyword, Stage};
use super::server::Server;

keywords! { type_ description required default enum_ pattern min max }

/// A plan that says the value of a parameter of this declaration.
fn of(declaration: &str) -> Keyword {
    Keyword::of_plan(
        &format!("params: {{ it: {{ {declaration} }} }}"),
        &["it: { needs: [gate], uses: flow.set, with: { values: { it: '{{ params.it }}' } } }"],
    )
}

fn type_() -> Keyword {
    of("type: integer")
        .flags("-p it=7")
        .refuses("it=7", "it=seven", "DD414", "must be a whole number")
        .refuses("type: integer", "type: int", "DD207", "`integer`")
        .dry("/steps/1/actions/0/text", "set it = 7")
        .shows("/steps/it/outputs/it", 7)
}

/// Words for people: nothing is done with them, but a run whose plan has other words is another plan's.
fn description() -> Keyword {
    of("type: string, default: x, description: For people.")
        .refuses("For people.", "[a]", "DD204", "text")
        .dry_alike(", description: For people.", "")
        .run_alike(", description: For people.", "")
        .tried_by(Stage::Resume, |keyword| {
            let world = keyword.world(&Server::start(), None);
            world.run().with_exit(20);
            let text = world.text("plan.yaml").replace("For people.", "For others.");
            let world = world.write("plan.yaml", &text).write("open", "");
            world.drydock("resume r").with_exit(12).says("For others.");
            world.drydock("resume r --accept-changes").with_exit(0);
        })
}

/// `check` asks for no value; what runs, or would, must have it.
fn required() -> Keyword {
    of("type: string, required: true")
        .refuses("required: true", "required: 1", "DD204", "true or false")
        .tried_by(Stage::DryRun, |keyword| {
            let world = keyword.world(&Server::start(), None);
            let ended = world.drydock("dry-run plan.yaml").with_exit(10);
            assert!(ended.stdout.contains("error[DD4"), "{}", ended.stdout);
            world.drydock("dry-run plan.yaml -p it=x").with_exit(0);
        })
        .tried_by(Stage::Run, |keyword| {
            let world = keyword.world(&Server::start(), None).write("open", "");
            let ended = world.run().with_exit(10);
            assert!(ended.stdout.contains("-p it="), "{}", ended.stdout);
            assert!(!world.path(".drydock").exists());
            world.drydock("run plan.yaml --run-id r -p it=x").with_exit(0);
        })
        .tried_by(Stage::Resume, |keyword| {
            let world = keyword.world(&Server::start(), None);
            world.drydock("run plan.yaml --run-id r -p it=x").with_exit(20);
            let world = world.write("open", "");
            world.drydock("resume r").with_exit(0);
            assert_eq!(world.shown()["steps"]["it"]["outputs"], json!({ "it": "x" }));
        })
}

fn default() -> Keyword {
    of("type: integer, default: 7")
        .refuses("default: 7", "default: much", "DD414", "much")
        .dry("/steps/1/actions/0/text", "set it = 7")
        .shows("/steps/it/outputs/it", 7)
}

fn enum_() -> Keyword {
    of("type: string, enum: [full, diff]")
        .flags("-p it=full")
        .refuses("it=full", "it=fool", "DD414", "full")
        .refuses("enum: [full, diff]", "enum: [diff]", "DD414", "full")
        .refuses("enum: [full, diff]", "enum: full", "DD204", "list")
        .dry("/steps/1/actions/0/text", "set it = \"full\"")
        .shows("/steps/it/outputs/it", "full")
}

fn pattern() -> Keyword {
    of("type: string, pattern: '[a-z]+'")
        .flags("-p it=abc")
        .refuses("it=abc", "it=abc7", "DD414", "[a-z]+")
        .refuses("'[a-z]+'", "'[d-z]+'", "DD414", "[d-z]+")
        .refuses("'[a-z]+'", "'[a-z'", "DD415", "regular expression")
        .dry("/steps/1/actions/0/text", "set it = \"abc\"")
        .shows("/steps/it/outputs/it", "abc")
}

fn min() -> Keyword {
    of("type: integer, min: 1")
        .flags("-p it=1")
        .refuses("it=1", "it=0", "DD414", "must be at least `1`")
        .refuses("min: 1", "min: 2", "DD414", "must be at least `2`")
        .refuses("min: 1", "min: one", "DD415", "one")
        .dry("/steps/1/actions/0/text", "set it = 1")
        .shows("/steps/it/outputs/it", 1)
}

fn max() -> Keyword {
    of("type: duration, max: 24h")
        .flags("-p it=1d")
        .refuses("it=1d", "it=25h", "DD414", "24h")
        .refuses("max: 24h", "max: 23h", "DD414", "23h")
        .refuses("max: 24h", "max: 1GiB", "DD415", "1GiB")
        .dry("/steps/1/actions/0/text", "set it = \"1d\"")
        .shows("/steps/it/outputs/it", "1d")
}
