//! TLS: whose certificates are trusted, and what is said of one that is not. The certificate is always checked.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use http::uri::Scheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use thiserror::Error;
use ureq::unversioned::transport::{Buffers, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter};

use super::{Details, time_left};

/// The CAs whose certificates are trusted.
#[derive(Clone, Debug)]
pub struct Trust(Arc<RootCertStore>);

/// Why a file adds no CA.
#[derive(Debug, Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot be read: {0} (paths are relative to the working directory)")]
    Unreadable(#[from] io::Error),
    /// It holds no certificate in PEM.
    #[error("holds no certificate in PEM (-----BEGIN CERTIFICATE-----): convert it, or name another file")]
    NoCertificate,
    /// Something in it is no certificate.
    #[error(
        "holds something that is no certificate, as number {number} of the file: write that one anew, or take it out"
    )]
    BadCertificate {
        /// From 1.
        number: usize,
    },
}

impl Default for Trust {
    /// The CAs that browsers trust, as of the build.
    fn default() -> Self {
        Self(Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }))
    }
}

impl Trust {
    /// The standard CAs, and those of a file in PEM.
    pub fn with_file(path: &Path) -> Result<Self, TrustError> {
        Self::with_pem(&std::fs::read(path)?)
    }

    fn with_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let mut number = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            number += 1;
            certificate
                .ok()
                .and_then(|certificate| roots.add(certificate).ok())
                .ok_or(TrustError::BadCertificate { number })?;
        }
        if number == 0 { Err(TrustError::NoCertificate) } else { Ok(Self(Arc::new(roots))) }
    }
}

/// The server's certificate is not trusted.
#[derive(Debug, Error)]
#[error("{host} shows a certificate that is not trusted: {reason}")]
pub struct CertificateRefused {
    /// Whose it is, as it was asked for.
    pub host: String,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

/// Encrypts what another connector has connected, where the address says so.
#[derive(Clone)]
pub struct TlsConnector(Arc<ClientConfig>);

impl TlsConnector {
    /// Trusts these CAs.
    pub fn new(trust: &Trust) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            // It fails only for a provider without any cipher of TLS 1.2 and 1.3, which ring is not.
            .unwrap_or_else(|_| ClientConfig::builder())
            .with_root_certificates(Arc::clone(&trust.0))
            .with_no_client_auth();
        Self(Arc::new(config))
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TlsConnector")
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, Encrypted>;

    fn connect(&self, details: &Details, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if details.uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| ureq::Error::Tls("the host is no valid name"))?;
        let failed = |error: io::Error| refused(host, &error).unwrap_or_else(|| ureq::Error::from(error));
        let mut session = ClientConnection::new(Arc::clone(&self.0), name)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        let mut socket = TransportAdapter::new(Box::new(transport) as Box<dyn Transport>, details.current_time.clone());
        socket.set_timeout(time_left(details));
        session.complete_io(&mut socket).map_err(failed)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Encrypted { buffers, stream: StreamOwned::new(session, socket) })))
    }
}

/// The error in plain words: what is wrong with the certificate, or that there is no TLS at all.
fn refused(host: &str, error: &io::Error) -> Option<ureq::Error> {
    let reason = match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(problem) => reason(problem),
        rustls::Error::NoCertificatesPresented => "there is none".to_owned(),
        rustls::Error::InvalidMessage(_) => {
            let said = format!("what {host} says is not TLS: is that port for https?");
            return Some(io::Error::new(io::ErrorKind::InvalidData, said).into());
        }
        _ => return None,
    };
    Some(ureq::Error::Other(Box::new(CertificateRefused { host: host.to_owned(), reason })))
}

/// What is wrong with a certificate, and what to do.
pub fn reason(problem: &CertificateError) -> String {
    match problem {
        CertificateError::UnknownIssuer => {
            "nobody known here has signed it. Where it is signed by a CA of your own, or by itself, name a PEM file \
             with that certificate: ca_file: PATH"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired, which ca_file does not change: it has to be renewed (or is this machine's clock wrong?)"
                .to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, which ca_file does not change: is this machine's clock right?".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is another host's, which ca_file does not change: check endpoint".to_owned()
        }
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is a CA's own certificate, which is not for servers: have the CA sign one for the server, and name the \
             CA's in ca_file (self-signed, it has to say CA:FALSE)"
                .to_owned()
        }
        other => format!("{other} (ca_file: PATH trusts a CA of your own)"),
    }
}

/// An encrypted connection.
pub struct Encrypted {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for Encrypted {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        // Writing alone keeps quiet about the last piece where it could not be sent.
        Ok(self.stream.flush()?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let read = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for Encrypted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Encrypted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn ca() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn all_certificates_of_a_file_are_added_to_the_standard_ones() {
        let standard = Trust::default().0.len();
        let pem = format!("# ours\n{}text between\n{}", ca(), ca());
        assert_eq!(Trust::with_pem(pem.as_bytes()).unwrap().0.len(), standard + 2);
    }

    #[rstest]
    #[case("", "no certificate")]
    #[case("not PEM at all", "no certificate")]
    #[case("-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n", "no certificate")]
    #[case("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", "number 1")]
    #[case("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "number 1")]
    fn a_file_without_a_usable_certificate_is_refused(#[case] pem: &str, #[case] words: &str) {
        let error = Trust::with_pem(pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[rstest]
    #[case(CertificateError::UnknownIssuer, "name a PEM file")]
    #[case(CertificateError::Expired, "has expired")]
    #[case(CertificateError::NotValidYet, "clock")]
    #[case(CertificateError::NotValidForName, "another host's")]
    #[case(CertificateError::Revoked, "Revoked")]
    #[case(CertificateError::BadEncoding, "BadEncoding")]
    #[case(CertificateError::BadSignature, "BadSignature")]
    fn every_problem_of_a_certificate_names_host_reason_and_ca_file(
        #[case] problem: CertificateError,
        #[case] words: &str,
    ) {
        let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(problem));
        let text = refused("rest.example", &error).unwrap().to_string();
        assert!(["rest.example", words, "ca_file"].iter().all(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn what_is_no_matter_of_the_certificate_is_left_as_it_is() {
        let error = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::HandshakeNotComplete);
        assert!(refused("rest.example", &error).is_none());
        assert!(refused("rest.example", &io::ErrorKind::ConnectionReset.into()).is_none());
    }
}
