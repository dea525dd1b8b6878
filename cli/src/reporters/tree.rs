//! A run as a live list on a terminal: [`Tree`]. What has ended scrolls away as a line; what runs turns below it.

use std::collections::HashMap;
use std::time::Duration;

use drydock_machine::attempt::instance_name;
use drydock_machine::{AttemptRef, Exit, Moment, RunEvent, RunStatus, Status};
use drydock_run::reporter::Reporter;
use drydock_step::Sample;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::lines::{Weight, Words};

/// Draws on standard error.
pub(crate) struct Tree {
    bars: MultiProgress,
    running: HashMap<String, ProgressBar>,
    words: Words,
    verbose: u8,
}

impl Tree {
    pub(crate) fn new(run: &str, verbose: u8) -> Self {
        let bars = MultiProgress::new();
        // A terminal that cannot be written to must not stop a restore.
        let _ = bars.println(format!("run {run}"));
        Self { bars, running: HashMap::new(), words: Words::new(verbose), verbose }
    }

    fn mark(event: &RunEvent) -> &'static str {
        match event {
            RunEvent::StepEnded { status: Status::Succeeded, .. } => "\u{1b}[32m✔\u{1b}[0m ",
            RunEvent::StepEnded { status: Status::Skipped, .. } => "\u{1b}[2m–\u{1b}[0m ",
            RunEvent::StepEnded { status: Status::Blocked | Status::Cancelled, .. } => {
                "\u{1b}[33m∅\u{1b}[0m "
            }
            RunEvent::StepEnded { .. } => "\u{1b}[31m✘\u{1b}[0m ",
            RunEvent::Parked { .. } => "\u{1b}[33m?\u{1b}[0m ",
            _ => "  ",
        }
    }
}

fn spinner(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner:.cyan} {prefix} {elapsed:>4.dim} {msg:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style).with_prefix(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

impl Reporter for Tree {
    fn event(&mut self, _: u64, at: Moment, event: &RunEvent) {
        if let RunEvent::AttemptStarted { step, key, check: None, .. } = event {
            let name = instance_name(step, key.as_deref());
            let bar = self.bars.add(spinner(&name));
            self.running.insert(name, bar);
        }
        if let RunEvent::StepEnded { step, key, .. } | RunEvent::Parked { step, key, .. } = event
            && let Some(bar) = self.running.remove(&instance_name(step, key.as_deref()))
        {
            bar.finish_and_clear();
        }
        if let Some((weight, text)) = self.words.of(at, event)
            && (weight != Weight::Detail || self.verbose > 0)
        {
            let _ = self.bars.println(format!("{}{text}", Self::mark(event)));
        }
    }

    fn sample(&mut self, attempt: &AttemptRef, sample: &Sample) {
        let Some(bar) = self.running.get(&attempt.instance()) else { return };
        match sample {
            Sample::Log(line) => bar.set_message(line.chars().take(80).collect::<String>()),
            Sample::Progress { done, of, unit, phase } => {
                let of = of.map_or(String::new(), |of| format!(" of {of}"));
                bar.set_message(format!("{phase} {done}{of} {unit}"));
            }
        }
    }

    fn end(&mut self, _: RunStatus, _: Exit) {
        for bar in self.running.values() {
            bar.finish_and_clear();
        }
        let _ = self.bars.clear();
    }
}
