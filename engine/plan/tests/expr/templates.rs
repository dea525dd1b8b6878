//! Texts with `{{ }}`: types kept, parts put in, secrets as holes, unknown parts named.

use drydock_plan::expr::{Answer, Template};
use drydock_plan::rendered::{Piece, Rendered};
use indexmap::IndexMap;
use serde_json::{Value, json};

use crate::world::{World, compiled_text, name, template, underlined};

fn world() -> World {
    World::new(&json!({"params": {"n": 3, "db": "Octopus", "list": [1, "a"], "on": true, "nothing": null}}))
        .unknown_step("later")
}

fn check(text: &str, expected: Value) {
    assert_eq!(world().rendered(text).unwrap().plain(), Some(expected), "{text}");
}

fn secret(name: &str) -> Piece {
    Piece::Secret(name.to_owned())
}

fn text(text: &str) -> Piece {
    Piece::Text(text.to_owned())
}

#[test]
fn one_whole_expression_keeps_its_type() {
    check("{{ params.n }}", json!(3));
    check("{{params.list}}", json!([1, "a"]));
    check("{{ params.nothing }}", json!(null));
    check("{{ {'a': {'b': params.n}} }}", json!({"a": {"b": 3}}));
    check("{{ params.n }} ", json!("3 "));
    check("db {{ params.db }}: {{ params.n }}{{ params.on }}", json!("db Octopus: 3true"));
    check("plain }} text", json!("plain }} text"));
    check("{{ '{{' }} literally", json!("{{ literally"));
    assert_eq!(template("plain").as_literal(), Some(&json!("plain")));
    assert_eq!(template("{{ params.n }}").as_literal(), None);
}

#[test]
fn secrets_are_holes() {
    let token = || secret("params.token");
    assert_eq!(world().rendered("{{ params.token }}"), Ok(Rendered::Holes(vec![token()])));
    let bearer = template("Bearer {{ params['token'] }} for {{ params.n }}!");
    assert_eq!(
        bearer.render(&world().scope()),
        Ok(Rendered::Holes(vec![text("Bearer "), token(), text(" for 3!")]))
    );
    assert_eq!(bearer.secrets(), ["params.token"]);
    assert_eq!(bearer.refs().iter().map(|one| one.dotted()).collect::<Vec<_>>(), ["params.n"]);
    let (none, findings) = compiled_text("Bearer {{ params.token | upper }}");
    assert!(none.is_none());
    assert_eq!((findings[0].code.0, findings[0].label.as_str()), ("DD314", "a secret"));
    assert_eq!(underlined("Bearer {{ params.token | upper }}", findings[0].place), "params.token");
}

#[test]
fn a_value_with_a_secret_is_passed_on_and_nothing_else() {
    let holes = Rendered::Holes(vec![text("k-"), secret("params.key")]);
    let item = Rendered::Map(IndexMap::from([
        ("name".to_owned(), Rendered::Text("a".into())),
        ("key".to_owned(), holes.clone()),
    ]));
    let world = World::default().item(&item);
    assert_eq!(world.rendered("{{ item }}"), Ok(item.clone()));
    assert_eq!(world.rendered("{{ [item.key] }}"), Ok(Rendered::List(vec![holes.clone()])));
    assert_eq!(
        world.rendered("x {{ item.key }}"),
        Ok(Rendered::Holes(vec![text("x "), text("k-"), secret("params.key")]))
    );
    assert_eq!(world.value("item.name"), Ok(Answer::Known(json!("a"))));
    for (text, at) in [
        ("item.key == 'x'", "item.key"),
        ("item | json", "item"),
        ("item.key ~ 'x'", "item.key"),
        ("item.key.x", "x"),
        ("item", "item"),
    ] {
        let error = world.value(text).expect_err(text);
        assert_eq!((error.code.0, underlined(text, error.place)), ("DD326", at), "{text}");
    }
    let error = world.rendered("all: {{ item }}").unwrap_err();
    assert_eq!(
        (error.code.0, error.message.as_str()),
        ("DD326", "this value holds a secret, which can only be passed on")
    );
}

#[test]
fn unknown_parts_are_named() {
    let after = || Rendered::After(vec![name("later")]);
    assert_eq!(world().rendered("{{ steps.later.outputs.rows[0].n }}"), Ok(after()));
    assert_eq!(world().rendered("n={{ params.n }} m={{ steps.later.outputs.m }}"), Ok(after()));
    let list = Template::list(vec![template("{{ params.n }}"), template("{{ steps.later.status }}")]);
    assert_eq!(list.render(&world().scope()), Ok(Rendered::List(vec![Rendered::Scalar(json!(3)), after()])));
    assert_eq!(list.steps_read(), [name("later")]);
    let map = Template::map(IndexMap::from([
        ("a".to_owned(), template("x")),
        ("b".to_owned(), template("{{ item.y }}")),
    ]));
    assert!(map.names_item());
    assert_eq!(
        Template::list(vec![template("x"), Template::literal(json!(1))]).as_literal(),
        Some(&json!(["x", 1]))
    );
}

#[test]
fn what_has_no_text_is_refused_in_a_text() {
    for (text, message) in [
        ("x {{ params.list }}", "a list has no text of its own"),
        ("x {{ params.nothing }}", "nothing (null) has no text of its own"),
    ] {
        let error = world().rendered(text).unwrap_err();
        assert_eq!((error.code.0, error.message.as_str()), ("DD325", message));
        assert!(underlined(text, error.place).starts_with("params."), "{text}");
    }
}

#[test]
fn findings_stand_where_they_belong() {
    let text = "a {{ params.n }} b {{ param.n | lowr }}";
    let (none, findings) = compiled_text(text);
    assert!(none.is_none());
    let found: Vec<(&str, &str)> =
        findings.iter().map(|one| (one.code.0, underlined(text, one.place))).collect();
    assert_eq!(found, [("DD307", "param"), ("DD309", "lowr")]);
    let text = "on {% if x %}";
    let (_, findings) = compiled_text(text);
    assert_eq!((findings[0].code.0, underlined(text, findings[0].place)), ("DD303", "{% if x %}"));
    let (_, findings) = compiled_text("ab {{ c");
    assert_eq!((findings[0].code.0, findings[0].place.span.range()), ("DD304", 103..105));
}
