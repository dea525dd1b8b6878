//! `drydock points verify`: whether a point still holds what it says.

use std::sync::Arc;

use drydock_machine::Exit;
use drydock_recovery::Time;
use drydock_recovery::manifest::{PointId, PointMark, PointMarkKind};
use drydock_step::{Connection, StepError};
use drydock_steps::point::catalogue::Found;
use drydock_steps::point::resolved::resolved;
use drydock_steps::point::said::say;
use drydock_steps::point::verifying::{Asked, Report, Wanted, verified};
use serde_json::json;

use super::words::bytes;
use super::{Store, in_words, now, who};
use crate::commands::print;
use crate::formats::Format;
use crate::points_args::VerifyArgs;
use crate::session::{Refusal, Session};

pub(super) fn verify(session: &Session, store: &Store, args: &VerifyArgs) -> Result<Exit, Refusal> {
    let (by, now) = (who(session, args.by.as_deref())?, now(session));
    let found = store.found()?;
    let id = resolved(&found, &args.point).map_err(in_words)?;
    let wanted = Wanted { deep: args.deep, sample: args.sample, seed: now.timestamp_millis().to_string() };
    let report = store.ask(async |connection| {
        let server = match &args.truth {
            Some(truth) => Some((truth.as_str(), store.connect(truth).await?)),
            None => None,
        };
        report_of(connection, &found, &id, &wanted, server.as_ref(), now).await
    })?;
    let mark = match report.findings.as_slice() {
        [] => {
            let run = "drydock points verify".to_owned();
            let said = PointMarkKind::Verified { how: report.how(), run, restored: None };
            let mark = PointMark::new(report.id.clone(), now, by, said);
            Some(store.ask(async |connection| say(connection, &mark).await)?)
        }
        _ => None,
    };
    tell(session, &report, mark.as_deref());
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::ValidationFailed })
}

async fn report_of(
    connection: &dyn Connection,
    found: &Found,
    id: &PointId,
    wanted: &Wanted,
    server: Option<&(&str, Arc<dyn Connection>)>,
    now: Time,
) -> Result<Report, StepError> {
    let files = connection.store().ok_or_else(|| StepError::internal("it is no artifact store"))?;
    let asked = match server {
        Some((name, server)) => Some(Asked {
            name,
            proves: server.proves().ok_or_else(|| {
                StepError::new("point.truth", format!("target {name} cannot prove that backups can be read"))
            })?,
        }),
        None => None,
    };
    verified(files, found, id, wanted, asked, now, &|_, _| {}).await
}

fn tell(session: &Session, report: &Report, mark: Option<&str>) {
    if session.common.format == Format::Json {
        let mut value = json!(report);
        value["mark"] = json!(mark);
        print(&format!("{value:#}\n"));
        return;
    }
    let mut text: String = report.findings.iter().map(|finding| format!("{finding}\n")).collect();
    for unasked in &report.unasked {
        text.push_str(&format!("not asked: {unasked}\n"));
    }
    match mark {
        Some(path) => {
            let how = report.how();
            text.push_str(&format!("{} verified ({}): {how}\n{path}\n", report.id, bytes(report.bytes)));
        }
        None => {
            eprintln!("error: point {} does not hold what it says", report.id);
            eprintln!(
                "help: bring back what is missing; or `drydock points bad {} --reason TEXT`, so that nobody restores it",
                report.id
            );
        }
    }
    print(&text);
}
