//! Cells as the server's text protocol gives them, as JSON by their type: [`json_of`], and names for the columns: [`distinct`].

use serde_json::{Number, Value};
use tokio_postgres::types::Type;

/// What a session's answers are read by. Its own settings, those of its role and of its database would write the same values otherwise.
pub(super) const READABLE: &str = "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; \
    SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL lc_monetary = 'C'";

/// A cell as JSON. Whole numbers and floats are numbers, `numeric` is its decimal text, JSON is itself, a time with a zone is RFC 3339 in
/// UTC, and all else is its text. What has no number, `NaN` and `Infinity`, is text as well.
pub(super) fn json_of(kind: &Type, cell: Option<&str>) -> Value {
    let Some(text) = cell else { return Value::Null };
    let own = || Value::from(text);
    match *kind {
        Type::BOOL => Value::from(text == "t"),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => {
            text.parse::<i64>().map_or_else(|_| own(), Value::from)
        }
        Type::FLOAT4 | Type::FLOAT8 => {
            let number = text.parse::<f64>().ok().and_then(Number::from_f64);
            number.map_or_else(own, Value::Number)
        }
        Type::JSON | Type::JSONB => serde_json::from_str(text).unwrap_or_else(|_| own()),
        Type::TIMESTAMPTZ => utc(text).map_or_else(own, Value::from),
        _ => own(),
    }
}

/// `2026-11-22 06:19:33.66+00` as `2026-11-22T06:19:33.66Z`; nothing for what RFC 3339 cannot say, such as `infinity` and years before our
/// era.
fn utc(text: &str) -> Option<String> {
    let (day, time) = text.strip_suffix("+00")?.split_once(' ')?;
    (day.len() == 10).then(|| format!("{day}T{time}Z"))
}

/// Names for columns that have none, and second names for those that share one.
pub(super) fn distinct<'n>(columns: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (at, column) in columns.enumerate() {
        let base =
            if matches!(column, "" | "?column?") { format!("column_{}", at + 1) } else { column.to_owned() };
        let mut name = base.clone();
        let mut n = 1;
        while names.contains(&name) {
            n += 1;
            name = format!("{base}_{n}");
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_has_its_json() {
        for (kind, text, expected) in [
            (Type::BOOL, "t", json!(true)),
            (Type::INT8, "-9223372036854775808", json!(i64::MIN)),
            (Type::OID, "4294967295", json!(4_294_967_295_u64)),
            (Type::FLOAT8, "1.5", json!(1.5)),
            (Type::FLOAT4, "NaN", json!("NaN")),
            (Type::FLOAT8, "-Infinity", json!("-Infinity")),
            (Type::NUMERIC, "12345678901234567890.10", json!("12345678901234567890.10")),
            (Type::JSONB, "{\"a\": [1]}", json!({ "a": [1] })),
            (Type::TIMESTAMPTZ, "2026-11-22 06:19:33.66+00", json!("2026-11-22T06:19:33.66Z")),
            (Type::TIMESTAMPTZ, "infinity", json!("infinity")),
            (Type::TIMESTAMPTZ, "0044-03-15 00:00:00+00 BC", json!("0044-03-15 00:00:00+00 BC")),
            (Type::TIMESTAMPTZ, "10000-01-01 00:00:00+00", json!("10000-01-01 00:00:00+00")),
            (Type::TIMESTAMP, "2026-11-22 06:19:33", json!("2026-11-22 06:19:33")),
            (Type::BYTEA, "\\x00ff", json!("\\x00ff")),
            (Type::TEXT, "", json!("")),
        ] {
            assert_eq!(json_of(&kind, Some(text)), expected, "{kind} {text}");
        }
        assert_eq!(json_of(&Type::INT4, None), Value::Null);
    }

    #[test]
    fn columns_keep_apart() {
        let names = distinct(["id", "?column?", "id", "", "id"].into_iter());
        assert_eq!(names, ["id", "column_2", "id_2", "column_4", "id_3"]);
    }
}
