//! Any text as an expression and as a value with braces: it is refused at places that exist, or answered; never a panic.

use drydock_plan::expr::{Datum, Expr, Root, Scope, Seen, Site, compile_expr, compile_text};
use drydock_plan::finding::Findings;
use drydock_plan::name::Name;
use drydock_plan::source::{Place, Span};
use serde_json::json;

const SITE: Site = Site {
    roots: &[Root::Params, Root::Steps, Root::Item, Root::Run, Root::Result, Root::Outputs],
    what: "anywhere",
};

/// What a text is, read and asked.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let secret = |name: &str| name == "token";
    let mut findings = Findings::new();
    let place = Place::new(0, Span::new(0, text.len()));
    let expr = compile_expr(text, place, &SITE, &secret, &mut findings);
    let template = compile_text(text, place, &SITE, &secret, &mut findings);
    for finding in findings.iter() {
        assert!(text.get(finding.place.span.range()).is_some(), "{finding:?} lies nowhere in {text:?}");
    }
    let datum = Datum::from_json(&json!({
        "n": 3, "x": 1.5, "text": "a-b", "all": [1, 2, 3], "map": { "k": [{ "v": null }] }, "yes": true,
        "at": "2026-01-01T00:00:00Z", "lsn": "340000000012300045", "size": "64MiB", "for": "1h30m",
    }));
    let done = Seen { status: Some(Datum::from_json(&json!("succeeded"))), outputs: Some(datum.clone()) };
    let steps: Vec<(Name, Seen)> = Name::parse("a").into_iter().map(|name| (name, done.clone())).collect();
    let full = Scope {
        params: Some(&datum),
        run: Some(&datum),
        steps: &steps,
        item: Some(&datum),
        result: Some(&datum),
        outputs: Some(&datum),
        env: None,
    };
    if let Some(expr) = expr {
        asked(&expr, &Scope::default());
        asked(&expr, &full);
    }
    if let Some(template) = template {
        let _ = (template.render(&Scope::default()), template.render(&full));
    }
}

/// All that can be asked of an expression.
fn asked(expr: &Expr, scope: &Scope<'_>) {
    let _ = (expr.value(scope), expr.judged(scope));
    let holds = matches!(expr.truth(scope), Ok(drydock_plan::expr::Truth::True));
    // What has held can hold.
    assert!(!holds || expr.can_hold(&|_| None), "`{}` holds and can never hold", expr.text());
    let _ = expr.together(expr);
}
