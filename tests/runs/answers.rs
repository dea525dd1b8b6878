//! `--format`: each command has its own, before and behind its name, and none passes one over that it does not have.

use crate::world::World;

/// Commands with the formats that they have; the first is theirs where nothing is said.
const COMMANDS: &[(&str, &str)] = &[
    ("check plan.yaml", "text json sarif github"),
    ("dry-run plan.yaml", "text json markdown html"),
    ("run plan.yaml", "text json"),
    ("resume", "text json"),
    ("abandon", "text json"),
    ("runs", "text json"),
    ("runs list", "text json"),
    ("runs show", "text json"),
    ("runs check", "text json"),
    ("graph plan.yaml", "mermaid dot svg json"),
    ("kinds", "text json markdown"),
    ("kinds flow.wait", "text json markdown"),
    ("explain DD203", "text json"),
    ("schema", "json"),
    ("man", "text"),
    ("completions bash", "text"),
];

const ALL: [&str; 9] = ["text", "json", "sarif", "github", "markdown", "html", "mermaid", "dot", "svg"];

fn world() -> World {
    let world = World::plan(
        "drydock: v1\nname: p\nsteps:\n  a: { uses: flow.noop }\n  b: { uses: flow.noop, needs: [a] }\n",
    );
    world.run().with_exit(0);
    world
}

#[test]
fn a_format_that_a_command_does_not_have_is_a_misunderstanding() {
    let world = world();
    for (command, formats) in COMMANDS {
        let own: Vec<&str> = formats.split(' ').collect();
        let named = format!("[possible values: {}]", own.join(", "));
        for format in ALL {
            for line in [format!("{command} --format {format}"), format!("--format {format} {command}")] {
                if own.contains(&format) {
                    world.drydock(&line).with_exit(0);
                } else {
                    let ended = world.drydock(&line).with_exit(2).says(&named).says(format);
                    assert_eq!(ended.stdout, "", "{line}");
                }
            }
        }
    }
    world
        .drydock("--format svg runs list")
        .with_exit(2)
        .says("error: `drydock runs list` has no format `svg`");
    world.drydock("runs --format yaml list").with_exit(2).says("invalid value 'yaml'");
}

#[test]
fn where_nothing_is_said_the_first_is_taken_and_the_nearest_to_the_end_wins() {
    let world = world();
    for (command, formats) in COMMANDS {
        let first = formats.split(' ').next().unwrap_or_default();
        let said = |line: &str| {
            let ended = world.drydock(line).with_exit(0);
            // A new run says other times than the one before.
            if command.starts_with("run plan") { String::new() } else { ended.stdout }
        };
        assert_eq!(said(command), said(&format!("{command} --format {first}")), "{command}");
    }
    let list = world.drydock("--format text runs --format json list").with_exit(0).stdout;
    assert!(list.starts_with('['), "{list}");
    let list = world.drydock("--format json runs list --format text").with_exit(0).stdout;
    assert!(!list.starts_with('['), "{list}");
    let picture = world.drydock("--format svg graph plan.yaml").with_exit(0).stdout;
    assert!(picture.starts_with("<svg "), "{picture}");
}

#[test]
fn annotations_are_called_after_whom_they_are_for_and_the_older_name_still_gives_them() {
    let world = World::plan("drydock: v1\nname: p\nsteps:\n  a: { uses: flow.nop }\n");
    for name in ["github", "ci"] {
        let ended = world.drydock(&format!("check plan.yaml --format {name}")).with_exit(10);
        assert_eq!(
            ended.stdout,
            "::error file=plan.yaml,line=4,col=14,endColumn=22,title=DD501::there is no kind `flow.nop`%0Adid you mean `flow.noop`?\n"
        );
    }
}

#[test]
fn the_help_of_a_command_names_its_own_formats_alone() {
    let world = world();
    for (command, formats) in COMMANDS {
        let name = command
            .trim_end_matches(" plan.yaml")
            .trim_end_matches(" bash")
            .trim_end_matches(" flow.wait")
            .trim_end_matches(" DD203");
        let help = world.drydock(&format!("{name} --help")).with_exit(0).stdout;
        let (_, values) = help.split_once("--format <FORMAT>").unwrap_or_else(|| panic!("{name}: {help}"));
        let listed = values
            .lines()
            .skip_while(|line| !line.contains("Possible values:"))
            .skip(1)
            .map_while(|line| line.trim().strip_prefix("- ")?.split(':').next());
        assert_eq!(listed.collect::<Vec<_>>().join(" "), *formats, "{name}");
    }
}
