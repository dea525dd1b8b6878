//! `drydock points prune`: which points no rule keeps, each with why; and with `--yes` they go.

use drydock_machine::Exit;
use drydock_recovery::backup::clock;
use drydock_recovery::pruning::Guards;
use drydock_recovery::retention::{Keep, Retention};
use drydock_steps::point::pruning::{Planned, Pruner, Terms, Told, planned, pruned};
use serde_json::json;

use super::words::{bytes, span};
use super::{Store, now, who};
use crate::commands::print;
use crate::formats::Format;
use crate::points_args::PruneArgs;
use crate::session::{Refusal, Session};

pub(super) fn prune(session: &Session, store: &Store, args: &PruneArgs) -> Result<Exit, Refusal> {
    let (terms, now) = (terms(args)?, now(session));
    let by = who(session, args.by.as_deref())?;
    let planned = store.ask(async |connection| planned(connection, &terms, now).await)?;
    let goes_on = args.yes && planned.stops.is_empty();
    let refused = if goes_on {
        let (doomed, pruner) = (planned.doomed(), Pruner { by: &by, now });
        store.ask(async |connection| pruned(connection, &doomed, &terms, &pruner, &|_| {}).await)?
    } else {
        Vec::new()
    };
    if session.common.format == Format::Json {
        let mut value = json!(planned);
        value["done"] = json!(goes_on);
        value["refused"] = json!(refused);
        print(&format!("{value:#}\n"));
    } else {
        print(&page(&planned, goes_on, session.common.quiet));
        refused.iter().for_each(|why| eprintln!("warning: {why}; the next pruning tries again"));
    }
    for why in &planned.stops {
        eprintln!("error: nothing is removed: {why}");
    }
    Ok(if planned.stops.is_empty() { Exit::Done } else { Exit::CannotSucceed })
}

fn terms(args: &PruneArgs) -> Result<Terms, Refusal> {
    let delta = |option: &str, text: &str| {
        let ms = i64::try_from(span(option, text)?.0).ok().and_then(chrono::TimeDelta::try_milliseconds);
        ms.ok_or_else(|| {
            Refusal::new(Exit::Usage, format!("--{option}: {text} is longer than a time can be"))
        })
    };
    let keep = Keep {
        last: args.keep_last,
        daily: args.keep_daily,
        weekly: args.keep_weekly,
        monthly: args.keep_monthly,
        yearly: args.keep_yearly,
    };
    let pitr = args.pitr.as_deref().map(|text| delta("pitr", text)).transpose()?;
    if keep == Keep::default() && pitr.is_none() {
        return Err(Refusal::new(Exit::Usage, "nothing was said of what stays").help(
            "say it with --keep-last, --keep-daily, --keep-weekly, --keep-monthly, --keep-yearly and --pitr",
        ));
    }
    Ok(Terms {
        retention: Retention { keep, pitr },
        guards: Guards { max_share: f64::from(args.max_share), min_verified: args.min_verified },
        orphans: args.orphans,
        unsealed_after: delta("unsealed-after", &args.unsealed_after)?,
    })
}

/// What becomes of each point, and of what is all of it.
fn page(planned: &Planned, done: bool, quiet: bool) -> String {
    let mut text = String::new();
    if !quiet {
        let all = planned.points.iter().chain(&planned.unsealed);
        all.for_each(|one| text.push_str(&line(one, done)));
        planned.spared.iter().for_each(|why| text.push_str(&format!("keep    {why}\n")));
    }
    for id in &planned.interrupted {
        text.push_str(&format!("remove  {id}  it was begun before\n"));
    }
    let doomed = planned.doomed();
    let (points, files) = (doomed.points.len() + doomed.unsealed.len(), planned.files);
    let wal = match planned.spent_wal {
        0 => String::new(),
        segments => format!(", {segments} of them segments of WAL that lead nowhere any more"),
    };
    let left = match planned.leftovers {
        0 => String::new(),
        left => format!(", {left} of them left by puts that were cut"),
    };
    let what = format!("{points} points and {files} files of {}{wal}{left}", bytes(planned.bytes));
    text.push_str(&match (planned.is_empty(), done) {
        (true, _) => "nothing to remove\n".to_owned(),
        (false, true) => format!("removed {what}\n"),
        (false, false) => format!("would remove {what}; nothing was removed: --yes removes them\n"),
    });
    text
}

fn line(one: &Told, done: bool) -> String {
    let verb = match (one.keep, done) {
        (true, _) => "keep   ",
        (false, true) => "removed",
        (false, false) => "remove ",
    };
    let at = one.at.map(clock).unwrap_or_default();
    let at = at.get(..19).unwrap_or(&at);
    format!("{verb}  {}  {:<12}  {at:<19}  {}\n", one.id, one.kind, one.why)
}
