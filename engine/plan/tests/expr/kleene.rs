//! Expressions over parts that are not known yet, against brute force: each unknown part replaced by every value of a small set.
//! An answer given in spite of an unknown part must be the answer for all of them.

use drydock_plan::expr::{Answer, Datum, Scope, Seen, Truth};
use drydock_plan::name::Name;
use serde_json::{Value, json};

use crate::world::{World, expr, name};

#[test]
fn what_is_known_decides() {
    let world =
        World::new(&json!({"params": {"yes": true, "no": false}})).unknown_step("x").unknown_step("y");
    let check =
        |text: &str, expected: Truth| assert_eq!(expr(text).truth(&world.scope()), Ok(expected), "{text}");
    let x = || Truth::After(vec![name("x")]);
    check("params.no and steps.x.outputs.b", Truth::False);
    check("steps.x.outputs.b and params.no", Truth::False);
    check("steps.x.outputs.b and params.yes", x());
    check("steps.x.outputs.b or params.yes", Truth::True);
    check("steps.x.outputs.b or params.no", x());
    check("not steps.x.outputs.b", x());
    check("steps.x.outputs.b and steps.y.outputs.b", Truth::After(vec![name("x"), name("y")]));
    check("steps.x.status == 'succeeded' and steps.nowhere.outputs.n > 3", x());
    check("steps.x.outputs is defined or params.no", x());
    check("(steps.x.outputs.b and params.no) == false", Truth::True);
    assert_eq!(world.value("[1, steps.x.outputs.n] | length"), Ok(Answer::After(vec![name("x")])));
    assert_eq!(
        world.value("1 if steps.x.outputs.b else steps.y.outputs.n"),
        Ok(Answer::After(vec![name("x"), name("y")]))
    );
    assert_eq!(world.value("steps.x.outputs.n | default(1)"), Ok(Answer::After(vec![name("x")])));
}

/// A random condition over a (known), u and v (unknown) of depth at most `depth`.
fn condition(random: &mut dyn FnMut(usize) -> usize, depth: usize) -> String {
    let part = |random: &mut dyn FnMut(usize) -> usize| {
        ["params.a", "steps.u.outputs.b", "steps.v.outputs.b", "true", "false"][random(5)].to_owned()
    };
    if depth == 0 {
        return part(random);
    }
    let left = condition(random, depth - 1);
    let right = condition(random, depth - 1);
    match random(8) {
        0 | 1 => format!("({left} and {right})"),
        2 | 3 => format!("({left} or {right})"),
        4 => format!("(not {left})"),
        5 => format!("({left} == {right})"),
        6 => format!("({left} if {right} else {})", part(random)),
        _ => part(random),
    }
}

#[test]
fn answers_agree_with_brute_force() {
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below as u64) as usize
    };
    let (mut decided, mut open) = (0, 0);
    for round in 0..4_000 {
        let text = condition(&mut random, 1 + round % 4);
        let expr = expr(&text);
        let a = json!({"a": random(2) == 0});
        let answer = expr.truth(&scope(&a, None, None).as_scope()).unwrap();
        let truths: Vec<Truth> = [(false, false), (false, true), (true, false), (true, true)]
            .into_iter()
            .map(|(u, v)| expr.truth(&scope(&a, Some(u), Some(v)).as_scope()).unwrap())
            .collect();
        match answer {
            Truth::After(after) => {
                open += 1;
                assert!(!after.is_empty(), "{text}");
            }
            known => {
                decided += usize::from(text.contains("steps."));
                assert!(truths.iter().all(|truth| *truth == known), "{text}: {known:?}, but {truths:?}");
            }
        }
    }
    assert!(decided > 200 && open > 200, "{decided} {open}");
}

/// `and`, `or` and `not` alone lose nothing: where all values of one unknown agree, a formula that names it once says so.
#[test]
fn formulas_that_name_an_unknown_once_are_exact() {
    for connective in ["and", "or"] {
        for known in ["true", "false"] {
            for (left, right) in [("steps.u.outputs.b", known), (known, "steps.u.outputs.b")] {
                for negated in ["", "not "] {
                    let text = format!("{negated}({left} {connective} {right})");
                    let a = json!({});
                    let truth = |u| expr(&text).truth(&scope(&a, u, None).as_scope()).unwrap();
                    let (no, yes) = (truth(Some(false)), truth(Some(true)));
                    let expected = if no == yes { no } else { Truth::After(vec![name("u")]) };
                    assert_eq!(truth(None), expected, "{text}");
                }
            }
        }
    }
}

struct Built {
    params: Datum,
    steps: Vec<(Name, Seen)>,
}

impl Built {
    fn as_scope(&self) -> Scope<'_> {
        Scope { params: Some(&self.params), steps: &self.steps, ..Scope::default() }
    }
}

fn scope(params: &Value, u: Option<bool>, v: Option<bool>) -> Built {
    let step = |step: &str, known: Option<bool>| {
        let outputs = match known {
            Some(b) => Datum::from_json(&json!({"b": b})),
            None => Datum::unknown(vec![name(step)]),
        };
        (name(step), Seen { status: None, outputs: Some(outputs) })
    };
    Built { params: Datum::from_json(params), steps: vec![step("u", u), step("v", v)] }
}
