//! Any bytes as the environment that a sound plan is bound to.

use drydock_plan::source::SourceFile;

use super::plan::checked;

/// A plan that names a target of each kind, a parameter and a secret.
const PLAN: &str = "drydock: v1\nname: p\nparams: { n: { type: integer }, token: { type: secret } }\n\
    targets: { sql: sqlserver, vectors: qdrant, backups: artifacts, api: http }\nsteps:\n  \
    a: { uses: target.ping, target: sql }\n  b: { uses: target.ping, target: vectors }\n  \
    c: { uses: target.ping, target: backups }\n  \
    d: { uses: http.request, target: api, with: { headers: { A: \"{{ params.token }}\" }, json: \"{{ params.n }}\" } }\n";

/// As an environment by itself, and beside the plan.
pub fn check(bytes: &[u8]) {
    let environment = SourceFile::of_bytes("fuzzed.env.yaml", bytes);
    checked(&environment, None, false);
    let plan = SourceFile::new("plan.yaml", PLAN);
    checked(&plan, Some(&environment), false);
    checked(&plan, Some(&environment), true);
}
