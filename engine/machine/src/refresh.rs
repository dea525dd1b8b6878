//! Keeping the [`Agenda`](crate::agenda::Agenda) in line with what a machine remembers, one instance at a time.

use std::collections::BTreeSet;

use drydock_plan::model::StepIx;

use crate::agenda::CANCEL_GRACE;
use crate::attempt::LiveKey;
use crate::machine::Machine;
use crate::moment::Moment;

impl Machine {
    /// Bring the agenda in line with what is remembered of an instance.
    pub(crate) fn refresh(&mut self, live: LiveKey) {
        let instance = &self.steps[live.step.ix()].instances[live.instance as usize];
        let attempt = instance.live();
        let (is_live, rests) = (attempt.is_some(), attempt.is_some_and(|attempt| attempt.rests()));
        let ended = instance.status.is_some();
        let waits = !is_live && !ended && instance.retry_at.is_some();
        let (was_set, alarm) = (instance.alarm, self.alarm_of(live));
        let took = self.agenda.live.contains(&live) && !self.agenda.resting.contains(&live);

        let state = &mut self.steps[live.step.ix()];
        state.taken = state.taken + u32::from(is_live && !rests) - u32::from(took);
        state.instances[live.instance as usize].alarm = alarm;
        let agenda = &mut self.agenda;
        put(&mut agenda.live, live, is_live);
        put(&mut agenda.resting, live, rests);
        put(&mut agenda.waiting, live, waits);
        if is_live || ended || waits {
            agenda.ready.remove(&live);
        }
        if was_set != alarm {
            if let Some(at) = was_set {
                agenda.alarms.remove(&(at, live));
            }
            agenda.alarms.extend(alarm.map(|at| (at, live)));
        }
    }

    /// The same for all instances of all steps.
    pub(crate) fn refresh_all(&mut self) {
        for ix in self.plan.indices() {
            for instance in self.keys_of(ix) {
                self.refresh(instance);
            }
        }
    }

    /// Take a step's instances off the agenda: others come in their places.
    pub(crate) fn forget(&mut self, ix: StepIx) {
        for live in self.keys_of(ix) {
            let alarm = self.instance_mut(live).alarm.take();
            alarm.map(|at| self.agenda.alarms.remove(&(at, live)));
            for set in [
                &mut self.agenda.live,
                &mut self.agenda.resting,
                &mut self.agenda.ready,
                &mut self.agenda.waiting,
            ] {
                set.remove(&live);
            }
        }
        self.steps[ix.ix()].taken = 0;
    }

    /// The instances of a step.
    pub(crate) fn keys_of(&self, step: StepIx) -> impl Iterator<Item = LiveKey> + use<> {
        let count = u32::try_from(self.steps[step.ix()].instances.len()).unwrap_or(u32::MAX);
        (0..count).map(move |instance| LiveKey { step, instance })
    }

    /// When something is due for an instance: its next try, the next question to the server, its timeout, the end of its grace.
    fn alarm_of(&self, live: LiveKey) -> Option<Moment> {
        let instance = self.instance(live);
        let Some(attempt) = instance.live() else {
            return instance.retry_at.filter(|_| instance.status.is_none());
        };
        if attempt.rests() {
            None
        } else if attempt.is_asked_about(self.sitting) {
            attempt.ask_at
        } else if let Some((asked, _)) = attempt.cancel {
            Some(asked.plus(CANCEL_GRACE))
        } else {
            self.plan.step(live.step).timeout.map(|timeout| attempt.started_at.plus(timeout))
        }
    }
}

fn put(set: &mut BTreeSet<LiveKey>, live: LiveKey, is_in: bool) {
    if is_in {
        set.insert(live);
    } else {
        set.remove(&live);
    }
}
