//! `drydock chain`: which backups of a history lead to a moment, and why; or why none do.

use std::collections::HashMap;
use std::path::Path;

use drydock_machine::Exit;
use drydock_recovery::Time;
use drydock_recovery::backup::BackupType;
use drydock_recovery::chain::{Chain, ChainRequest, Explained, Goal, choose, explain};
use drydock_recovery::guid::Guid;
use drydock_recovery::history::History;
use drydock_recovery::lsn::Lsn;
use serde_json::json;

use crate::args::ChainArgs;
use crate::formats::Format;
use crate::session::{Refusal, Session};

use super::print;

pub(crate) fn chain(session: &Session, args: &ChainArgs) -> Result<Exit, Refusal> {
    let history = History::parse(&read(&args.history)?)
        .map_err(|error| Refusal::new(Exit::Invalid, format!("{}: {error}", args.history.display())))?;
    let request = request(args, &history)?;
    let json = session.common.format == Format::Json;
    match choose(&history, &request) {
        Ok(chain) => {
            let explained =
                if json && !args.explain { Vec::new() } else { explain(&history, &request, &chain) };
            print(&if json {
                let mut value = serde_json::to_value(&chain)
                    .map_err(|error| Refusal::new(Exit::Internal, error.to_string()))?;
                if args.explain {
                    value["explained"] = json!(explained);
                }
                format!("{value:#}\n")
            } else {
                text(&chain, &explained, args.explain)
            });
            // A long history takes a while to be forgotten, and the process ends here anyway.
            std::mem::forget(history);
            Ok(Exit::Done)
        }
        Err(refusal) => {
            if json {
                let problems: Vec<String> = refusal.reasons.iter().map(ToString::to_string).collect();
                let value = json!({
                    "database": refusal.database,
                    "backups": [],
                    "stop_at": null,
                    "recovers_to": null,
                    "problems": problems,
                    "help": refusal.help,
                });
                print(&format!("{value:#}\n"));
            }
            let mut refused = Refusal::new(Exit::CannotSucceed, format!("no chain: {refusal}"));
            refused.help = (!refusal.help.is_empty()).then(|| refusal.help.join("\n      "));
            refused.said = json;
            Err(refused)
        }
    }
}

/// So many backups that are not used are told one by one.
const FEW: usize = 12;

/// For people: the backups in the order of their restore, each with why; then those that are not used.
fn text(chain: &Chain, explained: &[Explained], all: bool) -> String {
    let mut text =
        format!("{}: {} backups, recovers to {}\n", chain.database, chain.backups.len(), chain.recovers_to);
    let whys: HashMap<&Guid, &Explained> =
        explained.iter().filter(|one| one.used).map(|one| (&one.backup_set_guid, one)).collect();
    for backup in &chain.backups {
        let lsns = format!("{} - {}", backup.first_lsn, backup.last_lsn);
        text.push_str(&format!(
            "  {:<12} {}  {lsns}  {}\n",
            kind_word(backup),
            backup.finished_at,
            backup.media.join(", ")
        ));
        if let Some(one) = whys.get(&backup.backup_set_guid) {
            text.push_str(&format!("               {}\n", one.why));
        }
    }
    if let Some(at) = chain.stop_at {
        text.push_str(&format!("  the last log stops at {at}\n"));
    }
    if let Some(lsn) = chain.stop_at_lsn {
        text.push_str(&format!("  the last log stops at the mark, LSN {lsn}\n"));
    }
    chain.problems.iter().for_each(|problem| text.push_str(&format!("  note: {problem}\n")));
    let unused: Vec<&Explained> = explained.iter().filter(|one| !one.used).collect();
    if all || unused.len() <= FEW {
        for one in unused {
            text.push_str(&format!("  not used: {}: {}\n", one.backup, one.why));
        }
        return text;
    }
    text.push_str(&format!("  not used: {} others (--explain says of each why)\n", unused.len()));
    let mut codes: Vec<&str> = Vec::new();
    for one in &unused {
        if !codes.contains(&one.why.code()) {
            codes.push(one.why.code());
        }
    }
    for code in codes {
        let alike: Vec<&&Explained> = unused.iter().filter(|one| one.why.code() == code).collect();
        if let Some(newest) = alike.last() {
            text.push_str(&format!(
                "    {}, the last of them the {}: {}\n",
                alike.len(),
                newest.backup,
                newest.why
            ));
        }
    }
    text
}

fn read(path: &Path) -> Result<String, Refusal> {
    let read = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| Refusal::new(Exit::Usage, format!("cannot read {}: {error}", path.display())))
}

/// When the log backup that holds a position was finished: no more is known of the moment of a mark.
fn moment_of(history: &History, lsn: Lsn) -> Time {
    let logs = history.backups().iter().filter(|set| set.kind == BackupType::Log);
    let holding =
        logs.filter(|log| log.first_lsn <= lsn && lsn < log.last_lsn).map(|log| log.finished_at).min();
    holding.or_else(|| history.backups().iter().map(|set| set.finished_at).max()).unwrap_or_default()
}

fn request(args: &ChainArgs, history: &History) -> Result<ChainRequest, Refusal> {
    let usage = |message: String| Refusal::new(Exit::Usage, message);
    let goal = match (&args.at, &args.mark) {
        (Some(text), _) => Goal::At(text.parse().map_err(|_| {
            usage(format!("--at: `{text}` is no time; write RFC 3339, such as 2026-07-14T03:00:00Z"))
        })?),
        (None, Some(text)) => {
            let lsn = text.parse().map_err(|error| usage(format!("--mark: {error}")))?;
            Goal::Mark { lsn, at: moment_of(history, lsn) }
        }
        (None, None) => Goal::End,
    };
    let continue_from = args.continue_from.as_ref().map(|text| text.parse()).transpose();
    let continue_from = continue_from.map_err(|error| usage(format!("--continue-from: {error}")))?;
    Ok(ChainRequest {
        database: args.database.clone(),
        goal,
        no_differentials: args.no_differentials,
        no_logs: args.no_logs,
        continue_from,
        ..ChainRequest::default()
    })
}

/// The word that a history uses for a backup's type.
fn kind_word(backup: &drydock_recovery::backup::Backup) -> String {
    let word = serde_json::to_value(&backup.kind).ok();
    word.as_ref().and_then(serde_json::Value::as_str).unwrap_or("unknown").to_owned()
}
