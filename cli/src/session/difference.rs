//! What differs between two texts of one file: [`file_difference`].

use std::path::Path;

/// Line by line, what was before and what is now, `since` naming the former.
pub(crate) fn file_difference(name: &str, since: &str, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let diff = similar::TextDiff::from_lines(old.as_ref(), new.as_ref());
    let shown = Path::new(name).display().to_string();
    diff.unified_diff()
        .context_radius(1)
        .header(&format!("{shown} ({since})"), &format!("{shown} (now)"))
        .to_string()
}
