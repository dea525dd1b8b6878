//! The statements that read backup media without restoring them. Main functions: [`header_only`], [`file_list_only`], [`verify_only`].

use super::paths::{ServerPath, is_url};
use super::sql::quoted;

/// The devices of a statement: `DISK = N'…'` or `URL = N'…'`, one a stripe. The texts are quoted already.
pub(super) fn devices<'a>(quoted: impl IntoIterator<Item = &'a str>) -> String {
    let device = |path: &str| {
        let bare = path.trim_start_matches("N'");
        format!("{} = {path}", if is_url(bare) { "URL" } else { "DISK" })
    };
    quoted.into_iter().map(device).collect::<Vec<_>>().join(", ")
}

fn disks(paths: &[ServerPath]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| quoted(path.as_str())).collect();
    devices(paths.iter().map(String::as_str))
}

/// Which family of its media set a file is, in one row.
pub(super) fn label_only(path: &ServerPath) -> String {
    format!("RESTORE LABELONLY FROM {}", disks(std::slice::from_ref(path)))
}

/// The headers of all sets, a row each.
pub(super) fn header_only(paths: &[ServerPath]) -> String {
    format!("RESTORE HEADERONLY FROM {}", disks(paths))
}

/// The database files of one set, a row each.
pub(super) fn file_list_only(paths: &[ServerPath], position: u32) -> String {
    format!("RESTORE FILELISTONLY FROM {} WITH FILE = {position}", disks(paths))
}

/// Reads one set whole, and compares its checksums, which must be there, unless that is not wanted.
pub(super) fn verify_only(paths: &[ServerPath], position: u32, checksum: bool) -> String {
    let paths: Vec<String> = paths.iter().map(|path| quoted(path.as_str())).collect();
    verify_only_quoted(&paths, position, checksum)
}

/// The same of paths that are quoted already.
pub(super) fn verify_only_quoted(paths: &[String], position: u32, checksum: bool) -> String {
    let checksum = if checksum { ", CHECKSUM" } else { "" };
    format!(
        "RESTORE VERIFYONLY FROM {} WITH FILE = {position}{checksum}",
        devices(paths.iter().map(String::as_str))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlserver::paths::PathStyle;

    #[test]
    fn stripes_stand_in_one_statement() {
        let paths =
            [r"D:\it's.1", r"D:\x.2"].map(|path| ServerPath::parse(PathStyle::Windows, path).unwrap());
        assert_eq!(
            verify_only(&paths, 2, true),
            r"RESTORE VERIFYONLY FROM DISK = N'D:\it''s.1', DISK = N'D:\x.2' WITH FILE = 2, CHECKSUM"
        );
        assert_eq!(header_only(&paths[1..]), r"RESTORE HEADERONLY FROM DISK = N'D:\x.2'");
        assert!(file_list_only(&paths, 1).ends_with("WITH FILE = 1"));
        let url = ServerPath::parse(PathStyle::Windows, "https://a.blob.core.windows.net/c/x.bak").unwrap();
        assert_eq!(
            header_only(&[url]),
            "RESTORE HEADERONLY FROM URL = N'https://a.blob.core.windows.net/c/x.bak'"
        );
    }
}
