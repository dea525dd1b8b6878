//! A case put to the test: run uncut, then killed at each phase and resumed. Main function: [`hold`].

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Acting, Case, Phase};
use crate::effects::{Effects, assert_put_once, ledger, puts, step_asked};
use crate::masked;
use crate::postgres_server::os_user;
use crate::postgres_world::PostgresWorld;
use crate::practice::Practice;
use crate::world::{Ended, World, ended};

/// How long an answer may take to be held back, in steps of 5 ms.
const PATIENCE: u32 = 12_000;

/// How often a run is resumed until it ends, what it asks being answered.
const SITTINGS: usize = 4;

/// One run of a case, on servers of its own.
struct Trial<'a> {
    case: &'a Case,
    /// Said first when something is wrong.
    when: String,
    world: World,
    /// Lives as long as the trial.
    _servers: Option<Practice>,
    /// The same.
    _postgres: Option<PostgresWorld>,
}

/// What is left of a run that ended.
struct Left {
    effects: Effects,
    outputs: Value,
    journal: Vec<Value>,
}

/// The case holds: killed at any phase and resumed, its run did what it does uncut, and says what it says uncut.
pub(crate) fn hold(case: &Case) {
    let uncut = Trial::begin(case, None).uncut();
    let phases = phases(case, &uncut).into_iter();
    let cut: Vec<Effects> = phases.map(|phase| Trial::begin(case, Some(phase)).cut(phase, &uncut)).collect();
    for (name, _) in case.repeats {
        let repeated = cut.iter().any(|effects| effects.has_more(name, &uncut.effects));
        assert!(repeated, "{} never did `{name}` again: the case need not allow it", case.kind);
    }
}

/// The phases that this case has.
fn phases(case: &Case, uncut: &Left) -> Vec<Phase> {
    let mut phases = vec![Phase::Begun];
    // The first note and the last are the edges of what a kind can tell of itself.
    let notes = notes(&uncut.journal);
    phases.extend((notes > 0).then_some(Phase::Noted(1)));
    phases.extend((notes > 1).then_some(Phase::Noted(notes)));
    match case.acting {
        Acting::Held(requests) => phases.extend(requests.iter().map(|(op, nth)| Phase::Held(op, *nth))),
        Acting::HeldAndWithin(requests, (op, nth), done) => {
            phases.extend(requests.iter().map(|(op, nth)| Phase::Held(op, *nth)));
            phases.push(Phase::Within(op, nth, done));
        }
        Acting::HeldAndMiddle(requests) => {
            phases.extend(requests.iter().map(|(op, nth)| Phase::Held(op, *nth)));
            phases.extend(requests.first().map(|(op, _)| Phase::Middle(op)));
        }
        Acting::Program => phases.push(Phase::Working),
        Acting::Never(_) => {}
    }
    phases.push(Phase::Done);
    phases
}

/// How many notes the first attempt of the step made, or of its first instance.
fn notes(journal: &[Value]) -> usize {
    let is_note = |event: &&Value| event["event"] == "noted" && event["step"] == "step";
    let first = journal.iter().find(is_note).map(|event| &event["key"]);
    journal.iter().filter(is_note).filter(|event| Some(&event["key"]) == first).count()
}

impl<'a> Trial<'a> {
    fn begin(case: &'a Case, phase: Option<Phase>) -> Self {
        let world = World::plan(&case.text());
        let world = case.files.iter().fold(world, |world, (name, text)| world.write(name, text));
        let faults = match phase {
            Some(Phase::Held(op, nth)) => {
                let of = |attempt: &str| json!({ "attempt": attempt, "op": op, "nth": nth, "do": "hold" });
                Value::from(vec![of("r/step/1"), of("r/step[*]/1"), of("r-step/*/1")])
            }
            // Longer than anybody waits.
            Some(Phase::Within(op, nth, _)) => {
                json!([{ "attempt": "r/step/1", "op": op, "nth": nth, "do": "slow", "ms": 600_000 }])
            }
            Some(Phase::Middle(op)) => {
                json!([{ "attempt": "r/step/1", "op": op, "do": "slow", "ms": 600_000 }])
            }
            _ => json!([]),
        };
        let world = if phase == Some(Phase::Working) { world.write("patient", "") } else { world };
        let servers = case.data.as_ref().map(|data| Practice::start(&world, &faults, data, case.setup));
        let postgres = case.postgres.map(|script| PostgresWorld::start(&world, script));
        let port = postgres.as_ref().map_or(0, |postgres| postgres.port);
        let text = case.text().replace("{port}", &port.to_string());
        let bin = postgres.as_ref().map_or(String::new(), |postgres| postgres.bin());
        let text = text.replace("{bin}", &bin).replace("{os_user}", os_user().unwrap_or("null"));
        let world = world.write("plan.yaml", &text);
        let when = match phase {
            None => format!("{}, uncut", case.kind),
            Some(phase) => format!("{}, killed at {phase:?}", case.kind),
        };
        Self { case, when, world, _servers: servers, _postgres: postgres }
    }

    fn run(&self) -> String {
        let bound = self.case.data.is_some() || self.case.postgres.is_some();
        let environment = if bound { " -e env.yaml" } else { "" };
        format!("run plan.yaml --run-id r --no-progress{environment}")
    }

    /// The run without a kill. Its effect must be seen, or nothing could be found wrong later.
    fn uncut(self) -> Left {
        let first = self.world.drydock(&self.run());
        self.to_the_end(first, None);
        let left = self.left();
        let seen = left.effects.seen(self.case.seen, None);
        let when = &self.when;
        assert!(seen > 0, "{when}: no effect is seen in {:?}; the case could not fail", self.case.seen);
        match self.case.acting {
            Acting::Never(why) => {
                assert!(
                    !step_asked(&self.world),
                    "{when}: it asks a server, so that an answer can be held back, although {why}"
                )
            }
            Acting::Held(_) | Acting::HeldAndWithin(..) | Acting::HeldAndMiddle(_) | Acting::Program => {}
        }
        left
    }

    /// The run killed at a phase and resumed, compared with the uncut one.
    fn cut(self, phase: Phase, uncut: &Left) -> Effects {
        self.kill(phase);
        let at_kill = puts(&self.world);
        let done = Effects::of(&self.world);
        if phase == Phase::Begun {
            let seen = done.seen(self.case.seen, None);
            assert_eq!(seen, 0, "{}: it had done something before it was begun", self.when);
        }
        let resumed = self.world.drydock("resume r --no-progress");
        self.to_the_end(resumed, Some(phase));
        assert_put_once(&at_kill, &puts(&self.world), self.case.seen, &self.when);
        let left = self.left();
        self.assert_true(&done.with_ledger_of_first_attempts(&self.world), &left.journal);
        left.effects.assert_same(&uncut.effects, self.case, &self.when);
        // Nobody knows the outputs of what is only taken to be done.
        let lost = self.case.may_be_unknown() && phase.assumed() == "done";
        let expected = if lost { &Value::Null } else { &uncut.outputs };
        let mut wrong = Vec::new();
        masked::differences(&left.outputs, expected, "outputs", &mut wrong);
        let when = &self.when;
        assert!(
            wrong.is_empty(),
            "{when}, then resumed: it says something else than uncut\n{}",
            wrong.join("\n")
        );
        left.effects
    }

    /// What it says of the lost attempt is true: not NotDone where that has done something, and not Done where it has done nothing.
    fn assert_true(&self, done: &Effects, journal: &[Value]) {
        let verdicts =
            journal.iter().filter(|event| event["event"] == "reconciled" && event["step"] == "step");
        for event in verdicts {
            let (verdict, done) = (&event["verdict"], done.seen(self.case.seen, event["key"].as_str()));
            let (when, denies) = (&self.when, *verdict == "not_done" && self.case.not_done.is_none());
            assert!(
                !(denies && done > 0),
                "{when}: it says NotDone of an attempt that has done something ({done} effects are seen)"
            );
            let claims = verdict.get("done").is_some();
            assert!(
                !claims || done > 0,
                "{when}: it says Done of an attempt that has done nothing: {verdict}"
            );
        }
    }

    /// Runs it and sees it die.
    fn kill(&self, phase: Phase) {
        let mut command = self.world.command(&self.run());
        let place = match phase {
            Phase::Begun => Some("begun".to_owned()),
            Phase::Noted(n) => Some(format!("noted{n}")),
            Phase::Done => Some("done".to_owned()),
            Phase::Held(..) | Phase::Within(..) | Phase::Middle(_) | Phase::Working => None,
        };
        if let Some(place) = place {
            command.env("DRYDOCK_KILL_AT", format!("step:{place}"));
        }
        let ended = match phase {
            Phase::Held(..) => self.killed_when(command, "an answer was held back", |trial| {
                ledger(&trial.world).iter().any(|line| line["held"] == true)
            }),
            Phase::Within(_, _, done) => self.killed_when(command, "it was within a transaction", |trial| {
                ledger(&trial.world).iter().any(|line| line["op"] == done && line["attempt"] == "r/step/1")
            }),
            Phase::Middle(_) => self.killed_when(command, "it had begun to write", |trial| {
                puts(&trial.world).keys().any(|path| path.contains("_r_step_1."))
            }),
            Phase::Working => {
                self.killed_when(command, "its program worked", |trial| trial.world.path("held").exists())
            }
            _ => ended(&mut command),
        };
        let when = &self.when;
        assert_eq!(ended.code, None, "{when}: it ended by itself\n{}{}", ended.stdout, ended.stderr);
        if let Phase::Noted(n) = phase {
            // Two notes that are made at once become durable together.
            assert!(notes(&self.world.journal()) >= n, "{when}: it died elsewhere");
        }
    }

    /// Kills it from outside, without a word, once this is so.
    fn killed_when(
        &self,
        mut command: std::process::Command,
        what: &str,
        so: impl Fn(&Self) -> bool,
    ) -> Ended {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        for _ in 0..PATIENCE {
            if so(self) {
                child.kill().unwrap();
                break;
            }
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(so(self), "{}: it ended before {what}: {said}", self.when);
        Ended { code: output.status.code(), stdout: String::new(), stderr: said }
    }

    /// Resumes it until it has succeeded; what it asks a person is answered, each thing once.
    fn to_the_end(&self, mut ended: Ended, phase: Option<Phase>) {
        let (when, mut assumed) = (&self.when, false);
        for _ in 0..SITTINGS {
            if ended.code != Some(24) {
                break;
            }
            let journal = self.world.journal();
            let parked = journal.iter().rfind(|event| event["event"] == "parked").unwrap();
            let mut resume = "resume r --no-progress".to_owned();
            if parked["unknown"] == true {
                let message = parked["message"].as_str().unwrap_or_default();
                assert!(
                    self.case.may_be_unknown(),
                    "{when}: it says Unknown, which only process.run and http.request may: {message}"
                );
                let phase = phase
                    .unwrap_or_else(|| panic!("{when}: nobody killed it, and it says Unknown: {message}"));
                assert!(!assumed, "{when}: it says Unknown again after that was answered: {message}");
                assumed = true;
                resume.push_str(&format!(" --assume step={}", phase.assumed()));
            } else {
                drop(self.world.drydock("approve r step --as Ann --reason conformance").with_exit(0));
            }
            ended = self.world.drydock(&resume);
        }
        assert_eq!(ended.code, Some(0), "{when}: it does not succeed\n{}{}", ended.stdout, ended.stderr);
        // Also an answer that a plan gives by itself, with `on_unknown`, begins with this verdict.
        let unknown =
            |event: &&Value| event["event"] == "reconciled" && event["verdict"].get("unknown").is_some();
        if let Some(event) = self.world.journal().iter().find(unknown) {
            assert!(self.case.may_be_unknown(), "{when}: it says Unknown: {event}");
        }
    }

    fn left(&self) -> Left {
        let shown = self.world.shown();
        let steps = shown["steps"].as_object().unwrap().iter();
        let own = |(name, _): &(&String, &Value)| name.as_str() == "step" || name.starts_with("step[");
        // Where this world's folder lies is drawn anew as well.
        let here = self.world.path("").display().to_string();
        let outputs = |step: &Value| -> Value {
            let text = step["outputs"].to_string().replace(here.trim_end_matches('/'), "HERE");
            masked::value(&serde_json::from_str(&text).unwrap())
        };
        let outputs: Vec<Value> = steps.filter(own).map(|(_, step)| outputs(step)).collect();
        let outputs = match <[Value; 1]>::try_from(outputs) {
            Ok([one]) => one,
            Err(several) => Value::from(several),
        };
        Left { effects: Effects::of(&self.world), outputs, journal: self.world.journal() }
    }
}
