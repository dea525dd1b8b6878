//! Paths as the server writes them: [`ServerPath`], joined and taken apart by the rules of the server's own system, never the runner's;
//! and which part of the artifact store a server sees where: [`Sees`].

use drydock_step::StepError;

/// The longest path of a backup device: msdb keeps 260 characters.
pub(super) const LONGEST_DEVICE: usize = 259;

/// Whose rules a path follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathStyle {
    /// `D:\Backups`, `\\host\share`; letters' case does not count, `/` separates too.
    Windows,
    /// `/var/opt/mssql`.
    Posix,
}

impl PathStyle {
    fn separator(self) -> char {
        match self {
            Self::Windows => '\\',
            Self::Posix => '/',
        }
    }

    fn separates(self, c: char) -> bool {
        c == '/' || (self == Self::Windows && c == '\\')
    }

    /// Whether the text begins as an absolute path does; a URL is one wherever the server stands.
    pub(super) fn is_absolute(self, text: &str) -> bool {
        if is_url(text) {
            return true;
        }
        match self {
            Self::Posix => text.starts_with('/'),
            Self::Windows => {
                let mut chars = text.chars();
                let (first, second, third) = (chars.next(), chars.next(), chars.next());
                text.starts_with(r"\\")
                    || (first.is_some_and(|c| c.is_ascii_alphabetic())
                        && second == Some(':')
                        && third.is_some_and(|c| self.separates(c)))
            }
        }
    }

    fn same(self, a: &str, b: &str) -> bool {
        match self {
            Self::Windows => a.to_lowercase() == b.to_lowercase(),
            Self::Posix => a == b,
        }
    }
}

/// Whether a text is the URL of something in a blob store: `https://…` or `s3://…`.
pub(super) fn is_url(text: &str) -> bool {
    let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|own| own.eq_ignore_ascii_case(scheme));
    begins("https://") || begins("s3://")
}

/// An absolute path on the server, or a URL that it backs up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerPath {
    style: PathStyle,
    text: String,
}

impl ServerPath {
    /// The path of this text; a separator at its end does not count.
    ///
    /// # Errors
    /// `sqlserver.path`, when it is not absolute, has parts that lead back, or characters that no path has.
    pub(super) fn parse(style: PathStyle, text: &str) -> Result<Self, StepError> {
        let bad = |why: &str| {
            Err(StepError::new("sqlserver.path", format!("`{text}` is no path on the server: {why}")))
        };
        if !style.is_absolute(text) {
            let like = match style {
                PathStyle::Windows => r"such as D:\Backups or \\host\share",
                PathStyle::Posix => "such as /var/opt/mssql/backup",
            };
            return bad(&format!("it must be absolute, {like}"));
        }
        if text.chars().any(char::is_control) {
            return bad("control characters may not be in it");
        }
        if is_url(text) {
            if text.contains(['?', '#', ' ', '\\']) {
                return bad("a URL of a container or folder has no query, blanks or backslashes");
            }
            let text = text.trim_end_matches('/').to_owned();
            return Ok(Self { style: PathStyle::Posix, text });
        }
        let beyond_drive = text.get(2..).unwrap_or_default();
        if style == PathStyle::Windows && beyond_drive.contains(['<', '>', ':', '"', '|', '?', '*']) {
            return bad("one of < > : \" | ? * is in it");
        }
        if text.split(|c| style.separates(c)).any(|part| matches!(part, "." | "..")) {
            return bad("`.` and `..` may not be in it");
        }
        let trimmed = text.trim_end_matches(|c| style.separates(c));
        let root = !style.is_absolute(trimmed) || trimmed.is_empty();
        Ok(Self { style, text: if root { text.to_owned() } else { trimmed.to_owned() } })
    }

    /// As the server writes it.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a URL, of which the server tells nothing before it is used.
    pub(super) fn is_url(&self) -> bool {
        is_url(&self.text)
    }

    /// The path of a file or folder below this one; `below` has `/` between its parts.
    ///
    /// # Errors
    /// `sqlserver.path`, as for [`ServerPath::parse`].
    pub(super) fn join(&self, below: &str) -> Result<Self, StepError> {
        let separator = self.style.separator();
        let mut text = self.text.trim_end_matches(|c| self.style.separates(c)).to_owned();
        for part in below.split('/').filter(|part| !part.is_empty()) {
            text.push(separator);
            text.push_str(part);
        }
        Self::parse(self.style, &text)
    }

    /// The folder that it lies in.
    pub(super) fn folder(&self) -> Option<Self> {
        let end = self.text.rfind(|c| self.style.separates(c))?;
        let text = &self.text[..end.max(1)];
        Self::parse(self.style, text).or_else(|_| Self::parse(self.style, &self.text[..=end])).ok()
    }

    /// What of it lies below a folder, with `/` between the parts; nothing when it lies elsewhere.
    pub(super) fn below(&self, folder: &Self) -> Option<String> {
        let parts = |path: &Self| -> Vec<String> {
            let parts = path.text.split(|c| self.style.separates(c)).filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let (own, folder) = (parts(self), parts(folder));
        let begins = own.len() > folder.len() && own.iter().zip(&folder).all(|(a, b)| self.style.same(a, b));
        begins.then(|| own[folder.len()..].join("/"))
    }

    /// Whether the two name the same file.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.style.same(&self.text, &other.text)
    }
}

impl std::fmt::Display for ServerPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which folders of the artifact store a server reaches, and where it sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sees(Vec<(String, ServerPath)>);

impl Sees {
    /// The pairs of `sees:`: a folder of the store, and where the server sees it.
    ///
    /// # Errors
    /// `sqlserver.path`, when the server's side is no path there.
    pub(super) fn parse<'a>(
        style: PathStyle,
        pairs: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, StepError> {
        let pair = |(store, seen): (&str, &str)| {
            Ok((store.trim_matches('/').to_owned(), ServerPath::parse(style, seen)?))
        };
        pairs.map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// Where the server sees this path of the store.
    ///
    /// # Errors
    /// `sqlserver.unseen`, when it does not.
    pub(super) fn server_path(&self, store: &str) -> Result<ServerPath, StepError> {
        let (seen, rest) = self.longest(store)?;
        seen.join(rest)
    }

    /// The folder that it finds this path of the store in, as `sees` names it.
    ///
    /// # Errors
    /// `sqlserver.unseen`, when there is none.
    pub(super) fn folder_of(&self, store: &str) -> Result<ServerPath, StepError> {
        self.longest(store).map(|(seen, _)| seen.clone())
    }

    /// The pair that says most of where a path lies: where the server sees its folder, and what of the path lies below that.
    fn longest<'s>(&'s self, store: &'s str) -> Result<(&'s ServerPath, &'s str), StepError> {
        let path = store.trim_matches('/');
        let fits = |(folder, seen): &'s (String, ServerPath)| {
            let rest = path.strip_prefix(folder.as_str())?;
            let whole = folder.is_empty() || rest.is_empty() || rest.starts_with('/');
            whole.then_some((folder.len(), seen, rest))
        };
        let longest = self.0.iter().filter_map(fits).max_by_key(|(length, ..)| *length);
        longest.map(|(_, seen, rest)| (seen, rest)).ok_or_else(|| {
            let message = format!("the server does not see `{store}` of the artifact store");
            StepError::new("sqlserver.unseen", message).help(
                "say in the environment how it reaches it: `sees: [ { artifacts: sql/, as: <the folder as the server names it> } ]`",
            )
        })
    }

    /// Which path of the store this path of the server is, where it is one.
    pub(super) fn store_path(&self, path: &ServerPath) -> Option<String> {
        let fits = |(folder, seen): &(String, ServerPath)| {
            let below = path.below(seen)?;
            Some((seen.as_str().len(), if folder.is_empty() { below } else { format!("{folder}/{below}") }))
        };
        self.0.iter().filter_map(fits).max_by_key(|(length, _)| *length).map(|(_, path)| path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &str) -> ServerPath {
        ServerPath::parse(PathStyle::Windows, text).unwrap()
    }

    fn posix(text: &str) -> ServerPath {
        ServerPath::parse(PathStyle::Posix, text).unwrap()
    }

    #[test]
    fn paths_follow_the_servers_rules() {
        assert_eq!(windows(r"D:\Backups\").join("sql/a.bak").unwrap().as_str(), r"D:\Backups\sql\a.bak");
        assert_eq!(windows(r"D:\").join("a.bak").unwrap().as_str(), r"D:\a.bak");
        assert_eq!(
            windows(r"\\nas01\octopus").join("a b/ü.bak").unwrap().as_str(),
            r"\\nas01\octopus\a b\ü.bak"
        );
        assert_eq!(posix("/var/opt/").join("a\\b").unwrap().as_str(), "/var/opt/a\\b");
        assert_eq!(windows(r"D:/x\y.bak").folder().unwrap().as_str(), "D:/x");
        assert_eq!(windows(r"D:\y.bak").folder().unwrap().as_str(), r"D:\");
        assert_eq!(posix("/y.bak").folder().unwrap().as_str(), "/");
        assert!(windows(r"d:\A").is(&windows(r"D:\a")) && !posix("/A").is(&posix("/a")));
    }

    #[test]
    fn a_url_is_a_path_on_every_server() {
        for style in [PathStyle::Windows, PathStyle::Posix] {
            let folder = ServerPath::parse(style, "https://a.blob.core.windows.net/c/sql/").unwrap();
            let file = folder.join("x/a.bak").unwrap();
            assert_eq!(file.as_str(), "https://a.blob.core.windows.net/c/sql/x/a.bak");
            assert_eq!(file.below(&folder).as_deref(), Some("x/a.bak"));
            assert!(file.is_url() && !style.is_absolute("http://a/b"));
            let sees = Sees::parse(style, [("sql", "s3://h:9000/bucket/sql")].into_iter()).unwrap();
            let seen = sees.server_path("sql/a.bak").unwrap();
            assert_eq!(seen.as_str(), "s3://h:9000/bucket/sql/a.bak");
            assert_eq!(sees.store_path(&seen).as_deref(), Some("sql/a.bak"));
            let signed = ServerPath::parse(style, "https://a/c?sv=1").unwrap_err();
            assert!(signed.message.contains("has no query"), "{signed}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (style, text, words) in [
            (PathStyle::Windows, "/var/opt", r"must be absolute, such as D:\Backups"),
            (PathStyle::Windows, "D:", "must be absolute"),
            (PathStyle::Windows, r"D:\a|b", "one of < > :"),
            (PathStyle::Windows, r"D:\a\..\b", "`.` and `..`"),
            (PathStyle::Posix, r"D:\Backups", "must be absolute, such as /var"),
            (PathStyle::Posix, "sql/a.bak", "must be absolute"),
            (PathStyle::Posix, "/a\nb", "control characters"),
            (PathStyle::Windows, "é:\\x", "must be absolute"),
        ] {
            let error = ServerPath::parse(style, text).unwrap_err();
            assert!(error.code == "sqlserver.path" && error.message.contains(words), "{error}");
        }
        assert!(posix("/a").join("../b").is_err());
    }

    #[test]
    fn the_store_and_the_server_name_the_same_files() {
        let pairs = [("sql/", r"\\nas01\octopus\sql"), ("sql/old", r"E:\old")];
        let sees = Sees::parse(PathStyle::Windows, pairs.into_iter()).unwrap();
        for (store, server) in [
            ("sql/a.bak", r"\\nas01\octopus\sql\a.bak"),
            ("sql/x/a.bak", r"\\nas01\octopus\sql\x\a.bak"),
            ("sql/old/a.bak", r"E:\old\a.bak"),
        ] {
            assert_eq!(sees.server_path(store).unwrap().as_str(), server);
            assert_eq!(sees.store_path(&windows(server)).as_deref(), Some(store));
        }
        assert_eq!(sees.folder_of("sql/x/a.bak").unwrap().as_str(), r"\\nas01\octopus\sql");
        assert_eq!(sees.folder_of("sqlother/a.bak").unwrap_err().code, "sqlserver.unseen");
        assert_eq!(sees.store_path(&windows(r"\\NAS01\Octopus\SQL\A.bak")).as_deref(), Some("sql/A.bak"));
        assert_eq!(sees.store_path(&windows(r"\\nas01\octopus\sqlother\a.bak")), None);
        let unseen = sees.server_path("sqlother/a.bak").unwrap_err();
        assert_eq!(unseen.code, "sqlserver.unseen");
        assert!(unseen.help.unwrap().contains("sees:"));
    }
}
