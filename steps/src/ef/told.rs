//! What EF's tools say: [`Told`], read from output whose lines have the prefixes of `--prefix-output`, or none.

/// The prefixes, and what follows them.
const PREFIXES: [(&str, Line); 5] = [
    ("data:", Line::Data),
    ("error:", Line::Error),
    ("warn:", Line::Other),
    ("info:", Line::Other),
    ("verbose:", Line::Other),
];

/// How a migration that is applied is named, with the id between quotes.
const APPLYING: &str = "Applying migration '";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Data,
    Error,
    Other,
}

/// What a tool said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Told {
    /// Its results, such as a list in JSON.
    pub(super) data: String,
    /// Its errors, a line each.
    pub(super) errors: Vec<String>,
    /// The migrations that it began to apply, in their order.
    pub(super) applying: Vec<String>,
    /// Every line without its prefix.
    pub(super) lines: Vec<String>,
}

impl Told {
    /// What both streams say; newer tools write part of it to the second.
    pub(super) fn of(stdout: &str, stderr: &str) -> Self {
        let mut told = Self::default();
        for line in stdout.lines().chain(stderr.lines()).filter(|line| !line.trim().is_empty()) {
            let found = PREFIXES.iter().find_map(|(prefix, kind)| Some((line.strip_prefix(prefix)?, *kind)));
            let (text, kind) = found.unwrap_or((line, Line::Other));
            let text = if kind == Line::Data { text } else { text.trim() };
            match kind {
                Line::Data => {
                    told.data.push_str(text);
                    told.data.push('\n');
                }
                Line::Error => told.errors.push(text.to_owned()),
                Line::Other => {}
            }
            let id = text.trim().strip_prefix(APPLYING).and_then(|rest| rest.split('\'').next());
            told.applying.extend(id.map(str::to_owned));
            told.lines.push(text.trim().to_owned());
        }
        told
    }

    /// The words to tell of a failure: its errors, else the last lines.
    pub(super) fn words(&self) -> String {
        let lines = if self.errors.is_empty() { &self.lines } else { &self.errors };
        let last = lines.iter().rev().take(5).rev().cloned().collect::<Vec<_>>();
        if last.is_empty() { String::new() } else { format!(": {}", last.join(" / ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart_by_their_prefixes() {
        let stdout = "info:    Build started...\ninfo:    Applying migration '2_b'.\ndata:    [\ndata:      {}\ndata:    ]\n\n";
        let told = Told::of(stdout, "error:   Invalid column name 'y'.\nwarn:    old\n");
        assert_eq!(told.data, "    [\n      {}\n    ]\n");
        assert_eq!(
            (told.errors.as_slice(), told.applying.as_slice()),
            (&["Invalid column name 'y'.".to_owned()][..], &["2_b".to_owned()][..])
        );
        assert_eq!(told.words(), ": Invalid column name 'y'.");
        let plain = Told::of("Build started...\nApplying migration '1_a'.\nDone.\n", "");
        assert_eq!(
            (plain.applying.len(), plain.words().as_str()),
            (1, ": Build started... / Applying migration '1_a'. / Done.")
        );
        assert_eq!(Told::of("", "\n").words(), "");
    }
}
