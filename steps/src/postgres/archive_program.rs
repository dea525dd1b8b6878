//! The programs that keep archives, asked and never told to do anything: [`Keeper`].

use std::path::PathBuf;

use drydock_step::{ChildEnd, ChildOutput, ChildSpec, Ctx, StepError};

use super::archive_at::Named;
use super::program_end::last_words;

/// The most that a program may answer: the list of a million segments.
const ANSWER: usize = 128 << 20;

/// A program with what it needs to find its archive.
pub(super) struct Keeper<'a> {
    ctx: &'a Ctx,
    /// Where it is; a bare name where the system finds it.
    pub(super) path: String,
    /// As it says it.
    pub(super) version: String,
    /// What each of its commands begins with.
    pub(super) options: Vec<String>,
}

impl<'a> Keeper<'a> {
    /// The program of this name, of these folders or else as the system finds it. `option` is what its configuration is named by.
    ///
    /// # Errors
    /// `postgres.archive`, when there is none.
    pub(super) async fn find(
        ctx: &'a Ctx,
        folders: &[PathBuf],
        name: &str,
        version: &str,
        named: &Named,
        option: fn(&str) -> Vec<String>,
    ) -> Result<Self, StepError> {
        let config = named.config.as_ref().map(|config| config.resolved(&ctx.folder).display().to_string());
        let options = config.map_or(Vec::new(), |config| option(&config));
        let here = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        let path = here.map_or(name.to_owned(), |path| path.display().to_string());
        let mut found = Self { ctx, path, version: String::new(), options: Vec::new() };
        let said = found.run(&[version]).await.map_err(|error| match error.code.as_str() {
            "cancelled" => error,
            _ => StepError::new(
                "postgres.archive",
                format!("there is no {name} on the runner: {}", error.message),
            )
            .help(format!(
                "install {name} where its archive can be reached from, or name its folder in `programs`"
            )),
        })?;
        found.version =
            String::from_utf8_lossy(&said.stdout).lines().next().unwrap_or_default().trim().to_owned();
        found.options = options;
        Ok(found)
    }

    /// A command of it, word by word.
    pub(super) fn argv(&self, arguments: &[&str]) -> Vec<String> {
        let own = std::iter::once(&self.path).chain(&self.options).cloned();
        own.chain(arguments.iter().map(|argument| (*argument).to_owned())).collect()
    }

    async fn run(&self, arguments: &[&str]) -> Result<ChildEnd, StepError> {
        let argv = self.argv(arguments);
        let spec = ChildSpec {
            argv,
            env: vec![("LC_ALL".into(), "C".into()), ("TZ".into(), "UTC".into())],
            cwd: self.ctx.folder.to_path_buf(),
            stdin: Vec::new(),
            stdout: ChildOutput::Kept { limit: ANSWER },
        };
        self.ctx.spawn(spec).await
    }

    /// What it answers.
    ///
    /// # Errors
    /// `postgres.archive`, with its own words, when it does not end well.
    pub(super) async fn asked(&self, arguments: &[&str]) -> Result<Vec<u8>, StepError> {
        let end = self.run(arguments).await?;
        if end.code == Some(0) && !end.truncated {
            return Ok(end.stdout);
        }
        // Barman says what is wrong in its answer.
        let said = match end.stderr.trim() {
            "" => String::from_utf8_lossy(&end.stdout).chars().take(400).collect(),
            words => last_words(words),
        };
        let message = format!("`{} {}` did not end well: {said}", self.path, arguments.join(" "));
        Err(StepError::new("postgres.archive", message).help(
            "see that the name is right, and that the runner may read the archive and its configuration",
        ))
    }

    /// The same as JSON.
    ///
    /// # Errors
    /// `postgres.archive`.
    pub(super) async fn told(&self, arguments: &[&str]) -> Result<serde_json::Value, StepError> {
        let answer = self.asked(arguments).await?;
        serde_json::from_slice(&answer).map_err(|error| {
            let message = format!("`{} {}` answers what is no JSON: {error}", self.path, arguments.join(" "));
            StepError::new("postgres.archive", message)
                .help("see whether its version is older than this knows")
        })
    }

    /// A command for a shell, with every word of it quoted as a server's setting needs it.
    pub(super) fn shell(&self, more: &str) -> String {
        let words: Vec<String> =
            std::iter::once(&self.path).chain(&self.options).map(|word| quoted(word)).collect();
        format!("{} {more}", words.join(" "))
    }
}

/// A word for a shell, in a setting where `%` stands for something.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-=".contains(c);
    if word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('%', "%%").replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell_of_a_server() {
        for (word, expected) in [
            ("/usr/bin/barman", "/usr/bin/barman"),
            ("--config=/etc/a.conf", "--config=/etc/a.conf"),
            ("/it's 5%", "'/it'\\''s 5%%'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
