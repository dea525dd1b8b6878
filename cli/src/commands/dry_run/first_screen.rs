//! What counts first in a dry run, whatever it is shown as: [`first_screen`], a line each.

use drydock_run::dry_run::{DryFinding, DryRun, Runs, Server, Severity, Touched};
use indexmap::IndexMap;

/// So many things of one step are named; of more the first ones, and how many there are.
const NAMED: usize = 3;

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// What was chosen, and what that costs.
    Choice,
    /// What is lost.
    Destroys,
    /// What is written to.
    Writes,
    /// Which servers were asked.
    Servers,
    /// Why it cannot succeed.
    Refused,
    /// What could not be asked.
    Unknown,
    /// What is worth knowing.
    Note,
}

/// The parts of a first screen that has headings, in their order.
pub(super) const PARTS: [About; 7] = [
    About::Refused,
    About::Choice,
    About::Destroys,
    About::Writes,
    About::Servers,
    About::Unknown,
    About::Note,
];

impl About {
    /// The heading of its lines.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Choice => "What it comes to",
            Self::Destroys => "Destroys",
            Self::Writes => "Writes",
            Self::Servers => "Servers",
            Self::Refused => "It cannot succeed",
            Self::Unknown => "Not known",
            Self::Note => "Notes",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) about: About,
    /// The step or target that it is about; nothing where it is several.
    pub(super) of: String,
    pub(super) text: String,
    pub(super) code: Option<String>,
    pub(super) help: Option<String>,
}

/// The lines, those about one thing together.
pub(super) fn first_screen(shown: &DryRun) -> Vec<Line> {
    let line =
        |about, of: &str, text: String| Line { about, of: of.to_owned(), text, code: None, help: None };
    let mut lines: Vec<Line> =
        shown.headlines.iter().map(|one| line(About::Choice, &one.step, one.text.clone())).collect();
    lines.extend(destroyed(shown).into_iter().map(|(step, text)| line(About::Destroys, &step, text)));
    lines.extend(written(shown).into_iter().map(|(target, text)| line(About::Writes, &target, text)));
    lines.extend(shown.servers.iter().map(|one| line(About::Servers, one.target.as_str(), server(one))));
    let unseen = |step: &str| format!("which plan {step} runs is known only during the run");
    lines.extend(shown.unseen.iter().map(|one| line(About::Note, &one.step, unseen(&one.step))));
    lines.extend(findings(&shown.findings));
    // That it cannot succeed is read before all else.
    lines.sort_by_key(|line| line.about != About::Refused);
    lines
}

/// How many steps would run, in a sentence.
pub(super) fn summary(shown: &DryRun) -> String {
    let count = |wanted: Runs| shown.steps.iter().filter(|step| step.runs == wanted).count();
    let would_run = count(Runs::Yes);
    let steps = if would_run == 1 { "step" } else { "steps" };
    let mut text = format!("{would_run} {steps} would run");
    let (unknown, none) = (count(Runs::Unknown), count(Runs::No));
    match unknown {
        0 => {}
        1 => text.push_str(", 1 depends on what is known during the run"),
        more => text.push_str(&format!(", {more} depend on what is known during the run")),
    }
    if none > 0 {
        text.push_str(&format!(", {none} would not run ({})", left_out(shown)));
    }
    text + ". Nothing was changed."
}

/// The steps that would not run, the first by their names.
fn left_out(shown: &DryRun) -> String {
    let left = shown.steps.iter().filter(|step| step.runs == Runs::No);
    let mut names: Vec<&str> = left.map(|step| step_of(&step.id)).collect();
    names.dedup();
    match names.len() {
        many if many > NAMED => format!("{} and {} more", names[..NAMED].join(", "), many - NAMED),
        _ => names.join(", "),
    }
}

/// A step without the key of its instance: a foreach over a hundred collections is one line.
fn step_of(instance: &str) -> &str {
    instance.split('[').next().unwrap_or(instance)
}

/// What is lost, by step.
fn destroyed(shown: &DryRun) -> Vec<(String, String)> {
    let mut groups: IndexMap<(&str, Option<&str>), Vec<&Touched>> = IndexMap::new();
    for one in &shown.destroys {
        groups.entry((step_of(&one.step), one.target.as_deref())).or_default().push(one);
    }
    let mut lines = Vec::new();
    for ((step, target), things) in groups {
        let on = target.map_or(String::new(), |target| format!(" on {target}"));
        if things.len() <= NAMED {
            let each = |one: &&Touched| (one.step.clone(), format!("{}{on}, by {}", one.words(), one.step));
            lines.extend(things.iter().map(each));
            continue;
        }
        let names: Vec<&str> = things.iter().take(NAMED).map(|one| one.words()).collect();
        let (named, more) = (names.join(", "), things.len() - NAMED);
        lines.push((step.to_owned(), format!("{named} and {more} more{on}, by {step}")));
    }
    lines
}

/// What would be written to beside what is destroyed, a line for each target: each thing once, with the steps that write it.
fn written(shown: &DryRun) -> Vec<(String, String)> {
    let mut targets: IndexMap<&str, IndexMap<&str, Vec<&str>>> = IndexMap::new();
    for touched in &shown.writes {
        let things = targets.entry(touched.target.as_deref().unwrap_or("the runner")).or_default();
        let steps = things.entry(touched.words()).or_default();
        let step = step_of(&touched.step);
        if !steps.contains(&step) {
            steps.push(step);
        }
    }
    let thing = |(thing, steps): (&&str, &Vec<&str>)| format!("{thing} (by {})", steps.join(", "));
    let line = |things: &IndexMap<&str, Vec<&str>>| things.iter().map(thing).collect::<Vec<_>>().join("; ");
    targets.iter().map(|(target, things)| ((*target).to_owned(), line(things))).collect()
}

fn server(server: &Server) -> String {
    match (&server.identity, &server.silent) {
        (Some(identity), _) if identity.version.is_empty() || identity.text.contains(&identity.version) => {
            format!("is {}", identity.text)
        }
        (Some(identity), _) => format!("is {}, version {}", identity.text, identity.version),
        (None, why) => format!("did not say who it is: {}", why.as_deref().unwrap_or("nobody asked")),
    }
}

/// What was found, worst first; of several instances of a step once, with how many more it is.
fn findings(findings: &[DryFinding]) -> Vec<Line> {
    let mut groups: IndexMap<(u8, &str, &str), Vec<&DryFinding>> = IndexMap::new();
    for found in findings {
        let weight = match found.severity {
            _ if found.finding.fatal => 0,
            Severity::Unknown => 1,
            Severity::Error | Severity::Warning => 2,
        };
        let key = (weight, step_of(&found.step), found.finding.code.as_str());
        groups.entry(key).or_default().push(found);
    }
    groups.sort_by(|(one, _, _), _, (other, _, _), _| one.cmp(other));
    let mut lines = Vec::new();
    for ((weight, _, code), found) in groups {
        let about = [About::Refused, About::Unknown, About::Note][usize::from(weight.min(2))];
        let shown = if found.len() > NAMED { 1 } else { found.len() };
        for one in found.iter().take(shown) {
            let more = match found.len() - shown {
                0 => String::new(),
                more => format!("; and {more} more of this step"),
            };
            lines.push(Line {
                about,
                of: one.steps(),
                text: format!("{}{more}", one.finding.message),
                code: Some(code.to_owned()),
                help: one.finding.help.clone(),
            });
        }
    }
    lines
}
