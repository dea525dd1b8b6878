//! Random histories of a model server: a chain that is chosen, when applied by the server's rules, gives exactly the
//! state asked for; where none is chosen, an exhaustive search finds none either.

use crate::model::{Change, Medium, Restoring, Server, Until, apply, block, restore_full};
use chrono::{DateTime, Utc};
use drydock_recovery::backup::{Backup, BackupType};
use drydock_recovery::chain::{Chain, ChainRequest, Goal, choose};
use drydock_recovery::history::History;

const HISTORIES: u64 = 2_000;

/// A server with a past, and the media that are left of it.
pub(crate) fn world(seed: u64) -> (Server, Vec<Medium>) {
    let mut server = Server::new(seed);
    for _ in 0..6 + server.dice.roll(18) {
        match server.dice.roll(20) {
            0..=1 => server.full(),
            2..=3 => server.differential(),
            4..=10 => server.log(),
            11 => server.truncate(),
            12 => server.go_back(),
            _ => server.commit(),
        }
    }
    let mut left = server.media.clone();
    for _ in 0..server.dice.roll(3) {
        if !left.is_empty() {
            let lost = usize::try_from(server.dice.roll(left.len() as u64)).expect("small");
            if server.dice.roll(2) == 0 {
                left[lost].backup.is_damaged = Some(true)
            } else {
                drop(left.remove(lost))
            }
        }
    }
    for at in (1..left.len()).rev() {
        left.swap(at, usize::try_from(server.dice.roll(at as u64 + 1)).expect("small"));
    }
    (server, left)
}

fn applied(seed: u64, chain: &Chain, media: &[Medium], until: Until) -> Restoring {
    let medium = |backup: &Backup| {
        let found = media.iter().find(|medium| medium.backup.backup_set_guid == backup.backup_set_guid);
        found.expect("a chain is made of what there is")
    };
    let (full, rest) = chain.backups.split_first().expect("a chain begins with a full");
    let start = restore_full(medium(full)).expect("a chain begins with a full");
    rest.iter().fold(start, |state, backup| {
        apply(&state, medium(backup), until)
            .ok_or_else(|| {
                format!("seed {seed}: the server refuses the {} at {}", backup.label(), state.redo)
            })
            .expect("the server takes every set of a chain")
    })
}

/// Whether any order of usable media gives `truth`, provably, at `at`.
fn exists(media: &[Medium], at: DateTime<Utc>, truth: &[Change]) -> bool {
    let usable: Vec<&Medium> = media.iter().filter(|medium| medium.backup.is_damaged != Some(true)).collect();
    let whole = |medium: &&&Medium| medium.backup.finished_at <= at;
    let fulls = usable.iter().filter(whole).filter_map(|medium| restore_full(medium));
    let mut open: Vec<Restoring> = fulls.collect();
    let differentials =
        usable.iter().filter(|medium| medium.backup.kind == BackupType::Differential).filter(whole);
    let with: Vec<Restoring> = differentials
        .flat_map(|medium| open.iter().filter_map(|state| apply(state, medium, Until::End)))
        .collect();
    open.extend(with);
    let mut seen = Vec::new();
    while let Some(state) = open.pop() {
        if state.proved >= at && state.changes == truth {
            return true;
        }
        for medium in usable.iter().filter(|medium| medium.backup.kind == BackupType::Log) {
            let ends_there = medium.backup.finished_at >= at;
            if ends_there && medium.backup.is_bulk_logged() && medium.backup.finished_at != at {
                continue;
            }
            let until = if ends_there { Until::Time(at) } else { Until::End };
            let Some(next) = apply(&state, medium, until) else { continue };
            let key = (next.redo, next.fork.clone(), next.proved, ends_there);
            if ends_there && next.changes == truth {
                return true;
            }
            if !ends_there && !seen.contains(&key) {
                seen.push(key);
                open.push(next);
            }
        }
    }
    false
}

#[test]
fn a_chain_to_a_time_gives_that_time_and_a_refusal_means_there_is_none() {
    let (mut found, mut refused) = (0, 0);
    for seed in 0..HISTORIES {
        let (mut server, media) = world(seed);
        let history = History::from(media.iter().map(|medium| medium.backup.clone()).collect::<Vec<_>>());
        let ends: Vec<DateTime<Utc>> = media.iter().map(|medium| medium.backup.finished_at).collect();
        for round in 0..6 {
            let span = (server.now - server.truth_begins()).num_milliseconds().unsigned_abs() + 1;
            let offset = i64::try_from(server.dice.roll(span)).expect("a short story");
            let at = match ends.get(round) {
                Some(end) if round % 3 == 0 => *end,
                _ => server.truth_begins() + chrono::TimeDelta::milliseconds(offset),
            };
            let outcome = choose(&history, &ChainRequest { goal: Goal::At(at), ..ChainRequest::default() });
            let truth = server.truth(at);
            match outcome {
                Ok(chain) => {
                    found += 1;
                    let state = applied(seed, &chain, &media, Until::Time(at));
                    // Between a return's target and the return, the true state may be in no backup at all; then the
                    // chain says so.
                    let told = chain.problems.iter().any(|problem| problem.code() == "across_fork");
                    let right = state.changes == truth;
                    assert!(right || (told && !exists(&media, at, truth)), "seed {seed}, {at}: {chain:#?}");
                    assert!(
                        chain.stop_at.is_none_or(|stop| stop == at) && chain.recovers_to == at,
                        "seed {seed}, {at}"
                    );
                }
                Err(refusal) => {
                    refused += 1;
                    assert!(!exists(&media, at, truth), "seed {seed}, {at}: there is a way, but: {refusal}");
                }
            }
        }
    }
    println!("{found} chains applied, {refused} refusals searched");
    assert!(
        found > 1_000 && refused > 1_000,
        "{found} chains, {refused} refusals: the model says too little"
    );
}

#[test]
fn a_chain_to_the_end_is_true_and_nothing_leads_further() {
    for seed in 0..HISTORIES {
        let (server, media) = world(seed);
        let history = History::from(media.iter().map(|medium| medium.backup.clone()).collect::<Vec<_>>());
        let Ok(chain) = choose(&history, &ChainRequest::default()) else { continue };
        let state = applied(seed, &chain, &media, Until::End);
        // A chain that ends before the current fork began stays on its way, though an abandoned fork led further.
        if state.fork == *server.fork() {
            assert_eq!(state.changes, server.truth(chain.recovers_to), "seed {seed}: {chain:#?}");
        }
        let further = |medium: &Medium| {
            let set = &medium.backup;
            let usable = set.is_damaged != Some(true) && set.kind == BackupType::Full;
            usable && set.recovery_fork_id.as_ref() == Some(&state.fork) && set.last_lsn > block(state.redo)
        };
        assert!(
            state.fork != *server.fork() || !media.iter().any(further),
            "seed {seed}: a full leads further than {chain:#?}"
        );
    }
}

#[test]
fn a_chain_to_a_mark_holds_the_mark_and_nothing_later() {
    let mut found = 0;
    for seed in 0..HISTORIES {
        let (server, media) = world(seed);
        let history = History::from(media.iter().map(|medium| medium.backup.clone()).collect::<Vec<_>>());
        for (place, mark) in server.changes().iter().enumerate() {
            let goal = Goal::Mark { lsn: block(mark.lsn), at: mark.at };
            let request = ChainRequest { goal, fork: Some(server.fork().clone()), ..ChainRequest::default() };
            if let Ok(chain) = choose(&history, &request) {
                found += 1;
                let state = applied(seed, &chain, &media, Until::Lsn(block(mark.lsn)));
                assert_eq!(state.changes, server.changes()[..=place], "seed {seed}: {chain:#?}");
            }
        }
    }
    assert!(found > 1_000, "only {found} marks were reached");
}

#[test]
fn the_order_of_the_history_does_not_matter() {
    for seed in 0..500 {
        let (_, media) = world(seed);
        let mut backups: Vec<Backup> = media.iter().map(|medium| medium.backup.clone()).collect();
        let first = choose(&History::from(backups.clone()), &ChainRequest::default());
        backups.sort_by_key(|backup| backup.finished_at);
        assert_eq!(first, choose(&History::from(backups), &ChainRequest::default()), "seed {seed}");
    }
}
