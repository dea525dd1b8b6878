//! JSON Schemas (draft 2020-12) of plans, environments and requests files, for editors: [`plan_schema`], [`environment_schema`],
//! [`requests_schema`]. They are made from the key tables and the catalog, so they say what `check` says, as far as a schema can.

use serde_json::{Map, Value, json};

use crate::catalog::{Catalog, KindShape, TargetNeed};
use crate::shape::{Field, Shape};
use crate::syntax::keys::{
    CLAIM, ENVIRONMENT, EXPECT, Key, OBJECTIVES, PARAM, PLAN, REQUEST, REQUESTS, RETRY, STEP, TARGET, Table,
    VALIDATION, Wanted,
};

/// The schema of a plan, with the inputs of every kind of the catalog.
pub fn plan_schema(catalog: &Catalog) -> Value {
    let writer = Writer { catalog };
    let mut definitions = Map::new();
    definitions.insert("name".to_owned(), name());
    for (key, table) in [("param", &PARAM), ("objectives", &OBJECTIVES), ("retry", &RETRY)] {
        definitions.insert(key.to_owned(), writer.table(table));
    }
    definitions.insert("step".to_owned(), writer.calling(&STEP, true));
    definitions.insert("validation".to_owned(), writer.calling(&VALIDATION, false));
    for kind in catalog.kinds.values() {
        definitions.insert(format!("with.{}", kind.name), record(kind.inputs, Values::Templates));
    }
    whole("Drydock plan", writer.table(&PLAN), definitions)
}

/// The schema of an environment, with the settings of every target kind of the catalog.
pub fn environment_schema(catalog: &Catalog) -> Value {
    let writer = Writer { catalog };
    let mut definitions = Map::new();
    definitions.insert("name".to_owned(), name());
    definitions.insert("secret".to_owned(), secret());
    definitions.insert("target".to_owned(), writer.target());
    for kind in catalog.targets.values() {
        let mut settings = record(kind.fields, Values::Settings);
        settings["description"] = json!(kind.docs);
        settings["properties"]["kind"] = json!({ "const": kind.name });
        definitions.insert(format!("target.{}", kind.name), settings);
    }
    whole("Drydock environment", writer.table(&ENVIRONMENT), definitions)
}

/// The schema of a requests file.
pub fn requests_schema() -> Value {
    let writer = Writer { catalog: &Catalog::default() };
    let mut definitions = Map::new();
    definitions.insert("name".to_owned(), name());
    for table in [&REQUEST, &EXPECT, &CLAIM] {
        definitions.insert(table.name.to_owned(), writer.table(table));
    }
    whole("Drydock requests file", writer.table(&REQUESTS), definitions)
}

fn whole(title: &str, mut schema: Value, definitions: Map<String, Value>) -> Value {
    let mut out = json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "title": title });
    if let (Some(out), Some(schema)) = (out.as_object_mut(), schema.as_object_mut()) {
        out.append(schema);
        out.insert("$defs".to_owned(), Value::Object(definitions));
    }
    out
}

fn name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$", "description": "a to z, 0 to 9 and _, beginning with a letter" })
}

fn secret() -> Value {
    let way = |key: &str, value: Value, doc: &str| {
        json!({
            "type": "object",
            "description": doc,
            "properties": { key: value },
            "required": [key],
            "additionalProperties": false,
        })
    };
    let argv = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    json!({
        "description": "Where the secret is kept.",
        "oneOf": [
            way("env", json!({ "type": "string" }), "An environment variable."),
            way("file", json!({ "type": "string" }), "A file."),
            way("command", argv, "A program whose output is the secret."),
        ],
    })
}

fn when_is(key: &str, value: &str, then: Value) -> Value {
    json!({ "if": { "properties": { key: { "const": value } }, "required": [key] }, "then": then })
}

/// What may stand in place of a value.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    /// Nothing else.
    Plain,
    /// Text with `{{ }}`.
    Templates,
    /// Text with `{{ env.NAME }}`, and sources of secrets where a field takes them.
    Settings,
}

struct Writer<'a> {
    catalog: &'a Catalog,
}

impl Writer<'_> {
    /// A mapping of the language.
    fn table(&self, table: &Table) -> Value {
        let properties: Map<String, Value> =
            table.keys.iter().map(|key| (key.name.to_owned(), self.key(key))).collect();
        let required: Vec<&str> = table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
        json!({
            "type": "object",
            "description": table.doc,
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    /// A step or a validation: its kind says which inputs it has.
    fn calling(&self, table: &Table, needs_target: bool) -> Value {
        let mut schema = self.table(table);
        let branches =
            self.catalog.kinds.values().map(|kind| when_is("uses", kind.name, call(kind, needs_target)));
        schema["allOf"] = branches.collect();
        schema
    }

    /// One target of an environment: its kind says which other settings it has.
    fn target(&self) -> Value {
        let mut schema = self.table(&TARGET);
        let settings = |kind: &str| json!({ "$ref": format!("#/$defs/target.{kind}") });
        let kinds = self.catalog.targets.keys();
        schema["allOf"] = kinds.map(|kind| when_is("kind", kind, settings(kind))).collect();
        schema["additionalProperties"] = json!(true);
        schema
    }

    fn key(&self, key: &Key) -> Value {
        let mut schema = self.wanted(&key.wanted);
        schema["description"] = json!(key.doc);
        schema["examples"] = json!([key.example]);
        marked(schema, key.deprecated)
    }

    fn wanted(&self, wanted: &Wanted) -> Value {
        let named = |of: Value| json!({ "type": "object", "propertyNames": { "$ref": "#/$defs/name" }, "additionalProperties": of });
        let definition = |table: &Table| json!({ "$ref": format!("#/$defs/{}", table.name) });
        match wanted {
            Wanted::Value(of) => shape(of, Values::Plain),
            Wanted::Positive => json!({ "type": "integer", "minimum": 1 }),
            Wanted::Span => {
                let part = "([0-9]+(ms|s|m|h|d))*";
                let pattern = format!("^{part}[0-9]*[1-9][0-9]*(ms|s|m|h|d){part}$");
                json!({ "type": "string", "pattern": pattern })
            }
            Wanted::Version => json!({ "const": "v1" }),
            Wanted::Name => json!({ "$ref": "#/$defs/name" }),
            Wanted::Names => json!({ "type": "array", "items": { "$ref": "#/$defs/name" } }),
            Wanted::Expression => json!({ "type": ["string", "boolean"] }),
            Wanted::Values => named(json!(true)),
            Wanted::Inputs => json!({ "type": "object" }),
            Wanted::StepKind => {
                json!({ "type": "string", "enum": self.catalog.kinds.keys().collect::<Vec<_>>() })
            }
            Wanted::TargetKinds => named(json!({ "enum": self.catalog.targets.keys().collect::<Vec<_>>() })),
            Wanted::Settings => named(json!({ "$ref": "#/$defs/target" })),
            Wanted::TargetKind => json!({ "enum": self.catalog.targets.keys().collect::<Vec<_>>() }),
            Wanted::ParamValues => named(json!(true)),
            Wanted::RetryErrors => {
                json!({ "type": ["string", "array"], "items": { "type": ["string", "integer"] } })
            }
            Wanted::Mapping(table) => definition(table),
            Wanted::MapOf(table) => named(definition(table)),
            Wanted::ListOf(table) => json!({ "type": "array", "items": definition(table) }),
        }
    }
}

/// What a kind asks of the step that uses it.
fn call(kind: &KindShape, needs_target: bool) -> Value {
    let mut required = Vec::new();
    let mut properties =
        json!({ "with": { "$ref": format!("#/$defs/with.{}", kind.name), "description": kind.docs } });
    if kind.inputs.iter().any(|field| field.required) {
        required.push("with");
    }
    match kind.target {
        TargetNeed::None => properties["target"] = json!(false),
        _ if needs_target => required.push("target"),
        _ => {}
    }
    json!({ "properties": properties, "required": required })
}

/// A mapping with these fields.
fn record(fields: &[Field], values: Values) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|one| (one.name.to_owned(), field(one, values))).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn field(field: &Field, values: Values) -> Value {
    let secret = json!({ "$ref": "#/$defs/secret" });
    let mut schema = match (values, field.secrets, &field.shape) {
        (Values::Settings, true, Shape::Text) => secret,
        (Values::Settings, true, Shape::Map(of)) => {
            json!({ "type": "object", "additionalProperties": { "anyOf": [shape(of, values), secret] } })
        }
        _ => shape(&field.shape, values),
    };
    schema["description"] = json!(field.doc);
    if let Some(default) = field.default.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        schema["default"] = default;
    }
    marked(schema, field.deprecated)
}

/// The schema of a key or input, marked where it is no longer to be used.
fn marked(mut schema: Value, deprecated: Option<&'static str>) -> Value {
    if let Some(instead) = deprecated {
        schema["deprecated"] = json!(true);
        let doc = schema["description"].as_str().unwrap_or_default().to_owned();
        schema["description"] = json!(format!("Deprecated: {instead}. {}", doc.trim()));
    }
    schema
}

/// A value of a shape.
fn shape(of: &Shape, values: Values) -> Value {
    let list = |of: &Shape| json!({ "type": "array", "items": shape(of, values) });
    let plain = match of {
        Shape::Any | Shape::OfInput(_) => return json!({}),
        Shape::Text | Shape::Path | Shape::Url | Shape::Decimal => return json!({ "type": "string" }),
        Shape::Integer => json!({ "type": "integer" }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Duration => json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" }),
        Shape::Size => json!({ "type": "string", "pattern": "^[0-9]+(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$" }),
        Shape::Datetime => json!({ "type": "string", "format": "date-time" }),
        Shape::Band => json!({ "type": ["object", "array"] }),
        Shape::OneOf(words) => json!({ "type": "string", "enum": words }),
        Shape::List(of) => list(of),
        Shape::Map(of) => json!({ "type": "object", "additionalProperties": shape(of, values) }),
        Shape::Record(fields) => record(fields, values),
        Shape::Either(a, b) => return json!({ "anyOf": [shape(a, values), shape(b, values)] }),
    };
    match values {
        Values::Plain => plain,
        Values::Templates | Values::Settings => {
            json!({ "anyOf": [plain, { "type": "string", "pattern": "\\{\\{" }] })
        }
    }
}
