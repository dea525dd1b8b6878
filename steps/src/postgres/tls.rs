//! What a server's certificate must prove, by `sslmode` as the PostgreSQL client library means it: [`SslMode`], [`connector`].

use std::sync::Arc;

use drydock_step::StepError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use serde::Deserialize;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::http_client::refused_settings;

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SslMode {
    /// Not at all.
    Disable,
    /// Encrypted where the server offers it.
    Prefer,
    /// Encrypted, by whoever answers.
    Require,
    /// By a certificate of a known authority.
    VerifyCa,
    /// By that, for this very host.
    #[default]
    VerifyFull,
}

impl SslMode {
    /// As the client library of the programs is told.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// The certificates of a PEM text, or why there are none.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("has no certificate in it".into()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("is no PEM file: {error}")),
    }
}

/// What makes the encrypted connections; nothing for `disable`. `ca` are the certificates to trust, in the place of the system's.
///
/// # Errors
/// `target.settings`, when no certificate can be trusted or the library refuses one.
pub(super) fn connector(
    mode: SslMode,
    ca: Option<&[CertificateDer<'static>]>,
) -> Result<Option<MakeRustlsConnect>, StepError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let authority = match (mode, ca) {
        (SslMode::Disable, _) => return Ok(None),
        // Without a file there is nothing to verify by; that is what these modes are.
        (SslMode::Prefer | SslMode::Require, None) => None,
        // With one the client library verifies the authority also here.
        (_, Some(ca)) => Some(verifier(ca, &provider)?),
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            Some(verifier(&rustls_native_certs::load_native_certs().certs, &provider)?)
        }
    };
    let proof = Proof { authority, names: mode == SslMode::VerifyFull, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StepError::internal(format!("no TLS version is left: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(proof))
        .with_no_client_auth();
    Ok(Some(MakeRustlsConnect::new(config)))
}

fn verifier(
    trusted: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, StepError> {
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    if added == 0 {
        return Err(refused_settings("no certificate is there to trust; give the authority's in `ca`"));
    }
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    built.map_err(|error| refused_settings(&format!("its certificates cannot be used: {error}")))
}

/// What is asked of a certificate.
#[derive(Debug)]
struct Proof {
    authority: Option<Arc<WebPkiServerVerifier>>,
    names: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Proof {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, so that nothing else is wrong with it.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.names => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
