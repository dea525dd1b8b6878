//! The plan that a command works on, and the steps that its flags name: [`loaded`], [`steps_named`], [`selected`].

use std::sync::Arc;

use drydock_machine::Exit;
use drydock_plan::check::Demand;
use drydock_plan::model::Plan;
use drydock_plan::name::Name;
use drydock_plan::show::Look;
use drydock_run::state::Given;

use crate::args::PlanArgs;
use crate::findings::written;
use crate::formats::Format;
use crate::load::{Loaded, Unreadable, given, load};
use crate::session::{Refusal, Session, registry};

use super::{colored, print};

/// A checked plan; `None` when it is invalid, which has been said.
pub(crate) fn loaded(
    session: &Session,
    args: &PlanArgs,
    demand: Demand,
) -> Result<Option<(Loaded, Arc<Plan>)>, Refusal> {
    let given = given(&args.binding, &session.outside).map_err(unreadable)?;
    loaded_with(session, args, given, demand)
}

/// A checked plan, with these values for its parameters.
pub(crate) fn loaded_with(
    session: &Session,
    args: &PlanArgs,
    given: Given,
    demand: Demand,
) -> Result<Option<(Loaded, Arc<Plan>)>, Refusal> {
    let environment = args.binding.env.as_deref();
    let loaded = load(&args.plan, environment, given, demand, registry().catalog(), &session.outside)
        .map_err(unreadable)?;
    let findings = written(
        [&loaded.checked],
        session.common.format,
        Look { color: colored(session), ..Look::default() },
    );
    match loaded.plan().cloned() {
        Some(plan) => {
            if session.common.format == Format::Text && !session.common.quiet {
                eprint!("{findings}");
            }
            Ok(Some((loaded, Arc::new(plan))))
        }
        None if loaded.checked.has_errors() => {
            print(&findings);
            Ok(None)
        }
        None => Err(Refusal::new(Exit::Invalid, format!("{} is no plan", args.plan.display()))
            .help("a plan has `steps:` at its top")),
    }
}

/// The refusal of a file that cannot be read.
pub(crate) fn unreadable(error: Unreadable) -> Refusal {
    Refusal::new(error.exit(), error.to_string())
}

/// The steps that a flag names.
pub(crate) fn steps_named(plan: &Plan, flag: &str, names: &[String]) -> Result<Vec<Name>, Refusal> {
    names.iter().map(|name| step_named(plan, flag, name)).collect()
}

/// The step that a flag names.
pub(crate) fn step_named(plan: &Plan, flag: &str, name: &str) -> Result<Name, Refusal> {
    let known = || plan.steps.iter().map(|step| step.id.as_str());
    if let Some(step) = plan.steps.iter().find(|step| step.id.as_str() == name) {
        return Ok(step.id.clone());
    }
    let refusal = Refusal::new(Exit::Usage, format!("{flag}: there is no step `{name}` in {}", plan.name));
    let near = drydock_plan::suggest::nearest(name, known());
    Err(refusal.help(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("its steps are {}", known().collect::<Vec<_>>().join(", ")),
    }))
}

/// A step with its key, as `STEP` or `STEP[KEY]`.
pub(crate) fn selected(plan: &Plan, flag: &str, text: &str) -> Result<(Name, Option<Arc<str>>), Refusal> {
    match text.split_once('[') {
        None => Ok((step_named(plan, flag, text)?, None)),
        Some((step, rest)) => {
            let bad = || Refusal::new(Exit::Usage, format!("{flag}: `{text}` is not STEP or STEP[KEY]"));
            let key = rest.strip_suffix(']').ok_or_else(bad)?;
            Ok((step_named(plan, flag, step)?, Some(key.into())))
        }
    }
}
