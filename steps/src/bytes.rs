//! Bytes as people read them: [`size`].

/// Bytes in the unit that reads best.
pub fn size(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let mut rest = bytes;
    for unit in units {
        if rest < 1024.0 || unit == "GiB" {
            return format!("{rest:.1} {unit}");
        }
        rest /= 1024.0;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn the_unit_is_the_one_that_reads_best() {
        assert_eq!(
            [5.0, 1536.0, 3.0 * 1048576.0, 5e12].map(size),
            ["5.0 B", "1.5 KiB", "3.0 MiB", "4656.6 GiB"]
        );
    }
}
