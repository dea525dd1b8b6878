//! Each backup has a word why it is in a chain or not, and the word is true.

use drydock_recovery::backup::{Backup, BackupType};
use drydock_recovery::chain::{ChainRequest, Explained, Goal, Why, choose, explain};
use drydock_recovery::history::History;

/// Holds each word against the set's own figures.
pub(crate) fn check(history: &History, request: &ChainRequest) {
    let Ok(chain) = choose(history, request) else { return };
    let all = explain(history, request, &chain);
    let used: Vec<_> = all.iter().filter(|one| one.used).map(|one| &one.backup_set_guid).collect();
    let mut chosen: Vec<_> = chain.backups.iter().map(|set| &set.backup_set_guid).collect();
    assert_eq!(used.len(), chosen.len());
    chosen.retain(|guid| !used.contains(guid));
    assert!(chosen.is_empty(), "{chosen:?}");
    let mut distinct: Vec<_> = history.backups().iter().map(|set| &set.backup_set_guid).collect();
    distinct.sort();
    distinct.dedup();
    assert_eq!(all.len(), distinct.len(), "every set once");
    let data = |set: &&Backup| set.kind != BackupType::Log;
    let from = request.continue_from.or(chain.backups.iter().rfind(data).map(|set| set.last_lsn));
    for one in &all {
        let set = history.backups().iter().find(|set| set.backup_set_guid == one.backup_set_guid);
        let set = set.expect("a set of the history");
        holds(one, set, &chain.backups, from);
    }
}

fn holds(one: &Explained, set: &Backup, chain: &[Backup], from: Option<drydock_recovery::lsn::Lsn>) {
    let end = chain.last().map(|set| set.last_lsn);
    let is = |kind: BackupType| assert_eq!(set.kind, kind, "{one:?}");
    match &one.why {
        Why::BeginsTheChain(_) => is(BackupType::Full),
        Why::SavesLogs(_) => is(BackupType::Differential),
        Why::LeadsOn(at) | Why::HoldsTheGoal(at, _) => {
            is(BackupType::Log);
            let number = |lsn: drydock_recovery::lsn::Lsn| lsn.to_string().parse::<u128>().expect("digits");
            // Some histories count a log's last record in.
            assert!(number(set.first_lsn) <= number(*at) + 1 && *at <= set.last_lsn, "{one:?}");
        }
        Why::EndsBefore(at) => assert!(set.last_lsn <= *at && Some(*at) == from, "{one:?}"),
        Why::Empty => assert_eq!(set.first_lsn, set.last_lsn),
        Why::BehindTheEnd(at) => assert!(set.first_lsn >= *at && Some(*at) == end, "{one:?}"),
        Why::Covered => {
            is(BackupType::Log);
            assert!(Some(set.first_lsn) < end && Some(set.last_lsn) > from, "{one:?}");
        }
        Why::OtherBase(_) => {
            is(BackupType::Differential);
            assert!(!chain.iter().any(|full| set.builds_on(full)), "{one:?}");
        }
        Why::Older => {
            let same = chain.iter().find(|used| used.kind == set.kind);
            // A differential may be older than the logs that the full was given instead of one.
            assert!(same.is_none_or(|used| used.last_lsn >= set.last_lsn), "{one:?}");
        }
        Why::LeadsNowhere(_) => {
            let same = chain.iter().find(|used| used.kind == set.kind);
            assert!(same.is_none_or(|used| used.last_lsn < set.last_lsn), "{one:?}");
        }
        Why::Unusable(_) | Why::OtherLine(_) | Why::AfterTheGoal(_) | Why::NotWanted => {}
    }
    assert_eq!(
        one.used,
        matches!(
            one.why,
            Why::BeginsTheChain(_) | Why::SavesLogs(_) | Why::LeadsOn(_) | Why::HoldsTheGoal(..)
        )
    );
}

#[test]
fn each_backup_says_why() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/histories");
    let mut codes = std::collections::BTreeSet::new();
    for (_, history, expected) in crate::asked::pairs(&folder) {
        let history = History::parse(&history).expect("a history");
        for question in expected.as_array().expect("questions") {
            let request = crate::asked::request(&question["args"]);
            let alone =
                |backup: &&Backup| request.database.as_ref().is_none_or(|name| *name == backup.database);
            let own: Vec<Backup> = history.backups().iter().filter(alone).cloned().collect();
            check(&History::from(own), &request);
            if let Ok(chain) = choose(&history, &request) {
                codes.extend(explain(&history, &request, &chain).iter().map(|one| one.why.code()));
            }
        }
    }
    for code in [
        "begins_the_chain",
        "saves_logs",
        "leads_on",
        "holds_the_goal",
        "unusable",
        "other_line",
        "after_the_goal",
        "older",
        "other_base",
        "not_wanted",
        "ends_before",
        "empty",
    ] {
        assert!(codes.contains(code), "no question led to {code}: {codes:?}");
    }
}

#[test]
fn the_words_are_true_of_random_histories() {
    for seed in 0..500 {
        let (server, media) = crate::properties::world(seed);
        let history = History::from(media.iter().map(|medium| medium.backup.clone()).collect::<Vec<_>>());
        check(&history, &ChainRequest::default());
        for medium in &media {
            let goal = Goal::At(medium.backup.finished_at);
            check(&history, &ChainRequest { goal, ..ChainRequest::default() });
        }
        check(
            &history,
            &ChainRequest { no_logs: true, no_differentials: seed % 2 == 0, ..ChainRequest::default() },
        );
        drop(server);
    }
}
