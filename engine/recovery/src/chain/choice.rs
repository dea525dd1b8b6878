//! [`choose`]: the chain of one database to a goal.

use std::cmp::Reverse;

use crate::backup::{Backup, BackupType};
use crate::chain::base::precedes;
use crate::chain::line::{Line, lines};
use crate::chain::logs::Logs;
use crate::chain::problem::Problem;
use crate::chain::reason::Reason;
use crate::chain::remarks::remarks;
use crate::chain::request::{Chain, ChainOutcome, ChainRequest, Goal, Refusal};
use crate::chain::route::{Attempt, Exactness, Route, Search};
use crate::chain::sets::Usable;
use crate::history::History;
use crate::lsn::Lsn;

/// The chain that leads to what is asked for. Of several ways the one from the newest full, with its newest
/// differential, is taken, on the line of history that was backed up last. The order of the history does not matter.
///
/// # Errors
/// Why there is no chain: which backup is missing between which LSNs and times, and what would help.
pub fn choose(history: &History, request: &ChainRequest) -> ChainOutcome {
    let database = database_of(history, request.database.as_deref())
        .map_err(|reason| Refusal::new(request.database.clone(), vec![reason], Vec::new()))?;
    let usable = Usable::of(history, &database);
    let mut lines = lines(&usable.sets);
    lines.retain(|line| line.is_on(request.fork.as_ref()));
    let attempts = attempts(&database, &lines, request);
    let left_out =
        usable.left_out.iter().map(|(set, why)| Problem::LeftOut { backup: set.label(), why: why.clone() });
    let Some((line, route)) = best(&attempts) else {
        let reasons = reasons(&database, request, &attempts, &usable);
        return Err(Refusal::new(Some(database), reasons, left_out.collect()));
    };
    let mut problems = remarks(&attempts, line, route, request);
    problems.extend(older_full(route.data.first(), request.goal, &usable));
    problems.extend(left_out);
    let (stop_at, stop_at_lsn) = match request.goal {
        Goal::At(at) if route.stops => (Some(at), None),
        Goal::Mark { lsn, .. } if route.stops => (None, Some(lsn)),
        _ => (None, None),
    };
    let backups = route.sets().cloned().collect();
    Ok(Chain { database, backups, stop_at, stop_at_lsn, recovers_to: route.recovers_to, problems })
}

/// The database that is meant, as the history spells it: servers mostly do not distinguish case, so a name may differ
/// in it as long as it is clear.
fn database_of(history: &History, asked: Option<&str>) -> Result<String, Reason> {
    let mut names: Vec<&str> = history.backups().iter().map(|backup| backup.database.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
    let Some(asked) = asked else {
        return match names.as_slice() {
            [only] => Ok((*only).to_owned()),
            [] => Err(Reason::NoBackups { database: "any database".to_owned(), names: Vec::new() }),
            several => Err(Reason::WhichDatabase { names: owned(several) }),
        };
    };
    let alike: Vec<&str> = names.iter().copied().filter(|name| name.eq_ignore_ascii_case(asked)).collect();
    match (names.contains(&asked), alike.as_slice()) {
        (true, _) => Ok(asked.to_owned()),
        (false, [only]) => Ok((*only).to_owned()),
        (false, []) => Err(Reason::NoBackups { database: asked.to_owned(), names: owned(&names) }),
        (false, several) => Err(Reason::WhichDatabase { names: owned(several) }),
    }
}

/// What each line offers, the one that was backed up last first. A time may lie on several lines; for other goals the
/// first line that leads there is enough.
fn attempts<'l, 's>(database: &str, lines: &'l [Line<'s>], request: &ChainRequest) -> Vec<Attempt<'l, 's>> {
    let mut attempts = Vec::new();
    for line in lines {
        let logs = Logs::of(&line.sets);
        let outcome = Search::new(database, request, line, &logs).route();
        let enough = outcome.is_ok() && !matches!(request.goal, Goal::At(_));
        attempts.push(Attempt { line, outcome });
        if enough {
            break;
        }
    }
    attempts
}

fn best<'a, 'l, 's>(attempts: &'a [Attempt<'l, 's>]) -> Option<(&'l Line<'s>, &'a Route<'s>)> {
    let found = |attempt: &'a Attempt<'l, 's>| Some((attempt.line, attempt.outcome.as_ref().ok()?));
    // Of several returns that a time may lie before, the one that was backed up first is nearest to it. Otherwise the
    // first of equals is on the line that was backed up last.
    let nearest = |route: &Route<'_>| {
        let last = route.logs.last().filter(|_| route.exactness == Exactness::AcrossFork);
        Reverse(last.map(|log| log.finished_at))
    };
    attempts.iter().filter_map(found).rev().max_by_key(|(_, route)| (route.exactness, nearest(route)))
}

/// Says that a newer full would have begun the chain, had it been usable.
fn older_full(used: Option<&&Backup>, goal: Goal, usable: &Usable<'_>) -> Option<Problem> {
    let used = used?;
    let newer =
        |set: &Backup| set.kind == BackupType::Full && set.last_lsn > used.last_lsn && precedes(set, goal);
    let (set, why) =
        usable.left_out.iter().filter(|(set, _)| newer(set)).max_by_key(|(set, _)| set.last_lsn)?;
    Some(Problem::OlderFull { used: used.label(), newer: set.label(), why: why.clone() })
}

/// Why nothing leads to the goal: the reason on the line that has most to offer, then the backups that would have
/// helped and cannot be used.
fn reasons(
    database: &str,
    request: &ChainRequest,
    attempts: &[Attempt<'_, '_>],
    usable: &Usable<'_>,
) -> Vec<Reason> {
    let failures =
        || attempts.iter().filter_map(|attempt| Some((attempt.line, attempt.outcome.as_ref().err()?)));
    let main = failures().find(|(_, reason)| reason.stands_at().is_some()).or_else(|| failures().next());
    let Some((line, main)) = main else {
        return vec![Reason::NoFull { database: database.to_owned() }]
            .into_iter()
            .chain(spoiled(None, request, usable))
            .collect();
    };
    let mut reasons = vec![main.clone()];
    reasons.extend(main.stands_at().and_then(|at| elsewhere(at, line, usable)));
    reasons.extend(spoiled(main.stands_at(), request, usable));
    reasons
}

/// A log that would lead on from `at`, were it on this line.
fn elsewhere(at: Lsn, line: &Line<'_>, usable: &Usable<'_>) -> Option<Reason> {
    let leads_on = |set: &&Backup| set.kind == BackupType::Log && set.range().holds(at);
    let is_here = |log: &&Backup| line.sets.iter().any(|set| set.backup_set_guid == log.backup_set_guid);
    let log = usable.sets.iter().map(|set| &**set).filter(leads_on).find(|log| !is_here(log))?;
    let fork = log.fork().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    Some(Reason::OtherFork { backup: log.label(), lsn: at, fork, line: line.label() })
}

/// The first unusable backup that would have helped: a log that leads on from where the chain stands, or a full.
fn spoiled(at: Option<Lsn>, request: &ChainRequest, usable: &Usable<'_>) -> Option<Reason> {
    let helps = |set: &Backup| match at {
        Some(at) => set.kind == BackupType::Log && set.range().holds(at),
        None => set.kind == BackupType::Full && precedes(set, request.goal),
    };
    let (set, why) = usable.left_out.iter().find(|(set, _)| helps(set))?;
    Some(Reason::Unusable { backup: set.label(), why: why.clone() })
}
