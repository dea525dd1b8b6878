//! The list of a foreach: asked for once, its items named by their keys.

use std::collections::HashSet;
use std::sync::Arc;

use drydock_plan::expr::{Answer, Datum, Expr};
use drydock_plan::model::{Foreach, StepIx};
use serde_json::{Value, json};

use super::{failure_of, not_yet};
use crate::event::{Failure, Listed, RunEvent, Status};
use crate::machine::{Emitter, Machine};

impl Machine {
    /// Ask a foreach for its list, once; `false` when the step ended by it.
    pub(super) fn list_items(&mut self, ix: StepIx, out: &mut Emitter) -> bool {
        let plan = self.plan.clone();
        let step = plan.step(ix);
        let Some(foreach) = step.foreach.as_ref().filter(|_| !self.steps[ix.ix()].listed) else {
            return true;
        };
        let items = match self.items_of(foreach) {
            Ok(items) => items,
            Err(error) => {
                self.end_step_itself(ix, Status::Failed, Some(error), None, out);
                return false;
            }
        };
        let none = items.is_empty();
        self.emit(out, RunEvent::ForeachListed { step: step.id.clone(), items });
        if none {
            self.end_step_itself(ix, Status::Succeeded, None, Some("the list is empty"), out);
        }
        !none
    }

    /// The items with their keys; a key twice is an error before the first starts.
    fn items_of(&self, foreach: &Foreach) -> Result<Vec<Listed>, Failure> {
        let items = match self.answer(&foreach.list, None)? {
            Value::Array(items) => items,
            other => {
                let message =
                    format!("foreach `{}` gave {}, not a list", foreach.list.text(), kind_of(&other));
                return Err(Failure::new("foreach.list", message));
            }
        };
        let mut seen: HashSet<Arc<str>> = HashSet::new();
        let mut listed = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let key = self.key_of(foreach.key.as_ref(), &item, at)?;
            if !seen.insert(key.clone()) {
                let message = format!("two items have the key `{key}`; nothing was started");
                return Err(Failure::new("foreach.key", message));
            }
            listed.push(Listed { key, item });
        }
        Ok(listed)
    }

    /// The key of the item at this index.
    fn key_of(&self, key: Option<&Expr>, item: &Value, at: usize) -> Result<Arc<str>, Failure> {
        let value = match key {
            Some(key) => self.answer(key, Some(&Datum::from_json(item)))?,
            None if item.is_object() => item.get("name").cloned().unwrap_or(Value::Null),
            None => item.clone(),
        };
        match value {
            Value::String(text) => Ok(text.into()),
            Value::Number(number) => Ok(number.to_string().into()),
            other => {
                let message =
                    format!("the key of item {} is {}, not text or a number", at + 1, kind_of(&other));
                let help = "name the instances with `key:`, such as `key: item.id`".to_owned();
                Err(Failure { help: Some(help), ..Failure::new("foreach.key", message) })
            }
        }
    }

    fn answer(&self, expr: &Expr, item: Option<&Datum>) -> Result<Value, Failure> {
        let view = self.view(expr.steps_read());
        match expr.value(&view.scope(self, item)).map_err(|error| failure_of(&error))? {
            Answer::Known(value) => Ok(value),
            Answer::After(steps) => Err(not_yet(&steps)),
        }
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        other => json!(other).to_string(),
    }
}
