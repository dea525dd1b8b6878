//! One restore from its beginning to its end, of one database or of a group: [`executed`]. Every database is brought to its point before
//! any is opened, and every one has proved itself before anybody is let into one. What became of an attempt: [`reconciled`].

use drydock_recovery::backup::clock;
use drydock_recovery::lsn::Lsn;
use drydock_step::target::LockClass;
use drydock_step::{Ctx, Reconciled, StepError};
use serde_json::{Map, Value, json};

use super::access::AccessFacts;
use super::database::{DatabaseFacts, State};
use super::locks::{self, Patience};
use super::restore_beside::{Decision, decided, is_swapped, keeps, note, swapped};
use super::restore_chain::Stop;
use super::restore_inputs::{RestoreInputs, Strategy};
use super::restore_plan::plan;
use super::restore_proof::proved;
use super::restore_ready::Ready;
use super::restore_run::{Run, admitted};
use super::restore_standing::{Noted, Restored, Standing, standing, waiting};
use super::restore_subject::{Subject, known_subjects};
use super::sql::Identifier;
use super::target::SqlServerConnection;
use super::users::put_back;
use super::watch::{Work, running};

/// Restores; the outputs. `asked` is whether the server was asked what became of an earlier attempt.
///
/// # Errors
/// What the server says, and what is found before anything is done.
pub(super) async fn executed(
    ctx: &Ctx,
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    asked: bool,
) -> Result<Value, StepError> {
    let subjects = known_subjects(ctx, server, inputs).await?;
    for name in in_order(&subjects) {
        locks::take(server.session(), name, LockClass::Exclusive, Patience::Short).await?;
    }
    let subjects = on_its_way(ctx, server, inputs, subjects, asked).await?;
    // What has proved itself beside has only its name to get.
    let pending: Vec<&Subject> = subjects.iter().filter(|subject| !subject.noted.is_swapping).collect();
    let mut found = Vec::new();
    for subject in &pending {
        found.push(looked(server, inputs, subject, asked).await?);
    }
    let mut runs = Vec::new();
    for (&subject, (ready, done, is_open)) in pending.iter().zip(&found) {
        let replace = inputs.replaces() || is_own(subject, ready);
        if done.is_none() && ready.existing.is_some() && !replace {
            return Err(is_there(&subject.database));
        }
        let replace = replace && (subject.patient.is_none() || ready.existing.is_some());
        let plan = plan(inputs, subject.database.bracketed(), ready.shown(), replace);
        runs.push(Run { ctx, server, subject, ready, plan, done: *done, is_open: *is_open });
    }
    let redos = all_brought(&runs).await?;
    if let Err(error) = all_opened(&runs).await {
        for subject in pending.iter().filter(|_| !error.unknown) {
            ctx.note(subject.note(json!({ "unproved": true }))).await?;
        }
        return Err(error);
    }
    for subject in pending.iter().filter(|subject| subject.noted.is_unproved) {
        ctx.note(subject.note(json!({ "unproved": false }))).await?;
    }
    for subject in pending.iter().filter(|subject| subject.patient.is_some()) {
        ctx.note(subject.note(json!({ "swapping": true }))).await?;
    }
    ended(ctx, server, inputs, &subjects).await?;
    let mut redos = redos.into_iter();
    let mut outputs = Vec::new();
    for subject in &subjects {
        let redo = if subject.noted.is_swapping { noted_redo(subject) } else { redos.next().flatten() };
        outputs.push(output(server, inputs, subject, redo).await?);
    }
    Ok(joined(&outputs))
}

/// Opens every database to its administrators and looks whether each is what it shall be. All stand at their points before one is opened.
async fn all_opened(runs: &[Run<'_>]) -> Result<(), StepError> {
    for run in runs {
        run.placed().await?;
    }
    for run in runs {
        run.opened().await?;
    }
    for run in runs {
        run.proved().await?;
    }
    Ok(())
}

fn is_there(database: &Identifier) -> StepError {
    StepError::new("restore.exists", format!("database {database} is there already"))
        .help("say `replace: true` to destroy it, or restore `into:` another name")
}

/// The databases under the names that they are restored under. Which way that goes is noted before anything is done.
async fn on_its_way(
    ctx: &Ctx,
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    subjects: Vec<Subject>,
    asked: bool,
) -> Result<Vec<Subject>, StepError> {
    if inputs.way() == Some(Strategy::InPlace) {
        return Ok(subjects);
    }
    let mut noted = Decision::noted(ctx);
    if let (Some(decision), false) = (&noted, asked) {
        // A step that is run again on purpose finds nothing left to do of what was decided then.
        let mut is_over = true;
        for subject in decision.applied(subjects.clone()) {
            is_over &= subject.noted.is_swapping && is_swapped(server.session(), inputs, &subject).await?;
        }
        noted = noted.filter(|decision| !is_over || decision.swaps.is_empty());
    }
    let decision = match noted {
        Some(decision) => return Ok(decision.applied(subjects)),
        None => {
            for subject in subjects.iter().filter(|_| !inputs.replaces()) {
                if AccessFacts::ask(server.session(), &subject.database).await?.is_some() {
                    return Err(is_there(&subject.database));
                }
            }
            let decision = decided(server, inputs, &subjects).await?;
            ctx.note(note(&decision)).await?;
            decision
        }
    };
    ctx.log(format!("restoring {}: {}", decision.word(), decision.why));
    // What an earlier restore of this step noted is over.
    let fresh = |subject: Subject| Subject {
        noted: Noted { stop: subject.noted.stop, ..Noted::default() },
        ..subject
    };
    Ok(decision.applied(subjects).into_iter().map(fresh).collect())
}

/// Gives every database its name, and lets everybody in where the plan does not say otherwise.
async fn ended(
    ctx: &Ctx,
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    subjects: &[Subject],
) -> Result<(), StepError> {
    for subject in subjects {
        swapped(ctx, server, inputs, subject).await?;
    }
    let keeps_out = inputs.restricted_user.known()? == &true || inputs.standby.known()?.is_some();
    for subject in subjects.iter().filter(|_| !keeps_out) {
        admitted(server.session(), subject.name()).await?;
    }
    Ok(())
}

/// Where the log stood once every set was restored, as it was noted then.
fn noted_redo(subject: &Subject) -> Option<Lsn> {
    let all = subject.chain.pieces.len();
    subject.noted.applied.as_ref().filter(|applied| applied.sets == all)?.redo_lsn
}

/// The names of the databases in the order in which every run locks them, so that two never wait for one another.
fn in_order(subjects: &[Subject]) -> Vec<&str> {
    let mut names: Vec<&str> = subjects.iter().map(|subject| subject.name().as_str()).collect();
    names.sort_unstable_by_key(|name| name.to_lowercase());
    names
}

/// Brings every database to its point; where each log then stands. When one fails, the others are brought there all the same, unless
/// nobody knows what the server does: the next attempt then has only the failed one to do.
async fn all_brought(runs: &[Run<'_>]) -> Result<Vec<Option<Lsn>>, StepError> {
    let (mut redos, mut failed, mut there) = (Vec::new(), None, Vec::new());
    for run in runs {
        match run.brought().await {
            Ok(redo) => {
                there.push(run.subject.database.as_str());
                redos.push(redo);
            }
            Err(error) if error.unknown || error.transient => return Err(error),
            Err(error) => failed = failed.or(Some((error, run.subject))),
        }
    }
    match failed {
        None => Ok(redos),
        Some((error, subject)) if subject.is_member => {
            let others = match there.as_slice() {
                [] => "no other database of the group is at the mark".to_owned(),
                there => format!(
                    "{} of the group stand RESTORING at the mark, and a resume goes on with {}",
                    there.join(", "),
                    subject.database
                ),
            };
            let help = error.help.clone().map_or(others.clone(), |help| format!("{help}; {others}"));
            Err(error.help(help))
        }
        Some((error, _)) => Err(error),
    }
}

/// Whether what is there was left by this step: RESTORING, as its restore had begun.
fn is_own(subject: &Subject, ready: &Ready) -> bool {
    let is_restoring = ready.existing.as_ref().is_some_and(|facts| facts.state == State::Restoring);
    subject.noted.begun.is_some() && is_restoring
}

/// What there is of a database's restore: how many sets of it an earlier attempt has restored, and whether it has opened it.
async fn looked(
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    subject: &Subject,
    asked: bool,
) -> Result<(Ready, Option<usize>, bool), StepError> {
    let here = match (subject.noted.begun.is_some(), inputs.replaces()) {
        (false, false) => {
            let facts = DatabaseFacts::ask(server.session(), &subject.database).await?;
            waiting(&subject.chain, facts.as_ref()).unwrap_or(Standing::Nothing)
        }
        _ => stands(server, subject).await?,
    };
    let access = AccessFacts::ask(server.session(), &subject.database).await?;
    let is_standby = access.as_ref().is_some_and(|access| access.is_standby);
    let all = subject.chain.pieces.len();
    // What another attempt of this step left half done is gone on with, whether or not somebody asked how far it was. An open database is
    // only taken for done when it was asked about, or has not proved itself: a step may be run again on purpose.
    let done = match here {
        Standing::Sets(done) => Some(done),
        Standing::Recovered if asked || subject.noted.is_unproved => Some(all),
        Standing::Unclear(why) if asked || is_standby => {
            return Err(StepError::new("restore.unclear", why).help(
                "look at the database; `drydock resume RUN --redo STEP` restores it from the full backup again",
            ));
        }
        _ => None,
    };
    let wants_standby = inputs.standby.value().is_some_and(Option::is_some);
    let is_online = access.is_some_and(|access| access.is_online());
    let is_open = match wants_standby {
        true => done == Some(all) && is_standby,
        false => done.is_some() && is_online,
    };
    let ready = match Ready::ask(server, subject, inputs).await {
        Ok(ready) => ready,
        Err(error) => return Err(closed_again(server, subject, error).await),
    };
    Ok((ready, done, is_open))
}

/// An error before the first statement, where an earlier attempt may have closed the database for what can now not even begin.
async fn closed_again(server: &SqlServerConnection, subject: &Subject, error: StepError) -> StepError {
    let session = server.session();
    let facts = DatabaseFacts::ask(session, &subject.database).await;
    let is_closed = matches!(facts, Ok(Some(facts)) if facts.state == State::Offline);
    match subject.noted.begun.as_ref().and_then(|begun| begun.was.clone()) {
        Some(was) if is_closed && !error.unknown && !error.transient => {
            put_back(session, &subject.database, Some(&was), error).await
        }
        _ => error,
    }
}

/// Where the server says that a restore stands.
async fn stands(server: &SqlServerConnection, subject: &Subject) -> Result<Standing, StepError> {
    let facts = DatabaseFacts::ask(server.session(), &subject.database).await?;
    let newest = Restored::newest(server.session(), &subject.database).await?;
    Ok(standing(&subject.chain, &subject.noted, facts.as_ref(), newest.as_ref()))
}

/// What became of an attempt that was begun.
///
/// # Errors
/// What the server says.
pub(super) async fn reconciled(
    ctx: &Ctx,
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
) -> Result<Reconciled, StepError> {
    let subjects = known_subjects(ctx, server, inputs).await?;
    let subjects = match Decision::noted(ctx) {
        Some(decision) => decision.applied(subjects),
        None => subjects,
    };
    if !running(server, &ctx.attempt, Work::Media).await?.is_empty() {
        return Ok(Reconciled::Busy(1000));
    }
    // The lost session holds its locks for as long as it works, also where the login may not see other sessions.
    for name in in_order(&subjects) {
        match locks::take(server.session(), name, LockClass::Exclusive, Patience::None).await {
            Err(error) if error.code == "locked" => return Ok(Reconciled::Busy(1000)),
            taken => taken?,
        }
    }
    let (mut outputs, mut standings, mut any) = (Vec::new(), Vec::new(), false);
    for subject in &subjects {
        if subject.noted.is_swapping {
            any = true;
            let is_open = is_as_wanted(server, inputs, subject).await?;
            if is_open && is_swapped(server.session(), inputs, subject).await? {
                outputs.push(output(server, inputs, subject, noted_redo(subject)).await?);
            }
            standings.push((subject.name().as_str().to_owned(), json!("swapping")));
            continue;
        }
        let facts = DatabaseFacts::ask(server.session(), &subject.database).await?;
        if facts.as_ref().is_some_and(|facts| facts.state == State::Recovering) {
            return Ok(Reconciled::Busy(1000));
        }
        let was_open =
            subject.noted.begun.as_ref().is_some_and(|begun| begun.was.as_deref() != Some("OFFLINE"));
        let closed = was_open && facts.as_ref().is_some_and(|facts| facts.state == State::Offline);
        let here = stands(server, subject).await?;
        // A full backup that was cut off in its middle leaves nothing to go on with, and has destroyed what was there.
        let was = subject.noted.begun.as_ref().and_then(|begun| begun.was.as_deref());
        let is_cut = subject.noted.begun.is_some()
            && was != Some("RESTORING")
            && facts.as_ref().is_some_and(|facts| facts.state == State::Restoring);
        any |= here != Standing::Nothing || closed || is_cut;
        if is_finished(server, inputs, subject, &here).await? {
            outputs.push(output(server, inputs, subject, noted_redo(subject)).await?);
        }
        // Where it is unclear the next attempt fails and says why: the server was asked, and a person would know no more than it.
        standings.push((subject.name().as_str().to_owned(), json!(here)));
    }
    Ok(match (any, outputs.len() == subjects.len()) {
        (false, _) => Reconciled::NotDone,
        (true, true) => Reconciled::Done(joined(&outputs)),
        (true, false) if inputs.is_group() => {
            Reconciled::Partly(Value::Object(standings.into_iter().collect()))
        }
        (true, false) => {
            Reconciled::Partly(standings.into_iter().next().map_or(Value::Null, |(_, here)| here))
        }
    })
}

/// Whether nothing is left to be done with a database.
async fn is_finished(
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    subject: &Subject,
    here: &Standing,
) -> Result<bool, StepError> {
    let Some(access) = AccessFacts::ask(server.session(), &subject.database).await? else { return Ok(false) };
    if subject.patient.is_some() {
        return Ok(false);
    }
    if inputs.standby.value().is_some_and(Option::is_some) {
        return Ok(access.is_standby && *here == Standing::Sets(subject.chain.pieces.len()));
    }
    if *here != Standing::Recovered {
        return Ok(false);
    }
    if access.is_open_to_all() {
        return Ok(true);
    }
    let restricted = inputs.restricted_user.value() == Some(&true);
    Ok(restricted && proved(server.session(), &subject.database, &subject.chain).await.is_ok())
}

/// Whether those may enter a database who shall.
async fn is_as_wanted(
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    subject: &Subject,
) -> Result<bool, StepError> {
    let restricted = inputs.restricted_user.value() == Some(&true);
    let access = AccessFacts::ask(server.session(), subject.name()).await?;
    Ok(access.is_some_and(|access| access.is_online() && access.is_open_to_all() != restricted))
}

/// The outputs for one database.
async fn output(
    server: &SqlServerConnection,
    inputs: &RestoreInputs,
    subject: &Subject,
    redo: Option<Lsn>,
) -> Result<Value, StepError> {
    let access = AccessFacts::ask(server.session(), subject.name()).await?;
    let old = match &subject.patient {
        Some((_, old)) if keeps(inputs) => {
            AccessFacts::ask(server.session(), old).await?.map(|_| old.as_str())
        }
        _ => None,
    };
    let (mark, lsn) = match &subject.chain.stop {
        Stop::Mark(mark) => (mark.name.clone(), Some(mark.lsn.to_string())),
        Stop::End | Stop::At { .. } => (None, None),
    };
    let is_standby = access.as_ref().is_some_and(|access| access.is_standby);
    Ok(json!({
        "database": subject.name().as_str(),
        "strategy": if subject.patient.is_some() { Strategy::Beside } else { Strategy::InPlace },
        "kept_as": old,
        "state": if is_standby { "STANDBY" } else { "ONLINE" },
        "user_access": access.map(|access| access.user_access),
        "redo_lsn": redo.map(|lsn| lsn.to_string()),
        "restored": subject.chain.pieces.len(),
        "recovered_to": clock(subject.chain.recovers_to),
        "mark": mark,
        "mark_lsn": lsn,
    }))
}

/// The outputs of all: those of one database are the step's own.
fn joined(outputs: &[Value]) -> Value {
    let databases: Map<String, Value> =
        outputs.iter().map(|one| (text(one, "database").to_owned(), one.clone())).collect();
    let Some(Value::Object(mut all)) = outputs.first().cloned() else { return Value::Null };
    if outputs.len() > 1 {
        let names: Vec<&str> = outputs.iter().map(|one| text(one, "database")).collect();
        let sets = outputs.iter().filter_map(|one| one.get("restored")?.as_u64()).sum::<u64>();
        let latest = outputs.iter().map(|one| text(one, "recovered_to")).max().unwrap_or_default();
        all.insert("database".into(), names.join(", ").into());
        all.insert("restored".into(), sets.into());
        all.insert("recovered_to".into(), latest.into());
        // Each has places of its own.
        all.insert("redo_lsn".into(), Value::Null);
        all.insert("mark_lsn".into(), Value::Null);
    }
    all.insert("databases".into(), Value::Object(databases));
    Value::Object(all)
}

fn text<'a>(one: &'a Value, key: &str) -> &'a str {
    one.get(key).and_then(Value::as_str).unwrap_or_default()
}
