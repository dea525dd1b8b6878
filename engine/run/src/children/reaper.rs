//! The process that outlives a run for a moment and ends what the run left behind: [`main`], called by `drydock __reaper`.
//!
//! It reads lines from the run: `mark SITTING RUN` first, then `+GROUP` for each process group that the run makes and `-GROUP` when
//! nothing of it lives any more. The end of the pipe is the end of the run, however it came. What stands in the pipe matters only then, so
//! the reaper rests after each reading until the end or for a moment: a run of many short programs does not wake it for each of them.

use std::collections::BTreeSet;
use std::io::Read;
use std::thread::sleep;
use std::time::Duration;

use super::mark::Mark;
use super::platform;

/// A marked process may be starting others while it is looked for, so the search is repeated until it finds nothing any more, at most so often.
const ROUNDS: u32 = 200;

/// A process in the middle of an exec shows no environment for a moment: so many rounds in a row must find nothing.
const QUIET_ROUNDS: u32 = 10;

/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(5);

/// How long it rests between two readings, unless the end comes. The pipe holds what thousands of programs say in that time.
const REST: Duration = Duration::from_millis(100);

/// Waits for the end of the run that holds the other end of `stdin`, then kills what is left of it. Signals that a terminal or a
/// supervisor sends do not keep it from that.
///
/// # Errors
/// When the signals cannot be ignored.
pub fn main(stdin: std::io::Stdin) -> std::io::Result<()> {
    let _ignoring = platform::ignore_signals()?;
    let left = Left::after(stdin.lock(), || platform::rest(&stdin, REST));
    left.kill();
    Ok(())
}

/// What a run left behind.
#[derive(Debug, Default, PartialEq)]
struct Left {
    mark: Option<Mark>,
    groups: BTreeSet<u32>,
}

impl Left {
    /// What the lines say, once they end; `rest` is called between two readings. A line that was cut by the run's death says nothing.
    fn after(mut pipe: impl Read, rest: impl Fn()) -> Self {
        let mut left = Self::default();
        let (mut chunk, mut heard) = ([0; 4096], Vec::new());
        loop {
            match pipe.read(&mut chunk) {
                Ok(read @ 1..) => heard.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return left,
            }
            while let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = heard.drain(..=end).collect();
                left.hear(&String::from_utf8_lossy(&line[..end]));
            }
            rest();
        }
    }

    fn hear(&mut self, line: &str) {
        let number = |text: &str| text.parse::<u32>().ok();
        if let Some(group) = line.strip_prefix('+').and_then(number) {
            self.groups.insert(group);
        } else if let Some(group) = line.strip_prefix('-').and_then(number) {
            self.groups.remove(&group);
        } else if let Some(mark) = Mark::parse(line) {
            self.mark = Some(mark);
        }
    }

    fn kill(&self) {
        self.groups.iter().for_each(|group| platform::kill_group(*group));
        let Some(mark) = &self.mark else { return };
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            quiet = if platform::kill_marked(mark) == 0 { quiet + 1 } else { 0 };
            if quiet == QUIET_ROUNDS {
                return;
            }
            sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that gives one piece a reading.
    struct OneByOne<'a>(Vec<&'a [u8]>);

    impl Read for OneByOne<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() { Ok(0) } else { self.0.remove(0).read(into) }
        }
    }

    #[test]
    fn what_is_left_is_what_was_told_and_not_taken_back() {
        let mark = Mark { run: "r1".into(), sitting: "7".into() };
        let check = |lines: &str, groups: &[u32]| {
            let expected = Left { mark: Some(mark.clone()), groups: groups.iter().copied().collect() };
            assert_eq!(Left::after(lines.as_bytes(), || ()), expected, "{lines:?}");
            let bytes = lines.as_bytes().chunks(1).collect::<Vec<_>>();
            assert_eq!(Left::after(OneByOne(bytes), || ()), expected, "{lines:?} byte by byte");
        };
        check("mark 7 r1\n+12\n+13\n-12\n", &[13]);
        check("mark 7 r1\n+12\nnonsense\n+x\n-99\n", &[12]);
        check("mark 7 r1\n+12\n+134", &[12]);
    }
}
