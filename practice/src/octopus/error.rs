//! What goes wrong when Octopus asks its stores. Main type: [`OctopusError`].

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OctopusError {
    /// What of given data could not be put into a store.
    #[error("{0}")]
    Data(String),
    /// The SQL Server answered an error, or could not be reached.
    #[error("SQL Server: {0}")]
    Sql(#[from] tiberius::error::Error),
    /// The SQL Server's port does not answer, or its certificate cannot be read.
    #[error("SQL Server at {address}: {error}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// Qdrant could not be reached.
    #[error("Qdrant: {0}")]
    Http(#[from] reqwest::Error),
    /// Qdrant refused.
    #[error("Qdrant answered {status} to {request}: {text}")]
    Vectors {
        /// Method and path.
        request: String,
        /// HTTP status.
        status: u16,
        /// The answer's body.
        text: String,
    },
}
