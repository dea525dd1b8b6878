//! The WAL that a recovery needs: [`staged`] brings it from an artifact store into one folder, and [`proved`] reads it before any server
//! is started, so that a place that it does not lead to is refused beforehand.

use std::path::{Path, PathBuf};

use drydock_recovery::Time;
use drydock_step::{ArtifactStore, ChildOutput, ChildPipe, ChildSpec, Ctx, StepError};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::program_end::last_words;
use super::programs::Program;
use super::recover_to::{RecoverTo, lsn_number};

/// Pieces of pg_waldump's words that wait to be read.
const PIECES: usize = 4;

/// What was brought.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// The names of the files.
    pub(super) names: Vec<String>,
    /// Segments that are not as long as they should be, in words: they are not brought, for no server takes them.
    pub(super) short: Vec<String>,
}

/// Brings every file of an archive into a folder: segments from `first` on, and all histories of timelines. With `may_link` a store that
/// is a folder is linked to, so that nothing is copied: whoever reads the WAL must be allowed to read there.
///
/// # Errors
/// `postgres.unpack` when it cannot be written, or what the store says.
pub(super) async fn staged(
    ctx: &Ctx,
    store: &dyn ArtifactStore,
    prefix: &str,
    first: &str,
    segment_size: u64,
    folder: &Path,
    may_link: bool,
) -> Result<Staged, StepError> {
    let failed = |error: std::io::Error| {
        StepError::new("postgres.unpack", format!("the WAL cannot be put into {}: {error}", folder.display()))
            .help("the runner must be allowed to write there, and have space for the WAL from the base backup on")
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let listed = store.list(prefix.trim_end_matches('/')).await?;
    let total = listed.len() as u64;
    let mut staged = Staged::default();
    for (done, file) in listed.into_iter().enumerate() {
        let name = file.path.rsplit('/').next().unwrap_or_default().to_owned();
        let is_wanted = match name.len() {
            // Segments of a later timeline begin inside the older one's.
            24 if is_hexadecimal(&name) => name.get(8..) >= first.get(8..),
            _ => name
                .strip_suffix(".history")
                .is_some_and(|timeline| timeline.len() == 8 && is_hexadecimal(timeline)),
        };
        if !is_wanted {
            continue;
        }
        if name.len() == 24 && file.size != segment_size {
            staged.short.push(format!("{name} has {} bytes instead of {segment_size}", file.size));
            continue;
        }
        let to = folder.join(&name);
        let _ = std::fs::remove_file(&to);
        match store.local_path(&file.path).filter(|_| may_link) {
            Some(path) => linked(&path, &to).map_err(failed)?,
            None => {
                let mut out = tokio::fs::File::create(&to).await.map_err(failed)?;
                let mut pieces = store.open(&file.path, 0).await?;
                while let Some(piece) = pieces.next().await {
                    out.write_all(&piece?).await.map_err(failed)?;
                }
                out.flush().await.map_err(failed)?;
            }
        }
        ctx.progress(done as u64 + 1, Some(total), "segments", "bringing WAL");
        staged.names.push(name);
    }
    staged.names.sort();
    Ok(staged)
}

#[cfg(unix)]
fn linked(from: &Path, to: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(std::path::absolute(from)?, to)
}

#[cfg(not(unix))]
fn linked(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::copy(from, to).map(drop)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What reading the WAL has shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Where the place is, when it was met.
    pub(super) lsn: Option<String>,
    /// The end of what could be read.
    pub(super) last_lsn: Option<String>,
    /// The last commit that was read.
    pub(super) last_commit: Option<Time>,
}

/// Where to read from.
pub(super) struct Reading<'a> {
    pub(super) ctx: &'a Ctx,
    /// pg_waldump of the server's own version.
    pub(super) program: &'a Program,
    /// The folder with the WAL.
    pub(super) folder: PathBuf,
    /// The timeline that the base backup ends on.
    pub(super) timeline: u32,
    /// Where recovery begins.
    pub(super) start_lsn: &'a str,
}

impl Reading<'_> {
    /// Reads the WAL, timeline after timeline, until the place where recovery shall stop is met.
    ///
    /// # Errors
    /// `postgres.wal` when it does not lead there.
    pub(super) async fn proved(&self, to: &RecoverTo) -> Result<Found, StepError> {
        let mut scan = Scan::new(to);
        let (mut timeline, mut start) = (self.timeline, self.start_lsn.to_owned());
        let mut words;
        loop {
            words = self.read(timeline, &start, &mut scan).await?;
            if scan.is_met() {
                return Ok(scan.found);
            }
            match next_timeline(&self.folder, timeline) {
                Some((next, at)) => (timeline, start) = (next, at),
                None => break,
            }
        }
        if *to == RecoverTo::End {
            return Ok(scan.found);
        }
        Err(scan.refusal(to, &words))
    }

    /// Reads one timeline; the last words of the program, which has nothing more to read.
    async fn read(&self, timeline: u32, start: &str, scan: &mut Scan<'_>) -> Result<String, StepError> {
        let (pipe, mut pieces) = ChildPipe::holding(PIECES);
        let mut argv = vec![self.program.path.clone()];
        argv.push(format!("--path={}", self.folder.display()));
        argv.push(format!("--timeline={timeline}"));
        argv.push(format!("--start={start}"));
        if !matches!(scan.to, RecoverTo::Lsn(_)) {
            argv.extend(["--rmgr=XLOG".to_owned(), "--rmgr=Transaction".to_owned()]);
        }
        let spec = ChildSpec {
            argv,
            env: vec![("LC_ALL".into(), "C".into()), ("TZ".into(), "UTC".into())],
            cwd: self.ctx.folder.to_path_buf(),
            stdin: Vec::new(),
            stdout: ChildOutput::Piped(pipe),
        };
        let read = async move {
            let mut rest = Vec::new();
            while let Some(piece) = pieces.recv().await {
                rest.extend_from_slice(&piece);
                let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                let lines: Vec<u8> = rest.drain(..whole).collect();
                String::from_utf8_lossy(&lines).lines().for_each(|line| scan.line(line));
                if scan.is_met() {
                    // The program's next write fails, which ends it.
                    return;
                }
            }
        };
        let (end, ()) = tokio::join!(self.ctx.spawn(spec), read);
        Ok(last_words(&end?.stderr))
    }
}

/// The timeline that was begun out of this one, and where; the lowest of several.
fn next_timeline(folder: &Path, timeline: u32) -> Option<(u32, String)> {
    let mut found: Vec<(u32, String)> = Vec::new();
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.strip_suffix(".history")) else { continue };
        let Ok(number) = u32::from_str_radix(number, 16) else { continue };
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        // The last line tells what it came out of: number, place, reason.
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let mut fields = last.split('\t');
        if fields.next().and_then(|parent| parent.trim().parse().ok()) == Some(timeline) && number > timeline
        {
            found.extend(fields.next().map(|at| (number, at.trim().to_owned())));
        }
    }
    found.into_iter().min()
}

/// What is looked for in the words of pg_waldump.
struct Scan<'a> {
    to: &'a RecoverTo,
    wanted_lsn: u64,
    found: Found,
}

impl<'a> Scan<'a> {
    fn new(to: &'a RecoverTo) -> Self {
        let wanted_lsn =
            if let RecoverTo::Lsn(lsn) = to { lsn_number(lsn).unwrap_or(u64::MAX) } else { u64::MAX };
        Self { to, wanted_lsn, found: Found::default() }
    }

    fn is_met(&self) -> bool {
        self.found.lsn.is_some()
    }

    /// A line: `rmgr: XLOG … lsn: 0/0170FFE0, prev 0/0170FE48, desc: RESTORE_POINT before`.
    fn line(&mut self, line: &str) {
        if self.is_met() {
            return;
        }
        let Some((_, rest)) = line.split_once(" lsn: ") else { return };
        let Some((lsn, rest)) = rest.split_once(',') else { return };
        let Some((_, said)) = rest.split_once("desc: ") else { return };
        self.found.last_lsn = Some(lsn.to_owned());
        let commit = said.strip_prefix("COMMIT ").or_else(|| said.strip_prefix("COMMIT_PREPARED "));
        let commit = commit.and_then(commit_time);
        let is_met = match self.to {
            RecoverTo::Name(name) => {
                said.strip_prefix("RESTORE_POINT ").is_some_and(|found| found.trim_end() == name)
            }
            // It stops before the first commit that is later: without one it would run to the end and fail there.
            RecoverTo::Time(time) => commit.is_some_and(|commit| commit > *time),
            RecoverTo::Lsn(_) => lsn_number(lsn).is_some_and(|lsn| lsn >= self.wanted_lsn),
            RecoverTo::Immediate | RecoverTo::End => false,
        };
        if is_met {
            self.found.lsn = Some(lsn.to_owned());
        } else {
            self.found.last_commit = commit.or(self.found.last_commit);
        }
    }

    fn refusal(&self, to: &RecoverTo, words: &str) -> StepError {
        let ends = match (&self.found.last_lsn, self.found.last_commit) {
            (Some(lsn), Some(commit)) => {
                format!(
                    "it ends at {lsn}, and its last commit is of {}",
                    drydock_recovery::backup::clock(commit)
                )
            }
            (Some(lsn), None) => format!("it ends at {lsn}"),
            (None, _) => "nothing of it could be read".into(),
        };
        let what = match to {
            RecoverTo::Time(_) => format!(
                "no commit after {to} is in the WAL that there is, so that a server would not stop there"
            ),
            _ => format!("the WAL that there is does not lead to {to}"),
        };
        StepError::new("postgres.wal", format!("{what}: {ends} ({words})")).help(match to {
            RecoverTo::Time(_) => "name an earlier time, or `end: true`; or bring the WAL that followed into the archive",
            _ => "look for a gap in the archive (postgres.wal_status), or choose an earlier place; `end: true` is all that there is",
        })
    }
}

/// `2026-11-27 09:11:17.474666 UTC`, at the beginning of a text.
fn commit_time(text: &str) -> Option<Time> {
    let (time, _) = text.split_once(" UTC")?;
    let time = time.rsplit_once(": ").map_or(time, |(_, time)| time);
    chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S%.f").ok().map(|time| time.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &[&str] = &[
        "rmgr: Transaction len (rec/tot):    405/   405, tx:        752, lsn: 0/0170FE48, prev 0/0170FE08, desc: COMMIT 2026-11-27 09:11:17.435210 UTC; inval msgs: catcache 82",
        "rmgr: XLOG        len (rec/tot):     98/    98, tx:          0, lsn: 0/0170FFE0, prev 0/0170FE48, desc: RESTORE_POINT before bad",
        "rmgr: Transaction len (rec/tot):     46/    46, tx:        753, lsn: 0/017100E0, prev 0/017100A0, desc: COMMIT 2026-11-27 09:11:17.474666 UTC; subxacts: 754",
        "rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: 0/01710110, prev 0/017100E0, desc: SWITCH ",
    ];

    fn scanned(to: &RecoverTo) -> Result<String, String> {
        let mut scan = Scan::new(to);
        SAID.iter().for_each(|line| scan.line(line));
        scan.found.lsn.clone().ok_or_else(|| scan.refusal(to, "no more").message)
    }

    #[test]
    fn the_place_is_met_where_a_server_would_stop() {
        let time = |text: &str| RecoverTo::Time(text.parse().unwrap());
        assert_eq!(scanned(&RecoverTo::Name("before bad".into())), Ok("0/0170FFE0".into()));
        assert_eq!(scanned(&time("2026-11-27T09:11:17.45Z")), Ok("0/017100E0".into()));
        assert_eq!(scanned(&RecoverTo::Lsn("0/1700000".into())), Ok("0/0170FE48".into()));
        let ends = "it ends at 0/01710110, and its last commit is of 2026-11-27T09:11:17.474666Z (no more)";
        assert_eq!(
            scanned(&RecoverTo::Name("before".into())),
            Err(format!("the WAL that there is does not lead to restore point before: {ends}"))
        );
        let refused = scanned(&time("2026-11-27T09:11:17.474666Z")).unwrap_err();
        assert!(
            refused.starts_with("no commit after 2026-11-27T09:11:17.474666Z is in the WAL"),
            "{refused}"
        );
    }

    #[test]
    fn a_timeline_goes_on_where_its_history_says() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(next_timeline(dir.path(), 1), None);
        std::fs::write(dir.path().join("00000002.history"), "1\t0/8348C48\tat restore point \"p\"\n")
            .unwrap();
        let third = "1\t0/8348C48\tat restore point \"p\"\n\n2\t0/9000000\tno recovery target specified\n";
        std::fs::write(dir.path().join("00000003.history"), third).unwrap();
        assert_eq!(next_timeline(dir.path(), 1), Some((2, "0/8348C48".into())));
        assert_eq!(next_timeline(dir.path(), 2), Some((3, "0/9000000".into())));
        assert_eq!(next_timeline(dir.path(), 3), None);
    }
}
