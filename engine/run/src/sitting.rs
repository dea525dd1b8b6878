//! One process working on one run: [`Sitting::run`], the loop that turns everything that happens into inputs of the machine, makes each
//! batch of events durable, and only then lets anything follow from it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use drydock_machine::{AttemptRef, Exit, Input, LiveKey, Machine, Moment, RunEvent, Verdict, Wanted};
use drydock_plan::duration::Millis;
use drydock_step::StepError;
use tokio::sync::oneshot;

use crate::attempts::Executor;
use crate::children::{CancelSignal, Canceller};
use crate::journal::{Journal, JournalError};
use crate::message::Message;
use crate::reporter::Reporter;

/// How often the server is asked about an attempt, with growing pauses, before nobody can say what it did.
const RECONCILE_TRIES: u32 = 5;

/// How long running attempts may take to stop once the journal cannot be written.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How a sitting ended.
#[derive(Debug)]
pub enum SittingEnd {
    /// With this exit; its events are in the journal.
    Over(Exit),
    /// Somebody interrupted for the third time: left as it was.
    Left,
    /// The journal could not be written.
    Journal(JournalError),
}

/// A sitting.
pub struct Sitting<'a> {
    /// The run.
    pub machine: &'a mut Machine,
    /// Its journal.
    pub journal: Journal,
    /// Executes attempts.
    pub executor: Arc<Executor>,
    /// Who listens.
    pub reporters: &'a mut [Box<dyn Reporter>],
    /// Where messages arrive; attempts and signals have the other end.
    pub inbox: Receiver<Message>,
    /// The other end, for attempts.
    pub outbox: Sender<Message>,
    running: HashMap<LiveKey, Running>,
    notes: Vec<oneshot::Sender<()>>,
    /// How often a server could not be asked about an attempt.
    unanswered: HashMap<AttemptRef, u32>,
    interrupts: u32,
}

/// What is being done about one attempt.
struct Running {
    attempt: AttemptRef,
    canceller: Canceller,
    signal: CancelSignal,
    asked_to_stop: bool,
    reconciling: bool,
}

impl<'a> Sitting<'a> {
    /// A sitting that has not begun.
    pub fn new(
        machine: &'a mut Machine,
        journal: Journal,
        executor: Arc<Executor>,
        reporters: &'a mut [Box<dyn Reporter>],
        (outbox, inbox): (Sender<Message>, Receiver<Message>),
    ) -> Self {
        let (running, notes, unanswered) = (HashMap::new(), Vec::new(), HashMap::new());
        Self {
            machine,
            journal,
            executor,
            reporters,
            inbox,
            outbox,
            running,
            notes,
            unanswered,
            interrupts: 0,
        }
    }

    /// Work on the run until this sitting is over.
    pub fn run(mut self, begin: Input) -> SittingEnd {
        let mut inputs = vec![begin];
        loop {
            self.decide(std::mem::take(&mut inputs));
            let written = match self.make_durable() {
                Ok(written) => written,
                Err(error) => return self.give_up(error),
            };
            let left = self.interrupts >= 3;
            let wanted = self.machine.wanted();
            if !left && wanted.ended.is_none() {
                // Before anybody is told: what runs need not wait for who listens.
                self.dispatch(&wanted);
            }
            self.tell(&written);
            if left {
                return SittingEnd::Left;
            }
            if let Some(exit) = wanted.ended {
                return SittingEnd::Over(exit);
            }
            self.wait(wanted.wake_at, &mut inputs);
        }
    }

    fn now(&self) -> Moment {
        Moment((self.executor.services.world.clock)())
    }

    fn decide(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            let events = self.machine.on(self.now(), input);
            self.journal.push(self.machine.now(), events);
        }
    }

    /// Sync the batch; then, and only then, let those go on who noted something in it.
    fn make_durable(&mut self) -> Result<Vec<(u64, Moment, RunEvent)>, JournalError> {
        let written = self.journal.commit()?;
        for done in self.notes.drain(..) {
            // Whoever noted may be gone: cancelled, or answered already.
            let _ = done.send(());
        }
        Ok(written)
    }

    /// Tell everybody who listens what is durable.
    fn tell(&mut self, written: &[(u64, Moment, RunEvent)]) {
        for (seq, at, event) in written {
            for reporter in self.reporters.iter_mut() {
                reporter.event(*seq, *at, event);
            }
        }
    }

    /// Start what is wanted and not being done yet; forget what is no longer wanted.
    fn dispatch(&mut self, wanted: &Wanted) {
        let alive: HashSet<LiveKey> = wanted.start.iter().chain(&wanted.reconcile).copied().collect();
        self.running.retain(|live, _| alive.contains(live));
        for live in &wanted.start {
            self.start(*live);
        }
        for live in &wanted.reconcile {
            self.reconcile(*live);
        }
        for live in &wanted.cancel {
            if let Some(running) = self.running.get_mut(live).filter(|running| !running.asked_to_stop) {
                running.asked_to_stop = true;
                running.canceller.ask();
                if let Some(work) = self.machine.work(*live) {
                    self.executor.cancel(work, self.outbox.clone());
                }
            }
        }
    }

    fn start(&mut self, live: LiveKey) {
        let Some(attempt) = self.machine.live_attempt(live) else { return };
        if self.running.get(&live).is_some_and(|running| running.attempt == attempt) {
            return;
        }
        let Some(work) = self.machine.work(live) else { return };
        let running = Running::of(attempt);
        self.executor.execute(work, running.signal.clone(), self.outbox.clone());
        self.running.insert(live, running);
    }

    fn reconcile(&mut self, live: LiveKey) {
        let Some(attempt) = self.machine.live_attempt(live) else { return };
        let running = self.running.entry(live).or_insert_with(|| Running::of(attempt.clone()));
        if running.attempt != attempt {
            *running = Running::of(attempt);
        }
        if running.reconciling {
            return;
        }
        running.reconciling = true;
        let Some(work) = self.machine.work(live) else { return };
        self.executor.reconcile(work, running.signal.clone(), self.outbox.clone());
    }

    /// Wait for the first message, or for the time to come; then take all that have arrived.
    fn wait(&mut self, wake_at: Option<Moment>, inputs: &mut Vec<Input>) {
        let first = match wake_at {
            None => self.inbox.recv().ok(),
            Some(at) => {
                let left = at.since(self.now());
                self.inbox.recv_timeout(Duration::from_millis(left.0)).ok()
            }
        };
        if wake_at.is_some() {
            inputs.push(Input::Tick);
        }
        let mut next = first;
        while let Some(message) = next {
            self.take(message, inputs);
            next = self.inbox.try_recv().ok();
        }
    }

    fn take(&mut self, message: Message, inputs: &mut Vec<Input>) {
        match message {
            Message::Returned(attempt, ended) => inputs.push(Input::Returned(attempt, ended)),
            Message::Reconciled(attempt, answer) => inputs.push(self.reconciled(attempt, answer)),
            Message::Note { attempt, value, done } => {
                self.notes.push(done);
                inputs.push(Input::Noted(attempt, value));
            }
            Message::Sample(attempt, sample) => {
                for reporter in self.reporters.iter_mut() {
                    reporter.sample(&attempt, &sample);
                }
            }
            Message::Interrupt => {
                self.interrupts += 1;
                if self.interrupts > 1 {
                    self.running.values().for_each(|running| running.canceller.insist());
                }
                inputs.push(Input::Interrupt);
            }
        }
    }

    /// A server that cannot be asked now is asked again, a few times.
    fn reconciled(&mut self, attempt: AttemptRef, answer: Result<Verdict, StepError>) -> Input {
        if let Some(running) = self.running.values_mut().find(|running| running.attempt == attempt) {
            running.reconciling = false;
        }
        let tries = self.unanswered.entry(attempt.clone()).or_default();
        *tries = if answer.is_err() { *tries + 1 } else { 0 };
        let tries = *tries;
        let verdict = match answer {
            Ok(verdict) => verdict,
            Err(error) if error.transient && tries < RECONCILE_TRIES => Verdict::Busy(Millis(500 << tries)),
            Err(error) => Verdict::Unknown(format!("it could not be asked about: {}", error.message)),
        };
        Input::Reconciled(attempt, verdict)
    }

    /// The journal cannot be written: nothing new starts, what runs is asked to stop, and its last words are waited for.
    fn give_up(mut self, error: JournalError) -> SittingEnd {
        self.notes.clear();
        for running in self.running.values() {
            running.canceller.ask();
        }
        let mut open: HashSet<AttemptRef> =
            self.running.values().map(|running| running.attempt.clone()).collect();
        while !open.is_empty() {
            match self.inbox.recv_timeout(LAST_WORDS) {
                Ok(Message::Returned(attempt, _) | Message::Reconciled(attempt, _)) => {
                    open.remove(&attempt);
                }
                Ok(Message::Interrupt) | Err(_) => break,
                Ok(Message::Note { .. } | Message::Sample(..)) => {}
            }
        }
        SittingEnd::Journal(error)
    }
}

impl Running {
    fn of(attempt: AttemptRef) -> Self {
        let (canceller, signal) = CancelSignal::pair();
        Self { attempt, canceller, signal, asked_to_stop: false, reconciling: false }
    }
}

/// The events of a run in which nothing is executed: an approval between sittings.
///
/// # Errors
/// When the journal cannot be written.
pub fn record(
    machine: &mut Machine,
    journal: &mut Journal,
    at: Moment,
    input: Input,
) -> Result<Vec<RunEvent>, JournalError> {
    let events = machine.on(at, input);
    journal.push(at, events.clone());
    journal.commit()?;
    Ok(events)
}
