//! [`remarks`]: what is worth knowing about a route that was found.

use std::collections::BTreeSet;

use crate::backup::{Backup, BackupType};
use crate::chain::line::Line;
use crate::chain::problem::Problem;
use crate::chain::reason::Reason;
use crate::chain::request::{ChainRequest, Goal};
use crate::chain::route::{Attempt, Exactness, Route};

/// Everything worth knowing, the weightiest first.
pub(crate) fn remarks(
    attempts: &[Attempt<'_, '_>],
    line: &Line<'_>,
    route: &Route<'_>,
    request: &ChainRequest,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(older_line(attempts, line, request.goal));
    problems.extend(route.unreached.clone());
    problems.extend(other_lines(attempts, line, route, request.goal));
    if let Goal::At(at) = request.goal {
        problems.extend(before_goal(route, at, request.no_logs));
        problems.extend(in_last_log(route, line, at));
    }
    problems.extend(versions(route));
    problems.extend(servers(route));
    problems.extend(inclusive_ends(route));
    problems
}

/// A newer line that has something to begin with, and yet does not lead there.
fn older_line(attempts: &[Attempt<'_, '_>], line: &Line<'_>, goal: Goal) -> Option<Problem> {
    let newer = attempts.iter().take_while(|attempt| !std::ptr::eq(attempt.line, line));
    let mut failed = newer.filter_map(|attempt| Some((attempt.line, attempt.outcome.as_ref().err()?)));
    // A line that began after the time asked for has no part in it.
    let counts = |why: &Reason| why.stands_at().is_some() || !matches!(goal, Goal::At(_));
    let (newest, why) = failed.find(|(_, why)| counts(why))?;
    Some(Problem::OlderLine { newest: newest.label(), why: why.to_string(), used: line.label() })
}

/// Another line that was alive at the time asked for and leads elsewhere.
fn other_lines(
    attempts: &[Attempt<'_, '_>],
    line: &Line<'_>,
    route: &Route<'_>,
    goal: Goal,
) -> Option<Problem> {
    let Goal::At(at) = goal else { return None };
    let end = route.sets().next_back()?;
    let rival = |attempt: &&Attempt<'_, '_>| {
        attempt.outcome.as_ref().is_ok_and(|other| {
            let Some(last) = other.sets().next_back() else { return false };
            let alive = other.exactness == Exactness::Exact || line.newest > last.started_at;
            alive && last.backup_set_guid != end.backup_set_guid && route.exactness == Exactness::Exact
        })
    };
    let other = attempts.iter().find(rival)?.line;
    let (used_until, other_until) = (line.newest, other.newest);
    Some(Problem::TwoLines { at, used: line.label(), used_until, other: other.label(), other_until })
}

fn before_goal(route: &Route<'_>, at: crate::Time, no_logs: bool) -> Option<Problem> {
    let reached = route.recovers_to;
    if route.exactness != Exactness::Before || reached >= at {
        return None;
    }
    Some(if no_logs { Problem::WithoutLogs { at, reached } } else { Problem::SimpleModel { at, reached } })
}

fn in_last_log(route: &Route<'_>, line: &Line<'_>, at: crate::Time) -> Option<Problem> {
    let last = route.logs.last().filter(|_| route.stops)?;
    if route.exactness == Exactness::AcrossFork {
        return Some(Problem::AcrossFork { backup: last.label(), point: last.fork_point_lsn, at });
    }
    if at <= last.started_at || at >= last.finished_at {
        return None;
    }
    let follows = |set: &&&Backup| set.kind == BackupType::Log && set.range().holds(last.last_lsn);
    let next = match line.sets.iter().find(follows) {
        Some(log) => format!("; the {} comes next", log.label()),
        None => "; no later log is known".to_owned(),
    };
    let (started, finished) = (last.started_at, last.finished_at);
    Some(Problem::WhileWriting { at, backup: last.label(), started, finished, next })
}

fn versions(route: &Route<'_>) -> Option<Problem> {
    let majors: BTreeSet<u8> = route.sets().filter_map(|set| set.software_major).collect();
    (majors.len() > 1).then(|| Problem::Versions { majors: majors.into_iter().collect() })
}

fn servers(route: &Route<'_>) -> Option<Problem> {
    let tied =
        |set: &Backup| set.availability_group.is_some() || set.fork().is_some() || set.family().is_some();
    if route.sets().any(tied) {
        return None;
    }
    let names: BTreeSet<&String> = route.sets().map(|set| &set.server).collect();
    (names.len() > 1).then(|| Problem::Servers { names: names.into_iter().cloned().collect() })
}

fn inclusive_ends(route: &Route<'_>) -> Option<Problem> {
    let sets: Vec<&Backup> = route.sets().collect();
    let apart = sets.windows(2).find_map(|pair| match pair {
        [before, after] if after.kind == BackupType::Log && after.first_lsn > before.last_lsn => Some(*after),
        _ => None,
    })?;
    Some(Problem::InclusiveEnds { backup: apart.label() })
}
