//! A run as JSON lines, stable for programs: [`Json`].
//!
//! First `{"drydock":"events","version":1,"run":…}`, then one line an event, last `{"event":"run_ended","status":…,"exit":…}`.

use std::io::Write;

use drydock_machine::{Exit, Moment, RunEvent, RunStatus};
use drydock_run::reporter::Reporter;
use serde_json::{Map, Value, json};

/// The version of the events as this build writes them.
const VERSION: u64 = 1;

/// Writes to standard output.
pub(crate) struct Json {
    last: Map<String, Value>,
}

impl Json {
    pub(crate) fn new(run: &str) -> Self {
        write(&json!({ "drydock": "events", "version": VERSION, "run": run }));
        Self { last: Map::new() }
    }
}

/// A reader that went away must not stop a restore.
fn write(value: &Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}");
    let _ = out.flush();
}

impl Reporter for Json {
    fn event(&mut self, seq: u64, at: Moment, event: &RunEvent) {
        let Ok(Value::Object(fields)) = serde_json::to_value(event) else { return };
        let mut line = Map::new();
        line.insert("seq".to_owned(), seq.into());
        line.insert("at".to_owned(), at.to_string().into());
        let attempt = !matches!(event, RunEvent::SittingStarted { .. });
        for (key, value) in fields {
            let key = if attempt && key == "n" { "attempt".to_owned() } else { key };
            line.insert(key, value);
        }
        match event {
            RunEvent::RunEnded { .. } => self.last = line,
            RunEvent::SittingEnded { .. } => {}
            _ => write(&Value::Object(line)),
        }
    }

    fn end(&mut self, status: RunStatus, exit: Exit) {
        let mut line = std::mem::take(&mut self.last);
        line.insert("event".to_owned(), "run_ended".into());
        line.insert("status".to_owned(), status.as_str().into());
        line.insert("exit".to_owned(), exit.code().into());
        write(&Value::Object(line));
    }
}
