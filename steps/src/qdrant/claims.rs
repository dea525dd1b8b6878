//! What a key tells of itself: [`Claims`], of a key that is a JSON Web Token. Of a plain key only the server knows what it may do.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use drydock_step::StepError;
use serde::Deserialize;
use serde_json::Value;

/// What is to be done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs<'a> {
    /// Make, remove and download snapshots of a collection.
    Snapshot(&'a str),
    /// Recover, make and remove collections.
    Manage,
}

/// The claims of a token that say what it may do. Whether it is signed well, the server says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    /// When it ends, in seconds since 1970.
    exp: Option<i64>,
    /// `r`, `m`, or a list of what it may do with single collections; everything where it says nothing.
    access: Option<Value>,
}

impl Claims {
    /// Of a key that is a token.
    pub(super) fn of(key: &str) -> Option<Self> {
        let mut parts = key.split('.');
        let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }

    /// Why it cannot do that, if it says so by itself.
    pub(super) fn refuses(&self, needs: Needs<'_>, now_s: i64) -> Option<StepError> {
        let refused = |message: &str| {
            let error = StepError::new("qdrant.key", message);
            Some(error.help("give the target an `api_key` with manage access"))
        };
        if self.exp.is_some_and(|ends| ends <= now_s) {
            return refused("the target's `api_key` is a token that has expired");
        }
        let may = match &self.access {
            None => true,
            Some(Value::String(all)) => all == "m",
            // Which nodes there are is asked with access to everything, or nobody knows whether a snapshot is whole.
            Some(Value::Array(_)) => {
                return refused(
                    "the target's `api_key` is a token for single collections, and cannot ask for the nodes",
                );
            }
            Some(_) => true,
        };
        match (may, needs) {
            (true, _) => None,
            (false, Needs::Manage) => {
                refused("the target's `api_key` is a token without manage access, and cannot recover")
            }
            (false, Needs::Snapshot(name)) => refused(&format!(
                "the target's `api_key` is a token that may make no snapshot of collection {name}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(claims))
    }

    #[test]
    fn a_token_tells_what_it_may_do() {
        let check = |claims: Value, snapshot: bool, manage: bool| {
            let found = Claims::of(&token(&claims)).unwrap();
            let may = |needs| found.refuses(needs, 1_000).is_none();
            assert_eq!((may(Needs::Snapshot("c")), may(Needs::Manage)), (snapshot, manage), "{claims}");
        };
        check(json!({}), true, true);
        check(json!({ "access": "m", "exp": 1_001 }), true, true);
        check(json!({ "access": "m", "exp": 1_000 }), false, false);
        check(json!({ "access": "r" }), false, false);
        check(json!({ "access": [{ "collection": "c", "access": "rw" }] }), false, false);
        check(
            json!({ "access": [{ "collection": "c", "access": "prw" }, { "collection": "d", "access": "rw" }] }),
            false,
            false,
        );
        check(json!({ "access": { "later": "versions" } }), true, true);
    }

    #[test]
    fn a_plain_key_tells_nothing() {
        for key in ["practice-key", "a.b.c", "a.b", "a.e30.c.d", ""] {
            assert_eq!(Claims::of(key), None, "{key}");
        }
    }
}
