//! `drydock grants`: the rights that a plan needs, target by target, as scripts for the people who give them. Nobody is asked.

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_plan::model::{Plan, Purpose, Setting};
use drydock_run::dry_run::{DryOptions, Needed, dry_run as ask};
use drydock_step::{Duty, Grant};
use serde_json::{Value, json};

use crate::args::PlanArgs;
use crate::formats::Format;
use crate::session::{Above, Refusal, Session, registry, runtime};

use super::plan_of::loaded;
use super::print;

/// The names of logins, where they are given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logins {
    pub(crate) backup: Option<String>,
    pub(crate) restore: Option<String>,
}

pub(crate) fn grants(session: &Session, args: &PlanArgs, logins: &Logins) -> Result<Exit, Refusal> {
    let Some((loaded, plan)) = loaded(session, args, Demand::Form)? else { return Ok(Exit::Invalid) };
    let services = session.looking(&loaded, plan.clone(), &Above::outermost(&loaded.path))?;
    let runtime = runtime()?;
    let options = DryOptions { unknown: plan.unset.clone(), offline: true, ..DryOptions::default() };
    let shown = runtime.block_on(ask(&services, &options));
    runtime.shutdown_background();
    // A plan that this one runs may work on targets that this one does not name.
    let bound = Plan { targets: loaded.checked.bound.clone(), ..Plan::clone(&plan) };
    let bound = if bound.targets.is_empty() { Plan::clone(&plan) } else { bound };
    let identities = identities(&bound, logins, &shown.grants);
    print(&if session.common.format == Format::Json {
        format!("{:#}\n", Value::Array(identities.iter().map(Needs::json).collect()))
    } else {
        let heading = format!("-- The rights that plan {} needs. Nobody was asked.\n", plan.name);
        identities.iter().fold(heading, |text, needs| text + &needs.text())
    });
    Ok(Exit::Done)
}

/// What one identity needs at one target.
struct Needs<'n> {
    target: &'n str,
    kind: &'static str,
    duty: &'static str,
    login: String,
    script: Option<String>,
    steps: Vec<&'n str>,
    words: Vec<&'static str>,
}

/// Backup and restore identities apart, in the order of the plan's targets.
fn identities<'n>(plan: &'n Plan, logins: &Logins, needed: &'n [Needed]) -> Vec<Needs<'n>> {
    let mut found = Vec::new();
    for (name, target) in &plan.targets {
        let here: Vec<&Needed> =
            needed.iter().filter(|needed| needed.target.as_ref() == Some(name)).collect();
        for duty in ["backup", "restore", "maintenance"] {
            let of_duty = |grant: &&Grant| word(grant.duty, plan.purpose) == duty;
            let mine: Vec<&&Needed> =
                here.iter().filter(|needed| needed.grants.iter().any(|grant| of_duty(&grant))).collect();
            let plain: Vec<&&Needed> = here
                .iter()
                .filter(|needed| needed.grants.is_empty() && word(Duty::Plan, plan.purpose) == duty)
                .collect();
            if mine.is_empty() && plain.is_empty() {
                continue;
            }
            let grants: Vec<&Grant> =
                mine.iter().flat_map(|needed| &needed.grants).filter(|grant| of_duty(grant)).collect();
            let login = login(duty, plan, target.settings.as_ref(), logins);
            let registry = registry();
            let script = registry
                .target_named(target.kind)
                .filter(|_| !grants.is_empty())
                .and_then(|kind| kind.grant_script(&login, &grants));
            let (mut steps, mut words): (Vec<&str>, Vec<&'static str>) = (Vec::new(), Vec::new());
            for needed in mine.iter().chain(&plain) {
                for word in needed.words {
                    if !words.contains(word) {
                        words.push(*word);
                    }
                }
                if !steps.contains(&needed.step.as_str()) {
                    steps.push(&needed.step);
                }
            }
            found.push(Needs { target: name.as_str(), kind: target.kind, duty, login, script, steps, words });
        }
    }
    found
}

/// The duty's word; what the plan is for, where a kind does not say.
fn word(duty: Duty, purpose: Purpose) -> &'static str {
    match (duty, purpose) {
        (Duty::Backup, _) | (Duty::Plan, Purpose::Backup) => "backup",
        (Duty::Restore, _) | (Duty::Plan, Purpose::Restore) => "restore",
        (Duty::Plan, Purpose::Maintenance) => "maintenance",
    }
}

/// Who does it: as the flag says; else the environment's user, where the plan is for that; else a name of its own.
fn login(duty: &str, plan: &Plan, settings: Option<&Setting>, logins: &Logins) -> String {
    let given = match duty {
        "backup" => logins.backup.clone(),
        "restore" => logins.restore.clone(),
        _ => None,
    };
    let bound = || match settings {
        Some(Setting::Map(settings)) if word(Duty::Plan, plan.purpose) == duty => {
            match settings.get("user") {
                Some(Setting::Plain(Value::String(user))) => Some(user.clone()),
                _ => None,
            }
        }
        _ => None,
    };
    given.or_else(bound).unwrap_or_else(|| format!("drydock_{duty}"))
}

impl Needs<'_> {
    fn text(&self) -> String {
        let mut text = format!(
            "\n-- Target {} ({}), to {}: {}\n",
            self.target,
            self.kind,
            match self.duty {
                "backup" => "back up",
                "restore" => "restore",
                _ => "run the plan",
            },
            self.steps.join(", ")
        );
        for word in &self.words {
            text.push_str(&format!("--   {word}\n"));
        }
        text + self.script.as_deref().unwrap_or_default()
    }

    fn json(&self) -> Value {
        json!({
            "target": self.target,
            "kind": self.kind,
            "duty": self.duty,
            "login": self.script.is_some().then_some(&self.login),
            "steps": self.steps,
            "permissions": self.words,
            "script": self.script,
        })
    }
}
