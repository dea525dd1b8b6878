//! Secrets are asked for at each attempt, and no value survives in anything that comes back, however it was encoded.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::alphabet;
use base64::engine::{
    DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose as base64_engine,
};
use drydock_plan::model::SecretSource;
use drydock_run::secrets::{MASK, Redactor, Secrets};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// Numbers that are the same in every run: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let rolled = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(rolled).unwrap() % limit
    }

    fn text(&mut self, chars: &str, from: usize, to: usize) -> String {
        let chars: Vec<char> = chars.chars().collect();
        let length = from + self.below(to - from + 1);
        (0..length).map(|_| chars[self.below(chars.len())]).collect()
    }

    fn either<T>(&mut self, a: T, b: T) -> T {
        if self.below(2) == 0 { a } else { b }
    }
}

const OF_SECRETS: &str = "abcXYZ0189 +/-_=&%?\"'\\<>{}\n\täß€😀.:;@~";

/// Percent-encoded at random: always what must be, else now and then, in either hex; spaces as `+` where `form` says so.
fn percent(value: &str, form: bool, dice: &mut Dice) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        let kept = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        match byte {
            b' ' if form => encoded.push('+'),
            _ if kept && dice.below(5) > 0 => encoded.push(char::from(byte)),
            _ => encoded.push_str(&dice.either(format!("%{byte:02x}"), format!("%{byte:02X}"))),
        }
    }
    encoded
}

/// JSON-escaped at random: what must be, and else now and then as code units.
fn escaped(value: &str, dice: &mut Dice) -> String {
    let mut encoded = String::new();
    for char in value.chars() {
        if dice.below(4) == 0 {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                encoded.push_str(&dice.either(format!("\\u{unit:04x}"), format!("\\u{unit:04X}")));
            }
        } else if char == '/' {
            encoded.push_str(dice.either("/", "\\/"));
        } else {
            encoded.push_str(
                serde_json::to_string(&char).unwrap().trim_start_matches('"').strip_suffix('"').unwrap(),
            );
        }
    }
    encoded
}

/// In base64, with up to five bytes before and after it.
fn base64(value: &str, dice: &mut Dice) -> String {
    let bytes = [dice.text("uvw:", 0, 5), value.to_owned(), dice.text("xyz;", 0, 5)].concat();
    match dice.below(4) {
        0 => base64_engine::STANDARD.encode(bytes),
        1 => base64_engine::STANDARD_NO_PAD.encode(bytes),
        2 => base64_engine::URL_SAFE.encode(bytes),
        _ => base64_engine::URL_SAFE_NO_PAD.encode(bytes),
    }
}

/// Whether the value can be read out of a text in any of the encodings, by the crates that know them.
fn survives(text: &str, value: &str) -> bool {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let unescaped = serde_json::from_str::<String>(&format!("\"{text}\"")).unwrap_or_default();
    let plain = [
        text.to_owned(),
        decoded(text),
        decoded(&text.replace('+', " ")),
        decoded(&decoded(text)),
        unescaped,
    ];
    plain.iter().any(|text| text.contains(value) || in_base64(text, value))
}

fn in_base64(text: &str, value: &str) -> bool {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, config);
    let standard = text.replace('-', "+").replace('_', "/");
    let runs = standard.split(|c: char| !(c.is_ascii_alphanumeric() || c == '+' || c == '/'));
    let mut starts = runs.flat_map(|run| (0..run.len().min(4)).map(|start| &run[start..]));
    starts.any(|run| {
        let whole = if run.len() % 4 == 1 { &run[..run.len() - 1] } else { run };
        let bytes = engine.decode(whole).unwrap_or_default();
        bytes.windows(value.len()).any(|window| window == value.as_bytes())
    })
}

#[test]
fn no_value_survives_in_any_encoding_at_any_alignment() {
    for seed in 1..=1_000 {
        let mut dice = Dice(seed * 0x9E37_79B9);
        let value = dice.text(OF_SECRETS, 4, 24);
        let encoded = match dice.below(7) {
            0 => value.clone(),
            1 => percent(&value, false, &mut dice),
            2 => percent(&value, true, &mut dice),
            3 => escaped(&value, &mut dice),
            4 => base64(&value, &mut dice),
            5 => percent(&base64(&value, &mut dice), false, &mut dice),
            _ => percent(&percent(&value, false, &mut dice), false, &mut dice),
        };
        let (before, after) = (dice.text("(,| ", 0, 4), dice.text("), |", 0, 4));
        let text = format!("{before}{encoded}{after}");
        assert!(
            survives(&text, &value) || encoded.contains('\\'),
            "seed {seed}: {text:?} does not hold {value:?}"
        );
        let redactor = Redactor::new([value.clone(), "another".to_owned()]);
        let masked = redactor.text(&text);
        assert!(masked.contains(MASK), "seed {seed}: {value:?} in {text:?}");
        assert!(!survives(&masked, &value), "seed {seed}: {value:?} in {text:?} left {masked:?}");
        assert!(
            masked.starts_with(&before) && masked.ends_with(&after),
            "seed {seed}: {text:?} became {masked:?}"
        );
    }
}

#[test]
fn no_value_survives_in_json() {
    for seed in 1..=1_000 {
        let mut dice = Dice(seed * 0x9E37_79B9);
        let value = dice.text(OF_SECRETS, 4, 24);
        let redactor = Redactor::new([value.clone()]);
        let encoded = percent(&value, true, &mut dice);
        let given = json!({ "a": [{ value.clone(): 1 }], "b": format!("x{value}y"), "c": { encoded.clone(): encoded } });
        let masked = redactor.json(given);
        assert_eq!(
            masked,
            json!({ "a": [{ MASK: 1 }], "b": "x***y", "c": { MASK: MASK } }),
            "seed {seed}: {value:?}"
        );
    }
}

#[test]
fn a_text_without_secrets_comes_back_as_it_was() {
    let redactor = Redactor::new(["correct horse".to_owned(), "x7Kq".to_owned()]);
    for seed in 1..=1_000 {
        let text = Dice(seed * 0x9E37_79B9).text("abc %20+\\\\n\"u00e4ABCD/=", 0, 200);
        assert_eq!(redactor.text(&text), text, "seed {seed}");
    }
}

type Variables = Arc<Mutex<BTreeMap<String, String>>>;

fn secrets(sources: Value, folder: PathBuf, variables: &Variables) -> Secrets {
    let source = |value: &Value| match (value.get("env"), value.get("file"), value.get("command")) {
        (Some(name), ..) => SecretSource::Env(name.as_str().unwrap().into()),
        (_, Some(path), _) => SecretSource::File(path.as_str().unwrap().into()),
        (.., argv) => SecretSource::Command(serde_json::from_value(argv.unwrap().clone()).unwrap()),
    };
    let sources =
        sources.as_object().unwrap().iter().map(|(name, value)| (name.clone(), source(value))).collect();
    let variables = variables.clone();
    Secrets::new(sources, folder, Arc::new(move |name| variables.lock().unwrap().get(name).cloned()))
}

async fn value(secrets: &Secrets, name: &str) -> Result<String, String> {
    let values =
        secrets.values([name]).await.map_err(|error| format!("{}: {}", error.code, error.message))?;
    Ok(values.fill()(name).unwrap())
}

#[tokio::test]
async fn a_source_is_asked_again_and_every_value_that_it_gave_is_masked() {
    let folder = tempfile::tempdir().unwrap();
    let variables = Variables::default();
    let sources = json!({ "params.a": { "env": "TOKEN" }, "params.b": { "file": "token" } });
    let secrets = secrets(sources, folder.path().to_owned(), &variables);
    for round in ["first", "second"] {
        variables.lock().unwrap().insert("TOKEN".into(), format!("{round}-variable"));
        std::fs::write(folder.path().join("token"), format!("{round}-file\n\n")).unwrap();
        assert_eq!(value(&secrets, "params.a").await, Ok(format!("{round}-variable")));
        assert_eq!(value(&secrets, "params.b").await, Ok(format!("{round}-file\n")));
    }
    let both = "first-variable second-variable first-file\n";
    assert_eq!(secrets.redactor().text(both), "*** *** ***");
    let values = secrets.values(["params.a"]).await.unwrap();
    assert_eq!(format!("{values:?}"), "SecretValues([\"params.a\"])");
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    std::fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
    std::fs::write(folder.path().join("long"), "x".repeat(64 * 1024 + 1)).unwrap();
    std::fs::write(folder.path().join("good"), "value").unwrap();
    let sources = json!({
        "a": { "env": "NOT_SET" }, "b": { "file": "none" }, "c": { "file": "empty" }, "d": { "file": "binary" },
        "e": { "file": "long" }, "f": { "command": ["vault", "read"] }, "g": { "file": "good" },
    });
    let secrets = secrets(sources, folder.path().to_owned(), &Variables::default());
    let missing: Vec<String> =
        secrets.missing().await.into_iter().map(|(name, error)| format!("{name} {error}")).collect();
    let expected = [
        "a the secret a cannot be read: the environment variable NOT_SET is not set",
        "b the secret b cannot be read: the file ",
        "c the secret c cannot be read: the file empty is empty",
        "d the secret d cannot be read: the file ",
        "e the secret e cannot be read: the file ",
        "f the secret f cannot be read: the program `vault` cannot be started here",
    ];
    assert_eq!(missing.len(), expected.len(), "{missing:#?}");
    for (found, expected) in missing.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    assert!(
        missing[3].ends_with("gives something else than UTF-8")
            && missing[4].ends_with("gives more than 64 KiB")
    );
    assert_eq!(value(&secrets, "z").await.unwrap_err(), "internal: the secret z has no source");
}

#[cfg(unix)]
#[tokio::test]
async fn a_program_may_give_a_secret() {
    use drydock_run::children::{ChildEnv, Children};

    let own = std::env::current_exe().unwrap();
    let reaper = own.ancestors().nth(2).unwrap().join("examples/parent");
    let children = Arc::new(Children::new(vec![reaper.into(), "__reaper".into()], "r1"));
    let env = ChildEnv::new([("PATH".into(), "/usr/bin:/bin".into())]);
    let sources = json!({
        "good": { "command": ["sh", "-c", "echo from-a-program"] }, "bad": { "command": ["sh", "-c", "echo sealed >&2; exit 2"] },
        "none": { "command": ["no-such-program"] },
    });
    let secrets =
        secrets(sources, std::env::temp_dir(), &Variables::default()).with_programs(children.clone(), env);
    assert_eq!(value(&secrets, "good").await, Ok("from-a-program".into()));
    assert_eq!(secrets.redactor().text("x from-a-program"), "x ***");
    let bad = "secret: the secret bad cannot be read: the program `sh` ended with exit code 2: sealed";
    assert_eq!(value(&secrets, "bad").await, Err(bad.into()));
    let none = "secret: the secret none cannot be read: there is no program `no-such-program` in PATH";
    assert_eq!(value(&secrets, "none").await, Err(none.into()));
    children.close().await;
}
