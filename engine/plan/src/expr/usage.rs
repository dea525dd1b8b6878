//! Whether the names of an expression exist and are used as they must be: [`filter_used`], [`test_used`], [`unknown_name`],
//! [`step_misread`].

use crate::expr::codes;
use crate::expr::filter::{FILTERS, Filter, Inner};
use crate::expr::node::{Argument, Read, What};
use crate::expr::predicate::{TESTS, Test};
use crate::expr::reference::Root;
use crate::finding::{Code, Finding};
use crate::source::{Place, Span};
use crate::suggest::nearest;

/// What other tools start from, and what that is here.
const FOREIGN: [(&[&str], &str); 5] = [
    (&["null", "nil", "None"], "none"),
    (&["inputs", "vars", "var", "variables", "parameters", "config"], "params"),
    (&["jobs", "tasks", "needs", "stages"], "steps"),
    (&["each", "loop", "matrix", "it"], "item"),
    (&["workflow", "pipeline", "github", "context"], "run"),
];

/// A finding about these bytes of an expression's text.
pub(crate) fn problem(code: Code, at: Span, message: impl Into<String>) -> Finding {
    Finding::error(code, Place::new(0, at), message)
}

/// The finding about a name that nothing starts from.
pub(crate) fn unknown_name(name: &str, at: Span) -> Finding {
    let finding = problem(codes::UNKNOWN_NAME, at, format!("there is no `{name}` to read from"));
    let near = FOREIGN
        .iter()
        .find_map(|(foreign, ours)| foreign.contains(&name).then_some(*ours))
        .or_else(|| nearest(name, Root::ALL.map(Root::as_str)));
    match near {
        Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
        None => finding.help(format!("if it is meant as text, put it in quotes: `'{name}'`")),
    }
}

/// What is wrong with the way in which a step is read: there are `status` and `outputs`, and nothing else is a value.
pub(crate) fn step_misread(read: &Read) -> Option<Finding> {
    if read.root != Root::Steps {
        return None;
    }
    let Some(step) = read.name(0) else {
        let finding = problem(codes::STEP_PART, read.at, "`steps` alone is not a value");
        return Some(finding.help("write `steps.x.outputs.…` or `steps.x.status`"));
    };
    let Some(part) = read.keys.get(1) else {
        let finding = problem(codes::STEP_PART, read.at, format!("`steps.{step}` alone is not a value"));
        return Some(finding.help(format!("write `steps.{step}.outputs.…` or `steps.{step}.status`")));
    };
    let text = part.text();
    if matches!(text.as_str(), "status" | "outputs") {
        return None;
    }
    let finding =
        problem(codes::STEP_PART, part.at, format!("a step has `status` and `outputs`, but no `{text}`"));
    Some(match nearest(&text, ["status", "outputs"]) {
        Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
        None => finding.help(format!("its outputs are `steps.{step}.outputs.…`")),
    })
}

/// The filter of this name, which stands at `at`, given these arguments.
pub(crate) fn filter_used(
    name: &str,
    at: Span,
    arguments: &[Argument],
) -> Result<&'static Filter, Box<Finding>> {
    let filter = filter_named(name, at)?;
    let problem = |message: String| {
        Box::new(problem(codes::ARGUMENTS, at, message).help(format!("for example `{}`", filter.example)))
    };
    for name in arguments.iter().filter_map(|argument| argument.name.as_deref()) {
        if !filter.named.contains(&name) {
            return Err(problem(format!("the filter `{}` has no argument `{name}`", filter.name)));
        }
    }
    let given = arguments.iter().filter(|argument| argument.name.is_none()).count();
    let by_attribute =
        filter.inner == Inner::Filter && arguments.iter().any(|argument| argument.name.is_some());
    let (fewest, most) = match filter.inner {
        Inner::Filter if by_attribute => (0, 0),
        Inner::Filter => (1, filter.positional.1),
        _ => filter.positional,
    };
    if !(fewest..=most).contains(&given) {
        return Err(problem(format!(
            "the filter `{}` takes {}, not {given}",
            filter.name,
            how_many(fewest, most)
        )));
    }
    match filter.inner {
        Inner::Filter if !by_attribute => {
            inner_name(filter, arguments, 0, at).and_then(|(name, at)| filter_named(name, at).map(drop))?
        }
        Inner::Test(index) => {
            inner_name(filter, arguments, index, at).and_then(|(name, at)| test_named(name, at).map(drop))?
        }
        _ => {}
    }
    Ok(filter)
}

/// The test of this name, which stands at `at`, given these arguments.
pub(crate) fn test_used(name: &str, at: Span, arguments: &[Argument]) -> Result<&'static Test, Box<Finding>> {
    let test = test_named(name, at)?;
    if arguments.len() == test.arguments && arguments.iter().all(|argument| argument.name.is_none()) {
        return Ok(test);
    }
    let message = format!("the test `{}` takes {}", test.name, how_many(test.arguments, test.arguments));
    Err(Box::new(problem(codes::ARGUMENTS, at, message).help(format!("for example `{}`", test.example))))
}

fn filter_named(name: &str, at: Span) -> Result<&'static Filter, Box<Finding>> {
    Filter::named(name).ok_or_else(|| {
        let names = || std::iter::once("default").chain(FILTERS.iter().map(|filter| filter.name));
        unknown(codes::UNKNOWN_FILTER, "filter", name, at, names().collect())
    })
}

fn test_named(name: &str, at: Span) -> Result<&'static Test, Box<Finding>> {
    Test::named(name).ok_or_else(|| {
        let names = || ["defined", "undefined"].into_iter().chain(TESTS.iter().map(|test| test.name));
        unknown(codes::UNKNOWN_TEST, "test", name, at, names().collect())
    })
}

fn unknown(code: Code, what: &str, name: &str, at: Span, names: Vec<&'static str>) -> Box<Finding> {
    let finding = problem(code, at, format!("there is no {what} `{name}`"));
    Box::new(match nearest(name, names.iter().copied()) {
        Some(near) => finding.help(format!("did you mean `{near}`?")).suggestion(near),
        None => finding.help(format!("there are {}", names.join(", "))),
    })
}

/// The filter or test that an argument names, and where.
fn inner_name<'a>(
    filter: &Filter,
    arguments: &'a [Argument],
    index: usize,
    at: Span,
) -> Result<(&'a str, Span), Box<Finding>> {
    let argument = arguments.get(index).map(|argument| &argument.value);
    if let Some(node) = argument
        && let What::Constant(value) = &node.what
        && let Some(name) = value.as_str()
    {
        return Ok((name, node.at));
    }
    let message = format!("the filter `{}` must be given a name in quotes here", filter.name);
    let finding = problem(codes::ARGUMENTS, argument.map_or(at, |node| node.at), message);
    Err(Box::new(finding.help(format!("for example `{}`", filter.example))))
}

fn how_many(fewest: usize, most: usize) -> String {
    match (fewest, most) {
        (0, 0) => "no argument".to_owned(),
        (1, 1) => "one argument".to_owned(),
        (fewest, most) if fewest == most => format!("{most} arguments"),
        (fewest, most) => format!("{fewest} to {most} arguments"),
    }
}
