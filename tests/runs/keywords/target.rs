//! The keys of a target of an environment; its other settings are those of its kind.

use super::keyword::Keyword;

keywords! { kind }

/// The kind says what the settings mean, and which steps can work on it.
fn kind() -> Keyword {
    Keyword::of_plan("targets: { it: http }", &["it: { needs: [gate], uses: target.ping, target: it }"])
        .environment("targets: { it: { kind: http, url: 'http://SERVER' } }")
        .refuses("kind: http, ", "", "DD405", "kind")
        .refuses("kind: http", "kind: htpp", "DD401", "did you mean `http`?")
        .refuses("kind: http", "kind: qdrant", "DD403", "another kind")
        .dry("/steps/1/actions/0/target", "it")
        .shows("/steps/it/outputs/reachable", true)
}
