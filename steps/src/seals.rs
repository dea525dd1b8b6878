//! Who signs what is written about recovery points, and whose signatures are believed: [`KeySeals`], with ed25519 keys.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drydock_recovery::catalogue::Untrusted;
use drydock_recovery::sealed::{SealError, Signature, Signs, parts_of_read};
use drydock_step::StepError;
use drydock_step::target::Seals;

/// The length of a key and of a seed, in bytes.
const KEY: usize = 32;

/// What a PEM file begins and ends with.
const PEM: [&str; 2] = ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"];

/// The keys of a store.
#[derive(Default)]
pub struct KeySeals {
    signer: Option<KeySigner>,
    /// Public keys in base64; where there is none, everybody is believed.
    trusted: Vec<String>,
}

struct KeySigner {
    pair: Ed25519KeyPair,
    public: String,
}

impl KeySeals {
    /// The keys of a target's settings: a private key as PEM (PKCS #8) or as its 32 bytes in base64, and public keys in base64.
    ///
    /// # Errors
    /// `target.settings`, for what is no key, and for a key that signs and is not trusted. No message has the private key.
    pub fn read(sign_with: Option<&str>, trusted: &[String]) -> Result<Self, StepError> {
        let signer = sign_with.map(KeySigner::read).transpose()?;
        let trusted = trusted.iter().map(|key| public_key(key)).collect::<Result<Vec<_>, _>>()?;
        if let Some(signer) = &signer
            && !trusted.is_empty()
            && !trusted.contains(&signer.public)
        {
            let why = format!("`sign_with` signs with {}, which is not among `trusted_keys`", signer.public);
            return Err(refused(&why)
                .help("add that public key to `trusted_keys`, or nobody believes what is sealed here"));
        }
        Ok(Self { signer, trusted })
    }
}

impl KeySigner {
    fn read(text: &str) -> Result<Self, StepError> {
        let wrong = || {
            refused("its `sign_with` is no ed25519 key")
                .help("make one with `openssl genpkey -algorithm ed25519`, or give its 32 bytes in base64")
        };
        let pair = match pem(text) {
            Some(der) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der.ok_or_else(wrong)?),
            None => Ed25519KeyPair::from_seed_unchecked(&decoded(text).ok_or_else(wrong)?),
        };
        let pair = pair.map_err(|_| wrong())?;
        let public = STANDARD.encode(pair.public_key().as_ref());
        Ok(Self { pair, public })
    }
}

fn refused(why: &str) -> StepError {
    StepError::new("target.settings", format!("the target's settings do not fit: {why}"))
}

/// The bytes of a PEM file; the inner nothing where it is a damaged one.
fn pem(text: &str) -> Option<Option<Vec<u8>>> {
    let (_, rest) = text.split_once(PEM[0])?;
    let body = rest.split_once(PEM[1]).map(|(body, _)| body.split_whitespace().collect::<String>());
    Some(body.and_then(|body| STANDARD.decode(body).ok()))
}

/// 32 bytes in base64.
fn decoded(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim()).ok().filter(|bytes| bytes.len() == KEY)
}

fn public_key(text: &str) -> Result<String, StepError> {
    let bytes = decoded(text).ok_or_else(|| {
        refused(&format!("{text} among its `trusted_keys` is no public ed25519 key"))
            .help("write the key's 32 bytes in base64: `openssl pkey -in key.pem -pubout -outform DER | tail -c 32 | base64`")
    })?;
    Ok(STANDARD.encode(bytes))
}

impl Signs for KeySigner {
    fn sign(&self, bytes: &[u8]) -> Signature {
        let value = STANDARD.encode(self.pair.sign(bytes).as_ref());
        Signature { key: self.public.clone(), value }
    }
}

impl Seals for KeySeals {
    fn signer(&self) -> Option<&dyn Signs> {
        self.signer.as_ref().map(|signer| signer as &dyn Signs)
    }

    fn judge(&self, text: &str) -> Option<Untrusted> {
        let unsigned = (!self.trusted.is_empty()).then_some(Untrusted::Unsigned);
        let parts = match parts_of_read(text) {
            Ok(parts) => parts,
            Err(SealError::None) => return unsigned,
            Err(SealError::Changed) => return Some(Untrusted::BadSignature),
        };
        let Some(signature) = parts.signature else { return unsigned };
        if !fits(&signature, parts.fields.as_bytes()) {
            return Some(Untrusted::BadSignature);
        }
        let foreign = !self.trusted.is_empty() && !self.trusted.contains(&signature.key);
        foreign.then_some(Untrusted::ForeignKey(signature.key))
    }
}

fn fits(signature: &Signature, bytes: &[u8]) -> bool {
    let (Some(key), Ok(value)) = (decoded(&signature.key), STANDARD.decode(&signature.value)) else {
        return false;
    };
    // Base64 has spellings that mean the same; only the one that is written counts.
    let is_as_written = STANDARD.encode(&key) == signature.key && STANDARD.encode(&value) == signature.value;
    is_as_written && UnparsedPublicKey::new(&ED25519, key).verify(bytes, &value).is_ok()
}

#[cfg(test)]
mod tests {
    use drydock_recovery::sealed::text_of;
    use serde_json::json;

    use drydock_recovery::sealed::parts;

    use super::*;

    /// Of RFC 8032, test 1.
    const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    /// The same as `openssl` writes it.
    const AS_PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    const OTHER: &str = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";

    fn keys(trusted: &[&str]) -> KeySeals {
        KeySeals::read(None, &trusted.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn signed() -> String {
        let seals = KeySeals::read(Some(SEED), &[]).unwrap();
        text_of(&json!({ "a": 1 }), seals.signer()).unwrap()
    }

    #[test]
    fn a_key_is_read_in_both_spellings_and_signs_alike() {
        let pem = KeySeals::read(Some(AS_PEM), &[PUBLIC.to_owned()]).unwrap();
        assert_eq!(text_of(&json!({ "a": 1 }), pem.signer()).unwrap(), signed());
        assert!(signed().contains(PUBLIC));
    }

    #[test]
    fn what_a_trusted_key_has_signed_is_believed_and_nothing_else() {
        let unsigned = text_of(&json!({ "a": 1 }), None).unwrap();
        for text in [&signed(), &unsigned, "{}"] {
            assert_eq!(keys(&[]).judge(text), None, "where no key is named everybody is believed");
        }
        assert_eq!(keys(&[OTHER, PUBLIC]).judge(&signed()), None);
        assert_eq!(keys(&[OTHER]).judge(&signed()), Some(Untrusted::ForeignKey(PUBLIC.into())));
        for text in [&unsigned, "{}"] {
            assert_eq!(keys(&[PUBLIC]).judge(text), Some(Untrusted::Unsigned));
        }
    }

    #[test]
    fn what_was_signed_in_version_2_is_written_and_believed_as_ever() {
        let [plain, golden] = [
            include_str!("../../tests/formats/manifest-v2.json"),
            include_str!("../../tests/formats/manifest-v2-signed.json"),
        ];
        let manifest = drydock_recovery::manifest::Manifest::parse(golden).unwrap();
        assert_eq!(drydock_recovery::manifest::Manifest::parse(plain), Ok(manifest.clone()));
        let seals = KeySeals::read(Some(SEED), &[]).unwrap();
        assert_eq!(text_of(&manifest, seals.signer()).unwrap(), golden);
        assert_eq!(
            (keys(&[PUBLIC]).judge(golden), keys(&[PUBLIC]).judge(plain)),
            (None, Some(Untrusted::Unsigned))
        );
    }

    #[test]
    fn every_changed_byte_of_key_and_signature_is_noticed() {
        let text = signed();
        let from = text.find("\"signed_by\"").unwrap();
        for place in from..text.len() {
            for flip in [0x01, 0x20, 0x40] {
                let mut bytes = text.clone().into_bytes();
                bytes[place] ^= flip;
                let changed = String::from_utf8_lossy(&bytes).into_owned();
                let noticed = keys(&[]).judge(&changed).is_some() || parts(&changed).is_err();
                assert!(noticed, "byte {place}: {changed}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_shown() {
        let refused = |sign_with: Option<&str>, trusted: &[&str]| {
            let trusted: Vec<String> = trusted.iter().map(|key| (*key).to_owned()).collect();
            KeySeals::read(sign_with, &trusted).err().unwrap()
        };
        for wrong in
            ["secret!", "c2VjcmV0", "-----BEGIN PRIVATE KEY-----\nAAAA", &AS_PEM.replace("MC4C", "MC5C")]
        {
            let error = refused(Some(wrong), &[]);
            assert!(error.message.ends_with("its `sign_with` is no ed25519 key"), "{error}");
            assert!(error.help.unwrap().contains("openssl genpkey"));
        }
        let error = refused(None, &["AAAA"]);
        assert!(error.message.contains("AAAA among its `trusted_keys` is no public ed25519 key"), "{error}");
        let error = refused(Some(SEED), &[OTHER]);
        assert!(error.message.contains(&format!("signs with {PUBLIC}, which is not among")), "{error}");
        assert!(!error.message.contains(SEED));
    }
}
