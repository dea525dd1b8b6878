//! minijinja, set up: no templates, no functions, strict about what is not there, with a limit of fuel, and with the filters and
//! tests of the plan language alone.

use std::sync::LazyLock;

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, Expression, UndefinedBehavior, filters, tests};

use crate::expr::compare::{Comparison, holds, is_within};
use crate::expr::filtering::{self, refusal};
use crate::expr::node::Operator;

/// The instructions that one operation may take; none takes more than a few.
const FUEL: u64 = 1_000;

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine.set_debug(false);
    add_filters(&mut engine);
    add_tests(&mut engine);
    engine
});

/// `a + b` and its like, compiled once, in the order of [`Operator::ALL`].
static OPERATORS: LazyLock<Vec<Expression<'static, 'static>>> = LazyLock::new(|| {
    let compile = |operator: Operator| {
        let text = format!("a {} b", operator.sign());
        ENGINE.compile_expression_owned(text).expect("an operator between two names is an expression")
    };
    Operator::ALL.into_iter().map(compile).collect()
});

fn add_filters(engine: &mut Environment<'_>) {
    engine.add_filter("abs", filters::abs);
    engine.add_filter("basename", filtering::basename);
    engine.add_filter("bytes", filtering::bytes);
    engine.add_filter("datetime", filtering::datetime);
    engine.add_filter("decimal", filtering::decimal);
    engine.add_filter("duration", filtering::duration);
    engine.add_filter("first", filters::first);
    engine.add_filter("float", filtering::float);
    engine.add_filter("int", filtering::int);
    engine.add_filter("items", filters::items);
    engine.add_filter("join", filtering::join);
    engine.add_filter("json", filtering::json);
    engine.add_filter("keys", filtering::keys);
    engine.add_filter("last", filters::last);
    engine.add_filter("length", filters::length);
    engine.add_filter("list", filters::list);
    engine.add_filter("lower", filters::lower);
    engine.add_filter("map", filters::map);
    engine.add_filter("max", filters::max);
    engine.add_filter("min", filters::min);
    engine.add_filter("quote_name", filtering::quote_name);
    engine.add_filter("quote_sql", filtering::quote_sql);
    engine.add_filter("reject", filters::reject);
    engine.add_filter("rejectattr", filters::rejectattr);
    engine.add_filter("replace", filtering::replace);
    engine.add_filter("round", filters::round);
    engine.add_filter("select", filters::select);
    engine.add_filter("selectattr", filters::selectattr);
    engine.add_filter("sort", filters::sort);
    engine.add_filter("split", filtering::split);
    engine.add_filter("string", filtering::string);
    engine.add_filter("sum", filters::sum);
    engine.add_filter("trim", |text: &str| text.trim().to_owned());
    engine.add_filter("unique", filters::unique);
    engine.add_filter("upper", filters::upper);
}

fn add_tests(engine: &mut Environment<'_>) {
    engine.add_test("boolean", tests::is_boolean);
    engine.add_test("integer", tests::is_integer);
    engine.add_test("mapping", tests::is_mapping);
    engine.add_test("none", tests::is_none);
    engine.add_test("number", tests::is_number);
    engine.add_test("sequence", tests::is_sequence);
    engine.add_test("string", tests::is_string);
    engine.add_test("startingwith", |text: &str, start: &str| text.starts_with(start));
    engine.add_test("endingwith", |text: &str, end: &str| text.ends_with(end));
    engine.add_test("within", |value: &Value, band: &Value| is_within(value, band).map_err(refusal));
    for (name, comparison) in [
        ("eq", Comparison::Equal),
        ("ne", Comparison::Different),
        ("lt", Comparison::Less),
        ("le", Comparison::AtMost),
        ("gt", Comparison::More),
        ("ge", Comparison::AtLeast),
        ("in", Comparison::In),
    ] {
        engine.add_test(name, move |left: &Value, right: &Value| {
            holds(comparison, left, right).map_err(refusal)
        });
    }
}

/// Why minijinja did not give a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It would have been too much work.
    Fuel,
    /// In words.
    Words(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        if error.kind() == ErrorKind::OutOfFuel {
            return Self::Fuel;
        }
        Self::Words(error.detail().map_or_else(|| error.kind().to_string(), str::to_owned))
    }
}

/// What an operator gives for two numbers.
pub(crate) fn calculated(operator: Operator, a: Value, b: Value) -> Result<Value, Refusal> {
    let at = Operator::ALL.iter().position(|one| *one == operator);
    let program = at.and_then(|at| OPERATORS.get(at)).expect("every operator was compiled");
    Ok(program.eval(Value::from_pairs([("a", a), ("b", b)]))?)
}

/// What a filter gives. A list that it would make piece by piece is made whole, so that its errors show here.
pub(crate) fn filtered(
    name: &str,
    mut input: Vec<Value>,
    named: Vec<(String, Value)>,
) -> Result<Value, Refusal> {
    if !named.is_empty() {
        input.push(named.into_iter().collect::<Kwargs>().into());
    }
    let value = ENGINE.empty_state().apply_filter(name, &input)?;
    match value.kind() {
        minijinja::value::ValueKind::Seq | minijinja::value::ValueKind::Iterable => {
            let items = value.try_iter()?.checked().collect::<Result<Vec<_>, _>>()?;
            Ok(Value::from(items))
        }
        _ => Ok(value),
    }
}

/// Whether a test holds.
pub(crate) fn tested(name: &str, input: &[Value]) -> Result<bool, Refusal> {
    Ok(ENGINE.empty_state().perform_test(name, input)?)
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::expr::filter::FILTERS;
    use crate::expr::predicate::TESTS;

    #[test]
    fn every_filter_and_test_is_there_and_no_other() {
        let nothing = [Value::UNDEFINED];
        let mut state = ENGINE.empty_state();
        for filter in FILTERS {
            let found = state.apply_filter(filter.name, &nothing).err().map(|error| error.kind());
            assert_ne!(found, Some(ErrorKind::UnknownFilter), "{}", filter.name);
        }
        for test in TESTS {
            let found = state.perform_test(test.name, &nothing).err().map(|error| error.kind());
            assert_ne!(found, Some(ErrorKind::UnknownTest), "{}", test.name);
        }
        for name in ["tojson", "safe", "escape", "attr", "pprint", "format"] {
            assert_eq!(
                state.apply_filter(name, &nothing).unwrap_err().kind(),
                ErrorKind::UnknownFilter,
                "{name}"
            );
        }
        assert_eq!(ENGINE.globals().count(), 0);
    }

    #[test]
    fn fuel_runs_out() {
        let long = ENGINE.render_str(
            "{% for i in list %}{{ i }}{% endfor %}",
            Value::from_pairs([("list", vec![1; 1_000])]),
        );
        assert_eq!(Refusal::from(long.unwrap_err()), Refusal::Fuel);
    }
}
