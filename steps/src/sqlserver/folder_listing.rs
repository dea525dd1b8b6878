//! Backups that lie in a folder of a server, whoever put them there: [`found_in`], a list of [`Listed`].

use std::sync::{Mutex, PoisonError};

use drydock_recovery::backup::Backup;
use drydock_step::{Ctx, StepError};
use futures_util::future::try_join_all;

use super::answer::present;
use super::history::Recorded;
use super::media::label_only;
use super::owners::LogTaken;
use super::paths::ServerPath;
use super::sql::quoted;
use super::target::SqlServerConnection;

/// Over how many connections files are read at once.
const LANES: usize = 8;

/// A backup, and what tells whose it is.
pub(super) struct Listed {
    /// The backup.
    pub(super) backup: Backup,
    /// Whose it is.
    pub(super) taken: LogTaken,
}

impl Listed {
    /// Of a set as msdb or its header tells it.
    pub(super) fn of(recorded: Recorded) -> Self {
        let text = |name: &str| recorded.set[name].as_str().map(str::to_owned);
        let backup = recorded.backup;
        let taken = LogTaken {
            name: text("name"),
            user: text("user_name").unwrap_or_default(),
            server: backup.server.clone(),
            device: backup.media.first().cloned().unwrap_or_default(),
            at: backup.finished_at,
        };
        Self { backup, taken }
    }
}

/// What the label of a file says: its media set, over how many files that is striped, and which of them it is.
struct Label {
    set: String,
    count: i64,
    number: i64,
    path: ServerPath,
}

/// The stripes of one media set that were found.
struct Family {
    count: i64,
    paths: Vec<ServerPath>,
}

/// The backups in a folder. Each file is read on its own, so that a bad one hides nothing; what is wrong with it is a problem.
///
/// # Errors
/// What the server says to more than one file.
pub(super) async fn found_in(
    ctx: &Ctx,
    server: &SqlServerConnection,
    folder: &ServerPath,
    recursive: bool,
    problems: &mut Vec<String>,
) -> Result<Vec<Listed>, StepError> {
    let files = files_in(server, folder, recursive).await?;
    if files.is_empty() {
        problems.push(format!("the server sees no files in {folder}"));
    }
    let read = over_lanes(ctx, "labels", files, async |server, path| label(server, path).await).await?;
    let mut labels = Vec::new();
    for label in read {
        match label {
            Ok(label) => labels.push(label),
            Err(why) => problems.push(why),
        }
    }
    let read =
        over_lanes(ctx, "headers", families(labels), async |server, family| headers(server, family).await);
    let mut listed = Vec::new();
    for (sets, why) in read.await? {
        listed.extend(sets);
        problems.extend(why);
    }
    Ok(listed)
}

/// Does something with each item, over a few connections at once; the results in the items' order.
async fn over_lanes<T, R>(
    ctx: &Ctx,
    what: &str,
    items: Vec<T>,
    work: impl AsyncFn(&SqlServerConnection, T) -> Result<R, StepError>,
) -> Result<Vec<R>, StepError> {
    let count = items.len();
    let queue = Mutex::new(items.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let lane = async || {
        let connection = ctx.connection().await?;
        let server = SqlServerConnection::of(&*connection)?;
        let mut done = Vec::new();
        while let Some((at, item)) = next() {
            ctx.progress(at as u64, Some(count as u64), "files", format!("reading {what}"));
            done.push((at, work(server, item).await?));
        }
        Ok::<_, StepError>(done)
    };
    let lanes = try_join_all((0..count.min(LANES)).map(|_| lane())).await?;
    let mut results: Vec<(usize, R)> = lanes.into_iter().flatten().collect();
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// A file's label, or why it has none.
async fn label(server: &SqlServerConnection, path: ServerPath) -> Result<Result<Label, String>, StepError> {
    let doing = format!("reading the label of {path}");
    let answer = match server.session().ask_long(&doing, &label_only(&path)).await {
        Ok(answer) => answer,
        Err(error) if error.transient => return Err(error),
        Err(error) => return Ok(Err(error.message)),
    };
    let row = answer.first()?;
    let set = row.guid("MediaSetId")?.map_or_else(|| path.to_string(), |guid| guid.to_string());
    let (count, number) =
        (row.number("FamilyCount")?.unwrap_or(1), row.number("FamilySequenceNumber")?.unwrap_or(1));
    Ok(Ok(Label { set, count, number, path }))
}

/// The labels by their media sets, in the order in which these were found. A mirror's file is a second copy of the same stripe.
fn families(mut labels: Vec<Label>) -> Vec<Family> {
    let mut order: Vec<String> = Vec::new();
    for label in &labels {
        if !order.contains(&label.set) {
            order.push(label.set.clone());
        }
    }
    labels.sort_by_key(|label| label.number);
    let family = |set: String| {
        let own: Vec<&Label> = labels.iter().filter(|label| label.set == set).collect();
        let mut numbers: Vec<i64> = Vec::new();
        let mut paths = Vec::new();
        for label in &own {
            if !numbers.contains(&label.number) {
                numbers.push(label.number);
                paths.push(label.path.clone());
            }
        }
        Family { count: own.first().map_or(1, |label| label.count), paths }
    };
    order.into_iter().map(family).collect()
}

/// The sets of one media set, and what is wrong with it.
async fn headers(
    server: &SqlServerConnection,
    family: Family,
) -> Result<(Vec<Listed>, Vec<String>), StepError> {
    let Family { count, paths } = family;
    let first = paths.first().map_or(String::new(), ToString::to_string);
    let mut problems = Vec::new();
    if (paths.len() as i64) < count {
        problems.push(format!(
            "{first} is one of {count} stripes, and {} of them are here: its sets are told, and cannot be restored",
            paths.len()
        ));
    }
    let sets = match Recorded::all_in_media(server.session(), server.facts().await?, &paths).await {
        Ok(sets) => sets,
        Err(error) if error.transient => return Err(error),
        Err(error) => return Ok((Vec::new(), [problems, vec![error.message]].concat())),
    };
    let (whole, cut): (Vec<_>, Vec<_>) =
        sets.into_iter().partition(|set| set.set["name"] != "*** INCOMPLETE ***");
    let told = |set: &Recorded| format!("{first}: set {} was not written to its end", set.backup.position);
    problems.extend(cut.iter().map(told));
    // All stripes are needed, also those that are not here.
    let count = u32::try_from(count).ok();
    let listed = whole.into_iter().map(Listed::of).map(|mut listed| {
        listed.backup.media_count = count;
        listed
    });
    Ok((listed.collect(), problems))
}

/// The files in a folder of the server.
async fn files_in(
    server: &SqlServerConnection,
    folder: &ServerPath,
    recursive: bool,
) -> Result<Vec<ServerPath>, StepError> {
    if folder.is_url() {
        return Err(StepError::new("input", format!("`{folder}` is a URL, and no server lists those"))
            .help("list it with the store's own tools, or ask the server's history: leave `folder` out"));
    }
    // Depth 0 is all of them.
    let depth = if recursive { 0 } else { 1 };
    let sql = format!("EXEC master.dbo.xp_dirtree {}, {depth}, 1", quoted(folder.as_str()));
    let answer = server.session().ask(&format!("listing {folder}"), &sql).await?;
    let (mut files, mut parents) = (Vec::new(), Vec::<String>::new());
    for row in answer.rows() {
        let name = present(row.text("subdirectory")?, "subdirectory")?;
        let depth = usize::try_from(row.number("depth")?.unwrap_or(1).max(1)).unwrap_or(1);
        // Rows come in the order of the tree: what is deeper lies in the last folder that was less deep.
        parents.truncate(depth - 1);
        if row.flag("file")? {
            let below = parents.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("/");
            files.push(folder.join(&below)?);
        } else {
            parents.push(name.to_owned());
        }
    }
    Ok(files)
}
