//! The certificate that practice servers show, made afresh at each start. Main type: [`Identity`].

use std::sync::Arc;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The key or the certificate could not be generated.
    #[error("the practice server's certificate could not be made: {0}")]
    Generate(#[from] rcgen::Error),
    /// The TLS stack refused the certificate.
    #[error("the practice server's certificate was refused by the TLS stack: {0}")]
    Configure(#[from] rustls::Error),
}

/// A self-signed certificate for this machine's loopback names, with its key; clones share it.
#[derive(Debug, Clone)]
pub struct Identity {
    pem: String,
    server: Arc<ServerConfig>,
}

impl Identity {
    /// Makes a key and a certificate for `localhost`, `127.0.0.1` and `::1`.
    ///
    /// # Errors
    /// [`IdentityError`] when the cryptography refuses; nothing is read from or written to disk.
    pub fn generate() -> Result<Self, IdentityError> {
        let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "Drydock practice server");
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        // A ticket would travel inside a PRELOGIN packet after the client has left handshake mode.
        server.send_tls13_tickets = 0;
        Ok(Self { pem: certificate.pem(), server: Arc::new(server) })
    }

    /// The certificate as PEM, for clients to trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The server's side of the TLS stack.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}
