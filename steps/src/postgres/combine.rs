//! `postgres.combine`: [`Combine`] makes one full base backup of a full one and the incremental ones after it, so that what came before can
//! go and a restore reads one tar. Nothing is asked of a server.

use std::path::PathBuf;

use async_trait::async_trait;
use drydock_recovery::manifest::Artifact;
use drydock_step::artifact::stream_of;
use drydock_step::{
    Access, Action, ActionKind, ArtifactStore, Connection, Ctx, Effect, Ended, Facts, KindShape, PlanPath,
    Preflight, PreflightFinding, Reconciled, Shape, StepError, StepKind, TargetNeed, Touch, inputs, known,
    maybe,
};
use serde_json::Value;

use super::base_chain::{BaseChain, PROGRAM, combined};
use super::base_compress::Compression;
use super::base_entry::{BASE_ENTRY, BaseEntry, Tool};
use super::base_given::BaseGiven;
use super::base_pack::packed;
use super::base_place::{claimed, closed, gone_on_from, label_fits, verdict};
use super::base_proof::{self, proved};
use super::base_read_back::read_back;
use super::base_record::RECORD;
use super::base_scratch::{Scratch, own_name};
use super::programs::Program;
use crate::described::described;

inputs! {
    /// Inputs of `postgres.combine`.
    pub struct CombineInputs {
        /// The target of the artifact store that the base backups lie in.
        from: String = known(Shape::Text),
        /// An incremental base backup: the outputs of the step that took it, or the folder where it lies in the store, `<prefix>/<label>`;
        /// what it was made against is looked for beside it. Or a list of outputs, a full one first and then the incremental ones in order.
        base: BaseGiven = known(Shape::Any),
        /// The target of the artifact store that the new one is put into.
        to: String = known(Shape::Text),
        /// Where in that store: the backup lies below it, in a folder of its own.
        prefix: String = maybe(Shape::Text).or("\"postgres/base\""),
        /// Its name: letters, digits, `.`, `_` and `-`. Made of the run and the step where it is left out.
        label: Option<String> = maybe(Shape::Text),
        /// Unpack what lies in the store afterwards and have `pg_verifybackup` read it, in the run's scratch.
        verify: bool = maybe(Shape::Boolean).or("true"),
        /// Whether the tar is compressed.
        compress: Compression = maybe(Shape::OneOf(&["none", "gzip"])).or("\"none\""),
        /// How hard gzip compresses, 1 to 9.
        level: Option<u32> = maybe(Shape::Integer),
        /// Folders with PostgreSQL's programs, looked into before the places where packages put them.
        programs: Vec<PlanPath> = maybe(Shape::List(&Shape::Path)).or("[]"),
    }
}

impl CombineInputs {
    /// Nothing, when the inputs go together as far as they are known.
    fn fits(&self) -> Result<(), StepError> {
        self.label.value().and_then(Option::as_deref).map_or(Ok(()), label_fits)?;
        if let (Some(compress), Some(level)) = (self.compress.value(), self.level.value()) {
            if !matches!(compress, Compression::None | Compression::Gzip) {
                let message = format!("input `compress`, {}, is only pg_basebackup's", compress.word());
                return Err(StepError::new("input", message).help("say `gzip`, or `none`"));
            }
            compress.fits(*level)?;
        }
        match self.base.value().and_then(BaseGiven::chain) {
            Some(chain) => {
                chain.fits()?;
                is_several(chain)
            }
            None => Ok(()),
        }
    }

    fn folders(&self, ctx: &Ctx) -> Result<Vec<PathBuf>, StepError> {
        Ok(self.programs.known()?.iter().map(|folder| folder.resolved(&ctx.folder)).collect())
    }
}

/// Nothing, when there is something to combine.
fn is_several(chain: &BaseChain) -> Result<(), StepError> {
    if chain.entries().len() > 1 {
        return Ok(());
    }
    let message = format!("{} is a full one already: there is nothing to combine", chain.last().in_words());
    Err(StepError::new("input", message).help("name an incremental base backup in `base`"))
}

/// Makes full base backups of incremental ones.
pub struct Combine;

#[async_trait]
impl StepKind for Combine {
    type Inputs = CombineInputs;

    fn shape(&self) -> KindShape {
        KindShape {
            target: TargetNeed::None,
            target_inputs: &[("from", &["artifacts"]), ("to", &["artifacts"])],
            outputs: BASE_ENTRY,
            effect: Effect::Writes,
            permissions: &[
                "artifacts: read the store of the base backups, write to the other",
                "the runner's machine: room in the run's scratch for the data twice, and for the changes",
            ],
            example: "weekly:\n  uses: postgres.combine\n  with: { from: backups, base: \"{{ steps.incremental.outputs }}\", to: backups, prefix: postgres/base }\n",
            ..described(
                "postgres.combine",
                "Makes one full base backup of a full one and the incremental ones after it, by pg_combinebackup, and stores it as postgres.basebackup does; then reads it back, and has pg_verifybackup read it. It is restored as the newest of them would be. What it was made of stays.",
            )
        }
    }

    fn judge(&self, inputs: &CombineInputs) -> Result<(), StepError> {
        inputs.fits()
    }

    fn touches(&self, _target: Option<&str>, inputs: &CombineInputs) -> Vec<Touch> {
        let path = inputs.prefix.value().map_or("?".into(), |prefix| format!("path {prefix}"));
        vec![
            Touch {
                target: inputs.from.value().cloned(),
                resource: "artifacts of the base backups".into(),
                access: Access::Reads,
            },
            Touch { target: inputs.to.value().cloned(), resource: path, access: Access::Writes },
        ]
    }

    fn actions(&self, _target: Option<&str>, inputs: &CombineInputs, _facts: &Facts) -> Vec<Action> {
        let (from, to) = (inputs.from.value().map(String::as_str), inputs.to.value().map(String::as_str));
        let label =
            inputs.label.or_after(|label| label.clone().unwrap_or_else(|| "drydock_<run and step>".into()));
        let base = inputs.base.or_after(BaseGiven::in_words);
        let stored = |name: &str| format!("store {}/{label}/{name}", inputs.prefix);
        let mut actions = vec![
            Action::reads(ActionKind::Artifact, from, format!("read {base} and hash it")),
            Action::reads(
                ActionKind::Process,
                None,
                format!("{PROGRAM} <each of them, unpacked> --output=<in the run's scratch>"),
            ),
            Action::writes(
                ActionKind::Artifact,
                to,
                stored(&inputs.compress.or_after(|compress| compress.file_name())),
            ),
            Action::writes(ActionKind::Artifact, to, stored("backup_manifest")),
        ];
        if inputs.verify.value() != Some(&false) {
            let program = base_proof::PROGRAM;
            let text = format!("{program} --exit-on-error <the backup, unpacked in the run's scratch>");
            actions.push(Action::reads(ActionKind::Process, None, text));
        }
        actions.push(Action::writes(ActionKind::Artifact, to, stored(RECORD)));
        actions
    }

    async fn preflight(&self, ctx: &Ctx, inputs: &CombineInputs) -> Result<Preflight, StepError> {
        let mut findings = Vec::new();
        if let (Some(base), Some(from), Some(_)) =
            (inputs.base.value(), inputs.from.value(), inputs.programs.value())
        {
            let store = ctx.host.connect(from).await?;
            let looked = may_be_combined(ctx, inputs, base, store_of(&*store)?).await;
            if let Err(StepError { code, message, help, .. }) = looked {
                findings.push(PreflightFinding { code, fatal: true, message, help });
            }
        }
        Ok(Preflight { facts: Value::Null, findings })
    }

    async fn execute(
        &self,
        ctx: &Ctx,
        inputs: &CombineInputs,
        from: Option<&Value>,
    ) -> Result<Ended, StepError> {
        inputs.fits()?;
        let to = ctx.host.connect(inputs.to.known()?).await?;
        let to = store_of(&*to)?;
        let entry = match gone_on_from(from)? {
            Some(entry) => entry,
            None => ctx.or_cancelled(made(ctx, inputs, to)).await?,
        };
        Ok(Ended::Outputs(closed(ctx, to, &entry).await?))
    }

    async fn reconcile(&self, ctx: &Ctx, inputs: &CombineInputs) -> Result<Reconciled, StepError> {
        let to = ctx.host.connect(inputs.to.known()?).await?;
        verdict(ctx, store_of(&*to)?).await
    }
}

fn store_of(connection: &dyn Connection) -> Result<&dyn ArtifactStore, StepError> {
    connection
        .store()
        .ok_or_else(|| StepError::internal("`from` or `to` of postgres.combine is no artifact store"))
}

/// Nothing, when all that is combined is in the store, and there is a program for it.
async fn may_be_combined(
    ctx: &Ctx,
    inputs: &CombineInputs,
    base: &BaseGiven,
    store: &dyn ArtifactStore,
) -> Result<(), StepError> {
    let chain = base.resolved(store).await?;
    is_several(&chain)?;
    for entry in chain.entries() {
        if store.size(&entry.artifact.path).await? != Some(entry.artifact.size) {
            let message = format!("{} is not in the store, or has another length", entry.artifact.path);
            return Err(StepError::new("artifact.absent", message).help("take another base backup"));
        }
    }
    Program::find(ctx, &inputs.folders(ctx)?, PROGRAM, chain.last().server_major).await.map(drop)
}

/// Combines, stores what came of it and reads that back.
async fn made(ctx: &Ctx, inputs: &CombineInputs, to: &dyn ArtifactStore) -> Result<BaseEntry, StepError> {
    let from = ctx.host.connect(inputs.from.known()?).await?;
    let from = store_of(&*from)?;
    let chain = inputs.base.known()?.resolved(from).await?;
    is_several(&chain)?;
    let own = own_name(ctx);
    let label = inputs.label.known()?.clone().unwrap_or_else(|| own.clone());
    let folder = format!("{}/{label}", inputs.prefix.known()?.trim_end_matches('/'));
    let folders = inputs.folders(ctx)?;
    claimed(ctx, to, &folder).await?;
    let scratch = Scratch::of(ctx.host.scratch(), &own)?;
    let data = scratch.folder.join("data");
    let program = combined(ctx, from, chain.entries(), &folders, &data).await?;
    let path = format!("{folder}/{}", inputs.compress.known()?.file_name());
    let stored = packed(ctx, to, &data, &path, *inputs.level.known()?).await?;
    std::fs::remove_dir_all(&data).map_err(|error| scratch.failed(&error))?;
    let verify = *inputs.verify.known()?;
    let (found, manifest) = read_back(ctx, to, &stored, verify.then_some(data.as_path())).await?;
    let last = chain.last();
    if verify {
        proved(ctx, &folders, last.server_major, &data).await?;
    }
    let Some((first_wal, last_wal)) = manifest.wal() else {
        return Err(StepError::internal("a backup_manifest without WAL was taken"));
    };
    let beside = format!("{folder}/backup_manifest");
    let kept = to.put(&beside, stream_of(found.manifest.clone().unwrap_or_default())).await?;
    Ok(BaseEntry {
        label,
        timeline: first_wal.timeline,
        start_lsn: first_wal.start_lsn.clone(),
        end_lsn: last_wal.end_lsn.clone(),
        bytes: found.bytes,
        files: found.files,
        artifact: stored,
        manifest: Artifact { path: kept.path, size: kept.size, sha256: kept.sha256 },
        against: None,
        verified: verify,
        tool: Tool { path: program.path, version: program.version },
        // When, of what server, by whose clock: as the newest says it.
        ..last.clone()
    })
}
