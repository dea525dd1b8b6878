//! Keys that carry claims: JSON Web Tokens (HS256) signed with a key of the server. Main type: [`Claims`].

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::access::Access;
use super::filter::Filter;

/// How long after its end a token is still taken, in seconds: clocks differ.
const LEEWAY_S: u64 = 30;

/// What a block of SHA-256 has, in bytes.
const BLOCK: usize = 64;

/// The claims of a token. Others than these are overlooked, as the real server does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Claims {
    /// When it ends, in seconds since 1970.
    exp: Option<u64>,
    #[serde(default)]
    pub(super) access: Access,
    pub(super) value_exists: Option<ValueExists>,
}

/// A point that must be there for the token to hold.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct ValueExists {
    pub(super) collection: String,
    matches: Vec<Pair>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Pair {
    key: String,
    value: Value,
}

/// Why a token is not taken: 401 or 403, in plain text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Untaken {
    Unauthorized(&'static str),
    Forbidden(&'static str),
}

/// A key with these claims, as whoever has `key` makes one: the server takes it for as long, and for as much, as
/// they say.
#[must_use]
pub fn token(key: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "HS256" })), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(hmac(key.as_bytes(), signed.as_bytes()));
    format!("{signed}.{signature}")
}

impl Claims {
    /// The claims of a token signed with `key`, at `now_s` seconds since 1970; nothing of what is no token.
    pub(super) fn of(token: &str, key: &str, now_s: u64) -> Option<Result<Self, Untaken>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let read = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Value = serde_json::from_slice(&read(header)?).ok()?;
        if header.get("alg").and_then(Value::as_str) != Some("HS256") {
            return None;
        }
        if read(signature)? != hmac(key.as_bytes(), signed.as_bytes()) {
            return Some(Err(Untaken::Forbidden("InvalidSignature")));
        }
        let claims: Self = serde_json::from_slice(&read(claims)?).ok()?;
        if claims.exp.is_some_and(|ends| ends < now_s.saturating_sub(LEEWAY_S)) {
            return Some(Err(Untaken::Forbidden("ExpiredSignature")));
        }
        Some(claims.valid())
    }

    fn valid(self) -> Result<Self, Untaken> {
        let Access::Collections(list) = &self.access else { return Ok(self) };
        let names: BTreeSet<&str> = list.iter().map(|one| one.collection.as_str()).collect();
        if names.len() < list.len() {
            return Err(Untaken::Unauthorized("Collection name should be unique"));
        }
        if list.iter().any(|one| one.payload.is_some()) {
            let words = "The 'payload' constraint is deprecated and should not be used";
            return Err(Untaken::Unauthorized(words));
        }
        Ok(self)
    }
}

impl ValueExists {
    /// What the point must pass; nothing where a value is of a kind that cannot be compared.
    pub(super) fn filter(&self) -> Option<Filter> {
        let condition = |pair: &Pair| json!({ "key": pair.key, "match": { "value": pair.value } });
        let conditions: Vec<Value> = self.matches.iter().map(condition).collect();
        serde_json::from_value(json!({ "must": conditions })).ok()
    }
}

/// HMAC (RFC 2104) over SHA-256.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(BLOCK, 0);
    let padded = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5C)).chain_update(inner).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use crate::seed::hex;

    use super::*;

    #[test]
    fn the_mac_is_that_of_the_standard() {
        // RFC 4231, cases 2 and 6; the second has a key longer than a block.
        let found = hex(&hmac(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(found, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let found = hex(&hmac(&[0xAA; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"));
        assert_eq!(found, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[track_caller]
    fn check(key: &str, claims: Value, expected: Option<Result<(), Untaken>>) {
        let found = Claims::of(&token("k", &claims), key, 1_000);
        assert_eq!(found.map(|found| found.map(drop)), expected, "{claims}");
    }

    #[test]
    fn what_is_taken() {
        check("k", json!({}), Some(Ok(())));
        check("k", json!({ "exp": 970, "access": "m", "iat": 1 }), Some(Ok(())));
        check("k", json!({ "exp": 969 }), Some(Err(Untaken::Forbidden("ExpiredSignature"))));
        check("l", json!({ "exp": 969 }), Some(Err(Untaken::Forbidden("InvalidSignature"))));
        check("k", json!({ "access": "rw" }), None);
        check("k", json!({ "exp": -1 }), None);
        let twice = json!([{ "collection": "c", "access": "r" }, { "collection": "c", "access": "rw" }]);
        let words = "Collection name should be unique";
        check("k", json!({ "access": twice }), Some(Err(Untaken::Unauthorized(words))));
        let narrowed = json!([{ "collection": "c", "access": "r", "payload": { "n": 1 } }]);
        let words = "The 'payload' constraint is deprecated and should not be used";
        check("k", json!({ "access": narrowed }), Some(Err(Untaken::Unauthorized(words))));
        for other in ["practice-key", "a.b.c", "e30.e30.", "", "eyJhbGciOiJub25lIn0.e30."] {
            assert!(Claims::of(other, "k", 1_000).is_none(), "{other}");
        }
    }
}
