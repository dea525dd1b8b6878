//! Chains over the project's own histories (`tests/fixtures/histories`): each has questions beside it, with the chain
//! or the words of the refusal. Every question is asked again with the history reversed and rotated.

use drydock_recovery::backup::Backup;
use drydock_recovery::chain::{Chain, ChainOutcome, Refusal, choose};
use drydock_recovery::history::History;
use serde_json::{Value, json};

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .map(|list| list.iter().map(|text| text.as_str().expect("text")).collect())
        .unwrap_or_default()
}

fn check_chain(chain: &Chain, expect: &Value) {
    let guids: Vec<&str> = chain.backups.iter().map(|backup| backup.backup_set_guid.as_str()).collect();
    assert_eq!(guids, texts(&expect["guids"]));
    let written = serde_json::to_value(chain).expect("JSON");
    assert_eq!(written["stop_at"], expect["stop_at"], "stop_at");
    if let Some(to) = expect.get("recovers_to") {
        assert_eq!(written["recovers_to"], *to, "recovers_to");
    }
    let codes: Vec<&str> = chain.problems.iter().map(|problem| problem.code()).collect();
    assert_eq!(codes, texts(&expect["problems"]), "{:?}", chain.problems);
    let said: Vec<String> = chain.problems.iter().map(ToString::to_string).collect();
    check_words(&said, &expect["words"]);
    for (field, values) in [("media", &expect["media"]), ("position", &expect["positions"])] {
        for (guid, value) in values.as_object().into_iter().flatten() {
            let set = written["backups"]
                .as_array()
                .expect("sets")
                .iter()
                .find(|set| set["backup_set_guid"] == json!(guid));
            assert_eq!(set.map(|set| &set[field]), Some(value), "{field} of {guid}");
        }
    }
}

fn check_refusal(refusal: &Refusal, expect: &Value) {
    let codes: Vec<&str> = refusal.reasons.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes, texts(&expect["refused"]), "{refusal}");
    let reasons: Vec<String> = refusal.reasons.iter().map(ToString::to_string).collect();
    check_words(&reasons, &expect["words"]);
    check_words(&refusal.help, &expect["help"]);
}

fn check_words(said: &[String], expected: &Value) {
    for words in texts(expected) {
        assert!(said.iter().any(|text| text.contains(words)), "nothing says {words:?}:\n{}", said.join("\n"));
    }
}

fn check(outcome: &ChainOutcome, expect: &Value) {
    assert_eq!(outcome.is_err(), expect.get("refused").is_some(), "{outcome:?}");
    match outcome {
        Ok(chain) => check_chain(chain, expect),
        Err(refusal) => check_refusal(refusal, expect),
    }
}

#[test]
fn every_question_about_every_history_is_answered() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/histories");
    let mut questions = 0;
    for (name, history, expected) in crate::asked::pairs(&folder) {
        let backups: Vec<Backup> = History::parse(&history).expect("a history").backups().to_vec();
        for question in expected.as_array().expect("questions") {
            println!("{name}: {}", question["about"]);
            let request = crate::asked::request(&question["args"]);
            let mut order = backups.clone();
            check(&choose(&History::from(order.clone()), &request), &question["expect"]);
            order.reverse();
            check(&choose(&History::from(order.clone()), &request), &question["expect"]);
            order.rotate_left(backups.len() / 3);
            check(&choose(&History::from(order), &request), &question["expect"]);
            questions += 1;
        }
    }
    assert!(questions >= 60, "only {questions} questions were found");
}
