//! Where a backup goes: whether the folder is there, and whether there is room: [`folder_finding`], [`space_finding`].

use drydock_step::{PreflightFinding, StepError};

use super::files::FileStatus;
use super::finding::{fatal, warning};
use super::paths::{PathStyle, ServerPath};
use super::target::SqlServerConnection;

/// Volumes that hold files of databases; of others nothing is told on mount points.
const VOLUMES: &str = "SELECT DISTINCT v.volume_mount_point AS volume, v.available_bytes FROM sys.master_files AS f \
    CROSS APPLY sys.dm_os_volume_stats(f.database_id, f.file_id) AS v";

const DRIVES: &str = "EXEC master.dbo.xp_fixeddrives";

/// What is wrong with a folder that files are written into. That the service account may write there can only be tried.
///
/// # Errors
/// What the server says.
pub(super) async fn folder_finding(
    server: &SqlServerConnection,
    folder: &ServerPath,
) -> Result<Option<PreflightFinding>, StepError> {
    if FileStatus::ask(server.session(), folder).await?.is_folder {
        return Ok(None);
    }
    let message = format!("the server sees no folder {folder}");
    let help = "make it, and let the server's service account write into it; is the path the server's own, not the runner's?";
    // To a login that is no administrator the server may show no files at all.
    let finding = if server.facts().await?.is_sysadmin { fatal } else { warning };
    Ok(Some(finding("sqlserver.3201", message, help)))
}

/// Whether each folder has room for a fifth more than the last backup of this kind took.
///
/// # Errors
/// What the server says.
pub(super) async fn space_finding(
    server: &SqlServerConnection,
    folders: &[ServerPath],
    last: i64,
) -> Result<Vec<PreflightFinding>, StepError> {
    let volumes = volumes(server).await?;
    let wanted = last.saturating_add(last / 5);
    let finding = |folder: &ServerPath| {
        let (volume, free) = volume_of(folder, &volumes)?;
        let message = format!(
            "{volume} has {free} bytes free, and the last backup of this kind took {last}: with a fifth more this one needs {wanted}"
        );
        let help = "free space there, or choose another folder for `to`";
        (*free < wanted).then(|| warning("sqlserver.3202", message, help))
    };
    Ok(folders.iter().filter_map(finding).collect())
}

/// The volume that a folder lies on, the deepest of those that could be.
fn volume_of<'a>(folder: &ServerPath, volumes: &'a [(ServerPath, i64)]) -> Option<&'a (ServerPath, i64)> {
    let on = |(volume, _): &&(ServerPath, i64)| folder.is(volume) || folder.below(volume).is_some();
    volumes.iter().filter(on).max_by_key(|(volume, _)| volume.as_str().len())
}

/// Volumes and what is free on them. A login that may not see the server's state is not told of any.
async fn volumes(server: &SqlServerConnection) -> Result<Vec<(ServerPath, i64)>, StepError> {
    let style = server.facts().await?.style;
    let mut volumes = Vec::new();
    if let Ok(answer) = server.session().ask("asking for free space", VOLUMES).await {
        for row in answer.rows() {
            let volume = ServerPath::parse(style, row.text("volume")?.unwrap_or_default());
            volumes.extend(volume.ok().zip(row.number("available_bytes")?));
        }
    }
    if style == PathStyle::Windows
        && let Ok(answer) = server.session().ask("asking for free space", DRIVES).await
    {
        for row in answer.rows() {
            let drive = row.text("drive")?.map(|drive| format!("{drive}:\\"));
            let drive = drive.and_then(|drive| ServerPath::parse(style, &drive).ok());
            let free = row.number("MB free")?.map(|megabytes| megabytes << 20);
            volumes.extend(
                drive
                    .zip(free)
                    .filter(|(drive, _)| !volumes.iter().any(|(own, _): &(ServerPath, i64)| own.is(drive)))
                    .into_iter()
                    .collect::<Vec<_>>(),
            );
        }
    }
    Ok(volumes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lies_on_the_deepest_volume_that_holds_it() {
        let path = |text: &str| ServerPath::parse(PathStyle::Windows, text).unwrap();
        let volumes = [(path(r"E:\"), 1), (path(r"E:\mnt\big"), 2), (path(r"F:\"), 3)];
        let on = |folder: &str| volume_of(&path(folder), &volumes).map(|(_, free)| *free);
        assert_eq!(on(r"E:\mnt\big\sql"), Some(2));
        assert_eq!(on(r"E:\mnt\big"), Some(2));
        assert_eq!(on(r"E:\mnt\bigger"), Some(1));
        assert_eq!(on(r"\\nas\share"), None);
    }
}
