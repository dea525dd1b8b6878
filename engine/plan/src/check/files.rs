//! The files that a plan names: [`Files`].

/// Gives the files that inputs name. The one who asks opens them: this room opens none.
pub trait Files {
    /// The bytes of the file at this path, as the plan writes it: relative to the plan's folder.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;
}
