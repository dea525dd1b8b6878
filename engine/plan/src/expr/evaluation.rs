//! Evaluating an expression: [`Evaluation`]. A part that is known only after other steps makes every operator around it so, but
//! for `and or not`, which answer as soon as what is known decides (Kleene's logic).

use minijinja::Value;

use crate::expr::codes;
use crate::expr::compare::{Class, class_words, holds};
use crate::expr::datum::{NotJson, json_of};
use crate::expr::engine::tested;
use crate::expr::node::{Node, Read, What};
use crate::expr::operators::{Fuel, incomparable, not_a_truth, operands, pair, refused, worked_out};
use crate::expr::reference::Root;
use crate::expr::scope::{Scope, Truth};
use crate::expr::walk::{Fault, Found, Step, nowhere, one_step, opened, walked};
use crate::name::Name;

/// The parts of a list or mapping and whether any may hold a secret or an unknown part; or the steps that they wait for.
type Gathered = Result<(Vec<Value>, bool), Vec<Name>>;

/// A value without secrets and unknown parts, or the steps that it waits for.
pub(crate) enum Clear {
    Value(Value),
    After(Vec<Name>),
}

/// One evaluation of one expression.
pub(crate) struct Evaluation<'a> {
    scope: &'a Scope<'a>,
    reads: &'a [Read],
    fuel: Fuel,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(scope: &'a Scope<'a>, reads: &'a [Read]) -> Self {
        Self { scope, reads, fuel: Fuel::full() }
    }

    /// What is found for a part.
    pub(crate) fn found(&self, node: &Node) -> Result<Found, Fault> {
        self.fuel.spend(1, node.at)?;
        match &node.what {
            What::Constant(value) => Ok(Found::Value(value.clone(), false)),
            What::Path(index) => self.reads.get(*index).map_or_else(
                || Err(Fault::new(codes::NOTHING_THERE, node.at, "this reads nothing")),
                |read| self.read(read),
            ),
            What::Index(base, key) => self.indexed(base, key),
            What::If(condition, then, otherwise) => match self.truth(condition)? {
                Truth::True => self.found(then),
                Truth::False => self.found(otherwise),
                Truth::After(mut after) => {
                    // Either branch may come; what it waits for is waited for too.
                    for branch in [then, otherwise] {
                        if let Ok(Found::After(more)) = self.found(branch) {
                            join(&mut after, more);
                        }
                    }
                    Ok(Found::After(after))
                }
            },
            What::Default(asked, otherwise) => match self.found(asked)? {
                Found::Nothing(_) => self.found(otherwise),
                found => Ok(found),
            },
            What::List(items) => Ok(match self.gathered(items.iter())? {
                Ok((values, opaque)) => Found::Value(Value::from(values), opaque),
                Err(after) => Found::After(after),
            }),
            What::Map(entries) => self.map(entries),
            What::Arithmetic(..) | What::Negative(_) | What::Concat(..) | What::Filter(..) => {
                match self.all_clear(operands(node).into_iter())? {
                    Ok(values) => worked_out(node, values, &self.fuel),
                    Err(after) => Ok(Found::After(after)),
                }
            }
            What::Not(_)
            | What::And(..)
            | What::Or(..)
            | What::Compare(..)
            | What::Defined(_)
            | What::Test(..) => Ok(match self.truth(node)? {
                Truth::True => Found::Value(Value::from(true), false),
                Truth::False => Found::Value(Value::from(false), false),
                Truth::After(after) => Found::After(after),
            }),
        }
    }

    /// What is found for a part that must be there.
    pub(crate) fn present(&self, node: &Node) -> Result<Found, Fault> {
        match self.found(node)? {
            Found::Nothing(fault) => Err(fault),
            found => Ok(found),
        }
    }

    /// What an operator can work on.
    pub(crate) fn clear(&self, node: &Node) -> Result<Clear, Fault> {
        match self.present(node)? {
            Found::Value(value, false) => Ok(Clear::Value(value)),
            Found::Value(value, true) => match json_of(&value) {
                Err(NotJson::After(after)) => Ok(Clear::After(after)),
                Err(NotJson::Secret) => Err(Fault::new(
                    codes::SECRET_VALUE,
                    node.at,
                    "this value holds a secret, which can only be passed on",
                )),
                _ => Ok(Clear::Value(value)),
            },
            Found::After(after) => Ok(Clear::After(after)),
            Found::Nothing(fault) => Err(fault),
        }
    }

    /// Several parts, or the steps that any of them waits for.
    fn all_clear<'n>(
        &self,
        nodes: impl Iterator<Item = &'n Node>,
    ) -> Result<Result<Vec<Value>, Vec<Name>>, Fault> {
        let (mut values, mut after) = (Vec::new(), Vec::new());
        for node in nodes {
            match self.clear(node)? {
                Clear::Value(value) => values.push(value),
                Clear::After(more) => join(&mut after, more),
            }
        }
        Ok(if after.is_empty() { Ok(values) } else { Err(after) })
    }

    /// Whether a condition holds.
    pub(crate) fn truth(&self, node: &Node) -> Result<Truth, Fault> {
        self.fuel.spend(1, node.at)?;
        match &node.what {
            What::Not(part) => Ok(match self.truth(part)? {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                after => after,
            }),
            What::And(left, right) => self.connected(left, right, Truth::False),
            What::Or(left, right) => self.connected(left, right, Truth::True),
            What::Compare(comparison, left, right) => {
                match self.all_clear([&**left, &**right].into_iter())? {
                    Ok(values) => {
                        let [left, right] = pair(values);
                        holds(*comparison, &left, &right)
                            .map(truth_of)
                            .map_err(|why| incomparable(node.at, why))
                    }
                    Err(after) => Ok(Truth::After(after)),
                }
            }
            What::Defined(asked) => Ok(match self.found(asked)? {
                Found::Value(..) => Truth::True,
                Found::Nothing(_) => Truth::False,
                Found::After(after) => Truth::After(after),
            }),
            What::Test(test, input, arguments) => {
                let nodes = std::iter::once(&**input).chain(arguments.iter().map(|argument| &argument.value));
                match self.all_clear(nodes)? {
                    Ok(values) => {
                        tested(test.name, &values).map(truth_of).map_err(|refusal| refused(node.at, refusal))
                    }
                    Err(after) => Ok(Truth::After(after)),
                }
            }
            _ => match self.clear(node)? {
                Clear::Value(value) if Class::of(&value) == Some(Class::Boolean) => {
                    Ok(truth_of(value.is_true()))
                }
                Clear::Value(value) => Err(not_a_truth(node.at, &value)),
                Clear::After(after) => Ok(Truth::After(after)),
            },
        }
    }

    /// `and`, which `False` decides; or `or`, which `True` decides. What stands right of an unknown part may be decided too, and
    /// cannot fail: whether it is asked at all is not known.
    fn connected(&self, left: &Node, right: &Node, decides: Truth) -> Result<Truth, Fault> {
        match self.truth(left)? {
            Truth::After(mut after) => match self.truth(right) {
                Ok(truth) if truth == decides => Ok(decides),
                Ok(Truth::After(more)) => {
                    join(&mut after, more);
                    Ok(Truth::After(after))
                }
                _ => Ok(Truth::After(after)),
            },
            truth if truth == decides => Ok(decides),
            _ => self.truth(right),
        }
    }

    /// The parts of a list or mapping as they are, secrets included; or the steps that any of them waits for.
    fn gathered<'n>(&self, nodes: impl Iterator<Item = &'n Node>) -> Result<Gathered, Fault> {
        let (mut values, mut after, mut opaque) = (Vec::new(), Vec::new(), false);
        for node in nodes {
            match self.present(node)? {
                Found::Value(value, may) => {
                    values.push(value);
                    opaque |= may;
                }
                Found::After(more) => join(&mut after, more),
                Found::Nothing(fault) => return Err(fault),
            }
        }
        Ok(if after.is_empty() { Ok((values, opaque)) } else { Err(after) })
    }

    fn map(&self, entries: &[(Node, Node)]) -> Result<Found, Fault> {
        let keys = match self.all_clear(entries.iter().map(|(key, _)| key))? {
            Ok(keys) => keys,
            Err(after) => return Ok(Found::After(after)),
        };
        if let Some(((node, _), key)) = entries.iter().zip(&keys).find(|(_, key)| key.as_str().is_none()) {
            let message = format!("a key of a mapping is text, not {}", class_words(key));
            return Err(Fault::new(codes::REFUSED, node.at, message));
        }
        Ok(match self.gathered(entries.iter().map(|(_, value)| value))? {
            Ok((values, opaque)) => Found::Value(Value::from_pairs(keys.into_iter().zip(values)), opaque),
            Err(after) => Found::After(after),
        })
    }

    fn read(&self, read: &Read) -> Result<Found, Fault> {
        let root = match read.root {
            Root::Params => self.scope.params,
            Root::Item => self.scope.item,
            Root::Run => self.scope.run,
            Root::Result => self.scope.result,
            Root::Outputs => self.scope.outputs,
            Root::Env => self.scope.env,
            Root::Steps => return self.step(read),
        };
        match root {
            Some(datum) => walked(datum, &read.keys, 0, read),
            None => {
                let message = format!("there is no `{}` here", read.root.as_str());
                Ok(Found::Nothing(Fault::new(codes::NOTHING_THERE, read.at, message)))
            }
        }
    }

    fn step(&self, read: &Read) -> Result<Found, Fault> {
        let name = read.name(0).unwrap_or_default();
        let Some((_, seen)) = self.scope.steps.iter().find(|(step, _)| step.as_str() == name) else {
            let message = format!("the step `{name}` cannot be seen here");
            let fault = Fault::new(codes::NOTHING_THERE, read.at, message);
            return Ok(Found::Nothing(fault.help(format!("add it to `needs`: [{name}]"))));
        };
        let part = read.name(1).unwrap_or_default();
        let datum = if part == "status" { &seen.status } else { &seen.outputs };
        match datum {
            Some(datum) => walked(datum, read.keys.get(2..).unwrap_or_default(), 2, read),
            None => {
                let message =
                    format!("the step `{name}` has no {part}: it did not succeed, or it was skipped");
                let help =
                    format!("ask `steps.{name}.status == 'succeeded'` in `when`, or add `| default(…)`");
                Ok(Found::Nothing(Fault::new(codes::NOTHING_THERE, read.at, message).help(help)))
            }
        }
    }

    fn indexed(&self, base: &Node, key: &Node) -> Result<Found, Fault> {
        let (value, opaque) = match self.found(base)? {
            Found::Value(value, opaque) => (value, opaque),
            found => return Ok(found),
        };
        let key_value = match self.clear(key)? {
            Clear::Value(value) => value,
            Clear::After(after) => return Ok(Found::After(after)),
        };
        match one_step(&value, &key_value) {
            Step::To(value) => Ok(opened(value, opaque)),
            Step::Secret => Err(Fault::new(codes::SECRET_VALUE, base.at, "a secret has no parts")),
            Step::Nowhere => Ok(Found::Nothing(nowhere(&value, &key_value, "this", key.at))),
        }
    }
}

fn join(after: &mut Vec<Name>, more: Vec<Name>) {
    for name in more {
        if !after.contains(&name) {
            after.push(name);
        }
    }
}

fn truth_of(holds: bool) -> Truth {
    if holds { Truth::True } else { Truth::False }
}
