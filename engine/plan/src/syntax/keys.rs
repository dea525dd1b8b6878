//! The keys of every mapping of the language, each described once: [`Table`], [`Key`]. The readers, did-you-mean, the schema and the
//! reference page read these tables.

use crate::requests::{METHODS, STATUS_SET};
use crate::shape::Shape;

/// The keys of one mapping of the language.
#[derive(Debug)]
pub struct Table {
    /// What the schema calls it.
    pub name: &'static str,
    /// What the mapping is, with its article: `a step`.
    pub what: &'static str,
    /// One sentence.
    pub doc: &'static str,
    /// In the order of the reference.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// One or two sentences.
    pub doc: &'static str,
    /// What stands under it.
    pub wanted: Wanted,
    /// The key with a value, as YAML in one line.
    pub example: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// What to write instead, where it is read only because plans may still have it.
    pub deprecated: Option<&'static str>,
}

/// What stands under a key.
#[derive(Debug)]
pub enum Wanted {
    /// A plain value of a shape.
    Value(Shape),
    /// A whole number of at least 1.
    Positive,
    /// A duration that is longer than nothing.
    Span,
    /// The version of the language.
    Version,
    /// A name.
    Name,
    /// A list of names.
    Names,
    /// A bare expression.
    Expression,
    /// A mapping of names to values with `{{ }}`.
    Values,
    /// The inputs of a kind: a mapping whose values may have `{{ }}`.
    Inputs,
    /// The name of a step kind.
    StepKind,
    /// A mapping of names to target kinds.
    TargetKinds,
    /// A mapping of target names to the settings of a target kind.
    Settings,
    /// The name of a target kind.
    TargetKind,
    /// A mapping of parameter names to values or secret sources.
    ParamValues,
    /// One class of errors, or a list of them.
    RetryErrors,
    /// A mapping with these keys.
    Mapping(&'static Table),
    /// A mapping of names to mappings with these keys.
    MapOf(&'static Table),
    /// A list of mappings with these keys.
    ListOf(&'static Table),
}

impl Wanted {
    /// In a few words, for messages.
    pub fn words(&self) -> String {
        match self {
            Self::Value(shape) => shape.words(),
            Self::Positive => "a whole number of at least 1".into(),
            Self::Span => Shape::Duration.words(),
            Self::Version => "the version of the language, `v1`".into(),
            Self::Name => "a name".into(),
            Self::Names => "a list of names".into(),
            Self::Expression => "an expression".into(),
            Self::Values => "a mapping of names to values".into(),
            Self::Inputs => "a mapping of inputs".into(),
            Self::StepKind => "the name of a kind".into(),
            Self::TargetKinds => "a mapping of names to target kinds".into(),
            Self::Settings => "a mapping of target names to settings".into(),
            Self::TargetKind => "the name of a target kind".into(),
            Self::ParamValues => "a mapping of parameters to values".into(),
            Self::RetryErrors => "a list of error classes or codes".into(),
            Self::Mapping(table) => format!("{}, as a mapping", table.what),
            Self::MapOf(table) => format!("a mapping of names, each to {}", table.what),
            Self::ListOf(_) => "a list of mappings".into(),
        }
    }
}

const fn key(name: &'static str, wanted: Wanted, example: &'static str, doc: &'static str) -> Key {
    Key { name, doc, wanted, example, required: false, deprecated: None }
}

const fn required(name: &'static str, wanted: Wanted, example: &'static str, doc: &'static str) -> Key {
    Key { required: true, ..key(name, wanted, example, doc) }
}

const VERSION: Key = required(
    "drydock",
    Wanted::Version,
    "drydock: v1",
    "The version of the language that the file is written in.",
);
const DESCRIPTION: Key = key(
    "description",
    Wanted::Value(Shape::Text),
    "description: Restore to one point.",
    "What it is for, in words for people.",
);

/// The top of a plan.
pub static PLAN: Table = Table {
    name: "plan",
    what: "a plan",
    doc: "what to do, in which order, and what must hold afterwards",
    keys: &[
        VERSION,
        required("name", Wanted::Name, "name: octopus_restore", "The plan's name; runs and locks bear it."),
        key(
            "purpose",
            Wanted::Value(Shape::OneOf(&["backup", "restore", "maintenance"])),
            "purpose: restore",
            "What the plan is for; `maintenance` when it is left out.",
        ),
        DESCRIPTION,
        key("params", Wanted::MapOf(&PARAM), "params: { to: { type: string } }", "The parameters, by name."),
        key(
            "targets",
            Wanted::TargetKinds,
            "targets: { sql: sqlserver }",
            "The servers and stores that steps work on, by the plan's own names; an environment binds them.",
        ),
        key(
            "objectives",
            Wanted::Mapping(&OBJECTIVES),
            "objectives: { rpo: 15m, rto: 1h }",
            "What the plan must keep to.",
        ),
        key(
            "max_parallel",
            Wanted::Positive,
            "max_parallel: 4",
            "How many attempts may run at once in the whole run; 8 when it is left out.",
        ),
        key(
            "on_unfinished",
            Wanted::Value(Shape::OneOf(&["resume", "abandon", "refuse"])),
            "on_unfinished: resume",
            "What `run` does about a run of this plan and environment that died in the middle; `refuse` when it is left out.",
        ),
        required(
            "steps",
            Wanted::MapOf(&STEP),
            "steps: { wait: { uses: flow.wait, with: { for: 5s } } }",
            "The steps, by name.",
        ),
        key(
            "finally",
            Wanted::MapOf(&STEP),
            "finally: { notify: { uses: flow.noop } }",
            "Steps that run at the end of every sitting, however it went.",
        ),
        key(
            "outputs",
            Wanted::Values,
            "outputs: { point: \"{{ steps.seal.outputs.id }}\" }",
            "What the plan gives to `plan.run` and `runs show` when it has succeeded.",
        ),
    ],
};

/// A parameter's declaration.
pub static PARAM: Table = Table {
    name: "param",
    what: "a parameter",
    doc: "the type of a value that is given from outside, and its bounds",
    keys: &[
        required(
            "type",
            Wanted::Value(Shape::OneOf(&PARAM_TYPES)),
            "type: string",
            "What its values look like.",
        ),
        DESCRIPTION,
        key(
            "required",
            Wanted::Value(Shape::Boolean),
            "required: true",
            "Whether a run must be given a value.",
        ),
        key(
            "default",
            Wanted::Value(Shape::Any),
            "default: OctopusDB",
            "The value when none is given; of a secret, its source.",
        ),
        key(
            "enum",
            Wanted::Value(Shape::List(&Shape::Any)),
            "enum: [full, diff]",
            "The values that it may have.",
        ),
        key(
            "pattern",
            Wanted::Value(Shape::Text),
            "pattern: 'agent_[0-9a-f]+'",
            "A regular expression that the whole text must match.",
        ),
        key("min", Wanted::Value(Shape::Any), "min: 1", "The smallest number, duration, size or time."),
        key("max", Wanted::Value(Shape::Any), "max: 24h", "The largest number, duration, size or time."),
    ],
};

/// The types of parameters, as they are written.
pub static PARAM_TYPES: [&str; 12] = [
    "string", "integer", "number", "boolean", "duration", "size", "datetime", "path", "url", "list", "map",
    "secret",
];

/// The objectives of a plan.
pub static OBJECTIVES: Table = Table {
    name: "objectives",
    what: "objectives",
    doc: "how much may be lost and how long a recovery may take",
    keys: &[
        key(
            "rpo",
            Wanted::Value(Shape::Duration),
            "rpo: 15m",
            "Recovery point objective: how much may be lost.",
        ),
        key(
            "rto",
            Wanted::Value(Shape::Duration),
            "rto: 1h",
            "Recovery time objective: how long a recovery may take.",
        ),
        key(
            "restored_by",
            Wanted::Name,
            "restored_by: recall",
            "The step with whose end the system is back. A recovery is timed to there, and to the end of the run where it is left out.",
        ),
    ],
};

/// A step.
pub static STEP: Table = Table {
    name: "step",
    what: "a step",
    doc: "one call of a kind, with what it needs and what must hold afterwards",
    keys: &[
        required("uses", Wanted::StepKind, "uses: sqlserver.restore", "The kind that the step calls."),
        key("target", Wanted::Name, "target: sql", "The target that it works on, by the plan's name."),
        key("with", Wanted::Inputs, "with: { database: OctopusDB }", "The kind's inputs."),
        key(
            "needs",
            Wanted::Names,
            "needs: [fence, point]",
            "The steps that must have succeeded, or been skipped, before this one starts.",
        ),
        key(
            "when",
            Wanted::Expression,
            "when: params.full",
            "Runs the step only where this is true; else it is skipped.",
        ),
        key(
            "foreach",
            Wanted::Expression,
            "foreach: steps.list.outputs.collections",
            "One instance of the step for each item of this list; `item` is the item.",
        ),
        key(
            "key",
            Wanted::Expression,
            "key: item.collection",
            "Names the instances of a `foreach`; else the item itself, or its `name`.",
        ),
        key(
            "max_parallel",
            Wanted::Positive,
            "max_parallel: 4",
            "How many instances of a `foreach` may run at once.",
        ),
        key("retry", Wanted::Mapping(&RETRY), "retry: { attempts: 3, delay: 10s }", "When to try again."),
        key("timeout", Wanted::Span, "timeout: 2h", "The longest that one attempt may take."),
        key(
            "validate",
            Wanted::ListOf(&VALIDATION),
            "validate: [{ name: it answers, assert: outputs.status == 200 }]",
            "What must hold once the body has succeeded.",
        ),
        key(
            "on_failure",
            Wanted::Value(Shape::OneOf(&["stop", "continue", "ignore"])),
            "on_failure: continue",
            "What its failure means for the run; `stop` when it is left out.",
        ),
        key(
            "on_unknown",
            Wanted::Value(Shape::OneOf(&["ask", "redo", "done"])),
            "on_unknown: redo",
            "What to do about an attempt of which nobody knows what it did; `ask` when it is left out.",
        ),
        key(
            "outputs",
            Wanted::Values,
            "outputs: { rows: \"{{ outputs.json.rows }}\" }",
            "Values added to the step's outputs when its body has succeeded.",
        ),
        key(
            "undoes",
            Wanted::Names,
            "undoes: [pause]",
            "In `finally`: steps that count as not begun once this one has run, with all that need them.",
        ),
        DESCRIPTION,
    ],
};

/// When to try a step again.
pub static RETRY: Table = Table {
    name: "retry",
    what: "a retry",
    doc: "how often to try, after how long, and after which errors",
    keys: &[
        required("attempts", Wanted::Positive, "attempts: 3", "All tries together, the first included."),
        key(
            "delay",
            Wanted::Value(Shape::Duration),
            "delay: 10s",
            "The time before the second try; none when it is left out.",
        ),
        key(
            "backoff",
            Wanted::Value(Shape::OneOf(&["none", "linear", "exponential"])),
            "backoff: exponential",
            "How the delay grows; `none` when it is left out.",
        ),
        key("max_delay", Wanted::Value(Shape::Duration), "max_delay: 5m", "The longest delay."),
        key(
            "errors",
            Wanted::RetryErrors,
            "errors: [transient, timeout]",
            "Which errors are tried again: `transient` (the default), `timeout`, `validation`, `any`, or codes.",
        ),
    ],
};

/// A validation.
pub static VALIDATION: Table = Table {
    name: "validation",
    what: "a validation",
    doc: "a question to a server, or to the step's own outputs, and the answer that must come",
    keys: &[
        required(
            "name",
            Wanted::Value(Shape::Text),
            "name: row count within the band",
            "What holds, in words; once in a step.",
        ),
        key(
            "uses",
            Wanted::StepKind,
            "uses: sqlserver.query",
            "The kind that asks; it must only read. Left out, the step's own outputs are judged.",
        ),
        key(
            "target",
            Wanted::Name,
            "target: sql",
            "The target that is asked; the step's own when it is left out.",
        ),
        key("with", Wanted::Inputs, "with: { sql: SELECT 1 AS one }", "The kind's inputs."),
        required(
            "assert",
            Wanted::Expression,
            "assert: result.rows[0].one == 1",
            "What must be true; `result` is the answer, `outputs` the step's own outputs.",
        ),
    ],
};

/// The top of an environment.
pub static ENVIRONMENT: Table = Table {
    name: "environment",
    what: "an environment",
    doc: "the real servers behind a plan's targets, and values of its parameters",
    keys: &[
        VERSION,
        required(
            "environment",
            Wanted::Value(Shape::Text),
            "environment: production",
            "The environment's name.",
        ),
        DESCRIPTION,
        key(
            "protected",
            Wanted::Value(Shape::Boolean),
            "protected: true",
            "Whether destructive runs ask for the server's own name.",
        ),
        key(
            "targets",
            Wanted::Settings,
            "targets: { sql: { kind: sqlserver, host: sql01 } }",
            "The targets, by the names that plans use.",
        ),
        key(
            "params",
            Wanted::ParamValues,
            "params: { sql_database: OctopusDB }",
            "Values of parameters, for every plan that declares them.",
        ),
    ],
};

/// A target of an environment. Its other keys are the settings of its kind.
pub static TARGET: Table = Table {
    name: "target",
    what: "a target of an environment",
    doc: "one server or store; beside its kind stand the settings that this kind has, which the reference of kinds names",
    keys: &[required(
        "kind",
        Wanted::TargetKind,
        "kind: sqlserver",
        "What it is, and so which settings it has and which steps can work on it.",
    )],
};

/// The top of a file of requests.
pub static REQUESTS: Table = Table {
    name: "requests",
    what: "a requests file",
    doc: "HTTP requests that `http.scenario` sends in order",
    keys: &[
        VERSION,
        DESCRIPTION,
        key(
            "vars",
            Wanted::Names,
            "vars: [tenant]",
            "The names of the values that the step gives in its `vars`; texts read them as `{{ tenant }}`.",
        ),
        required(
            "requests",
            Wanted::ListOf(&REQUEST),
            "requests: [{ path: /health, expect: { status: 200 } }]",
            "The requests, in order.",
        ),
    ],
};

/// Text that may also be written as a number or a boolean.
const WORD: Shape = Shape::Either(&Shape::Text, &Shape::Either(&Shape::Number, &Shape::Boolean));

/// A request.
pub static REQUEST: Table = Table {
    name: "request",
    what: "a request",
    doc: "one HTTP request and what its answer must be; its texts may hold `{{ name }}` with what an earlier one captured",
    keys: &[
        key(
            "name",
            Wanted::Value(Shape::Text),
            "name: open a conversation",
            "What it does, in words for messages; once in a file.",
        ),
        key(
            "method",
            Wanted::Value(Shape::OneOf(METHODS)),
            "method: POST",
            "The HTTP method; `GET` when it is left out.",
        ),
        required("path", Wanted::Value(Shape::Text), "path: /agents", "The path below the target's URL."),
        key("query", Wanted::Value(Shape::Map(&WORD)), "query: { limit: 5 }", "Added to the URL's query."),
        key(
            "headers",
            Wanted::Value(Shape::Map(&WORD)),
            "headers: { X-Drill: yes }",
            "Added to the target's headers.",
        ),
        key("json", Wanted::Value(Shape::Any), "json: { message: hello }", "A JSON body; not beside `body`."),
        key("body", Wanted::Value(Shape::Text), "body: hello", "A body of text."),
        key(
            "effect",
            Wanted::Value(Shape::OneOf(&["writes", "reads"])),
            "effect: reads",
            "Whether it changes anything; its method says so when it is left out.",
        ),
        key("expect", Wanted::Mapping(&EXPECT), "expect: { status: 201 }", "What the answer must be."),
        key(
            "capture",
            Wanted::Value(Shape::Map(&Shape::Text)),
            "capture: { agent: agents.0.id }",
            "What is kept of the answer's JSON for later requests, and given as the step's outputs: names with places such as `agents.0.id`.",
        ),
        key(
            "timeout",
            Wanted::Span,
            "timeout: 30s",
            "The longest that it may take; the target's own when it is left out.",
        ),
    ],
};

/// What an answer must be.
pub static EXPECT: Table = Table {
    name: "expect",
    what: "an expectation",
    doc: "what the answer to a request must be",
    keys: &[
        key(
            "status",
            Wanted::Value(STATUS_SET),
            "status: [200, 404]",
            "The status: `200`, `2xx`, or a list of those; `2xx` when it is left out.",
        ),
        key(
            "json",
            Wanted::ListOf(&CLAIM),
            "json: [{ path: agents, at_least: 1 }]",
            "What must hold of the answer's JSON.",
        ),
    ],
};

/// What must hold of one place of an answer.
pub static CLAIM: Table = Table {
    name: "claim",
    what: "a claim about JSON",
    doc: "what must hold of the value at one place of an answer",
    keys: &[
        required(
            "path",
            Wanted::Value(Shape::Text),
            "path: agents.0.id",
            "The place: keys with dots between them, `[0]` or `.0` for an item of a list, `$` for the whole.",
        ),
        key("equals", Wanted::Value(Shape::Any), "equals: ready", "It is this value."),
        key(
            "contains",
            Wanted::Value(Shape::Any),
            "contains: Vienna",
            "It is text with this part, a list with this item, or a mapping with this key.",
        ),
        key("exists", Wanted::Value(Shape::Boolean), "exists: true", "It is there, or it is not."),
        key(
            "at_least",
            Wanted::Value(Shape::Number),
            "at_least: 5",
            "It is a number not below this, or a list, mapping or text of at least this length.",
        ),
    ],
};

impl Table {
    /// The names of all keys.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

/// All tables, in the order of the reference.
pub static TABLES: [&Table; 12] = [
    &PLAN,
    &PARAM,
    &OBJECTIVES,
    &STEP,
    &RETRY,
    &VALIDATION,
    &ENVIRONMENT,
    &TARGET,
    &REQUESTS,
    &REQUEST,
    &EXPECT,
    &CLAIM,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Findings;
    use crate::source::SourceFile;
    use crate::syntax::yaml;

    #[test]
    fn every_key_has_an_example_that_is_that_key() {
        for table in TABLES {
            for key in table.keys {
                let node = yaml::read(&SourceFile::new(table.name, key.example), 0, &mut Findings::new());
                let node = node.unwrap_or_else(|| panic!("{}.{} has a broken example", table.name, key.name));
                assert!(node.entry(key.name).is_some(), "{}.{}", table.name, key.name);
                assert!(key.doc.ends_with('.'), "{}.{}", table.name, key.name);
            }
        }
    }

    #[test]
    fn no_key_is_a_boolean_of_old_yaml() {
        for table in TABLES {
            for key in table.keys {
                assert!(
                    !["y", "n", "yes", "no", "on", "off", "true", "false"].contains(&key.name),
                    "{}.{}",
                    table.name,
                    key.name
                );
            }
        }
    }
}
