//! Kinds and target kinds to check plans against in tests: the shapes of the real ones, as far as the plans of `tests/plans` use them.

use drydock_plan::catalog::{
    Catalog, Effect, KindShape, Reach, RunsPlan, TargetKindShape, TargetNeed, Touched, Toucher,
};
use drydock_plan::rendered::Rendered;
use drydock_plan::shape::{Field, Shape};

use Shape::{
    Any, Band, Boolean, Decimal, Duration, Either, Integer, List, Map, OneOf, Path, Record, Text, Url,
};

const fn must(name: &'static str, shape: Shape) -> Field {
    Field::required(name, shape, "An input.")
}

const fn may(name: &'static str, shape: Shape) -> Field {
    Field::optional(name, shape, "An input.")
}

const fn kind(
    name: &'static str,
    target: TargetNeed,
    effect: Effect,
    inputs: &'static [Field],
    outputs: Shape,
) -> KindShape {
    KindShape {
        name,
        docs: "A kind for tests.",
        target,
        inputs,
        target_inputs: &[],
        outputs,
        effect,
        answers_in_dry_run: false,
        runs_plan: None,
        clean_up: None,
        reconciles: true,
        permissions: &[],
        example: "",
    }
}

const SQL: TargetNeed = TargetNeed::OneOf(&["sqlserver"]);
const QDRANT: TargetNeed = TargetNeed::OneOf(&["qdrant"]);
const HTTP: TargetNeed = TargetNeed::OneOf(&["http"]);
const ARTIFACTS: TargetNeed = TargetNeed::OneOf(&["artifacts"]);
const NOTHING: Shape = Record(&[]);
const STATUSES: Shape = List(&Either(&Integer, &Text));
const FILES: Shape = List(&Record(&[must("path", Text), must("sha256", Text)]));

const FLOW: [KindShape; 5] = [
    kind("flow.noop", TargetNeed::None, Effect::Reads, &[], NOTHING),
    kind("flow.set", TargetNeed::None, Effect::Reads, &[must("values", Map(&Any))], Shape::OfInput("values")),
    kind("flow.fail", TargetNeed::None, Effect::Reads, &[must("message", Text)], NOTHING),
    kind("flow.wait", TargetNeed::None, Effect::Reads, &[must("for", Duration)], NOTHING),
    kind(
        "flow.approve",
        TargetNeed::None,
        Effect::Reads,
        &[must("message", Text)],
        Record(&[must("by", Text), must("reason", Text)]),
    ),
];

const REQUEST: &[Field] = &[
    may("method", OneOf(&["GET", "PUT", "POST", "PATCH", "DELETE"])),
    may("path", Text).or("\"/\""),
    may("query", Map(&Any)),
    may("headers", Map(&Text)).with_secrets(),
    may("json", Any).with_secrets(),
    may("body", Text).with_secrets(),
    may("expect_status", STATUSES),
    may("effect", OneOf(&["writes", "reads"])),
];
const ANSWER: Shape =
    Record(&[must("status", Integer), must("headers", Map(&Text)), must("json", Any), must("text", Text)]);

const OUTSIDE: [KindShape; 6] = [
    kind(
        "process.run",
        TargetNeed::None,
        Effect::ByInput("effect"),
        &[
            must("argv", List(&Text)),
            may("env", Map(&Text)).with_secrets(),
            may("cwd", Path),
            may("stdin", Text).with_secrets(),
            may("expect_exit", List(&Integer)).or("[0]"),
            may("capture", OneOf(&["text", "json", "lines", "none"])),
            may("output_to", Path),
            may("effect", OneOf(&["writes", "reads"])),
        ],
        Record(&[
            must("exit_code", Integer),
            must("stdout", Either(&Text, &List(&Text))),
            must("stderr", Text),
            must("json", Any),
        ]),
    ),
    kind("http.request", HTTP, Effect::ByInput("effect"), REQUEST, ANSWER),
    kind(
        "http.wait",
        HTTP,
        Effect::Reads,
        &[must("path", Text), may("status", Integer), may("within", Duration), may("every", Duration)],
        Record(&[must("status", Integer), must("ms", Integer)]),
    ),
    kind("http.scenario", HTTP, Effect::Writes, &[must("file", Path).naming_a_source()], Map(&Any)),
    KindShape {
        runs_plan: Some(RunsPlan { plan: "plan", params: "params" }),
        ..kind(
            "plan.run",
            TargetNeed::None,
            Effect::Writes,
            &[must("plan", Path).naming_a_source(), may("params", Map(&Any))],
            Any,
        )
    },
    kind(
        "target.ping",
        TargetNeed::Any,
        Effect::Reads,
        &[],
        Record(&[must("reachable", Boolean), must("ms", Integer)]),
    ),
];

const STORES: [KindShape; 11] = [
    kind(
        "sqlserver.backup",
        SQL,
        Effect::Writes,
        &[
            must("database", Text),
            must("type", OneOf(&["full", "differential", "log"])),
            may("compression", Boolean),
            may("compress", Boolean).deprecated("write `compression`"),
            may("max_transfer", Shape::Size),
        ],
        Record(&[
            must("file", Text),
            must("first_lsn", Decimal),
            must("last_lsn", Decimal),
            must("bytes", Integer),
        ]),
    ),
    kind(
        "sqlserver.restore",
        SQL,
        Effect::Writes,
        &[
            must("database", Text),
            must("chain", Any),
            may("replace", Boolean),
            may("stop_at", Shape::Datetime),
        ],
        Record(&[must("database", Text), must("recovered_to", Shape::Datetime)]),
    ),
    kind(
        "sqlserver.query",
        SQL,
        Effect::Reads,
        &[may("database", Text), must("sql", Text), may("params", Map(&Any))],
        Record(&[must("rows", List(&Map(&Any))), must("count", Integer)]),
    ),
    kind(
        "sqlserver.script",
        SQL,
        Effect::Writes,
        &[must("database", Text), must("sql", Text)],
        Record(&[must("affected", Integer)]),
    ),
    kind("sqlserver.drop", SQL, Effect::Writes, &[must("database", Text)], NOTHING),
    kind(
        "qdrant.snapshot",
        QDRANT,
        Effect::Writes,
        &[must("collection", Text)],
        Record(&[must("files", FILES), must("points", Band)]),
    ),
    KindShape {
        target_inputs: &[("from", &["artifacts"])],
        ..kind(
            "qdrant.recover",
            QDRANT,
            Effect::Writes,
            &[must("from", Text), must("snapshot", Any)],
            NOTHING,
        )
    },
    kind(
        "qdrant.count",
        QDRANT,
        Effect::Reads,
        &[must("collection", Text)],
        Record(&[must("points", Integer)]),
    ),
    kind(
        "point.select",
        ARTIFACTS,
        Effect::Reads,
        &[must("to", Text)],
        Record(&[
            must("id", Text),
            must("mark", Integer),
            must("rows", Map(&Band)),
            must("sqlserver", Map(&Any)),
            must(
                "qdrant",
                Record(&[must(
                    "collections",
                    List(&Record(&[must("collection", Text), must("points", Band)])),
                )]),
            ),
        ]),
    ),
    KindShape {
        target_inputs: &[("truth", &["sqlserver"]), ("derived", &["qdrant"])],
        ..kind(
            "point.reconcile",
            ARTIFACTS,
            Effect::Writes,
            &[
                must("truth", Text),
                must("derived", Text),
                may("on_orphans", OneOf(&["fail", "quarantine", "delete"])),
                may("on_missing", OneOf(&["fail", "warn"])),
            ],
            NOTHING,
        )
    },
    kind(
        "ef.update",
        SQL,
        Effect::Writes,
        &[must("database", Text), may("bundle", Path), may("script", Path)],
        NOTHING,
    ),
];

const TARGETS: [TargetKindShape; 4] = [
    TargetKindShape {
        name: "sqlserver",
        docs: "A SQL Server.",
        fields: &[
            must("host", Text),
            may("port", Integer),
            may("user", Text),
            may("password", Text).with_secrets(),
            may("encrypt", OneOf(&["required", "login", "off"])),
            may("timeout", Duration),
            may("sees", List(&Record(&[must("artifacts", Text), must("as", Text)]))),
        ],
    },
    TargetKindShape {
        name: "qdrant",
        docs: "A Qdrant cluster.",
        fields: &[must("nodes", List(&Url)), may("api_key", Text).with_secrets()],
    },
    TargetKindShape { name: "artifacts", docs: "An artifact store.", fields: &[must("url", Url)] },
    TargetKindShape {
        name: "http",
        docs: "An HTTP service.",
        fields: &[
            must("url", Url),
            may("headers", Map(&Text)).with_secrets(),
            may("token", Text).with_secrets(),
        ],
    },
];

/// Who touches the database that `database` names, as the real kinds do.
fn toucher(kind: &'static str) -> Toucher {
    Toucher::new(move |target, with| {
        let known = |name| with.get(name).and_then(Rendered::plain);
        let name = known("database").and_then(|name| name.as_str().map(str::to_owned));
        let keeps = known("replace").is_some_and(|replace| replace == false) || !with.contains_key("replace");
        let reach = match kind {
            "sqlserver.drop" => Reach::Destroys,
            "sqlserver.restore" if !keeps => Reach::Destroys,
            _ => Reach::Writes,
        };
        let resource = name.map_or("?".to_owned(), |name| format!("database {name}"));
        vec![Touched { target: target.map(str::to_owned), resource, reach }]
    })
}

/// All of them.
pub(crate) fn catalog() -> Catalog {
    let of_databases = ["sqlserver.restore", "sqlserver.script", "sqlserver.drop", "ef.update"];
    Catalog::new(FLOW.into_iter().chain(OUTSIDE).chain(STORES), TARGETS)
        .touched_by(of_databases.map(|kind| (kind, toucher(kind))))
}
