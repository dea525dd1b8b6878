//! How the tar of a base backup is compressed: [`Compression`], by the program that takes it; and how it is read again: [`Decoded`].

use std::io::{self, Read};

use drydock_step::{ChildOutput, ChildSpec, Ctx, StepError};
use serde::Deserialize;

use super::program_end::last_words;
use super::programs::Program;

/// The first major version of pg_basebackup that is told an algorithm by its name.
const TELLS_ALGORITHMS: u32 = 15;

/// How much of a program's words is kept.
const KEPT: usize = 4096;

/// Which algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As it is.
    None,
    /// Every build of PostgreSQL has it.
    Gzip,
    /// Faster and smaller; where the build has it.
    Zstd,
    /// The fastest; where the build has it.
    Lz4,
}

impl Compression {
    /// Its name in a plan and on a command line.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
        }
    }

    /// How the name of a tar ends that is compressed so.
    fn ending(self) -> &'static str {
        match self {
            Self::None => ".tar",
            Self::Gzip => ".tar.gz",
            Self::Zstd => ".tar.zst",
            Self::Lz4 => ".tar.lz4",
        }
    }

    /// What the tar of a base backup is called.
    pub(super) fn file_name(self) -> String {
        format!("base{}", self.ending())
    }

    /// How an artifact is compressed, by the end of its name.
    pub(super) fn of(path: &str) -> Self {
        let known = [Self::Gzip, Self::Zstd, Self::Lz4];
        known.into_iter().find(|one| path.ends_with(one.ending())).unwrap_or(Self::None)
    }

    /// Nothing, when there is such a level.
    ///
    /// # Errors
    /// `input`.
    pub(super) fn fits(self, level: Option<u32>) -> Result<(), StepError> {
        let Some(level) = level else { return Ok(()) };
        let refused = |why: String, help: String| Err(StepError::new("input", why).help(help));
        // Above 19, zstd needs more memory to be read again than a reader may give it.
        let most = match self {
            Self::None => {
                return refused(
                    format!("input `level`, {level}, says nothing without `compress`"),
                    "leave it out, or say `compress: gzip`".into(),
                );
            }
            Self::Gzip => 9,
            Self::Zstd => 19,
            Self::Lz4 => 12,
        };
        if (1..=most).contains(&level) {
            return Ok(());
        }
        let word = self.word();
        refused(format!("input `level`, {level}, is none of {word}"), format!("{word} knows 1 to {most}"))
    }

    /// What pg_basebackup of a major version is told. It writes to its standard output, where only it can compress and no server.
    pub(super) fn argument(self, level: Option<u32>, major: u32) -> Option<String> {
        let word = self.word();
        match (self, level) {
            (Self::None, _) => None,
            (Self::Gzip, None) if major < TELLS_ALGORITHMS => Some("--gzip".into()),
            (Self::Gzip, Some(level)) if major < TELLS_ALGORITHMS => Some(format!("--compress={level}")),
            (_, None) => Some(format!("--compress=client-{word}")),
            (_, Some(level)) => Some(format!("--compress=client-{word}:{level}")),
        }
    }

    /// Nothing, when this build of pg_basebackup can compress so. Only when it is used does it say so: it is, with a service that is not
    /// there, so that it reaches no server.
    ///
    /// # Errors
    /// `postgres.programs`, with its own words.
    pub(super) async fn is_in(
        self,
        ctx: &Ctx,
        program: &Program,
        level: Option<u32>,
    ) -> Result<(), StepError> {
        let Some(argument) = self.argument(level, program.major()) else { return Ok(()) };
        let refused = |why: String| {
            let message =
                format!("{} ({}) cannot compress with {}: {why}", program.path, program.version, self.word());
            StepError::new("postgres.programs", message)
                .help("say `compress: gzip`, which every build can; or name the folder of another build in `programs` of the target")
        };
        if program.major() < TELLS_ALGORITHMS {
            return if self == Self::Gzip { Ok(()) } else { Err(refused("it is older than 15".into())) };
        }
        let nowhere = ctx.host.scratch().join("no-service");
        let mut argv = vec![program.path.clone()];
        argv.extend(["--pgdata=-", "--format=tar", "--wal-method=fetch", "--no-password"].map(str::to_owned));
        argv.push(argument);
        let spec = ChildSpec {
            argv,
            env: [("LC_ALL", "C".to_owned()), ("PGSERVICE", "none".to_owned())]
                .into_iter()
                .chain([("PGSERVICEFILE", nowhere.display().to_string())])
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            cwd: ctx.folder.to_path_buf(),
            stdin: Vec::new(),
            stdout: ChildOutput::Kept { limit: KEPT },
        };
        let words = last_words(&ctx.spawn(spec).await?.stderr);
        if words.contains("compress") && !words.contains("service file") {
            Err(refused(words))
        } else {
            Ok(())
        }
    }
}

/// A tar as it was before it was compressed.
pub(super) enum Decoded<R: Read> {
    /// It was not.
    Plain(R),
    Gzip(Box<flate2::read::MultiGzDecoder<R>>),
    Zstd(Box<ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    Lz4(Box<lz4_flex::frame::FrameDecoder<R>>),
}

impl<R: Read> Decoded<R> {
    /// What a reader gives, of an artifact of this name.
    ///
    /// # Errors
    /// When it does not begin as the name says.
    pub(super) fn of(path: &str, reader: R) -> io::Result<Self> {
        Ok(match Compression::of(path) {
            Compression::None => Self::Plain(reader),
            Compression::Gzip => Self::Gzip(Box::new(flate2::read::MultiGzDecoder::new(reader))),
            Compression::Zstd => {
                let decoder = ruzstd::decoding::StreamingDecoder::new(reader);
                Self::Zstd(Box::new(decoder.map_err(io::Error::other)?))
            }
            Compression::Lz4 => Self::Lz4(Box::new(lz4_flex::frame::FrameDecoder::new(reader))),
        })
    }

    /// The reader, from behind what was read of it.
    pub(super) fn into_inner(self) -> R {
        match self {
            Self::Plain(reader) => reader,
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => decoder.into_inner(),
            Self::Lz4(decoder) => decoder.into_inner(),
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Plain(reader) => return reader.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Lz4(decoder) => decoder.read(buffer),
        };
        // Whatever a decoder calls it, it is about what is read and not about where it goes.
        read.map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => error,
            _ => io::Error::other(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drydock_step::test_host::TestHost;

    use super::*;

    #[test]
    fn each_has_its_name_its_levels_and_its_argument() {
        for (compression, name, level, told) in [
            (Compression::None, "base.tar", None, None),
            (Compression::Gzip, "base.tar.gz", None, Some("--compress=client-gzip")),
            (Compression::Zstd, "base.tar.zst", Some(3), Some("--compress=client-zstd:3")),
            (Compression::Lz4, "base.tar.lz4", Some(12), Some("--compress=client-lz4:12")),
        ] {
            assert_eq!(compression.file_name(), name);
            assert_eq!(Compression::of(&format!("pg/x/{name}")), compression);
            assert_eq!(compression.argument(level, 18).as_deref(), told);
            assert_eq!(compression.fits(level), Ok(()));
            assert_eq!(compression.fits(Some(20)).unwrap_err().code, "input");
        }
        assert_eq!(Compression::Gzip.argument(None, 14).as_deref(), Some("--gzip"));
        assert_eq!(Compression::Gzip.argument(Some(9), 14).as_deref(), Some("--compress=9"));
        let error = Compression::Gzip.fits(Some(0)).unwrap_err();
        assert_eq!(
            (error.message.as_str(), error.help.as_deref()),
            ("input `level`, 0, is none of gzip", Some("gzip knows 1 to 9"))
        );
    }

    #[tokio::test]
    #[cfg(unix)]
    async fn a_build_without_an_algorithm_is_found_by_its_own_words() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let ctx = Arc::new(TestHost::new(dir.path())).ctx(None);
        let path = dir.path().join("pg_basebackup");
        let script = "#!/bin/sh\ncase \"$*\" in\n--version) echo 'pg_basebackup (PostgreSQL) 18.6' ;;\n\
            *zstd*) echo 'pg_basebackup: error: invalid compression specification: this build does not support compression with ZSTD' >&2; exit 1 ;;\n\
            *) echo \"pg_basebackup: error: service file \\\"$PGSERVICEFILE\\\" not found\" >&2; exit 1 ;;\nesac\n";
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = Program::find(&ctx, &[dir.path().to_owned()], "pg_basebackup", 18).await.unwrap();
        assert_eq!(Compression::Gzip.is_in(&ctx, &program, Some(3)).await, Ok(()));
        assert_eq!(Compression::None.is_in(&ctx, &program, None).await, Ok(()));
        let error = Compression::Zstd.is_in(&ctx, &program, None).await.unwrap_err();
        assert_eq!(error.code, "postgres.programs");
        assert!(error.message.ends_with(
            "pg_basebackup (PostgreSQL) 18.6) cannot compress with zstd: pg_basebackup: error: invalid compression specification: \
             this build does not support compression with ZSTD"
        ), "{error}");
    }
}
