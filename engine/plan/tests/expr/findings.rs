//! What is found wrong with an expression before it has any value: code, place, words.

use drydock_plan::expr::{Guard, Origin, Root, Site, compile_expr, guards};
use drydock_plan::finding::{Findings, Severity};
use drydock_plan::source::{Place, Span};

use crate::world::{EVERYWHERE, compiled, expr, is_secret, underlined};

/// The only finding of an expression: its code, the text that it underlines, its message, its help.
#[track_caller]
fn check(text: &str, code: &str, at: &str, message: &str, help: &str) {
    check_at(&EVERYWHERE, text, code, at, message, help);
}

#[track_caller]
fn check_at(site: &Site, text: &str, code: &str, at: &str, message: &str, help: &str) {
    let (expr, findings) = compiled(text, site);
    assert!(expr.is_none(), "{text}");
    let [finding] = &findings[..] else { panic!("{text}: {findings:?}") };
    assert_eq!(
        (finding.code.0, underlined(text, finding.place), finding.message.as_str()),
        (code, at, message),
        "{text}"
    );
    assert_eq!(finding.help.as_deref().unwrap_or(""), help, "{text}");
    assert_eq!(finding.severity, Severity::Error);
}

const FILTER_NAMES: &str = "there are default, abs, basename, bytes, datetime, decimal, duration, first, float, int, items, join, \
    json, keys, last, length, list, lower, map, max, min, quote_name, quote_sql, reject, rejectattr, replace, round, select, \
    selectattr, sort, split, string, sum, trim, unique, upper";

#[test]
fn what_cannot_be_read_is_underlined() {
    check(
        "params.",
        "DD301",
        ".",
        "this is not an expression: unexpected end of input, expected identifier or integer",
        "",
    );
    check("1 +* 2", "DD301", "*", "this is not an expression: unexpected `*`", "");
    check("'open", "DD301", "n", "this is not an expression: unexpected end of string", "");
    check("a b", "DD301", "b", "this is not an expression: unexpected input after expression", "");
    check(
        "{{ params.a }} == 1",
        "DD301",
        "}",
        "this is not an expression: unexpected `}`, expected `:`",
        "braces stand around the whole expression or not at all",
    );
}

#[test]
fn what_the_language_does_not_have_is_refused() {
    let message = "there are no functions and no methods in the plan language";
    check("range(3)", "DD305", "range(3)", message, "use a filter: `… | length`");
    check("params.a.upper() == 'X'", "DD305", "params.a.upper()", message, "there is a filter: `… | upper`");
    check(
        "params.a[1:2]",
        "DD305",
        "params.a[1:2]",
        "a slice is not part of the language",
        "use `| first`, `| last` or a subscript",
    );
    check("(1, 2)", "DD305", "(1, 2)", "a tuple is not part of the language", "write a list: `[a, b]`");
    check(
        "1 < params.n < 5",
        "DD305",
        "1 < params.n < 5",
        "a chain of comparisons is not part of the language",
        "write `a < b and b < c`, or `b is within([a, c])`",
    );
    check(
        "1 if params.a",
        "DD305",
        "1 if params.a",
        "an `if` without `else` has no value when it does not hold",
        "add `else …`",
    );
    check(
        "44000000037600005000000 < 1",
        "DD305",
        "44000000037600005000000",
        "this number does not fit 64 bits",
        "put it in quotes and use `| decimal`",
    );
    check(
        "params.a | join(*params.b)",
        "DD305",
        "join",
        "`*` before an argument is not part of the language",
        "give the arguments one by one",
    );
}

#[test]
fn names_that_do_not_exist_have_near_ones() {
    check("param.a", "DD307", "param", "there is no `param` to read from", "did you mean `params`?");
    check("params.a == null", "DD307", "null", "there is no `null` to read from", "did you mean `none`?");
    check(
        "run.status == succeeded",
        "DD307",
        "succeeded",
        "there is no `succeeded` to read from",
        "if it is meant as text, put it in quotes: `'succeeded'`",
    );
    check("params.a | capitalise", "DD309", "capitalise", "there is no filter `capitalise`", FILTER_NAMES);
    check("params.a|lowr", "DD309", "lowr", "there is no filter `lowr`", "did you mean `lower`?");
    check(
        "params.a is witin([1, 2])",
        "DD310",
        "witin",
        "there is no test `witin`",
        "did you mean `within`?",
    );
    check(
        "params.a | select('nmber')",
        "DD310",
        "'nmber'",
        "there is no test `nmber`",
        "did you mean `number`?",
    );
    check("params.a | map('uper')", "DD309", "'uper'", "there is no filter `uper`", "did you mean `upper`?");
    check(
        "steps.my-step.outputs.n",
        "DD307",
        "steps.my-step.outputs.n",
        "`steps.my-step.outputs.n` is a subtraction here",
        "names are written with `_`, never with `-`",
    );
}

#[test]
fn filters_and_tests_get_their_arguments() {
    check(
        "params.a | default",
        "DD311",
        "default",
        "the filter `default` takes one argument",
        "for example `params.note | default('none')`",
    );
    check(
        "params.a | replace('x')",
        "DD311",
        "replace",
        "the filter `replace` takes 2 arguments, not 1",
        "for example `'a-b' | replace('-', '_')`",
    );
    check(
        "params.a | length(1)",
        "DD311",
        "length",
        "the filter `length` takes no argument, not 1",
        "for example `['a', 'b'] | length`",
    );
    check(
        "params.a | sort(atribute='n')",
        "DD311",
        "sort",
        "the filter `sort` has no argument `atribute`",
        "for example `[3, 1, 2] | sort`",
    );
    check(
        "params.a is within",
        "DD311",
        "within",
        "the test `within` takes one argument",
        "for example `5 is within({'low': 1, 'high': 5})`",
    );
    check(
        "params.a | select(params.b)",
        "DD311",
        "params.b",
        "the filter `select` must be given a name in quotes here",
        "for example `[1, 'a'] | select('number') | list`",
    );
}

#[test]
fn steps_are_named_and_have_two_parts() {
    check(
        "steps[params.x].outputs.n",
        "DD312",
        "params.x",
        "a step must be named, it cannot be chosen by a value",
        "write its name: `steps.restore.outputs`",
    );
    check(
        "steps[0].status == 'x'",
        "DD312",
        "0",
        "a step must be named, it cannot be chosen by a value",
        "write its name: `steps.restore.outputs`",
    );
    check(
        "steps | length",
        "DD313",
        "steps",
        "`steps` alone is not a value",
        "write `steps.x.outputs.…` or `steps.x.status`",
    );
    check(
        "steps.a == 1",
        "DD313",
        "steps.a",
        "`steps.a` alone is not a value",
        "write `steps.a.outputs.…` or `steps.a.status`",
    );
    check(
        "steps.a.output.n",
        "DD313",
        "output",
        "a step has `status` and `outputs`, but no `output`",
        "did you mean `outputs`?",
    );
    check(
        "steps.a.rows",
        "DD313",
        "rows",
        "a step has `status` and `outputs`, but no `rows`",
        "its outputs are `steps.a.outputs.…`",
    );
    assert!(compiled("steps['a'].outputs.rows[params.n]", &EVERYWHERE).0.is_some());
}

#[test]
fn a_place_has_its_own_names() {
    const INPUT: Site = Site { roots: &[Root::Params, Root::Steps], what: "a step's input" };
    check_at(
        &INPUT,
        "params.a ~ result.n",
        "DD308",
        "result.n",
        "`result` cannot be read in a step's input",
        "an expression here may read `params`, `steps`",
    );
}

#[test]
fn secrets_are_nowhere_but_alone() {
    let message = "`params.token` is a secret; nothing can be worked out from it";
    let help = "let it stand alone in its braces: `{{ params.token }}`";
    for (text, at) in [
        ("params.token == 'x'", "params.token"),
        ("params.token | upper", "params.token"),
        ("params.map[params.token]", "params.token"),
        ("'a' ~ params['token']", "params['token']"),
        ("params.token is defined", "params.token"),
        ("params.token.x", "params.token.x"),
        ("params.token", "params.token"),
    ] {
        check(text, "DD314", at, message, help);
    }
}

#[test]
fn all_is_found_at_once() {
    let (_, findings) = compiled("param.a | lowr == steps.a.output and range(2)", &EVERYWHERE);
    let codes: Vec<&str> = findings.iter().map(|finding| finding.code.0).collect();
    assert_eq!(codes, ["DD307", "DD309", "DD313", "DD305"]);
}

#[test]
fn braces_around_a_bare_expression_are_a_warning() {
    let text = " {{ params.a == 1 }}";
    let (expr, findings) = compiled(text, &EVERYWHERE);
    let expr = expr.unwrap();
    assert_eq!((expr.text(), underlined(text, expr.place())), ("params.a == 1", "params.a == 1"));
    assert_eq!(underlined(text, expr.refs()[0].place), "params.a");
    assert_eq!((findings[0].code.0, findings[0].severity), ("DD302", Severity::Warning));
    assert_eq!(findings[0].suggestion.as_deref(), Some("params.a == 1"));
    assert_eq!(findings[0].message, "`when` is an expression already");
}

#[test]
fn references_have_places_and_guards() {
    let text = "steps.a.status == 'succeeded' and steps.a.outputs.rows[0]['n'] > (steps.b.outputs.n | default(item.x)) \
                or steps.c.outputs[params.k].d is defined and (steps.a.outputs.z if steps.d.outputs is defined else steps.d.outputs)";
    let expr = expr(text);
    let found: Vec<(String, &str, Guard)> =
        expr.refs().iter().map(|one| (one.dotted(), underlined(text, one.place), one.guard)).collect();
    let expected = [
        ("steps.a.status", "steps.a.status", Guard::Bare),
        ("steps.a.outputs.rows.0.n", "steps.a.outputs.rows[0]['n']", Guard::Defined),
        ("steps.b.outputs.n", "steps.b.outputs.n", Guard::Default),
        ("item.x", "item.x", Guard::Bare),
        ("steps.c.outputs", "steps.c.outputs", Guard::Defined),
        ("params.k", "params.k", Guard::Bare),
        ("steps.a.outputs.z", "steps.a.outputs.z", Guard::Bare),
        ("steps.d.outputs", "steps.d.outputs", Guard::Defined),
        ("steps.d.outputs", "steps.d.outputs", Guard::Bare),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(dotted, at, guard)| (dotted.to_owned(), at, guard)).collect();
    assert_eq!(found, expected);
    let segments: Vec<&str> = expr.refs()[1].path.iter().map(|one| underlined(text, one.place)).collect();
    assert_eq!(segments, ["a", "outputs", "rows", "0", "'n'"]);
    assert_eq!(expr.steps_read().iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert!(expr.names_item());
}

#[test]
fn conjuncts_guard_steps() {
    for (text, expected) in [
        ("steps.a.status == 'succeeded'", vec!["a"]),
        ("'succeeded' == steps.a.status and params.x and steps.b.outputs is defined", vec!["a", "b"]),
        ("steps.a.outputs.n.m is defined", vec!["a"]),
        ("steps.a.status == 'succeeded' or params.x", vec![]),
        ("not (steps.a.status == 'succeeded')", vec![]),
        ("steps.a.status != 'skipped'", vec![]),
        ("steps.a.outputs is not defined", vec![]),
    ] {
        let found = guards(&expr(text));
        assert_eq!(found.iter().map(|guarded| guarded.step.as_str()).collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn places_follow_quotes_and_folds() {
    // `when: 'a == ''x'' and b'` in a source: the doubled quotes move what follows by one byte each.
    let text = "params.a == 'x' and prams.b";
    let origin =
        Origin::with_breaks(Place::new(0, Span::new(7, 7 + text.len() + 2)), [(0, 7), (13, 21), (15, 24)]);
    let mut findings = Findings::new();
    assert!(compile_expr(text, origin, &EVERYWHERE, &is_secret, &mut findings).is_none());
    let finding = &findings.into_sorted()[0];
    assert_eq!(finding.place.span.range(), 29..34);
    assert_eq!(finding.suggestion.as_deref(), Some("params"));
}
