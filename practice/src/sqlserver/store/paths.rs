//! Paths as the server writes them, and where their files lie on this machine: [`Paths`]. A Linux server's are the machine's own. Those of
//! a Windows server lie below its folder: `C:\x\y` is `drives/c/x/y`, `\\host\share\x` is `shares/host/share/x`, the letters' case not
//! counting.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::installation::{Installation, Platform, Volume};

/// Both ways between what is written and where it lies.
#[derive(Debug, Clone)]
pub struct Paths {
    dir: PathBuf,
    platform: Platform,
    shares: BTreeMap<String, PathBuf>,
    major: u8,
}

impl Paths {
    /// Those of the server in this folder.
    #[must_use]
    pub fn of(dir: &Path, start: &Installation) -> Self {
        let (platform, shares, major) = (start.platform, start.shares.clone(), start.major);
        Self { dir: dir.to_owned(), platform, shares, major }
    }

    fn is_windows(&self) -> bool {
        self.platform == Platform::Windows
    }

    /// `SERVERPROPERTY('PathSeparator')`.
    #[must_use]
    pub fn separator(&self) -> char {
        if self.is_windows() { '\\' } else { '/' }
    }

    /// Where data files lie unless a statement says otherwise.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        if self.is_windows() { self.program("DATA") } else { self.dir.join("data") }
    }

    /// Where logs lie.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        if self.is_windows() { self.program("DATA") } else { self.dir.join("log") }
    }

    /// Where relative backup paths lie.
    #[must_use]
    pub fn backup_dir(&self) -> PathBuf {
        if self.is_windows() { self.program("Backup") } else { self.dir.join("backup") }
    }

    fn program(&self, folder: &str) -> PathBuf {
        let instance = format!("drives/c/Program Files/Microsoft SQL Server/MSSQL{}.MSSQLSERVER", self.major);
        self.dir.join(instance).join("MSSQL").join(folder)
    }

    /// Where the file of a path lies; a relative one below `base`. A root without a drive is relative too.
    #[must_use]
    pub fn place(&self, written: &str, base: &Path) -> PathBuf {
        if !self.is_windows() {
            return base.join(written);
        }
        let written = written.replace('/', "\\");
        let written = written.strip_prefix(r"\\?\").unwrap_or(&written);
        let (root, rest) = self.root(written).unwrap_or_else(|| (base.to_owned(), written.to_owned()));
        let mut at = root.clone();
        for part in rest.split('\\') {
            match part {
                "" | "." => {}
                ".." if at != root => {
                    at.pop();
                }
                ".." => {}
                part => at = existing(&at, part.trim_end_matches(['.', ' '])),
            }
        }
        at
    }

    /// The folder of a drive or share, and what follows it.
    fn root(&self, written: &str) -> Option<(PathBuf, String)> {
        if let Some(rest) = written.strip_prefix(r"\\") {
            let mut parts = rest.splitn(3, '\\');
            let (host, share) =
                (parts.next()?.to_lowercase(), parts.next().unwrap_or_default().to_lowercase());
            let named =
                self.shares.iter().find(|(name, _)| name.to_lowercase() == format!(r"\\{host}\{share}"));
            let folder = named.map(|(_, folder)| folder.clone());
            let folder = folder.unwrap_or_else(|| self.dir.join("shares").join(&host).join(&share));
            return Some((folder, parts.next().unwrap_or_default().to_owned()));
        }
        let letter = written.chars().next().filter(char::is_ascii_alphabetic)?.to_ascii_lowercase();
        let rest = written[1..].strip_prefix(':')?;
        Some((self.dir.join("drives").join(letter.to_string()), rest.to_owned()))
    }

    /// How the server writes the path of a file that lies here.
    #[must_use]
    pub fn shown(&self, place: &Path) -> String {
        let written = |root: String, below: &Path| {
            let parts = below.components().map(|part| part.as_os_str().to_string_lossy());
            let below: Vec<_> = parts.collect();
            format!(r"{root}\{}", below.join(r"\"))
        };
        if self.is_windows() {
            if let Some((share, folder)) = self.shares.iter().find(|(_, folder)| place.starts_with(folder)) {
                return written(share.clone(), place.strip_prefix(folder).unwrap_or(place));
            }
            if let Ok(below) = place.strip_prefix(self.dir.join("drives")) {
                let mut parts = below.components();
                let letter = parts.next().map(|letter| letter.as_os_str().to_string_lossy().to_uppercase());
                return written(format!("{}:", letter.unwrap_or_default()), parts.as_path());
            }
            if let Ok(below) = place.strip_prefix(self.dir.join("shares")) {
                return written(r"\".into(), below);
            }
        }
        place.to_string_lossy().into_owned()
    }

    /// The written path of a name in a written folder.
    #[must_use]
    pub fn join(&self, folder: &str, name: &str) -> String {
        format!("{}{}{name}", folder.trim_end_matches(self.separator()), self.separator())
    }

    /// Whether two places are one: of a file that is not there yet only its letters tell.
    #[must_use]
    pub fn same(&self, a: &Path, b: &Path) -> bool {
        let folded = |path: &Path| path.to_string_lossy().to_lowercase();
        a == b || self.is_windows() && folded(a) == folded(b)
    }

    /// Whether Windows has no such name.
    #[must_use]
    pub fn is_malformed(&self, written: &str) -> bool {
        let beyond = written.strip_prefix(r"\\?\").unwrap_or(written);
        let beyond_drive = if beyond.get(1..2) == Some(":") { &beyond[2..] } else { beyond };
        self.is_windows() && beyond_drive.contains(['<', '>', ':', '"', '|', '?', '*'])
    }

    /// The volume that holds a place, of those that are named.
    #[must_use]
    pub fn volume_of<'a>(&self, place: &Path, volumes: &'a [Volume]) -> Option<&'a Volume> {
        let holds = |volume: &&Volume| place.starts_with(self.place(&volume.mount, Path::new("/")));
        volumes.iter().filter(holds).max_by_key(|volume| volume.mount.len())
    }

    /// The mount point of a place on no volume that is named.
    #[must_use]
    pub fn mount(&self, place: &Path) -> String {
        let shown = self.shown(place);
        match (self.is_windows(), shown.strip_prefix(r"\\")) {
            (true, Some(unc)) => {
                let share: Vec<&str> = unc.split('\\').take(2).collect();
                format!(r"\\{}\", share.join(r"\"))
            }
            (true, None) => shown.chars().take(3).collect(),
            (false, _) => "/".into(),
        }
    }

    /// What the operating system says of a file that could not be opened.
    #[must_use]
    pub fn os_error(&self, place: &Path, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::NotFound if self.is_windows() => self.missing(place).to_owned(),
            io::ErrorKind::NotFound => "2(The system cannot find the file specified.)".to_owned(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
                "5(Access is denied.)".to_owned()
            }
            _ => format!("{}({error})", error.raw_os_error().unwrap_or(0)),
        }
    }

    fn missing(&self, place: &Path) -> &'static str {
        let share = place.strip_prefix(self.dir.join("shares")).ok();
        let share = share.map(|below| below.components().take(2).collect::<PathBuf>());
        if share.is_some_and(|share| !self.dir.join("shares").join(share).is_dir()) {
            "53(The network path was not found.)"
        } else if place.parent().is_some_and(Path::is_dir) {
            "2(The system cannot find the file specified.)"
        } else {
            "3(The system cannot find the path specified.)"
        }
    }

    /// What the operating system says of a folder that is looked up for a database file.
    #[must_use]
    pub fn no_folder(&self, place: &Path) -> &'static str {
        if self.is_windows() { self.missing(place) } else { "2(The system cannot find the file specified.)" }
    }

    /// What the operating system says of a folder that a backup shall go to; Linux was captured to say the same of one that may not be
    /// entered.
    #[must_use]
    pub fn no_backup_folder(&self, place: &Path) -> &'static str {
        if self.is_windows() && !place.is_dir() { self.missing(place) } else { "5(Access is denied.)" }
    }
}

/// The entry of a folder that has this name, case not counting, or the one that would be made.
fn existing(folder: &Path, name: &str) -> PathBuf {
    let exact = folder.join(name);
    if exact.exists() {
        return exact;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_it =
        |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().to_lowercase() == name.to_lowercase();
    entries.into_iter().find(is_it).map_or(exact, |entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(dir: &Path) -> Paths {
        let shares = [(r"\\NAS01\octopus".to_owned(), dir.join("nas"))].into();
        Paths::of(dir, &Installation { platform: Platform::Windows, shares, ..Installation::default() })
    }

    #[test]
    fn a_windows_path_and_its_place_lead_to_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let paths = windows(dir);
        for (written, place, shown) in [
            (r"C:\x\y.bak", "drives/c/x/y.bak", r"C:\x\y.bak"),
            (r"c:/x/y.bak", "drives/c/x/y.bak", r"C:\x\y.bak"),
            (r"D:\", "drives/d", r"D:\"),
            (r"C:\a\..\..\b", "drives/c/b", r"C:\b"),
            (r"\\Host\Share\a.bak", "shares/host/share/a.bak", r"\\host\share\a.bak"),
            (r"\\nas01\Octopus\sql\a.bak", "nas/sql/a.bak", r"\\NAS01\octopus\sql\a.bak"),
        ] {
            let found = paths.place(written, &paths.backup_dir());
            assert_eq!(found, dir.join(place), "{written}");
            assert_eq!(paths.shown(&found), shown);
        }
        let relative = paths.place("/var/a.bak", &paths.backup_dir());
        let backups = r"C:\Program Files\Microsoft SQL Server\MSSQL16.MSSQLSERVER\MSSQL\Backup";
        assert_eq!(paths.shown(&relative), format!(r"{backups}\var\a.bak"));
    }

    #[test]
    fn letters_of_a_file_that_is_there_are_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let paths = windows(dir.path());
        std::fs::create_dir_all(dir.path().join("drives/c/Data")).unwrap();
        std::fs::write(dir.path().join("drives/c/Data/Octopus.mdf"), "x").unwrap();
        let found = paths.place(r"c:\DATA\OCTOPUS.MDF", Path::new("/"));
        assert_eq!(paths.shown(&found), r"C:\Data\Octopus.mdf");
        let fresh = |written: &str| paths.place(written, Path::new("/"));
        assert!(paths.same(&fresh(r"C:\data\New.ldf"), &fresh(r"c:\Data\NEW.LDF")));
        assert!(paths.is_malformed(r"C:\a?.bak") && !paths.is_malformed(r"\\?\C:\a.bak"));
    }

    #[test]
    fn windows_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let paths = windows(dir.path());
        std::fs::create_dir_all(dir.path().join("drives/c")).unwrap();
        for (written, said) in [
            (r"C:\a.bak", "2(The system cannot find the file specified.)"),
            (r"C:\a\a.bak", "3(The system cannot find the path specified.)"),
            (r"E:\a.bak", "3(The system cannot find the path specified.)"),
            (r"\\gone\share\a.bak", "53(The network path was not found.)"),
        ] {
            let place = paths.place(written, Path::new("/"));
            let error = std::fs::File::open(&place).unwrap_err();
            assert_eq!(paths.os_error(&place, &error), said, "{written}");
        }
    }
}
