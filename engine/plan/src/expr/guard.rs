//! Which reads cannot fail for a step that was skipped: [`guarded_steps`], [`mark_guards`].

use crate::expr::compare::Comparison;
use crate::expr::node::{Node, Read, What};
use crate::expr::reference::{Guard, Root};

/// The steps that are sure to have outputs wherever this condition holds: its conjuncts `steps.x.status == 'succeeded'` and
/// `steps.x.outputs is defined`.
pub(crate) fn guarded_steps<'r>(condition: &Node, reads: &'r [Read]) -> Vec<&'r str> {
    match &condition.what {
        What::And(left, right) => {
            let mut steps = guarded_steps(left, reads);
            steps.extend(guarded_steps(right, reads));
            steps
        }
        What::Defined(asked) => step_part(asked, "outputs", reads).into_iter().collect(),
        What::Compare(Comparison::Equal, left, right) => {
            let succeeded = |node: &Node| matches!(&node.what, What::Constant(value) if value.as_str() == Some("succeeded"));
            let step = match (succeeded(left), succeeded(right)) {
                (false, true) => step_part(left, "status", reads),
                (true, false) => step_part(right, "status", reads),
                _ => None,
            };
            step.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The step of which this is the part, or something below it.
fn step_part<'r>(node: &Node, part: &str, reads: &'r [Read]) -> Option<&'r str> {
    let What::Path(index) = node.what else { return None };
    let read = reads.get(index)?;
    (read.root == Root::Steps && read.name(1) == Some(part)).then(|| read.name(0)).flatten()
}

/// Give each read its guard.
pub(crate) fn mark_guards(node: &Node, reads: &mut [Read]) {
    mark(node, reads, &mut Vec::new());
}

/// `sure` are the steps that conditions before this part have guarded.
fn mark(node: &Node, reads: &mut [Read], sure: &mut Vec<String>) {
    match &node.what {
        What::Constant(_) => {}
        What::Path(index) => {
            if let Some(read) = reads.get_mut(*index)
                && read.guard == Guard::Bare
                && read
                    .name(0)
                    .is_some_and(|step| read.root == Root::Steps && sure.iter().any(|one| one == step))
            {
                read.guard = Guard::Defined;
            }
        }
        What::And(left, right) => {
            mark(left, reads, sure);
            behind(left, right, reads, sure);
        }
        What::If(condition, then, otherwise) => {
            mark(condition, reads, sure);
            behind(condition, then, reads, sure);
            mark(otherwise, reads, sure);
        }
        What::Default(asked, otherwise) => {
            mark_asked(asked, Guard::Default, reads, sure);
            mark(otherwise, reads, sure);
        }
        What::Defined(asked) => mark_asked(asked, Guard::Defined, reads, sure),
        What::Not(part) | What::Negative(part) => mark(part, reads, sure),
        What::Or(a, b)
        | What::Compare(_, a, b)
        | What::Arithmetic(_, a, b)
        | What::Concat(a, b)
        | What::Index(a, b) => {
            mark(a, reads, sure);
            mark(b, reads, sure);
        }
        What::Filter(_, input, arguments) | What::Test(_, input, arguments) => {
            mark(input, reads, sure);
            arguments.iter().for_each(|argument| mark(&argument.value, reads, sure));
        }
        What::List(items) => items.iter().for_each(|item| mark(item, reads, sure)),
        What::Map(entries) => entries.iter().for_each(|(key, value)| {
            mark(key, reads, sure);
            mark(value, reads, sure);
        }),
    }
}

/// Mark a part that is only asked where `condition` holds.
fn behind(condition: &Node, part: &Node, reads: &mut [Read], sure: &mut Vec<String>) {
    let before = sure.len();
    sure.extend(guarded_steps(condition, reads).into_iter().map(str::to_owned));
    mark(part, reads, sure);
    sure.truncate(before);
}

/// Mark what `| default` or `is defined` asks about: the path itself, also below a computed subscript.
fn mark_asked(node: &Node, guard: Guard, reads: &mut [Read], sure: &mut Vec<String>) {
    match &node.what {
        What::Path(index) => {
            if let Some(read) = reads.get_mut(*index) {
                read.guard = guard;
            }
        }
        What::Index(base, key) => {
            mark_asked(base, guard, reads, sure);
            mark(key, reads, sure);
        }
        _ => mark(node, reads, sure),
    }
}
