//! Shapes found without values, and what they say cannot be right.

use drydock_plan::expr::{Ref, Shapes};
use drydock_plan::finding::Findings;
use drydock_plan::owned_shape::{Lookup, OwnedField, OwnedShape};

use crate::world::{expr, template, underlined};

/// What the tests know: `params.<type>` is of that type; statuses are the words of the language.
struct Known;

impl Shapes for Known {
    fn shape_of(&self, reference: &Ref) -> OwnedShape {
        let field = |name: &str, shape| OwnedField { name: name.to_owned(), shape, required: true };
        let status = OwnedShape::OneOf(["succeeded", "failed", "skipped"].map(str::to_owned).to_vec());
        let params = OwnedShape::Record(vec![
            field("text", OwnedShape::Text),
            field("integer", OwnedShape::Integer),
            field("decimal", OwnedShape::Decimal),
            field("boolean", OwnedShape::Boolean),
            field("duration", OwnedShape::Duration),
            field("texts", OwnedShape::list(OwnedShape::Text)),
            field("map", OwnedShape::Map(Box::new(OwnedShape::Integer))),
            field("any", OwnedShape::Any),
            field("status", status),
        ]);
        reference.path.iter().fold(params, |shape, segment| match shape.field(&segment.text) {
            Lookup::Found(shape) => shape,
            _ => OwnedShape::Any,
        })
    }
}

#[test]
fn shapes_are_inferred() {
    for (text, expected) in [
        ("params.integer + 1", OwnedShape::Integer),
        ("params.integer / 2", OwnedShape::Number),
        ("params.text == 'x' and true", OwnedShape::Boolean),
        ("params.texts | first", OwnedShape::Text),
        ("params.texts | sort | length", OwnedShape::Integer),
        ("params.text | decimal", OwnedShape::Decimal),
        ("params.map[params.text]", OwnedShape::Integer),
        ("params.integer | default(params.decimal)", OwnedShape::Integer.or(OwnedShape::Decimal)),
        ("[1, 2]", OwnedShape::list(OwnedShape::Integer)),
        ("{'a': params.any}.a", OwnedShape::Any),
        ("params.integer if params.boolean else 2.5", OwnedShape::Number),
    ] {
        assert_eq!(expr(text).shape(&Known), expected, "{text}");
    }
    assert_eq!(template("{{ params.integer }}").shape(&Known), OwnedShape::Integer);
    assert_eq!(template("n={{ params.integer }}").shape(&Known), OwnedShape::Text);
}

#[track_caller]
fn check(text: &str, code: &str, at: &str, message: &str) {
    let mut findings = Findings::new();
    expr(text).check_condition(&Known, &mut findings);
    let findings = findings.into_sorted();
    let [finding] = &findings[..] else { panic!("{text}: {findings:?}") };
    assert_eq!(
        (finding.code.0, underlined(text, finding.place), finding.message.as_str()),
        (code, at, message),
        "{text}"
    );
}

#[test]
fn types_that_do_not_meet_are_found() {
    check(
        "params.decimal > 5",
        "DD315",
        "params.decimal > 5",
        "a decimal, which may be longer than 64 bits, is compared with a number",
    );
    check(
        "5 == (params.text | decimal)",
        "DD315",
        "5 == (params.text | decimal)",
        "a decimal, which may be longer than 64 bits, is compared with a number",
    );
    check(
        "params.text == params.integer",
        "DD315",
        "params.text == params.integer",
        "text is compared with a whole number",
    );
    check(
        "params.integer in ['a', 'b']",
        "DD315",
        "params.integer in ['a', 'b']",
        "a whole number is compared with one of `a`, `b`",
    );
    check(
        "params.status == 'succeded'",
        "DD315",
        "params.status == 'succeded'",
        "this is one of `succeeded`, `failed`, `skipped`, never `succeded`",
    );
    check("params.boolean < true", "DD316", "params.boolean < true", "true or false has no order");
    check(
        "params.integer",
        "DD316",
        "params.integer",
        "a condition is true or false, this is a whole number",
    );
    check(
        "params.boolean and params.text",
        "DD316",
        "params.text",
        "a condition is true or false, this is text",
    );
    check("params.text * 2 > 1", "DD316", "params.text", "`*` takes numbers, not text");
    check(
        "params.texts ~ 'x' == 'y'",
        "DD316",
        "params.texts",
        "`~` joins texts and numbers, not a list, each text",
    );
    check(
        "params.integer | upper == 'X'",
        "DD316",
        "params.integer",
        "`upper` takes text, not a whole number",
    );
    check(
        "params.integer is within(5)",
        "DD316",
        "5",
        "a band is {low, high} or [low, high], not a whole number",
    );
    check(
        "params.integer is startingwith('x')",
        "DD316",
        "params.integer",
        "`startingwith` asks about text, not a whole number",
    );
}

#[test]
fn what_may_be_right_is_let_be() {
    for text in [
        "params.any > 5 and params.any == 'x'",
        "params.decimal > '5' and params.decimal == params.text",
        "params.duration == '15m' and (params.duration | duration) > 5",
        "params.text != none",
        "params.any",
        "params.status in ['failed', 'skipped'] and 'a' in params.texts",
        "(params.integer | default('none')) == 'none'",
        "params.integer is within(params.any)",
    ] {
        let mut findings = Findings::new();
        expr(text).check_condition(&Known, &mut findings);
        assert!(findings.is_empty(), "{text}: {findings:?}");
    }
}
