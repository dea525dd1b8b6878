//! A command line as a person would type it: [`quoted`].

/// The word as a POSIX shell reads it back: as it is where that is safe, else in single quotes.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let words = ["plain", "a b", "", "it's", "$HOME", "*", "new\nline", "--x=1", "\\", "\"", "ä"];
        let line = words.map(quoted).join(" ");
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\0' {line}")])
            .output()
            .unwrap();
        let read: Vec<_> =
            output.stdout.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word)).collect();
        assert_eq!(read[..words.len()], words);
        assert_eq!(quoted("a/b-c.txt"), "a/b-c.txt");
    }
}
