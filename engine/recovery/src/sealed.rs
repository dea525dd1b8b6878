//! A text that carries the SHA-256 of itself, and where somebody signs, a signature over the same bytes: [`text_of`], [`parts`].
//!
//! The fields come first, as any JSON; then `sha256` over all bytes before it, then `signed_by` and `signature`. Whoever knows nothing of
//! that reads a JSON object with some fields more.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// What stands between the fields and their digest.
const DIGEST: &str = ",\n  \"sha256\": \"";
/// What stands between the digest and the key.
const KEY: &str = "\",\n  \"signed_by\": \"";
/// What stands between the key and the signature.
const SIGNATURE: &str = "\",\n  \"signature\": \"";
/// What the text ends with.
const END: &str = "\"\n}\n";

/// A signature, both parts in base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The public key.
    pub key: String,
    /// The signature.
    pub value: String,
}

/// Whoever can sign.
pub trait Signs: Send + Sync {
    /// A signature over these bytes.
    fn sign(&self, bytes: &[u8]) -> Signature;
}

/// The parts of a text whose digest holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts<'t> {
    /// What the digest is over, and the signature.
    pub fields: &'t str,
    /// The signature, where there is one. Whether it fits is not known here.
    pub signature: Option<Signature>,
}

/// Why a text's seal does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It has none.
    #[error("it has no `sha256` of its own")]
    None,
    /// It does not fit.
    #[error("it was changed after it was written: it is not what its `sha256` says")]
    Changed,
}

/// A value as a text with its digest, and signed where somebody signs. It must be an object with at least one field.
///
/// # Errors
/// When the value is no JSON.
pub fn text_of(value: &impl Serialize, signer: Option<&dyn Signs>) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string_pretty(value)?;
    let fields = text.strip_suffix("\n}").unwrap_or(&text);
    let digest = sha256_of(fields.as_bytes());
    let signed = signer.map(|signer| signer.sign(fields.as_bytes()));
    let signed = signed.map_or(String::new(), |one| format!("{KEY}{}{SIGNATURE}{}", one.key, one.value));
    Ok(format!("{fields}{DIGEST}{digest}{signed}{END}"))
}

/// The parts of a text.
///
/// # Errors
/// When it has no digest, or another than its own.
pub fn parts(text: &str) -> Result<Parts<'_>, SealError> {
    let (parts, digest) = taken_apart(text)?;
    if digest != sha256_of(parts.fields.as_bytes()) {
        return Err(SealError::Changed);
    }
    Ok(parts)
}

/// The parts of a text that was read before, so that its digest is known to hold: it is not made again.
///
/// # Errors
/// When it has no digest.
pub fn parts_of_read(text: &str) -> Result<Parts<'_>, SealError> {
    taken_apart(text).map(|(parts, _)| parts)
}

/// The parts, and the digest as it stands there.
fn taken_apart(text: &str) -> Result<(Parts<'_>, &str), SealError> {
    let (fields, rest) = text.rsplit_once(DIGEST).ok_or(SealError::None)?;
    let rest = rest.strip_suffix(END).ok_or(SealError::Changed)?;
    let (digest, signature) = match rest.split_once(KEY) {
        None => (rest, None),
        Some((digest, signed)) => {
            let (key, value) = signed.split_once(SIGNATURE).ok_or(SealError::Changed)?;
            (digest, Some(Signature { key: key.to_owned(), value: value.to_owned() }))
        }
    };
    Ok((Parts { fields, signature }, digest))
}

/// The SHA-256 of some bytes, 64 lower-case hexadecimal digits.
fn sha256_of(bytes: &[u8]) -> String {
    let digit = |four: u8| char::from_digit(u32::from(four), 16).unwrap_or_default();
    Sha256::digest(bytes).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct Ann;

    impl Signs for Ann {
        fn sign(&self, bytes: &[u8]) -> Signature {
            Signature { key: "Ann".into(), value: bytes.len().to_string() }
        }
    }

    #[test]
    fn a_text_is_its_fields_and_what_holds_them_together() {
        let value = json!({ "a": 1, "b": { "sha256": "inner" } });
        let text = text_of(&value, None).unwrap();
        let fields = "{\n  \"a\": 1,\n  \"b\": {\n    \"sha256\": \"inner\"\n  }";
        assert_eq!(parts(&text), Ok(Parts { fields, signature: None }));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["a"], 1);
        let signed = text_of(&value, Some(&Ann)).unwrap();
        let by = Signature { key: "Ann".into(), value: fields.len().to_string() };
        assert_eq!(parts(&signed), Ok(Parts { fields, signature: Some(by) }));
        assert_eq!(serde_json::from_str::<Value>(&signed).unwrap()["signed_by"], "Ann");
    }

    #[test]
    fn what_was_changed_does_not_hold() {
        let text = text_of(&json!({ "a": 1 }), Some(&Ann)).unwrap();
        for (found, changed) in [
            (SealError::None, "{\n  \"a\": 1\n}\n".to_owned()),
            (SealError::None, text.replace("sha256", "sha257")),
            (SealError::Changed, text.replace("\"a\"", "\"b\"")),
            (SealError::Changed, text.replace("\"\n}\n", "\"\n}")),
            (SealError::Changed, text.replace("signature", "signatura")),
            (SealError::Changed, text.replace("signed_by", "signed_bx")),
        ] {
            assert_eq!(parts(&changed), Err(found), "{changed}");
        }
    }
}
