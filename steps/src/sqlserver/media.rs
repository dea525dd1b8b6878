//! The statements that read backup media without restoring them. Main functions: [`header_only`], [`file_list_only`], [`verify_only`].

use super::paths::ServerPath;
use super::sql::quoted;

/// The devices of a statement: `DISK = N'…'`, one a stripe. The texts are quoted already.
pub(super) fn devices<'a>(quoted: impl IntoIterator<Item = &'a str>) -> String {
    quoted.into_iter().map(|path| format!("DISK = {path}")).collect::<Vec<_>>().join(", ")
}

fn disks(paths: &[ServerPath]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| quoted(path.as_str())).collect();
    devices(paths.iter().map(String::as_str))
}

/// The headers of all sets, a row each.
pub(super) fn header_only(paths: &[ServerPath]) -> String {
    format!("RESTORE HEADERONLY FROM {}", disks(paths))
}

/// The database files of one set, a row each.
pub(super) fn file_list_only(paths: &[ServerPath], position: u32) -> String {
    format!("RESTORE FILELISTONLY FROM {} WITH FILE = {position}", disks(paths))
}

/// Reads one set whole and compares its checksums.
pub(super) fn verify_only(paths: &[ServerPath], position: u32) -> String {
    format!("RESTORE VERIFYONLY FROM {} WITH FILE = {position}, CHECKSUM", disks(paths))
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
            verify_only(&paths, 2),
            r"RESTORE VERIFYONLY FROM DISK = N'D:\it''s.1', DISK = N'D:\x.2' WITH FILE = 2, CHECKSUM"
        );
        assert_eq!(header_only(&paths[1..]), r"RESTORE HEADERONLY FROM DISK = N'D:\x.2'");
        assert!(file_list_only(&paths, 1).ends_with("WITH FILE = 1"));
    }
}
