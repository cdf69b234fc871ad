//! TLS: whose certificates are trusted, and what is said of one that is not. The certificate is always checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};
use thiserror::Error;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use super::HttpError;

/// Many times all CAs that browsers trust.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// The CAs whose certificates are trusted.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Vec<Certificate<'static>>>);

/// Why a file adds no CA.
#[derive(Debug, Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot be read: {0} (paths are relative to the working directory)")]
    Unreadable(#[from] io::Error),
    /// It is longer than any list of CAs.
    #[error("is longer than {} MiB: name a file with the certificates alone", MAX_FILE_BYTES >> 20)]
    TooLong,
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

/// The CAs that browsers trust, as of the build.
fn standard() -> Vec<Certificate<'static>> {
    TLS_SERVER_ROOT_CERTS.iter().map(|certificate| Certificate::from_der(certificate)).collect()
}

impl Default for Trust {
    fn default() -> Self {
        Self(Arc::new(standard()))
    }
}

impl Trust {
    /// The standard CAs, and those of a file in PEM.
    pub fn with_file(path: &Path) -> Result<Self, TrustError> {
        let mut pem = Vec::new();
        // One byte more than may be, so that a device without an end is told from a file that just fits.
        File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut pem)?;
        if pem.len() as u64 > MAX_FILE_BYTES { Err(TrustError::TooLong) } else { Self::with_pem(&pem) }
    }

    fn with_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let (mut trusted, mut number) = (standard(), 0);
        for certificate in CertificateDer::pem_slice_iter(pem) {
            number += 1;
            // ureq would leave out in silence what is no certificate.
            let certificate = certificate
                .ok()
                .filter(|certificate| RootCertStore::empty().add(certificate.clone()).is_ok())
                .ok_or(TrustError::BadCertificate { number })?;
            trusted.push(Certificate::from_der(&certificate).to_owned());
        }
        if number == 0 { Err(TrustError::NoCertificate) } else { Ok(Self(Arc::new(trusted))) }
    }

    /// For ureq.
    pub(super) fn config(self) -> TlsConfig {
        TlsConfig::builder()
            .root_certs(RootCerts::Specific(self.0))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build()
    }
}

/// The error in plain words, where TLS with this host failed: what is wrong with the certificate, or that there is no TLS at
/// all.
pub(super) fn refused(host: &str, error: &ureq::Error) -> Option<HttpError> {
    let problem = match error {
        ureq::Error::Rustls(problem) => problem,
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref()?,
        _ => return None,
    };
    Some(match problem {
        rustls::Error::InvalidCertificate(problem) => untrusted(host, problem),
        rustls::Error::NoCertificatesPresented => HttpError::Certificate(format!("{host} shows no certificate")),
        rustls::Error::InvalidMessage(_) => {
            HttpError::Broken(format!("what {host} says is not TLS: is that port for https?"))
        }
        _ => return None,
    })
}

/// What is wrong with a certificate, and what to do.
pub fn untrusted(host: &str, problem: &CertificateError) -> HttpError {
    let reason = match problem {
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
    };
    HttpError::Certificate(format!("{host} shows a certificate that is not trusted: {reason}"))
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

    fn in_handshake(error: rustls::Error) -> ureq::Error {
        io::Error::new(io::ErrorKind::InvalidData, error).into()
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
        let error = in_handshake(rustls::Error::InvalidCertificate(problem));
        let text = refused("rest.example", &error).unwrap().to_string();
        assert!(["rest.example", words, "ca_file"].iter().all(|word| text.contains(word)), "{text}");
    }

    #[test]
    fn what_is_no_matter_of_the_certificate_is_left_as_it_is() {
        let errors = [in_handshake(rustls::Error::HandshakeNotComplete), io::Error::from(io::ErrorKind::Other).into()];
        assert!(errors.iter().all(|error| refused("rest.example", error).is_none()));
    }
}
