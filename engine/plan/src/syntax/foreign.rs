//! Words that other tools have for the keys of the language: [`meant`].

/// What a foreign word means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// This key.
    Key(&'static str),
    /// No key: what to write.
    Said(&'static str),
}

use Meant::{Key, Said};

type Words = &'static [(&'static [&'static str], Meant)];

/// By the names of the tables.
const FOREIGN: [(&str, Words); 10] = [
    ("plan", PLAN),
    ("param", PARAM),
    ("step", STEP),
    ("retry", RETRY),
    ("validation", VALIDATION),
    ("environment", ENVIRONMENT),
    ("requests", REQUESTS),
    ("request", REQUEST),
    ("expect", EXPECT),
    ("claim", CLAIM),
];

const TITLE: &[&str] = &["title", "comment", "doc", "docs", "notes", "summary", "help", "about"];

const PLAN: Words = &[
    (&["jobs", "tasks", "stages", "stage", "actions", "workflow", "pipeline", "resources"], Key("steps")),
    (
        &["inputs", "input", "parameters", "parameter", "vars", "variables", "arguments", "args"],
        Key("params"),
    ),
    (&["servers", "hosts", "connections", "services", "databases", "stores"], Key("targets")),
    (&["post", "always", "cleanup", "teardown", "on_exit", "handlers", "rescue"], Key("finally")),
    (&["concurrency", "parallel", "parallelism", "forks", "max_concurrency"], Key("max_parallel")),
    (&["version", "api_version", "apiVersion", "schema"], Key("drydock")),
    (&["slo", "sla", "goals"], Key("objectives")),
    (&["type", "kind"], Key("purpose")),
    (&["id"], Key("name")),
    (&["results", "exports", "returns"], Key("outputs")),
    (
        &["on", "schedule", "cron", "trigger", "triggers"],
        Said("a plan does not say when it runs: let cron or a timer call `drydock run`"),
    ),
    (
        &["env", "environment", "secrets"],
        Said(
            "servers, secrets and values stand in an environment file, given by `-e`; a plan declares `params`",
        ),
    ),
    (&["defaults"], Said("give each parameter its `default`, and each step its own keys")),
    (TITLE, Key("description")),
];

const PARAM: Words = &[
    (&["values", "choices", "options", "allowed", "oneOf", "one_of"], Key("enum")),
    (&["regex", "regexp", "match", "format"], Key("pattern")),
    (&["minimum", "at_least", "min_value"], Key("min")),
    (&["maximum", "at_most", "max_value"], Key("max")),
    (&["value", "initial"], Key("default")),
    (&["optional", "nullable"], Said("a parameter may be left out unless it says `required: true`")),
    (&["secret", "sensitive", "hidden"], Said("write `type: secret`")),
    (TITLE, Key("description")),
];

const STEP: Words = &[
    (
        &[
            "depends_on",
            "dependsOn",
            "depends",
            "dependencies",
            "deps",
            "after",
            "requires",
            "require",
            "wait_for",
            "upstream",
        ],
        Key("needs"),
    ),
    (&["if", "condition", "only_if", "cond", "onlyif"], Key("when")),
    (&["unless", "skip_if", "except", "not_if"], Said("write `when: not (…)`")),
    (
        &["for_each", "forEach", "loop", "each", "with_items", "items", "matrix", "for", "repeat"],
        Key("foreach"),
    ),
    (&["type", "kind", "action", "task", "module", "plugin", "operator", "call"], Key("uses")),
    (
        &["run", "script", "command", "cmd", "shell", "exec", "program"],
        Said("a program is started by `uses: process.run` and `with: { argv: [PROGRAM, ARGUMENT] }`"),
    ),
    (
        &["sql", "query", "statement"],
        Said(
            "write `uses: sqlserver.query` or `postgres.query`, and the text under `with`: `with: { sql: … }`",
        ),
    ),
    (
        &["env"],
        Said(
            "give it to the program, under `with` of `process.run`: `with: { argv: […], env: { NAME: value } }`",
        ),
    ),
    (
        &["args", "inputs", "input", "parameters", "params", "vars", "options", "arguments", "settings"],
        Key("with"),
    ),
    (&["on", "host", "server", "connection", "database", "runs_on", "runs-on"], Key("target")),
    (
        &[
            "checks",
            "check",
            "assert",
            "asserts",
            "verify",
            "tests",
            "test",
            "expect",
            "validations",
            "validation",
        ],
        Key("validate"),
    ),
    (&["retries", "attempts", "max_attempts", "tries"], Said("write `retry: { attempts: 3 }`")),
    (&["timeout_minutes", "timeout-minutes", "timeout_seconds", "deadline", "time_limit"], Key("timeout")),
    (
        &[
            "continue_on_error",
            "continue-on-error",
            "ignore_errors",
            "ignore_failure",
            "allow_failure",
            "soft_fail",
        ],
        Said("write `on_failure: ignore`, or `continue` where the run shall end as failed"),
    ),
    (&["on_error", "on_fail", "on_failed", "failure"], Key("on_failure")),
    (&["parallel", "concurrency", "throttle", "forks"], Key("max_parallel")),
    (&["register", "result", "results", "export", "exports", "returns", "save"], Key("outputs")),
    (&["undo", "rollback", "reverts", "compensates", "compensate"], Key("undoes")),
    (
        &["name", "id"],
        Said("the name of a step is the key above it, and words for people go under `description`"),
    ),
    (TITLE, Key("description")),
];

const RETRY: Words = &[
    (&["count", "max", "times", "tries", "retries", "limit", "max_attempts", "max_retries"], Key("attempts")),
    (&["interval", "wait", "sleep", "pause", "every", "initial_delay"], Key("delay")),
    (&["factor", "strategy", "multiplier", "exponential"], Key("backoff")),
    (&["max_interval", "cap"], Key("max_delay")),
    (&["on", "when", "codes", "only"], Key("errors")),
];

const VALIDATION: Words = &[
    (&["that", "expect", "condition", "when", "if", "expr", "expression", "check", "test"], Key("assert")),
    (&["kind", "type", "action"], Key("uses")),
    (&["args", "inputs", "params", "parameters"], Key("with")),
    (&["on", "server", "host"], Key("target")),
    (&["msg", "message", "title", "description", "id"], Key("name")),
];

const ENVIRONMENT: Words = &[
    (&["name", "id", "env"], Key("environment")),
    (&["servers", "hosts", "connections", "services"], Key("targets")),
    (&["vars", "variables", "values", "parameters", "inputs"], Key("params")),
    (&["version", "api_version"], Key("drydock")),
    (&["production", "prod", "guarded", "confirm"], Key("protected")),
    (
        &["secrets"],
        Said(
            "say where a secret is kept at the setting or parameter that it is for: `password: { env: NAME }`",
        ),
    ),
    (TITLE, Key("description")),
];

const REQUESTS: Words = &[
    (&["steps", "calls", "scenario", "tests", "items"], Key("requests")),
    (&["params", "variables", "inputs", "env"], Key("vars")),
    (&["version"], Key("drydock")),
    (TITLE, Key("description")),
];

const REQUEST: Words = &[
    (&["url", "uri", "endpoint", "route"], Key("path")),
    (&["verb", "type"], Key("method")),
    (&["data", "payload", "content", "text"], Key("body")),
    (&["params", "parameters", "querystring"], Key("query")),
    (&["header"], Key("headers")),
    (&["assert", "asserts", "checks", "tests", "test", "response", "validate"], Key("expect")),
    (&["status", "code", "status_code", "expect_status"], Said("write `expect: { status: 200 }`")),
    (&["save", "extract", "register", "store", "outputs"], Key("capture")),
    (&["title", "id", "description"], Key("name")),
];

const EXPECT: Words =
    &[(&["code", "status_code", "statusCode"], Key("status")), (&["body", "data", "content"], Key("json"))];

const CLAIM: Words = &[
    (&["eq", "value", "is", "to_be"], Key("equals")),
    (&["min", "minimum", "gte", "not_below"], Key("at_least")),
    (&["present", "defined"], Key("exists")),
    (&["has", "includes", "include"], Key("contains")),
    (&["key", "at", "jsonpath", "json_path", "field"], Key("path")),
];

/// What another tool's word for a key means in the table of this name.
pub(super) fn meant(table: &str, word: &str) -> Option<Meant> {
    let words = FOREIGN.iter().find(|(name, _)| *name == table)?.1;
    words.iter().find(|(all, _)| all.contains(&word)).map(|(_, meant)| *meant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::keys::TABLES;

    #[test]
    fn foreign_words_are_none_of_ours_and_mean_one_of_them() {
        for (name, words) in FOREIGN {
            let table = TABLES.into_iter().find(|table| table.name == name).unwrap();
            let mut seen = Vec::new();
            for (foreign, meant) in words {
                for word in *foreign {
                    assert!(!table.names().any(|key| key == *word), "{name}.{word} is a key");
                    assert!(!seen.contains(word), "{name}.{word} stands twice");
                    seen.push(word);
                }
                if let Key(key) = meant {
                    assert!(table.names().any(|one| one == *key), "{name} has no {key}");
                }
            }
        }
    }
}
