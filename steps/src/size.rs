//! How large outputs may be: [`LIMIT`].

use serde_json::Value;

/// The largest outputs of an attempt, as bytes of JSON.
pub const LIMIT: usize = 1024 * 1024;

/// Whether outputs are small enough to be kept.
pub fn fits(outputs: &Value) -> bool {
    struct Count(usize);

    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            if self.0 > LIMIT { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes.len()) }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    serde_json::to_writer(Count(0), outputs).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_exact() {
        assert!(fits(&Value::String("x".repeat(LIMIT - 2))));
        assert!(!fits(&Value::String("x".repeat(LIMIT - 1))));
    }
}
