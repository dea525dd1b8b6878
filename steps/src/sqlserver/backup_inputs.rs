//! The inputs of `sqlserver.backup` and the statement that they make: [`BackupInputs`].

use drydock_step::target::LockClass;
use drydock_step::{In, Shape, StepError, inputs, known, maybe};

use super::backup_file::{FileTemplate, Filling, extension};
use super::backup_options::{
    BlockSize, COMPRESSION, Compression, ENCRYPTION, Encryption, LARGEST_TO_DISK, Stripes, TransferSize,
};
use super::backup_statement::{BackupKind, BackupStatement};
use super::paths::{LONGEST_DEVICE, ServerPath, is_url};
use super::settings::marked;
use super::sql::{Identifier, quoted};
use super::target::SqlServerConnection;

inputs! {
    /// Inputs of `sqlserver.backup`.
    pub struct BackupInputs {
        /// The database.
        database: Identifier = known(Shape::Text),
        /// What to take. A `tail` is the last log before a restore: it throws everybody out and leaves the database RESTORING.
        kind as "type": BackupKind = known(Shape::OneOf(&["full", "differential", "log", "tail"])),
        /// The folder for the files: one of the artifact store that the server sees (`sees` in the environment), an absolute one on the
        /// server, or the URL of a container or bucket, `https://…` or `s3://…`.
        to: String = maybe(Shape::Text).or("\"sql\""),
        /// The files' name without its folder. `{database}`, `{type}`, `{time}` (UTC) and `{run}` (run, step and attempt) are filled in.
        file: FileTemplate = maybe(Shape::Text).or("\"{database}_{type}_{time}_{run}\""),
        /// Outside of the sequence: no differential builds on such a full, and such a log does not end the one before it.
        copy_only: bool = maybe(Shape::Boolean).or("false"),
        /// Verify pages while reading and write checksums.
        checksum: bool = maybe(Shape::Boolean).or("true"),
        /// Compress, or how; the server's own setting when it is left out. Express editions cannot.
        compression: Option<Compression> = maybe(Shape::Either(&Shape::Boolean, &Shape::Record(COMPRESSION))),
        /// Encrypt. What is encrypted is restored only where the certificate is; `sqlserver.certificate` backs it up.
        encryption: Option<Encryption> = maybe(Shape::Record(ENCRYPTION)),
        /// Over how many files the set is striped, 1 to 64; a restore needs all of them.
        stripes: Stripes = maybe(Shape::Integer).or("1"),
        /// Folders for copies of the same set, at most 3; each is as good as the first. Enterprise editions alone.
        mirror: Vec<String> = maybe(Shape::List(&Shape::Text)).or("[]"),
        /// Of a tail: also of a database that is damaged and cannot be opened.
        no_truncate: bool = maybe(Shape::Boolean).or("false"),
        /// The credential of a URL, where its name is not the URL's beginning.
        credential: Option<Identifier> = maybe(Shape::Text),
        /// Begin new media in the files.
        format: bool = maybe(Shape::Boolean).or("true"),
        /// Write over what the files hold. Their names are new for every attempt, so that they hold nothing.
        init: bool = maybe(Shape::Boolean).or("true"),
        /// How much is written at once: a multiple of 64KiB, at most 4MiB to a file and 20MiB to S3.
        max_transfer_size: Option<TransferSize> = maybe(Shape::Size),
        /// How many buffers are used.
        buffer_count: Option<u32> = maybe(Shape::Integer),
        /// The unit of writing: 512B to 64KiB.
        block_size: Option<BlockSize> = maybe(Shape::Size),
        /// After how many percent the server tells of its progress.
        stats: Option<u8> = maybe(Shape::Integer).or("10"),
        /// Put before the attempt's id in the set's name.
        name: Option<String> = maybe(Shape::Text),
        /// The set's description, at most 255 characters.
        description: Option<String> = maybe(Shape::Text),
    }
}

/// Most mirrors.
const MIRRORS: usize = 3;

fn is(flag: &In<bool>, or: bool) -> bool {
    flag.value().copied().unwrap_or(or)
}

impl BackupInputs {
    /// The set's name: what the plan calls it, and the attempt, by which it is found again.
    pub(super) fn set_name(&self, attempt: &str) -> String {
        let mark = marked(attempt);
        let own = self.name.value().and_then(Option::as_ref);
        let Some(own) = own else { return mark };
        let room = 127_usize.saturating_sub(mark.encode_utf16().count());
        let mut kept = String::new();
        let mut units = 0;
        for c in own.chars() {
            units += c.len_utf16();
            if units > room {
                break;
            }
            kept.push(c);
        }
        format!("{kept} {mark}").trim_start().to_owned()
    }

    /// The statement that writes these files, quoted, a list a copy.
    pub(super) fn statement(&self, copies: Vec<Vec<String>>, name: String) -> BackupStatement {
        let mut copies = copies.into_iter();
        let description = self.description.value().and_then(Option::as_ref);
        BackupStatement {
            kind: self.kind.value().copied(),
            database: self.database.or_after(Identifier::bracketed),
            disks: copies.next().unwrap_or_default(),
            mirrors: copies.collect(),
            name,
            description: description.map(|text| quoted(&text.chars().take(255).collect::<String>())),
            copy_only: is(&self.copy_only, false),
            no_truncate: is(&self.no_truncate, false),
            format: is(&self.format, true),
            init: is(&self.init, true),
            compression: self.compression.value().copied().flatten(),
            checksum: is(&self.checksum, true),
            encryption: self.encryption.value().cloned().flatten(),
            credential: self.credential.value().and_then(|name| name.as_ref().map(Identifier::quoted)),
            max_transfer_size: self.max_transfer_size.value().and_then(|size| size.map(|size| size.0)),
            buffer_count: self.buffer_count.value().copied().flatten(),
            block_size: self.block_size.value().and_then(|size| size.map(|size| size.0)),
            stats: self.stats.value().copied().flatten(),
        }
    }

    /// The files' names, filled.
    pub(super) fn files(&self, filling: Filling<'_>) -> Vec<String> {
        let extension = self.kind.value().map_or("bak", |kind| extension(*kind));
        let stripes = self.stripes.value().map_or(1, |stripes| stripes.0);
        match self.file.value() {
            Some(template) => template.names(filling, extension, stripes),
            None => vec![self.file.or_after(|_| String::new())],
        }
    }

    /// The folders on the server: of the first copy, then of its mirrors.
    ///
    /// # Errors
    /// `sqlserver.path`, `sqlserver.unseen`.
    pub(super) async fn folders(&self, server: &SqlServerConnection) -> Result<Vec<ServerPath>, StepError> {
        let style = server.facts().await?.style;
        let mut folders = Vec::new();
        for to in std::iter::once(self.to.known()?).chain(self.mirror.known()?) {
            folders.push(if style.is_absolute(to) {
                ServerPath::parse(style, to)?
            } else {
                server.sees().await?.server_path(to)?
            });
        }
        Ok(folders)
    }

    /// The files on the server, a list a copy.
    ///
    /// # Errors
    /// `sqlserver.path`, `sqlserver.unseen`.
    pub(super) async fn paths(
        &self,
        server: &SqlServerConnection,
        time: &str,
        attempt: &str,
    ) -> Result<Vec<Vec<ServerPath>>, StepError> {
        let (database, kind) = (self.database.known()?.as_str(), self.kind.known()?.as_str());
        let names = self.files(Filling { database, kind, time, run: attempt });
        let mut copies = Vec::new();
        for folder in self.folders(server).await? {
            let paths = names.iter().map(|name| folder.join(name)).collect::<Result<Vec<_>, _>>()?;
            if let Some(long) =
                paths.iter().find(|path| path.as_str().encode_utf16().count() > LONGEST_DEVICE)
            {
                return Err(StepError::new(
                    "sqlserver.path",
                    format!("`{long}` is longer than 259 characters"),
                )
                .help("choose a folder with a shorter path for `to`"));
            }
            copies.push(paths);
        }
        Ok(copies)
    }

    /// What does not go together, in as far as it is known.
    ///
    /// # Errors
    /// `input`.
    pub(super) fn fits_together(&self) -> Result<(), StepError> {
        let bad = |message: &str, help: &str| Err(StepError::new("input", message).help(help));
        let kind = self.kind.value().copied();
        let (format, copy_only) = (is(&self.format, true), is(&self.copy_only, false));
        let mirrors = self.mirror.value().map_or(0, Vec::len);
        let to_url = self.to.value().is_some_and(|to| is_url(to));
        if is(&self.no_truncate, false) && kind.is_some_and(|kind| kind != BackupKind::Tail) {
            return bad("`no_truncate` belongs to a `tail`", "leave it out, or take the tail");
        }
        if copy_only && matches!(kind, Some(BackupKind::Differential | BackupKind::Tail)) {
            let help = "a differential is outside of the sequence by its nature, and a tail ends it; leave `copy_only` out";
            return bad("only full and log backups can be `copy_only`", help);
        }
        if mirrors > MIRRORS {
            return bad(
                "`mirror` names more than 3 folders",
                "a media set has at most 4 copies, the first among them",
            );
        }
        if mirrors > 0 && !format {
            return bad("a mirrored set needs new media", "leave `format` out, or say true");
        }
        if !format && self.encryption.value().is_some_and(Option::is_some) {
            return bad(
                "an encrypted set cannot be appended to other sets",
                "leave `format` out, or say true",
            );
        }
        if !format && to_url {
            return bad(
                "a backup to a URL cannot be appended to other sets",
                "leave `format` out, or say true",
            );
        }
        self.places_fit_together()?;
        let transfer = self.max_transfer_size.value().and_then(|size| size.map(|size| size.0));
        let to_s3 = self.to.value().is_none_or(|to| to.to_lowercase().starts_with("s3://"));
        if !to_s3 && transfer.is_some_and(|bytes| bytes > LARGEST_TO_DISK) {
            return bad(
                "a transfer to a file or to Azure is at most 4MiB",
                "make `max_transfer_size` smaller",
            );
        }
        if self.buffer_count.value().is_some_and(|count| *count == Some(0)) {
            return bad("`buffer_count` is 0", "leave it out, and the server chooses");
        }
        Ok(())
    }

    /// Whether no file would be written twice, or over another that nobody can be asked about.
    fn places_fit_together(&self) -> Result<(), StepError> {
        let bad = |message: String, help: &str| Err(StepError::new("input", message).help(help));
        let mirrors = self.mirror.value().into_iter().flatten();
        let mut folders: Vec<&str> = self
            .to
            .value()
            .into_iter()
            .chain(mirrors)
            .map(|folder| folder.trim_end_matches(['/', '\\']))
            .collect();
        let has_run = self.file.value().is_none_or(FileTemplate::has_run);
        if let (false, Some(url)) = (has_run, folders.iter().find(|folder| is_url(folder))) {
            let help = "put {run} into `file`: what is behind a URL cannot be asked for before, and would be written over";
            return bad(format!("files below {url} would not be new ones for certain"), help);
        }
        folders.sort_unstable();
        if let Some([twice, _]) = folders.windows(2).find(|two| two.first() == two.last()) {
            return bad(
                format!("two copies would lie in `{twice}`"),
                "a mirror needs a folder of its own, best on other disks",
            );
        }
        Ok(())
    }

    /// Which lock it takes.
    ///
    /// # Errors
    /// `internal`, while the kind is not known.
    pub(super) fn lock_class(&self) -> Result<LockClass, StepError> {
        Ok(match self.kind.known()? {
            BackupKind::Log => LockClass::Log,
            BackupKind::Tail => LockClass::Exclusive,
            BackupKind::Full | BackupKind::Differential => LockClass::Data,
        })
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::given;
    use drydock_step::{Given, Inputs};
    use serde_json::{Value, json};

    use super::*;

    fn read(with: Value) -> Result<BackupInputs, StepError> {
        let with = given(with).with;
        BackupInputs::read(&Given { with: &with, fill: None })
    }

    #[test]
    fn a_sets_name_always_ends_with_its_attempt() {
        let with = |name: &str| {
            read(json!({ "database": "X", "type": "log", "name": name })).unwrap().set_name("r1/log/1")
        };
        assert_eq!(with("nightly"), "nightly drydock r1/log/1");
        let long = with(&"𝄞".repeat(100));
        assert!(long.encode_utf16().count() <= 128 && long.ends_with(" drydock r1/log/1"), "{long}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let of = |more: Value| {
            let mut with = json!({ "database": "X", "type": "full" });
            for (key, value) in more.as_object().unwrap() {
                with[key] = value.clone();
            }
            read(with).unwrap().fits_together().map_err(|error| error.message)
        };
        for (more, words) in [
            (json!({ "no_truncate": true }), "`no_truncate` belongs to a `tail`"),
            (json!({ "type": "differential", "copy_only": true }), "only full and log backups"),
            (json!({ "type": "tail", "copy_only": true }), "only full and log backups"),
            (json!({ "mirror": ["a", "b", "c", "d"] }), "more than 3 folders"),
            (json!({ "mirror": ["a"], "format": false }), "needs new media"),
            (json!({ "encryption": { "certificate": "c" }, "format": false }), "cannot be appended"),
            (json!({ "to": "s3://h/b", "format": false }), "to a URL cannot be appended"),
            (json!({ "max_transfer_size": "8MiB" }), "at most 4MiB"),
            (json!({ "buffer_count": 0 }), "`buffer_count` is 0"),
            (json!({ "mirror": ["b", "sql/"] }), "two copies would lie in `sql`"),
            (
                json!({ "to": "s3://h/b", "file": "{database}_{type}_{time}" }),
                "would not be new ones for certain",
            ),
        ] {
            assert!(of(more.clone()).unwrap_err().contains(words), "{more}");
        }
        assert_eq!(of(json!({ "type": "tail", "no_truncate": true, "stripes": 4, "mirror": ["a"] })), Ok(()));
        assert_eq!(of(json!({ "to": "s3://h/b", "max_transfer_size": "8MiB" })), Ok(()));
        let error = read(json!({ "database": "X", "type": "log", "file": "{database}" })).unwrap_err();
        assert!(error.code == "input" && error.message.contains("would not be distinct"), "{error}");
    }
}
