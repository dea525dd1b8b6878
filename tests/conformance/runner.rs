//! Cases of the kinds that work from the runner: programs, requests, people, plans.

use crate::case::{Acting, Case, Seen};

cases! {
    program
    request
    scenario
    approval
    inner_plan
}

fn program() -> Case {
    Case::on_the_runner(
        "process.run",
        Seen::File,
        Acting::Program,
        "
steps:
  step: { uses: process.run, with: { argv: [sh, ./work.sh] } }
",
    )
    .with_file("work.sh", "echo worked >> effects\nif [ -e patient ] && ! [ -e held ]; then touch held; sleep 600; fi\necho done\n")
}

fn request() -> Case {
    Case::on_servers(
        "http.request",
        Seen::Ledger,
        Acting::Held(&[("POST /agents/aa/episodes", 1)]),
        "
targets: { api: http }
steps:
  step:
    uses: http.request
    target: api
    with: { method: POST, path: /agents/aa/episodes, json: { summary: Counted more boxes } }
",
    )
}

fn scenario() -> Case {
    Case::on_servers(
        "http.scenario",
        Seen::Ledger,
        Acting::Held(&[("POST /agents/aa/episodes", 1), ("POST /agents/bb/episodes", 1)]),
        "
targets: { api: http }
steps:
  step: { uses: http.scenario, target: api, with: { file: ./requests.yaml } }
",
    )
    .with_file(
        "requests.yaml",
        "drydock: v1
requests:
  - { name: look, method: GET, path: /agents, expect: { status: 200 }, capture: { first: agents.0.id } }
  - { name: write, method: POST, path: /agents/aa/episodes, json: { summary: Counted }, expect: { status: 201 } }
  - { name: write again, method: POST, path: /agents/bb/episodes, json: { summary: Counted }, expect: { status: 201 } }
  - { name: look again, method: GET, path: /agents/aa/episodes, expect: { status: 200 }, capture: { said: episodes.0.summary } }
",
    )
}

fn approval() -> Case {
    Case::on_the_runner(
        "flow.approve",
        Seen::Journal("approved"),
        Acting::Never("it only waits for a person's answer"),
        "
steps:
  step: { uses: flow.approve, with: { message: May I? } }
",
    )
}

fn inner_plan() -> Case {
    let case = Case::on_servers(
        "plan.run",
        Seen::Ledger,
        Acting::Held(&[("backup database *", 1), ("mark *", 1)]),
        "
targets: { sql: sqlserver }
steps:
  step: { uses: plan.run, with: { plan: ./inner.yaml, params: { database: OctopusDB } } }
",
    )
    .with_file(
        "inner.yaml",
        "drydock: v1
name: inner
params: { database: { type: string, required: true } }
targets: { sql: sqlserver }
steps:
  full: { uses: sqlserver.backup, target: sql, with: { database: \"{{ params.database }}\", type: full } }
  mark: { uses: sqlserver.mark, target: sql, needs: [full], with: { mark: dd_inner, databases: { octopus: \"{{ params.database }}\" } } }
outputs: { lsn: \"{{ steps.mark.outputs.databases.octopus.lsn }}\" }
",
    );
    Case { not_done: Some("the run inside has a journal of its own, and goes on where it was"), ..case }
}
