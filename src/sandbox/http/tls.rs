//! The listener's TLS: any caller may connect, and the certificate it presented is passed to the handlers.
//!
//! The web server in front of WeChat does not break off a handshake without a usable certificate; it answers the
//! request with a page instead. A certificate only counts with a signature by its key, which the handshake checks
//! always.

use std::io;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificates::{Authority, common_name};
use super::wire::Socket;
use crate::clock::Clock;

/// What a caller over TLS showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) enum Shown {
    /// No certificate.
    Nothing,
    /// One that is not of this simulator's making, or not valid now.
    Unusable,
    /// The certificate of the merchant with this number.
    Of(String),
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(in crate::sandbox) enum TlsError {
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
    #[error("{0}")]
    Verifier(#[from] VerifierBuilderError),
    #[error("{0}")]
    Certificates(#[from] rcgen::Error),
}

/// The server's side of a handshake.
#[derive(Clone)]
pub(in crate::sandbox) struct Tls {
    acceptor: TlsAcceptor,
    merchants: Arc<dyn ClientCertVerifier>,
}

impl Tls {
    /// A server with a certificate of this authority for these names and addresses.
    pub fn new(authority: &Authority, names: Vec<String>) -> Result<Tls, TlsError> {
        let provider = Arc::new(default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone())?;
        let merchants = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let (certificate, key) = authority.server(names)?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(AnyCertificate(Arc::clone(&merchants))))
            .with_single_cert(vec![certificate, authority.certificate().clone()], key)?;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), merchants })
    }

    /// Shakes hands with a caller.
    pub async fn accept(&self, socket: Socket) -> io::Result<(TlsStream<Socket>, Shown)> {
        let stream = self.acceptor.accept(socket).await?;
        let shown = self.shown(stream.get_ref().1.peer_certificates().unwrap_or_default());
        Ok((stream, shown))
    }

    fn shown(&self, chain: &[CertificateDer<'_>]) -> Shown {
        let Some((own, others)) = chain.split_first() else { return Shown::Nothing };
        // The caller's library lives in real time, whatever the simulator's clock says.
        let seconds = u64::try_from(Clock::system().now().as_seconds()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        match (self.merchants.verify_client_cert(own, others, now), common_name(own)) {
            (Ok(_), Some(name)) => Shown::Of(name),
            (Ok(_), None) | (Err(_), _) => Shown::Unusable,
        }
    }
}

/// Accepts any certificate whose key the client holds; the handlers check its validity.
#[derive(Debug)]
struct AnyCertificate(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
