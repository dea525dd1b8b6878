//! Executing attempts: [`Executor`] calls kinds on the runtime's workers, those that answer at once where it stands, and sends what they
//! say to the loop.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::Sender;
use std::task::{Context, Waker};

use drydock_machine::{Ended, Failure, Verdict, Work};
use drydock_plan::duration::Millis;
use drydock_plan::name::Name;
use drydock_step::kind::OwnedGiven;
use drydock_step::{Ctx, Facts, Given, Kind, Preflight, Reconciled, StepError};
use futures_util::FutureExt;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::bound::{BoundStep, Difference, as_reviewed, in_words};
use crate::children::CancelSignal;
use crate::host::AttemptHost;
use crate::message::Message;
use crate::services::Services;
use crate::world::{KillAt, KillPhase};

/// The most that an attempt's outputs may be, as JSON.
const OUTPUT_LIMIT: usize = 1024 * 1024;

/// Calls kinds.
pub struct Executor {
    pub(crate) services: Arc<Services>,
    runtime: Handle,
}

impl Executor {
    /// That runs on this runtime.
    pub fn new(services: Arc<Services>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { services, runtime })
    }

    /// Execute an attempt and send what it says. What a kind says at once is sent before this returns.
    pub(crate) fn execute(self: &Arc<Self>, work: Work, cancel: CancelSignal, inbox: Sender<Message>) {
        let immediate =
            self.services.world.registry.kind_named(work.kind).is_some_and(|kind| kind.is_immediate());
        let mut executed = Box::pin(self.clone().executed(work, cancel, inbox));
        if immediate {
            let _entered = self.runtime.enter();
            if executed.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                return;
            }
        }
        // The others, and one that waits after all, for a secret, go on on a worker.
        self.runtime.spawn(executed);
    }

    async fn executed(self: Arc<Self>, work: Work, cancel: CancelSignal, inbox: Sender<Message>) {
        let instance = work.attempt.instance();
        let (n, body) = (work.attempt.n, work.attempt.check.is_none());
        if body {
            KillAt::strike(self.services.world.kill.as_ref(), &instance, n, KillPhase::Begun);
        }
        let result = AssertUnwindSafe(self.call(&work, &cancel, &inbox)).catch_unwind().await;
        let ended = match result {
            Ok(Ok(drydock_step::Ended::Outputs(outputs))) => self.outputs(outputs),
            Ok(Ok(drydock_step::Ended::Waits(message))) => Ended::Waits(self.services.redact_text(&message)),
            Ok(Err(error)) => self.failure(error, &cancel),
            Err(panic) => Ended::Failed(Failure::new(
                "panic",
                format!("the kind panicked: {}", panic_words(panic.as_ref())),
            )),
        };
        if body {
            KillAt::strike(self.services.world.kill.as_ref(), &instance, n, KillPhase::Done);
        }
        // The loop is gone when the journal could not be written: nobody listens any more.
        let _ = inbox.send(Message::Returned(work.attempt, ended));
    }

    /// Ask about an attempt and send the answer.
    pub(crate) fn reconcile(self: &Arc<Self>, work: Work, cancel: CancelSignal, inbox: Sender<Message>) {
        let this = self.clone();
        self.runtime.spawn(async move {
            let asked = async {
                let (kind, ctx, given) = this.prepare(&work, &cancel, &inbox).await?;
                kind.reconcile(&ctx, given).await
            };
            let answer = match AssertUnwindSafe(asked).catch_unwind().await {
                Ok(answer) => {
                    answer.map(|verdict| this.verdict(verdict)).map_err(|error| this.redacted(error))
                }
                Err(panic) => {
                    Err(StepError::internal(format!("the kind panicked: {}", panic_words(panic.as_ref()))))
                }
            };
            let _ = inbox.send(Message::Reconciled(work.attempt, answer));
        });
    }

    /// Ask the server to stop an attempt. Its own answer tells how that went.
    pub(crate) fn cancel(self: &Arc<Self>, work: Work, inbox: Sender<Message>) {
        let this = self.clone();
        self.runtime.spawn(async move {
            let token = CancelSignal::pair().1;
            let asked = async {
                let (kind, ctx, given) = this.prepare(&work, &token, &inbox).await?;
                kind.cancel(&ctx, given).await
            };
            if let Ok(Err(error)) = AssertUnwindSafe(asked).catch_unwind().await {
                let line =
                    format!("it could not be asked to stop: {}", this.services.redact_text(&error.message));
                let _ = inbox.send(Message::Sample(work.attempt, drydock_step::Sample::Log(line)));
            }
        });
    }

    async fn call(
        self: &Arc<Self>,
        work: &Work,
        cancel: &CancelSignal,
        inbox: &Sender<Message>,
    ) -> Result<drydock_step::Ended, StepError> {
        let (kind, ctx, given) = self.prepare(work, cancel, inbox).await?;
        // What an earlier try left half done is asked about by reconciling; a step that begins is looked at before it changes anything.
        let begins = work.attempt.check.is_none() && work.from.is_none() && work.notes.is_empty();
        let mut facts = Facts::Null;
        if begins && !kind.is_immediate() {
            facts = looked_at(kind, &ctx, &given, &self.services.world.forced_past).await?;
        }
        let instance = work.attempt.instance();
        let bound = self.services.site.bound.as_ref().filter(|_| work.attempt.check.is_none());
        match bound.and_then(|bound| bound.of(&instance)) {
            Some(BoundStep { answer: Some(_), .. }) => {
                let answer = self.services.asked(&instance, kind, &ctx, (*given.with).clone()).await?;
                if answer.1.is_empty() { Ok(answer.0) } else { Err(differs(&answer.1)) }
            }
            Some(step) if begins => {
                self.is_as_reviewed(work, kind, &given, step, &facts)?;
                kind.execute(&ctx, given, work.from.as_ref()).await
            }
            _ => kind.execute(&ctx, given, work.from.as_ref()).await,
        }
    }

    /// Whether a step does what was reviewed, before it does anything.
    fn is_as_reviewed(
        &self,
        work: &Work,
        kind: &dyn Kind,
        given: &OwnedGiven,
        reviewed: &BoundStep,
        facts: &Facts,
    ) -> Result<(), StepError> {
        let facts = if reviewed.facts { facts } else { &Facts::Null };
        let target = work.target.as_ref().map(Name::as_str);
        let actions = kind.actions(target, &Given { with: &given.with, fill: None }, facts)?;
        let found = as_reviewed(&work.attempt.instance(), &reviewed.actions, &actions);
        if found.is_empty() { Ok(()) } else { Err(differs(&found)) }
    }

    /// The kind of an attempt, its context, and its inputs with the holes' values at hand.
    async fn prepare(
        self: &Arc<Self>,
        work: &Work,
        cancel: &CancelSignal,
        inbox: &Sender<Message>,
    ) -> Result<(&dyn Kind, Ctx, OwnedGiven), StepError> {
        let kind = self
            .services
            .world
            .registry
            .kind_named(work.kind)
            .ok_or_else(|| StepError::internal(format!("there is no kind {}", work.kind)))?;
        let names: Vec<String> =
            work.inputs.values().flat_map(drydock_plan::rendered::Rendered::secrets).collect();
        let fill = self.services.secret_values(&names).await?.fill();
        let attempt: Arc<str> = format!("{}/{}", self.services.site.run, work.attempt.id()).into();
        let host = AttemptHost {
            services: self.services.clone(),
            attempt: work.attempt.clone(),
            attempt_id: attempt.clone(),
            anew: work.anew,
            cancel: cancel.clone(),
            inbox: inbox.clone(),
            noted: AtomicU32::new(0),
        };
        let ctx = Ctx {
            run: self.services.site.run.clone(),
            plan: self.services.plan.name.as_str().into(),
            digest: self.services.plan.digest.to_string().into(),
            environment: self.services.plan.environment.as_ref().map(|bound| bound.name.as_str().into()),
            step: work.attempt.instance().into(),
            attempt,
            target: work.target.as_ref().map(|target| target.as_str().into()),
            folder: self.services.site.plan_folder.clone(),
            run_started_ms: self.services.site.run_started_ms,
            sitting: self.services.site.sitting,
            by: self.services.site.by.clone(),
            notes: Arc::new(work.notes.clone()),
            host: Arc::new(host),
        };
        Ok((kind, ctx, OwnedGiven { with: work.inputs.clone(), fill: Some(fill) }))
    }

    fn outputs(&self, outputs: Value) -> Ended {
        let outputs = self.services.redact_json(outputs);
        match serde_json::to_vec(&outputs).map(|bytes| bytes.len()) {
            Ok(len) if len <= OUTPUT_LIMIT => Ended::Outputs(outputs),
            Ok(len) => {
                let message = format!(
                    "its outputs are {len} bytes long; more than 1 MiB belongs into an artifact or a file"
                );
                Ended::Failed(Failure::new("output.large", message))
            }
            Err(error) => {
                Ended::Failed(Failure::new("internal", format!("its outputs are no JSON: {error}")))
            }
        }
    }

    fn failure(&self, error: StepError, cancel: &CancelSignal) -> Ended {
        if error.code == "cancelled" && cancel.is_asked() && !error.unknown {
            return Ended::Cancelled;
        }
        let StepError { code, message, help, detail, transient, unknown } = self.redacted(error);
        let failure = Failure { code, message, help, detail, transient };
        if unknown { Ended::Unclear(failure) } else { Ended::Failed(failure) }
    }

    fn redacted(&self, error: StepError) -> StepError {
        self.services.redact_error(error)
    }

    fn verdict(&self, reconciled: Reconciled) -> Verdict {
        match reconciled {
            Reconciled::Done(outputs) => Verdict::Done(self.services.redact_json(outputs)),
            Reconciled::NotDone => Verdict::NotDone,
            Reconciled::Partly(progress) => Verdict::Partly(self.services.redact_json(progress)),
            Reconciled::Busy(ms) => Verdict::Busy(Millis(ms)),
            Reconciled::Unknown(why) => Verdict::Unknown(self.services.redact_text(&why)),
        }
    }
}

/// The failure of a step that would not do what was reviewed.
fn differs(found: &[Difference]) -> StepError {
    let message = format!("nothing was done: it is not what was reviewed\n{}", in_words(found).trim_end());
    StepError::new("saved.differs", message).help(
        "make the dry run anew, review it, and run that; a run without `--saved` does what there is to do now",
    )
}

/// Whether a step can work, now that all its inputs are known: a fatal finding is its failure, before anything was changed, unless the run
/// was forced past its code. What was learned.
///
/// # Errors
/// The first fatal finding.
async fn looked_at(
    kind: &dyn Kind,
    ctx: &Ctx,
    given: &OwnedGiven,
    forced_past: &[String],
) -> Result<Facts, StepError> {
    let Preflight { facts, findings: found } =
        match ctx.or_cancelled(kind.preflight(ctx, given.clone())).await {
            Ok(preflight) => preflight,
            Err(error) if error.code == "cancelled" => return Err(error),
            // What cannot be asked beforehand is found out by doing it.
            Err(error) => {
                ctx.log(format!("it could not be looked at beforehand: {}", error.message));
                return Ok(Facts::Null);
            }
        };
    let (fatal, notes): (Vec<_>, Vec<_>) = found.into_iter().partition(|finding| finding.fatal);
    for note in notes {
        ctx.log(format!("note: {} [{}]", note.message, note.code));
    }
    let (passed, fatal): (Vec<_>, Vec<_>) =
        fatal.into_iter().partition(|finding| is_forced(forced_past, &finding.code));
    for finding in passed {
        ctx.log(format!("forced past: {} [{}]", finding.message, finding.code));
    }
    // Who holds a lock may be gone when it is taken: a retry waits for that.
    let fatal: Vec<_> = fatal.into_iter().filter(|finding| finding.code != "locked").collect();
    let mut fatal = fatal.into_iter();
    let Some(first) = fatal.next() else { return Ok(facts) };
    let others: Vec<String> = fatal.map(|other| format!("; {} [{}]", other.message, other.code)).collect();
    let message = format!("nothing was done: {}{}", first.message, others.concat());
    let (code, help) = (first.code, first.help);
    Err(StepError { code, message, help, detail: None, transient: false, unknown: false })
}

/// Whether a run was forced past findings of a code.
pub fn is_forced(forced_past: &[String], code: &str) -> bool {
    forced_past.iter().any(|forced| forced.eq_ignore_ascii_case(code))
}

fn panic_words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a word")
}
