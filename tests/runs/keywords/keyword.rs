//! One key of the language, tried at every stage: [`Keyword`]. `keywords!` makes four tests of it: `check`, `dry_run`, `run`, `resume`.
//!
//! A keyword is a plan with what must come of it. The plan has a step `gate` that succeeds once the file `open` is there. `run` opens
//! it beforehand; `resume` lets the run fail at it, opens it, and expects of the second sitting what `run` expects of the only one.

use serde_json::Value;

use super::server::Server;
use crate::world::{Ended, World};

/// A step for plans to begin with; what needs it waits for the second sitting in `resume`.
pub(super) const GATE: &str = "gate: { uses: process.run, with: { argv: [test, -e, open] } }";

/// A part of a text and what stands there instead.
type Edit = (&'static str, &'static str);

/// A change with which it is refused, the code and words of the finding.
type Wrong = (Edit, &'static str, &'static str);

/// Something that a stage is tried by.
type Trial = fn(&Keyword);

/// What must come of a run.
enum Expected {
    /// A value of `runs show`, by its JSON pointer.
    Shown(&'static str, Value),
    /// A value of `runs show` that is not there.
    Absent(&'static str),
    /// A file of the folder.
    File(&'static str, &'static str),
    /// Words of a warning of the run.
    Warned(&'static str),
    /// The JSON on standard output.
    Told(Value),
    /// How many attempts were open at once, at most.
    AtOnce(usize),
    /// The times between a failure and the next try, in milliseconds.
    Delays(&'static [i64]),
}

/// A key of the language with a plan that uses it.
pub(super) struct Keyword {
    plan: String,
    files: Vec<(&'static str, String)>,
    flags: String,
    checked: &'static str,
    refused: Vec<Wrong>,
    dry: Vec<(&'static str, Value)>,
    dry_alike: Vec<Edit>,
    exit: i32,
    expected: Vec<Expected>,
    before: Vec<(&'static str, Value)>,
    run_alike: Vec<Edit>,
    tried_by: Vec<(Stage, Trial)>,
}

/// When a keyword is tried.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stage {
    DryRun,
    Run,
    Resume,
}

impl Keyword {
    /// Of a plan with these lines at its top, and the gate before these steps.
    pub(super) fn of_plan(top: &str, steps: &[&str]) -> Self {
        let steps: String = steps.iter().map(|step| format!("  {step}\n")).collect();
        let plan = format!("drydock: v1\nname: p\n{top}\nsteps:\n  {GATE}\n{steps}");
        Self {
            plan,
            files: Vec::new(),
            flags: String::new(),
            checked: "plan.yaml",
            refused: Vec::new(),
            dry: Vec::new(),
            dry_alike: Vec::new(),
            exit: 0,
            expected: Vec::new(),
            before: Vec::new(),
            run_alike: Vec::new(),
            tried_by: Vec::new(),
        }
    }

    /// Of one step, `it`, that needs the gate.
    pub(super) fn of_step(fields: &str) -> Self {
        Self::of_plan("", &[&format!("it: {{ needs: [gate], {fields} }}")])
    }

    /// With a step in `finally`.
    pub(super) fn finally(mut self, step: &str) -> Self {
        self.plan.push_str(&format!("finally:\n  {step}\n"));
        self
    }

    /// With a file beside the plan.
    pub(super) fn file(mut self, name: &'static str, text: &str) -> Self {
        self.files.push((name, text.to_owned()));
        self
    }

    /// With an environment of these targets and other keys.
    pub(super) fn environment(mut self, text: &str) -> Self {
        self.flags.push_str(" -e env.yaml");
        self.file("env.yaml", &format!("drydock: v1\nenvironment: practice\n{text}\n"))
    }

    /// With flags for check, dry run and run.
    pub(super) fn flags(mut self, flags: &str) -> Self {
        self.flags = format!("{} {flags}", self.flags);
        self
    }

    /// It stands in this file, which `check` is asked about instead of the plan; a run's step reads it when it comes to that.
    pub(super) fn read_by_the_step(self, name: &'static str) -> Self {
        Self { checked: name, ..self }
    }

    /// With one part changed, it is refused with this code and these words.
    pub(super) fn refuses(
        mut self,
        from: &'static str,
        to: &'static str,
        code: &'static str,
        words: &'static str,
    ) -> Self {
        self.refused.push(((from, to), code, words));
        self
    }

    /// A dry run shows this value at this JSON pointer.
    pub(super) fn dry(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.dry.push((pointer, value.into()));
        self
    }

    /// It means nothing to a dry run: with this change the same is shown.
    pub(super) fn dry_alike(mut self, from: &'static str, to: &'static str) -> Self {
        self.dry_alike.push((from, to));
        self
    }

    /// It means nothing to a run: with this change the steps end alike.
    pub(super) fn run_alike(mut self, from: &'static str, to: &'static str) -> Self {
        self.run_alike.push((from, to));
        self
    }

    /// The run ends with this code.
    pub(super) fn exit(self, exit: i32) -> Self {
        Self { exit, ..self }
    }

    /// `runs show` has this value.
    pub(super) fn shows(self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.expects(Expected::Shown(pointer, value.into()))
    }

    /// `runs show` has nothing there.
    pub(super) fn lacks(self, pointer: &'static str) -> Self {
        self.expects(Expected::Absent(pointer))
    }

    /// A file was written.
    pub(super) fn writes(self, name: &'static str, text: &'static str) -> Self {
        self.expects(Expected::File(name, text))
    }

    /// The run warns with these words.
    pub(super) fn warns(self, words: &'static str) -> Self {
        self.expects(Expected::Warned(words))
    }

    /// The last command's standard output is this.
    pub(super) fn tells(self, value: Value) -> Self {
        self.expects(Expected::Told(value))
    }

    /// At most this many attempts are open at once, and as many at some time.
    pub(super) fn at_once(self, most: usize) -> Self {
        self.expects(Expected::AtOnce(most))
    }

    /// The pauses between tries.
    pub(super) fn delays(self, pauses: &'static [i64]) -> Self {
        self.expects(Expected::Delays(pauses))
    }

    fn expects(mut self, expected: Expected) -> Self {
        self.expected.push(expected);
        self
    }

    /// `runs show` has this value after a first sitting that found the gate closed.
    pub(super) fn before(mut self, pointer: &'static str, value: impl Into<Value>) -> Self {
        self.before.push((pointer, value.into()));
        self
    }

    /// A stage is tried by this instead.
    pub(super) fn tried_by(mut self, stage: Stage, trial: Trial) -> Self {
        self.tried_by.push((stage, trial));
        self
    }
}

impl Keyword {
    /// `check` takes it, and refuses what is wrong with it.
    pub(super) fn check(&self) {
        assert!(!self.refused.is_empty(), "nothing wrong is tried");
        let server = Server::start();
        self.command(&self.world(&server, None), &format!("check {}", self.checked), None).with_exit(0);
        for wrong in &self.refused {
            self.refuse(&server, &format!("check {}", self.checked), wrong);
        }
    }

    /// A dry run shows what it means, and refuses what is wrong with it.
    pub(super) fn dry_run(&self) {
        if let Some(trial) = self.own_trial(Stage::DryRun) {
            return trial(self);
        }
        assert!(self.dry.len() + self.dry_alike.len() > 0, "a dry run is expected to show nothing");
        let server = Server::start();
        let shown = self.dry_shown(&server, None);
        self.dry.iter().for_each(|(pointer, value)| assert_at(&shown, pointer, value));
        for edit in &self.dry_alike {
            assert_eq!(self.dry_shown(&server, Some(*edit)), shown, "{edit:?}");
        }
        if self.checked == "plan.yaml" {
            self.refuse(&server, "dry-run plan.yaml", self.wrong());
        } else {
            let ((edit, _, words), command) = (self.wrong(), "dry-run plan.yaml --probe");
            let ended = self.command(&self.world(&server, Some(*edit)), command, Some(*edit)).with_exit(11);
            assert!(ended.stdout.contains(words), "no `{words}` in:\n{}", ended.stdout);
        }
    }

    /// A run does what it means, and does not begin with what is wrong with it.
    pub(super) fn run(&self) {
        if let Some(trial) = self.own_trial(Stage::Run) {
            return trial(self);
        }
        assert!(self.expected.len() + self.run_alike.len() > 0, "a run is expected to do nothing");
        let server = Server::start();
        let statuses = |edit| {
            let world = self.world(&server, edit).write("open", "");
            let ended = self.command(&world, "run plan.yaml --run-id r", edit).with_exit(self.exit);
            self.judge(&world, &ended);
            world.statuses()
        };
        let found = statuses(None);
        self.run_alike.iter().for_each(|edit| assert_eq!(statuses(Some(*edit)), found, "{edit:?}"));
        if self.checked == "plan.yaml" {
            let world = self.refuse(&server, "run plan.yaml --run-id r", self.wrong());
            assert!(!world.path(".drydock").exists(), "an invalid plan began");
        } else {
            let (edit, _, words) = self.wrong();
            let world = self.world(&server, Some(*edit)).write("open", "");
            self.command(&world, "run plan.yaml --run-id r", Some(*edit)).with_exit(11).says(words);
            assert!(!world.path(".drydock/r").exists(), "what cannot succeed began");
        }
    }

    /// A second sitting does what it means, and does not begin with what has become wrong with it.
    pub(super) fn resume(&self) {
        if let Some(trial) = self.own_trial(Stage::Resume) {
            return trial(self);
        }
        assert!(!self.expected.is_empty(), "a resume is expected to do nothing");
        let server = Server::start();
        let mut world = self.world(&server, None);
        self.command(&world, "run plan.yaml --run-id r", None).with_exit(20).says("drydock resume r");
        let shown = world.shown();
        self.before.iter().for_each(|(pointer, value)| assert_at(&shown, pointer, value));
        world = world.write("open", "");
        if let Some((edit, code, words)) =
            self.refused.iter().find(|((from, _), ..)| !self.flags.contains(from))
        {
            world = self.written(world, &server, Some(*edit));
            let ended = world.drydock("resume r --accept-changes");
            match self.checked {
                "plan.yaml" => refused(ended, code, words),
                _ => drop(ended.with_exit(20).says(words)),
            }
            world = self.written(world, &server, None);
        }
        // What a step has read in vain was accepted, and so must be what is right again.
        let accepting = if self.checked == "plan.yaml" { "" } else { " --accept-changes" };
        let ended = world.drydock(&format!("resume r{accepting}")).with_exit(self.exit);
        self.judge(&world, &ended);
    }

    /// Its folder, with a part of it changed.
    pub(super) fn world(&self, server: &Server, edit: Option<Edit>) -> World {
        if let Some((from, _)) = edit {
            let all = || self.files.iter().map(|(_, text)| text).chain([&self.plan, &self.flags]);
            assert!(all().any(|text| text.contains(from)), "there is no `{from}` to change");
        }
        self.written(World::plan(""), server, edit)
    }

    fn written(&self, world: World, server: &Server, edit: Option<Edit>) -> World {
        let plan = ("plan.yaml", self.plan.clone());
        let files = self.files.iter().chain([&plan]);
        files.fold(world, |world, (name, text)| {
            world.write(name, &edited(text, edit).replace("SERVER", &server.address()))
        })
    }

    fn command(&self, world: &World, command: &str, edit: Option<Edit>) -> Ended {
        world.drydock(&format!("{command}{}", edited(&self.flags, edit)))
    }

    /// What every stage must refuse.
    fn wrong(&self) -> &Wrong {
        self.refused.first().expect("something wrong is tried")
    }

    fn refuse(&self, server: &Server, command: &str, (edit, code, words): &Wrong) -> World {
        let world = self.world(server, Some(*edit));
        refused(self.command(&world, command, Some(*edit)), code, words);
        world
    }

    fn own_trial(&self, stage: Stage) -> Option<Trial> {
        self.tried_by.iter().find(|(of, _)| *of == stage).map(|(_, trial)| *trial)
    }

    /// What a dry run shows, but for the digest, which is of the bytes.
    fn dry_shown(&self, server: &Server, edit: Option<Edit>) -> Value {
        let world = self.world(server, edit);
        let ended = self.command(&world, "dry-run plan.yaml --format json", edit).with_exit(0);
        assert!(!world.path(".drydock").exists(), "a dry run left something");
        let mut shown: Value = serde_json::from_str(&ended.stdout).expect("JSON");
        shown.as_object_mut().expect("an object").remove("digest").expect("a digest");
        shown
    }

    fn judge(&self, world: &World, ended: &Ended) {
        let shown = world.shown();
        for expected in &self.expected {
            match expected {
                Expected::Shown(pointer, value) => assert_at(&shown, pointer, value),
                Expected::Absent(pointer) => assert_eq!(shown.pointer(pointer), None, "{pointer}"),
                Expected::File(name, text) => assert_eq!(world.text(name), *text, "{name}"),
                Expected::Warned(words) => {
                    assert!(shown["warnings"].to_string().contains(words), "no `{words}` in:\n{shown:#}")
                }
                Expected::Told(value) => {
                    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).expect("JSON"), *value)
                }
                Expected::AtOnce(most) => assert_eq!(most_at_once(&world.journal()), *most),
                Expected::Delays(pauses) => assert_eq!(delays(&world.journal()), *pauses),
            }
        }
    }
}

fn edited(text: &str, edit: Option<Edit>) -> String {
    edit.map_or_else(|| text.to_owned(), |(from, to)| text.replace(from, to))
}

#[track_caller]
fn assert_at(shown: &Value, pointer: &str, value: &Value) {
    assert_eq!(shown.pointer(pointer), Some(value), "{pointer} of\n{shown:#}");
}

#[track_caller]
fn refused(ended: Ended, code: &str, words: &str) {
    let ended = ended.with_exit(10);
    assert!(ended.stdout.contains(&format!("error[{code}]")), "no {code} in:\n{}", ended.stdout);
    assert!(ended.stdout.contains(words), "no `{words}` in:\n{}", ended.stdout);
}

fn most_at_once(journal: &[Value]) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for line in journal {
        match line["event"].as_str() {
            Some("attempt_started") => open += 1,
            Some("attempt_ended") => open -= 1,
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Of each try that was put off, for how long.
fn delays(journal: &[Value]) -> Vec<i64> {
    let time = |line: &Value| {
        chrono::DateTime::parse_from_rfc3339(line["at"].as_str().expect("a time")).expect("RFC 3339")
    };
    let put_off = journal.iter().filter(|line| line["event"] == "retry_scheduled");
    put_off.map(|line| line["at_ms"].as_i64().expect("a time") - time(line).timestamp_millis()).collect()
}
