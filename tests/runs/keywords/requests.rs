//! The keys of a file of requests. It is checked by itself, read by a step `http.scenario`, and one of the run's sources.

use super::keyword::{Keyword, Stage};
use super::server::Server;

keywords! { drydock description vars requests }

/// A plan that sends the requests of `file.yaml`, checked together with that file.
pub(super) fn sent(file: &str) -> Keyword {
    Keyword::of_plan(
        "targets: { api: http }",
        &["it: { needs: [gate], uses: http.scenario, target: api, with: { file: file.yaml } }"],
    )
    .environment("targets: { api: { kind: http, url: 'http://SERVER' } }")
    .file("file.yaml", file)
    .read_by_the_step("file.yaml")
}

const FILE: &str =
    "drydock: v1\ndescription: For people.\nrequests:\n  - { path: /here, capture: { at: path } }\n";

/// The version of the language. A file of another one is refused wherever it is read.
fn drydock() -> Keyword {
    sent(FILE)
        .refuses(
            "drydock: v1\ndescription",
            "drydock: v2\ndescription",
            "DD206",
            "reads version `v1`, not `v2`",
        )
        .dry("/steps/1/runs", "yes")
        .shows("/steps/it/outputs/requests", 1)
}

/// Words for people: nothing is done with them, but a run that was started with other words is another one.
fn description() -> Keyword {
    sent(FILE)
        .refuses("For people.", "[a]", "DD204", "`description`")
        .dry_alike("description: For people.\n", "")
        .run_alike("description: For people.\n", "")
        .tried_by(Stage::Resume, |keyword| {
            let world = keyword.world(&Server::start(), None);
            world.drydock("run plan.yaml --run-id r -e env.yaml").with_exit(20);
            let text = world.text("file.yaml").replace("For people.", "For others.");
            let world = world.write("file.yaml", &text).write("open", "");
            world.drydock("resume r").with_exit(12).says("+description: For others.");
            world.drydock("resume r --accept-changes").with_exit(0);
        })
}

/// Values that the step gives; without one that the file wants nothing is sent.
fn vars() -> Keyword {
    Keyword::of_plan(
        "targets: { api: http }",
        &["it: { needs: [gate], uses: http.scenario, target: api, with: { file: file.yaml, vars: { tenant: t7 } } }"],
    )
    .environment("targets: { api: { kind: http, url: 'http://SERVER' } }")
    .file("file.yaml", "drydock: v1\nvars: [tenant]\nrequests:\n  - { path: '/of/{{ tenant }}', capture: { at: path } }\n")
    .read_by_the_step("file.yaml")
    .refuses("vars: [tenant]", "vars: [tenants]", "DD228", "no earlier request captures `tenant`")
    .dry_alike("vars: [tenant]", "vars: [tenant, more]")
    .shows("/steps/it/outputs/at", "/of/t7")
}

fn requests() -> Keyword {
    sent(FILE)
        .refuses("requests:\n", "request:\n", "DD201", "no key `request` at its top")
        .dry("/steps/1/actions/0/text", "send the requests of file.yaml")
        .shows("/steps/it/outputs/at", "/here")
}
