//! Nothing that anyone can write makes an expression overflow, hang or panic.

use drydock_plan::expr::{Datum, Scope, compile_expr, compile_text};
use drydock_plan::finding::Findings;
use serde_json::json;

use crate::world::{EVERYWHERE, World, compiled, expr, is_secret, place};

/// Numbers that look random and are the same every time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % below as u64) as usize
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let n = 100_000;
    for text in [
        format!("{}1{}", "(".repeat(n), ")".repeat(n)),
        "(".repeat(n),
        "[".repeat(n),
        format!("{}1", "not ".repeat(n)),
        format!("{}1", "-".repeat(n)),
        vec!["1"; n].join("+"),
        vec!["1"; n].join(" and "),
        format!("params{}", ".a".repeat(n)),
        format!("params{}", "[0]".repeat(n)),
        format!("params.a{}", "|list".repeat(n)),
        format!("1{}", " if true else 1".repeat(n)),
        format!("{}1{}", "(".repeat(40), ")".repeat(40)),
        format!("[{}]", vec!["1"; n].join(",")),
    ] {
        let (none, findings) = compiled(&text, &EVERYWHERE);
        assert!(none.is_none());
        assert_eq!((findings.len(), findings[0].code.0), (1, "DD306"), "{}", &text[..30]);
        assert!(findings[0].message.starts_with("the expression "));
    }
}

/// What is just allowed must neither overflow the small stack of a test's thread nor be slow.
#[test]
fn what_is_allowed_fits_the_stack() {
    let chain = vec!["params.a.b.c.d.e.f.g.h"; 60].join(" + ");
    for text in [
        format!("{}{chain}{}", "(".repeat(31), ")".repeat(31)),
        vec!["true"; 161].join(" and "),
        format!("{} true", "not ".repeat(32)),
        format!("{}'x'{}{}", "(".repeat(30), ")|upper".repeat(30), "|upper".repeat(100)),
        format!("{}1{}", "[".repeat(32), "]".repeat(32)),
        format!("params.a{}", "[0]".repeat(120)),
        format!("{}0{}", "params.a[".repeat(32), "]".repeat(32)),
    ] {
        let expr = expr(&text);
        let a = json!({"b": {"c": {"d": {"e": {"f": {"g": {"h": 1}}}}}}});
        let value = expr.value(&World::new(&json!({"params": {"a": a}})).scope());
        assert!(value.is_ok() || value.is_err_and(|error| error.code.0.starts_with("DD32")), "{text}");
    }
}

const WORDS: [&str; 62] = [
    "params",
    "steps",
    "item",
    "run",
    "result",
    ".a",
    ".b",
    ".outputs",
    ".status",
    "[0]",
    "[-1]",
    "['a']",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "'x'",
    "\"y\"",
    "'",
    "1",
    "0",
    "2.5",
    "1e308",
    "99999999999999999999",
    "+",
    "-",
    "*",
    "/",
    "//",
    "%",
    "**",
    "~",
    "==",
    "!=",
    "<",
    ">=",
    " in ",
    " not ",
    " and ",
    " or ",
    " if ",
    " else ",
    " is ",
    "defined",
    "within([1,5])",
    "|",
    "default(1)",
    "length",
    "first",
    "sort",
    "join(',')",
    "map('upper')",
    "selectattr('a','eq',1)",
    "round(2)",
    "int",
    "decimal",
    "json",
    ",",
    ":",
    "é",
];

#[test]
fn random_words_never_panic() {
    let world = World::new(&json!({
        "params": {"a": [1, "x", null, {"b": 2}], "b": "text"},
        "item": {"a": {"b": [[]]}, "b": -1.5},
        "run": {"a": true, "b": u64::MAX},
        "steps": {"a": {"status": "succeeded", "outputs": {"b": "44000000037600005"}}},
    }))
    .unknown_step("b");
    let mut numbers = Numbers(7);
    let (mut compiled, mut known) = (0, 0);
    for _ in 0..60_000 {
        let text: String = (0..=numbers.next(9)).map(|_| WORDS[numbers.next(WORDS.len())]).collect();
        let mut findings = Findings::new();
        if let Some(expr) = compile_expr(&text, place(&text), &EVERYWHERE, &is_secret, &mut findings) {
            compiled += 1;
            known += usize::from(expr.value(&world.scope()).is_ok());
            let _ = expr.judged(&world.scope());
        } else {
            assert!(findings.has_errors(), "{text}");
        }
        for finding in findings.iter() {
            let range = finding.place.span.start as usize - 100..finding.place.span.end as usize - 100;
            assert!(text.get(range).is_some(), "{text}: {finding:?}");
        }
    }
    assert!(compiled > 1_000 && known > 300, "the words make too few expressions: {compiled}, {known}");
}

#[test]
fn random_bytes_never_panic() {
    let mut numbers = Numbers(11);
    let datum = Datum::from_json(&json!({"a": 1}));
    let scope = Scope { params: Some(&datum), ..Scope::default() };
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..numbers.next(24)).map(|_| (numbers.next(128) as u8).max(9)).collect();
        for text in [
            String::from_utf8_lossy(&bytes).into_owned(),
            format!("{{{{{}}}}}é{{{{", String::from_utf8_lossy(&bytes)),
        ] {
            let mut findings = Findings::new();
            if let Some(template) = compile_text(&text, place(&text), &EVERYWHERE, &is_secret, &mut findings)
            {
                let _ = template.render(&scope);
            }
            let _ = compile_expr(&text, place(&text), &EVERYWHERE, &is_secret, &mut findings);
        }
    }
}

/// Every filter with every value, and small and strange arguments: an error or a value, never a panic.
#[test]
fn filters_stand_every_value() {
    let values = [
        "none",
        "true",
        "-1",
        "9223372036854775807",
        "1e308",
        "''",
        "'x'",
        "'9'",
        "[]",
        "[1, 'x', none]",
        "[[1], [2]]",
        "{}",
        "{'a': 1}",
    ];
    let arguments = [
        "",
        "(0)",
        "(-1)",
        "(99)",
        "('')",
        "('a', 'b')",
        "(none)",
        "('a', 'eq', 1)",
        "(attribute='a')",
        "('eq', 1)",
        "('upper')",
    ];
    let world = World::default();
    let mut known = 0;
    for filter in drydock_plan::expr::FILTERS {
        for value in values {
            for argument in arguments {
                let text = format!("{value} | {}{argument}", filter.name);
                if let (Some(expr), _) = compiled(&text, &EVERYWHERE) {
                    known += usize::from(expr.value(&world.scope()).is_ok());
                }
            }
        }
    }
    assert!(known > 100, "{known}");
}
