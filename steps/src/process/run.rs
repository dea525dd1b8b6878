//! `process.run`: [`Run`] starts a program on the runner.

use std::path::Path;

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, ChildEnd, ChildOutput, ChildSpec, Ctx, Effect, Ended, Facts, Field, In,
    KindShape, PlanPath, Reconciled, Shape, StepError, StepKind, Touch, inputs, known, maybe,
};
use indexmap::IndexMap;
use serde_json::{Value, json};

use super::captured::{Capture, without_last_newline};
use super::quoted::quoted;
use crate::described::described;
use crate::said_effect::{SAID_EFFECT, SaidEffect};
use crate::size::{LIMIT, fits};
use crate::word::{WORD, Word};

inputs! {
    /// Inputs of `process.run`.
    pub struct RunInputs {
        /// The program and its arguments. No shell is between; a program with a `/` in its name is relative to the plan's folder.
        argv: Vec<Word> = known(Shape::List(&WORD)).with_secrets(),
        /// Variables for it, beside those that it inherits. Variables that secrets are read from are not inherited.
        env: IndexMap<String, Word> = maybe(Shape::Map(&WORD)).with_secrets().or("{}"),
        /// The folder where it starts; the plan's folder when it is left out.
        cwd: PlanPath = maybe(Shape::Path).or("\".\""),
        /// What it reads from its standard input; nothing when it is left out.
        stdin: Option<String> = maybe(Shape::Text).with_secrets(),
        /// The exit codes that count as success.
        expect_exit: Vec<i32> = maybe(Shape::List(&Shape::Integer)).or("[0]"),
        /// How its standard output is kept, at most 1 MiB of it; `text` when it is left out, `none` beside `output_to`.
        capture: Option<Capture> = maybe(Shape::OneOf(&["text", "json", "lines", "none"])),
        /// A file, made anew, that its standard output goes to.
        output_to: Option<PlanPath> = maybe(Shape::Path),
        /// Whether it changes anything. One that only `reads` may be used in validations and is simply started again after a crash.
        effect: SaidEffect = maybe(SAID_EFFECT).or("\"writes\""),
    }
}

impl RunInputs {
    /// The command line, quoted for a shell, with the variables that are set for it and the file that it writes.
    fn line(&self) -> String {
        let words =
            |words: &Vec<Word>| words.iter().map(|word| quoted(&word.0)).collect::<Vec<_>>().join(" ");
        let variables = |env: &IndexMap<String, Word>| {
            env.iter()
                .map(|(name, value)| format!("{name}={}", quoted(&value.0)))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let file = |path: &Option<PlanPath>| {
            path.as_ref().map_or(String::new(), |path| format!("> {}", quoted(&path.0)))
        };
        let parts = [self.env.or_after(variables), self.argv.or_after(words), self.output_to.or_after(file)];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    fn capture(&self) -> Result<Capture, StepError> {
        match (self.capture.known()?, self.output_to.known()?) {
            (None, None) => Ok(Capture::Text),
            (Some(capture), None) => Ok(*capture),
            (None | Some(Capture::None), Some(_)) => Ok(Capture::None),
            (Some(_), Some(_)) => Err(StepError::new(
                "input",
                "its output goes either into a file or into the outputs, not both",
            )
            .help("leave out `capture` or `output_to`")),
        }
    }

    fn spec(&self, folder: &Path) -> Result<ChildSpec, StepError> {
        let mut argv: Vec<String> = self.argv.known()?.iter().map(|word| word.0.clone()).collect();
        if let Some(program) = argv.first_mut().filter(|program| program.contains('/')) {
            *program = folder.join(&*program).to_string_lossy().into_owned();
        }
        let stdout = match (self.output_to.known()?, self.capture()?) {
            (Some(path), _) => ChildOutput::File(path.resolved(folder)),
            (None, Capture::None) => ChildOutput::Dropped,
            (None, _) => ChildOutput::Kept { limit: LIMIT },
        };
        Ok(ChildSpec {
            argv,
            env: self.env.known()?.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
            cwd: self.cwd.known()?.resolved(folder),
            stdin: self.stdin.known()?.clone().unwrap_or_default().into_bytes(),
            stdout,
        })
    }
}

const OUTPUTS: Shape = Shape::Record(&[
    Field::required("exit_code", Shape::Integer, "Its exit code."),
    Field::optional("stdout", Shape::Any, "Its standard output: text, or a list with `capture: lines`."),
    Field::required("stderr", Shape::Text, "The last 64 KiB of its standard error."),
    Field::optional("json", Shape::Any, "Its standard output as a value, with `capture: json`."),
]);

/// Starts a program and waits for its end.
pub struct Run;

#[async_trait]
impl StepKind for Run {
    type Inputs = RunInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            outputs: OUTPUTS,
            effect: Effect::ByInput("effect"),
            reconciles: false,
            example: "seed:\n  uses: process.run\n  with:\n    argv: [sqlcmd, -i, ./seed.sql]\n    env: { SQLCMDPASSWORD: \"{{ params.password }}\" }\n  timeout: 10m\n",
            ..described(
                "process.run",
                "Starts a program on the runner and waits for its end. The step ends with the program: what it leaves running is killed.",
            )
        }
    }

    fn touches(&self, _target: Option<&str>, inputs: &RunInputs) -> Vec<Touch> {
        let touch = |resource: String, access| Touch { target: None, resource, access };
        let mut touches = Vec::new();
        if inputs.effect.value() != Some(&SaidEffect::Reads) {
            touches.push(touch("?".into(), Access::Writes));
        }
        match &inputs.output_to {
            In::Known(None) => {}
            In::Known(Some(path)) => touches.push(touch(format!("path {path}"), Access::Writes)),
            In::After(_) => touches.push(touch("?".into(), Access::Writes)),
        }
        touches
    }

    fn actions(&self, _target: Option<&str>, inputs: &RunInputs, _facts: &Facts) -> Vec<Action> {
        let action = Action::reads(ActionKind::Process, None, inputs.line());
        vec![Action { writes: inputs.effect.value() != Some(&SaidEffect::Reads), ..action }]
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &RunInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        let spec = inputs.spec(&ctx.folder)?;
        let name = inputs.argv.known()?.first().map(|word| word.0.clone()).unwrap_or_default();
        let end = ctx.spawn(spec).await?;
        judged(&name, &end, inputs.expect_exit.known()?)?;
        let mut outputs = inputs.capture()?.outputs(&end.stdout)?;
        outputs.insert("exit_code".into(), json!(end.code));
        outputs.insert("stderr".into(), json!(without_last_newline(&end.stderr)));
        let outputs = Value::Object(outputs);
        if fits(&outputs) { Ok(Ended::Outputs(outputs)) } else { Err(too_much(&name)) }
    }

    async fn reconcile(&self, _ctx: &Ctx, inputs: &RunInputs) -> Result<Reconciled, StepError> {
        Ok(match inputs.effect.known()? {
            SaidEffect::Reads => Reconciled::NotDone,
            SaidEffect::Writes => {
                Reconciled::Unknown("a program that is gone cannot be asked what it had done".into())
            }
        })
    }
}

/// Fails where the program did.
fn judged(name: &str, end: &ChildEnd, expected: &[i32]) -> Result<(), StepError> {
    let last = last_words(&end.stderr);
    match (end.code, end.signal) {
        (Some(code), _) if expected.contains(&code) => {}
        (Some(code), _) => {
            let expected: Vec<String> = expected.iter().map(i32::to_string).collect();
            let expected = expected.join(" or ");
            let message = format!("`{name}` ended with exit code {code}, expected {expected}{last}");
            return Err(StepError::new("process.exit", message));
        }
        (None, signal) => {
            let signal = signal.map_or_else(|| "a signal".to_owned(), |signal| format!("signal {signal}"));
            return Err(StepError::new("process.signal", format!("`{name}` was ended by {signal}{last}")));
        }
    }
    if end.truncated { Err(too_much(name)) } else { Ok(()) }
}

fn too_much(name: &str) -> StepError {
    StepError::new("process.output", format!("`{name}` wrote more than 1 MiB to its standard output"))
        .help("let it go into a file with `output_to`, or drop it with `capture: none`")
}

/// The last lines that a program wrote to its standard error, after a colon.
fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join(" / ");
    let skipped = last.chars().count().saturating_sub(500);
    let last: String = last.chars().skip(skipped).collect();
    if last.is_empty() { last } else { format!(": {last}") }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::{TestHost, actions, execute, reconcile, touches};

    use super::*;

    fn sh(script: &str) -> Value {
        json!({ "argv": ["sh", "-c", script] })
    }

    fn with(mut base: Value, more: Value) -> Value {
        for (key, value) in more.as_object().unwrap() {
            base[key] = value.clone();
        }
        base
    }

    async fn run(with: Value) -> Result<Value, StepError> {
        let folder = tempfile::tempdir().unwrap();
        let ctx = Arc::new(TestHost::new(folder.path())).ctx(None);
        match execute(&Run, &ctx, with).await? {
            Ended::Outputs(outputs) => Ok(outputs),
            Ended::Waits(message) => panic!("{message}"),
        }
    }

    #[tokio::test]
    async fn outputs_have_the_form_that_was_asked_for() {
        let ok = |more: Value| with(json!({"exit_code": 0, "stderr": ""}), more);
        for (input, expected) in [
            (sh("echo hi"), ok(json!({"stdout": "hi"}))),
            (sh("echo oh >&2"), ok(json!({"stdout": "", "stderr": "oh"}))),
            (with(sh("exit 3"), json!({"expect_exit": [0, 3]})), ok(json!({"stdout": "", "exit_code": 3}))),
            (
                with(sh("cat"), json!({"stdin": "{\"n\": 1}", "capture": "json"})),
                ok(json!({"json": {"n": 1}})),
            ),
            (with(sh("printf 'a\nb'"), json!({"capture": "lines"})), ok(json!({"stdout": ["a", "b"]}))),
            (with(sh("echo $PORT"), json!({"env": {"PORT": 5432}})), ok(json!({"stdout": "5432"}))),
            (with(sh("echo hi"), json!({"capture": "none"})), ok(json!({}))),
            (
                json!({"argv": ["echo", 1, ["", {"secret": "params.t"}]]}),
                ok(json!({"stdout": "1 <params.t>"})),
            ),
        ] {
            assert_eq!(run(input.clone()).await, Ok(expected), "{input}");
        }
    }

    #[tokio::test]
    async fn failures_say_what_and_what_to_do() {
        for (input, code, words) in [
            (
                sh("echo no space >&2; exit 4"),
                "process.exit",
                "`sh` ended with exit code 4, expected 0: no space",
            ),
            (with(sh("exit 1"), json!({"expect_exit": [0, 2]})), "process.exit", "expected 0 or 2"),
            (sh("kill -9 $$"), "process.signal", "`sh` was ended by signal 9"),
            (sh("head -c 1048577 /dev/zero"), "process.output", "wrote more than 1 MiB"),
            // Each of these bytes takes six as JSON.
            (sh("head -c 300000 /dev/zero"), "process.output", "wrote more than 1 MiB"),
            (with(sh("echo"), json!({"capture": "json"})), "process.json", "its output is not JSON"),
            (with(sh(":"), json!({"capture": "text", "output_to": "x"})), "input", "not both"),
            (json!({"argv": []}), "process.start", "the command line is empty"),
            (json!({"argv": "ls -l"}), "input", "input `argv`, a list"),
        ] {
            let error = run(input.clone()).await.unwrap_err();
            assert_eq!(error.code, code, "{input}: {error}");
            assert!(error.message.contains(words), "{input}: {error}");
            assert!(!error.transient && !error.unknown);
        }
        let error = run(sh("yes | head -c 2000000")).await.unwrap_err();
        assert!(error.help.unwrap().contains("`output_to`"));
    }

    #[tokio::test]
    async fn relative_paths_are_relative_to_the_plan() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let ctx = Arc::new(TestHost::new(folder.path())).ctx(None);
        let input = with(sh("pwd"), json!({"cwd": "sub", "output_to": "out.txt"}));
        assert_eq!(
            execute(&Run, &ctx, input).await,
            Ok(Ended::Outputs(json!({"exit_code": 0, "stderr": ""})))
        );
        let written = std::fs::read_to_string(folder.path().join("out.txt")).unwrap();
        assert!(written.ends_with("/sub\n"), "{written}");
    }

    #[test]
    fn a_dry_run_shows_the_line_that_is_run() {
        for (input, line, writes) in [
            (json!({"argv": ["echo", "a b"]}), "echo 'a b'", true),
            (json!({"argv": ["ls"], "effect": "reads"}), "ls", false),
            (
                json!({"argv": ["x", ["-p", {"secret": "params.p"}]], "env": {"T": "a b"}}),
                "T='a b' x '-p***'",
                true,
            ),
            (json!({"argv": {"$after": ["a"]}, "output_to": "o.txt"}), "(known after a) > o.txt", true),
            (json!({"argv": ["x"], "env": {"T": {"$after": ["a"]}}}), "(known after a) x", true),
        ] {
            let found = actions(&Run, input.clone()).unwrap();
            assert_eq!(
                found,
                [Action { writes, ..Action::reads(ActionKind::Process, None, line) }],
                "{input}"
            );
        }
    }

    #[tokio::test]
    async fn only_a_program_that_reads_is_known_not_to_have_acted() {
        let ctx = Arc::new(TestHost::new("/")).ctx(None);
        let reads = with(sh(":"), json!({"effect": "reads"}));
        assert_eq!(reconcile(&Run, &ctx, reads.clone()).await, Ok(Reconciled::NotDone));
        assert!(matches!(reconcile(&Run, &ctx, sh(":")).await, Ok(Reconciled::Unknown(_))));
        assert_eq!(touches(&Run, reads).unwrap(), []);
        let both = touches(&Run, with(sh(":"), json!({"output_to": "o"}))).unwrap();
        assert_eq!(both.iter().map(|touch| touch.resource.as_str()).collect::<Vec<_>>(), ["?", "path o"]);
    }
}
