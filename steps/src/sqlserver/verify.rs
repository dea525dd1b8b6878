//! `sqlserver.verify`: [`Verify`] has the server read backups whole, compares their headers with what is known of them, and checks a
//! database.

use async_trait::async_trait;
use drydock_step::{
    Access, Action, ActionKind, Ctx, Duty, Ended, Facts, Field, Grant, In, KindShape, PreflightFinding,
    Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, maybe,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::check_database::{CHECKDB, CHECKED, CheckDatabase, Checked};
use super::history::Recorded;
use super::media::verify_only;
use super::paths::{ServerPath, is_url};
use super::restore_chain::{GivenChain, Piece};
use super::rights::{READS_MEDIA, checking};
use super::set_details::differences;
use super::sql::quoted;
use super::target::SqlServerConnection;
use super::watch::stop;
use crate::described::described;

/// What is done about damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDamage {
    /// The step fails.
    Fail,
    /// The outputs tell of it.
    Report,
}

inputs! {
    /// Inputs of `sqlserver.verify`.
    pub struct VerifyInputs {
        /// Backups as `sqlserver.restore` takes them; every set is verified.
        chain: Option<GivenChain> = maybe(Shape::Any),
        /// The files of one set instead, all its stripes: paths of the artifact store that the server sees, or absolute ones on the server.
        media: Option<Vec<String>> = maybe(Shape::List(&Shape::Text)),
        /// Which set of these files it is.
        position: u32 = maybe(Shape::Integer).or("1"),
        /// What is known of that set: `backup` or `set` of the outputs of `sqlserver.backup`.
        expected: Option<Map<String, Value>> = maybe(Shape::Map(&Shape::Any)),
        /// Compare checksums; a set without any is refused.
        checksum: bool = maybe(Shape::Boolean).or("true"),
        /// Check a database, such as one that was just restored.
        checkdb: Option<CheckDatabase> = maybe(Shape::Record(CHECKDB)),
        /// Whether damage fails the step, or is only told in the outputs.
        on_damage: OnDamage = maybe(Shape::OneOf(&["fail", "report"])).or("\"fail\""),
    }
}

const VERIFIED: &[Field] = &[
    Field::required("label", Shape::Text, "What people call it."),
    Field::required("media", Shape::List(&Shape::Text), "Its files, as this server sees them."),
    Field::required("position", Shape::Integer, "Which set of its files it is."),
    Field::required("ok", Shape::Boolean, "Whether it is sound and what it should be."),
    Field::optional("error", Shape::Text, "Why it cannot be used."),
    Field::required("differences", Shape::List(&Shape::Text), "What its header says otherwise, a line each."),
];

const OUTPUTS: &[Field] = &[
    Field::required("ok", Shape::Boolean, "Whether nothing was found."),
    Field::required("sets", Shape::List(&Shape::Record(VERIFIED)), "The sets."),
    Field::optional("checkdb", Shape::Record(CHECKED), "What DBCC CHECKDB found."),
];

/// How many findings a message tells.
const TOLD: usize = 3;

/// Verifies.
pub struct Verify;

/// A set to verify, with what is known of it.
struct Subject {
    label: String,
    paths: Vec<ServerPath>,
    position: u32,
    expected: Map<String, Value>,
}

/// What was found out about a set.
struct Verdict {
    subject: Subject,
    error: Option<StepError>,
    differences: Vec<String>,
}

impl VerifyInputs {
    fn fits_together(&self) -> Result<(), StepError> {
        let is_given = |is: Option<bool>| is.unwrap_or(true);
        let media = is_given(self.media.value().map(Option::is_some));
        let chain = is_given(self.chain.value().map(Option::is_some));
        let check = is_given(self.checkdb.value().map(Option::is_some));
        let known = self.media.value().is_some() && self.chain.value().is_some();
        if media && chain && known {
            return Err(
                StepError::new("input", "both `media` and `chain` are given").help("leave one of them out")
            );
        }
        if !media && !chain && !check {
            let help = "give a `chain`, the `media` of a set, or a database in `checkdb`";
            return Err(StepError::new("input", "there is nothing to verify").help(help));
        }
        match self.checkdb.value() {
            Some(Some(check)) => check.fits_together(),
            _ => Ok(()),
        }
    }

    async fn subjects(&self, server: &SqlServerConnection) -> Result<Vec<Subject>, StepError> {
        let mut subjects = Vec::new();
        if let Some(media) = self.media.known()? {
            let expected = self.expected.known()?.clone().unwrap_or_default();
            let (label, position) =
                (format!("set {} of {}", self.position, media.join(", ")), *self.position.known()?);
            subjects.push(Subject { label, paths: places(server, media).await?, position, expected });
        }
        for piece in self.chain.known()?.iter().flat_map(GivenChain::pieces) {
            subjects.push(subject(server, piece).await?);
        }
        Ok(subjects)
    }
}

/// Where the server finds files.
async fn places(server: &SqlServerConnection, media: &[String]) -> Result<Vec<ServerPath>, StepError> {
    let style = server.facts().await?.style;
    let mut paths = Vec::new();
    for path in media {
        paths.push(if style.is_absolute(path) {
            ServerPath::parse(style, path)?
        } else {
            server.sees().await?.server_path(path)?
        });
    }
    Ok(paths)
}

async fn subject(server: &SqlServerConnection, piece: &Piece) -> Result<Subject, StepError> {
    let backup = &piece.backup;
    let is_own = backup.server.eq_ignore_ascii_case(&server.facts().await?.name);
    let everywhere = backup.media.iter().all(|path| is_url(path));
    // The paths that another server gave its files mean nothing here.
    if piece.artifacts.is_empty() && !is_own && !everywhere {
        let (label, media, own) = (backup.label(), backup.media.join(", "), &server.facts().await?.name);
        let message = format!(
            "the {label} lies on media of {} alone ({media}), and this server is {own}",
            backup.server
        );
        return Err(StepError::new("sqlserver.unseen", message).help(
            "give its files as `media` where this server sees them, or back up into a folder of the artifact store",
        ));
    }
    let media = if piece.artifacts.is_empty() { &backup.media } else { &piece.artifacts };
    let entry = serde_json::to_value(backup);
    let entry = entry.map_err(|error| StepError::internal(format!("a backup is no JSON: {error}")))?;
    let mut expected = entry.as_object().cloned().unwrap_or_default();
    // Where it lies is not what it is.
    ["media", "media_count", "availability_group"].iter().for_each(|name| drop(expected.remove(*name)));
    Ok(Subject {
        label: backup.label(),
        paths: places(server, media).await?,
        position: backup.position,
        expected,
    })
}

/// Has the server read a set.
async fn verified(
    server: &SqlServerConnection,
    subject: Subject,
    checksum: bool,
) -> Result<Verdict, StepError> {
    let (session, facts) = (server.session(), server.facts().await?);
    let verdict = |subject, error, differences| Ok(Verdict { subject, error, differences });
    let recorded = match Recorded::in_media(session, facts, &subject.paths, subject.position).await {
        Ok(recorded) => recorded,
        Err(error) if error.transient => return Err(error),
        Err(error) => return verdict(subject, Some(error), Vec::new()),
    };
    let mut header = recorded.set.as_object().cloned().unwrap_or_default();
    if let Some(entry) = recorded.header()?["backup"].as_object() {
        header.extend(entry.clone());
    }
    let differences = differences(&subject.expected, &header);
    let doing = format!("verifying the {}", subject.label);
    let read = session.ask_long(&doing, &verify_only(&subject.paths, subject.position, checksum)).await;
    match read {
        Ok(_) => verdict(subject, None, differences),
        Err(error) if error.transient => Err(error),
        Err(error) => verdict(subject, Some(error), differences),
    }
}

/// What a look ahead finds wrong with the sets of a chain, which the server reads to their end.
///
/// # Errors
/// What keeps the server from answering.
pub(super) async fn unreadable(
    server: &SqlServerConnection,
    pieces: &[Piece],
    checksum: bool,
) -> Result<Vec<PreflightFinding>, StepError> {
    let mut found = Vec::new();
    for piece in pieces {
        let subject = match subject(server, piece).await {
            Ok(subject) => subject,
            // Where it does not lie was found before anything was read.
            Err(error) if !error.transient => continue,
            Err(error) => return Err(error),
        };
        let verdict = verified(server, subject, checksum).await?;
        let path = verdict.subject.paths.first().map(ToString::to_string).unwrap_or_default();
        if let Some(error) = &verdict.error {
            found.push(PreflightFinding {
                code: error.code.clone(),
                fatal: true,
                message: format!("{path}: {}", error.message),
                help: error
                    .help
                    .clone()
                    .or_else(|| Some("bring back a copy of it, or take an older chain".into())),
            });
        }
    }
    Ok(found)
}

impl Verdict {
    fn ok(&self) -> bool {
        self.error.is_none() && self.differences.is_empty()
    }

    fn row(&self) -> Value {
        json!({
            "label": self.subject.label,
            "media": self.subject.paths.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "position": self.subject.position,
            "ok": self.ok(),
            "error": self.error.as_ref().map(|error| &error.message),
            "differences": self.differences,
        })
    }
}

/// The failure that these verdicts are.
fn failure(verdicts: &[Verdict], checked: Option<&Checked>) -> Option<StepError> {
    let told = |lines: Vec<String>| {
        let more = lines.len().saturating_sub(TOLD);
        let shown = lines.into_iter().take(TOLD).collect::<Vec<_>>().join("; ");
        if more == 0 { shown } else { format!("{shown}; and {more} more") }
    };
    let of = |verdict: &Verdict| {
        verdict.error.as_ref().map(|error| format!("the {}: {}", verdict.subject.label, error.message))
    };
    let unusable: Vec<String> = verdicts.iter().filter_map(of).collect();
    if !unusable.is_empty() {
        let own = verdicts.iter().find_map(|verdict| verdict.error.as_ref()?.help.clone());
        let error = StepError::new(
            "verify.unusable",
            format!("{} of {} sets cannot be used: {}", unusable.len(), verdicts.len(), told(unusable)),
        );
        return Some(
            error.help(own.unwrap_or_else(|| "take another copy of the file, or an older chain".into())),
        );
    }
    let differ = |verdict: &Verdict| {
        verdict
            .differences
            .iter()
            .map(|line| format!("the {}: {line}", verdict.subject.label))
            .collect::<Vec<_>>()
    };
    let differing: Vec<String> = verdicts.iter().flat_map(differ).collect();
    if !differing.is_empty() {
        return Some(
            StepError::new("verify.differs", format!("headers say otherwise: {}", told(differing))).help(
                "the file was replaced, or the record is of another set; find the file that the record names",
            ),
        );
    }
    let checked = checked.filter(|checked| !checked.findings.is_empty())?;
    let lines = checked.findings.iter().map(super::check_database::Damage::words).collect();
    let message = format!("DBCC CHECKDB found damage in {}: {}", checked.database, told(lines));
    Some(StepError::new("verify.damaged", message).help(
        "restore from before the damage, or the pages alone; repair_allow_data_loss is the last resort",
    ))
}

#[async_trait]
impl StepKind for Verify {
    type Inputs = VerifyInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::OneOf(&["sqlserver"]),
            outputs: Shape::Record(OUTPUTS),
            permissions: &[
                "CREATE ANY DATABASE, which reading backups needs",
                "sysadmin, or db_owner of the database, for checkdb",
                "the server's service account may read the backups",
            ],
            example: "proved:\n  uses: sqlserver.verify\n  target: sql\n  needs: [full, log]\n  with:\n    chain: [\"{{ steps.full.outputs }}\", \"{{ steps.log.outputs }}\"]\n",
            ..described(
                "sqlserver.verify",
                "Has the server read backups whole (RESTORE VERIFYONLY with checksums) and compares each header with what is known of the \
                 set; checks a database with DBCC CHECKDB. That a backup can be read is no proof of what is in it: only a restore and \
                 its check are.",
            )
        }
    }

    fn judge(&self, inputs: &VerifyInputs) -> Result<(), StepError> {
        inputs.fits_together()
    }

    fn touches(&self, target: Option<&str>, inputs: &VerifyInputs) -> Vec<Touch> {
        let touch = |resource| Touch { target: target.map(str::to_owned), resource, access: Access::Reads };
        let check = match inputs.checkdb.value() {
            Some(Some(check)) => Some(touch(format!("database {}", check.database))),
            Some(None) => None,
            None => Some(touch("?".into())),
        };
        check.into_iter().chain([touch("backups".into())]).collect()
    }

    fn actions(&self, target: Option<&str>, inputs: &VerifyInputs, _facts: &Facts) -> Vec<Action> {
        let read = |text: String| Action::reads(ActionKind::Sql, target, text);
        if let Err(error) = inputs.fits_together() {
            return vec![read(format!("(nothing: {})", error.message))];
        }
        let checksum = inputs.checksum.value().copied().unwrap_or(true);
        let statement = |media: &[String], position: u32| {
            let quoted: Vec<String> = media.iter().map(|path| quoted(path)).collect();
            read(super::media::verify_only_quoted(&quoted, position, checksum))
        };
        let mut actions = Vec::new();
        match &inputs.media {
            In::Known(Some(media)) => {
                actions.push(statement(media, inputs.position.value().copied().unwrap_or(1)))
            }
            In::Known(None) => {}
            after @ In::After(_) => {
                actions.push(read(format!("RESTORE VERIFYONLY FROM {}", after.or_after(|_| String::new()))))
            }
        }
        match &inputs.chain {
            In::Known(chain) => actions.extend(chain.iter().flat_map(GivenChain::pieces).map(|piece| {
                let media = if piece.artifacts.is_empty() { &piece.backup.media } else { &piece.artifacts };
                statement(media, piece.backup.position)
            })),
            after @ In::After(_) => {
                actions.push(read(format!("RESTORE VERIFYONLY FROM {}", after.or_after(|_| String::new()))))
            }
        }
        if let Some(Some(check)) = inputs.checkdb.value() {
            actions.push(read(check.statement()));
        }
        actions
    }

    fn grants(&self, inputs: &VerifyInputs) -> Vec<Grant> {
        let mut grants = Vec::new();
        let reads = |media: bool| media.then(|| Grant::at_server(Duty::Plan, READS_MEDIA));
        let has_chain = inputs.chain.value().is_none_or(Option::is_some);
        grants.extend(reads(has_chain || inputs.media.value().is_none_or(Option::is_some)));
        let checked = inputs.checkdb.value().and_then(Option::as_ref);
        grants.extend(checked.map(|checked| checking(checked.database.as_str())));
        grants
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &VerifyInputs,
        _from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.fits_together()?;
        let work = async {
            let connection = ctx.connection().await?;
            let server = SqlServerConnection::of(&*connection)?;
            let subjects = inputs.subjects(server).await?;
            let count = subjects.len() as u64;
            let mut verdicts = Vec::new();
            for (done, subject) in (0..).zip(subjects) {
                ctx.progress(done, Some(count), "sets", format!("verifying the {}", subject.label));
                verdicts.push(verified(server, subject, *inputs.checksum.known()?).await?);
            }
            let checked = match inputs.checkdb.known()? {
                Some(check) => {
                    ctx.progress(count, Some(count), "sets", format!("checking database {}", check.database));
                    Some(check.run(server).await?)
                }
                None => None,
            };
            Ok((verdicts, checked))
        };
        let (verdicts, checked) = ctx.or_cancelled(work).await?;
        let found = failure(&verdicts, checked.as_ref());
        match found {
            Some(error) if *inputs.on_damage.known()? == OnDamage::Fail => Err(error),
            found => Ok(Ended::Outputs(json!({
                "ok": found.is_none(),
                "sets": verdicts.iter().map(Verdict::row).collect::<Vec<_>>(),
                "checkdb": checked.map(|checked| json!(checked)),
            }))),
        }
    }

    async fn reconcile(&self, _ctx: &Ctx, _inputs: &VerifyInputs) -> Result<Reconciled, StepError> {
        Ok(Reconciled::NotDone)
    }

    async fn cancel(&self, ctx: &Ctx, _inputs: &VerifyInputs) -> Result<(), StepError> {
        stop(ctx).await
    }
}

#[cfg(test)]
mod tests {
    use drydock_step::test_host::{actions, touches};

    use super::super::restore_chain::tests::chain;
    use super::*;

    fn texts(with: Value) -> Vec<String> {
        actions(&Verify, with).unwrap().into_iter().map(|action| action.text).collect()
    }

    #[test]
    fn a_dry_run_shows_what_is_read() {
        let found =
            texts(json!({ "chain": chain(), "checkdb": { "database": "Octopus", "physical_only": true } }));
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], "RESTORE VERIFYONLY FROM DISK = N'sql/a.bak' WITH FILE = 1, CHECKSUM");
        assert_eq!(
            found[3],
            "DBCC CHECKDB (N'Octopus') WITH NO_INFOMSGS, ALL_ERRORMSGS, TABLERESULTS, PHYSICAL_ONLY"
        );
        let one =
            texts(json!({ "media": ["/b/x_1of2.bak", "/b/x_2of2.bak"], "position": 2, "checksum": false }));
        assert_eq!(
            one,
            ["RESTORE VERIFYONLY FROM DISK = N'/b/x_1of2.bak', DISK = N'/b/x_2of2.bak' WITH FILE = 2"]
        );
        let touched = touches(&Verify, json!({ "checkdb": { "database": "X" } })).unwrap();
        assert!(touched.iter().all(|touch| touch.access == Access::Reads));
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for (with, words) in [
            (json!({}), "(nothing: there is nothing to verify)"),
            (json!({ "chain": chain(), "media": ["/x"] }), "(nothing: both `media` and `chain` are given)"),
            (
                json!({ "checkdb": { "database": "X", "physical_only": true, "extended_logical_checks": true } }),
                "(nothing: `physical_only` and `extended_logical_checks`",
            ),
        ] {
            assert!(texts(with)[0].starts_with(words));
        }
    }
}
