//! `drydock chain`: which backups of a history lead to a moment, and why; or why none do.

use std::path::Path;

use drydock_machine::Exit;
use drydock_recovery::chain::{ChainRequest, Goal, choose};
use drydock_recovery::history::History;
use serde_json::json;

use crate::args::ChainArgs;
use crate::formats::Format;
use crate::session::{Refusal, Session};

use super::print;

pub(crate) fn chain(session: &Session, args: &ChainArgs) -> Result<Exit, Refusal> {
    let request = request(args)?;
    let history = History::parse(&read(&args.history)?)
        .map_err(|error| Refusal::new(Exit::Invalid, format!("{}: {error}", args.history.display())))?;
    let json = session.common.format == Format::Json;
    match choose(&history, &request) {
        Ok(chain) if json => {
            let value = serde_json::to_value(&chain)
                .map_err(|error| Refusal::new(Exit::Internal, error.to_string()))?;
            print(&format!("{value:#}\n"));
            Ok(Exit::Done)
        }
        Ok(chain) => {
            let mut text = format!(
                "{}: {} backups, recovers to {}\n",
                chain.database,
                chain.backups.len(),
                chain.recovers_to
            );
            for backup in &chain.backups {
                let lsns = format!("{} - {}", backup.first_lsn, backup.last_lsn);
                text.push_str(&format!(
                    "  {:<12} {}  {lsns}  {}\n",
                    kind_word(backup),
                    backup.finished_at,
                    backup.media.join(", ")
                ));
            }
            if let Some(at) = chain.stop_at {
                text.push_str(&format!("  the last log stops at {at}\n"));
            }
            chain.problems.iter().for_each(|problem| text.push_str(&format!("  note: {problem}\n")));
            print(&text);
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

fn read(path: &Path) -> Result<String, Refusal> {
    let read = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| Refusal::new(Exit::Usage, format!("cannot read {}: {error}", path.display())))
}

fn request(args: &ChainArgs) -> Result<ChainRequest, Refusal> {
    let usage = |message: String| Refusal::new(Exit::Usage, message);
    let goal = match &args.at {
        Some(text) => Goal::At(text.parse().map_err(|_| {
            usage(format!("--at: `{text}` is no time; write RFC 3339, such as 2026-07-14T03:00:00Z"))
        })?),
        None => Goal::End,
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
