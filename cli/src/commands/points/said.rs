//! `drydock points hold` and `bad`: what is said of a point, each time as a small object beside it.

use drydock_machine::Exit;
use drydock_recovery::Time;
use drydock_recovery::manifest::{PointMark, PointMarkKind};
use drydock_steps::point::resolved::resolved;
use drydock_steps::point::said::say;
use serde_json::json;

use super::{Store, in_words, now, who};
use crate::commands::print;
use crate::formats::Format;
use crate::points_args::{BadArgs, HoldArgs};
use crate::session::{Refusal, Session};

pub(super) fn hold(session: &Session, store: &Store, args: HoldArgs) -> Result<Exit, Refusal> {
    let reason = told(args.reason)?;
    let until = args.until.as_deref().map(|text| until(session, text)).transpose()?;
    let kind =
        if args.release { PointMarkKind::Released { reason } } else { PointMarkKind::Held { until, reason } };
    said(session, store, &args.point, args.by.as_deref(), kind)
}

pub(super) fn bad(session: &Session, store: &Store, args: BadArgs) -> Result<Exit, Refusal> {
    let kind = PointMarkKind::Bad { reason: told(args.reason)? };
    said(session, store, &args.point, args.by.as_deref(), kind)
}

/// A reason in one line, for it stands in a line of the list.
fn told(reason: String) -> Result<String, Refusal> {
    if reason.trim().is_empty() || reason.chars().any(char::is_control) {
        return Err(Refusal::new(Exit::Usage, "--reason: say why, in one line"));
    }
    Ok(reason)
}

fn until(session: &Session, text: &str) -> Result<Time, Refusal> {
    let refused = |why: String| {
        Refusal::new(Exit::Usage, format!("--until: {why}")).help("write a time such as 2027-01-31T00:00:00Z")
    };
    let until: Time = text.parse().map_err(|error| refused(format!("{text} is no time: {error}")))?;
    if until <= now(session) {
        return Err(refused(format!("{text} is over")));
    }
    Ok(until)
}

fn said(
    session: &Session,
    store: &Store,
    point: &str,
    by: Option<&str>,
    kind: PointMarkKind,
) -> Result<Exit, Refusal> {
    let by = who(session, by)?;
    let id = resolved(&store.found()?, point).map_err(in_words)?;
    let mark = PointMark::new(id, now(session), by, kind);
    let path = store.ask(async |connection| say(connection, &mark).await)?;
    if session.common.format == Format::Json {
        let mut value = json!(mark);
        value["path"] = json!(path);
        print(&format!("{value:#}\n"));
    } else if !session.common.quiet {
        print(&format!("{} {}: {path}\n", mark.point, mark.said.word()));
    }
    Ok(Exit::Done)
}
