//! The trusted certificates, and the messages for others. Certificates are always checked.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use memchr::memmem;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, RootCertStore};
use thiserror::Error;
use webpki_roots::TLS_SERVER_ROOTS;

use super::HttpError;

/// Many times the size of all CAs that browsers trust.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// The trusted certificates.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Trusted>);

/// Which certificates are trusted, and for what.
#[derive(Debug)]
pub(super) struct Trusted {
    /// CAs, which sign for others.
    pub cas: RootCertStore,
    /// Servers' own certificates, which sign no other.
    pub own: Vec<CertificateDer<'static>>,
}

/// Why a file adds no CA.
#[derive(Debug, Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot be read: {0} (paths are relative to the working directory)")]
    Unreadable(#[from] io::Error),
    /// It is longer than any list of CAs.
    #[error("is larger than {} MiB: name a file with only the certificates", MAX_FILE_BYTES >> 20)]
    TooLong,
    /// It holds no certificate in PEM.
    #[error("contains no PEM certificate (-----BEGIN CERTIFICATE-----): convert it, or name another file")]
    NoCertificate,
    /// One of its certificates is invalid.
    #[error("contains an invalid certificate (number {number} in the file): replace or remove it")]
    BadCertificate {
        /// From 1.
        number: usize,
    },
}

impl Default for Trust {
    /// The CAs that browsers trust, as of the build.
    fn default() -> Self {
        Self(Arc::new(Trusted { cas: standard(), own: Vec::new() }))
    }
}

fn standard() -> RootCertStore {
    RootCertStore { roots: TLS_SERVER_ROOTS.to_vec() }
}

/// Whether a certificate has CA:TRUE: basicConstraints (2.5.29.19), maybe critical, with a list that begins with TRUE.
fn is_ca(certificate: &[u8]) -> bool {
    let mut places = memmem::find_iter(certificate, &[0x55, 0x1d, 0x13]).peekable();
    let says_true = |place: usize| {
        let value = &certificate[place + 3..];
        matches!(value.strip_prefix(&[1, 1, 0xff]).unwrap_or(value), [4, _, 0x30, _, 1, 1, 0xff, ..])
    };
    places.peek().is_some() && places.all(says_true)
}

impl Trust {
    /// The standard CAs, and those of a file in PEM.
    pub fn with_file(path: &Path) -> Result<Self, TrustError> {
        let mut pem = Vec::new();
        // One byte more tells a file of just this size from an endless device.
        File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut pem)?;
        if pem.len() as u64 > MAX_FILE_BYTES { Err(TrustError::TooLong) } else { Self::with_pem(&pem) }
    }

    fn with_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let (mut trusted, mut number) = (Trusted { cas: standard(), own: Vec::new() }, 0);
        for certificate in CertificateDer::pem_slice_iter(pem) {
            number += 1;
            let bad = TrustError::BadCertificate { number };
            let Ok(certificate) = certificate else { return Err(bad) };
            let cas = if is_ca(&certificate) { &mut trusted.cas } else { &mut RootCertStore::empty() };
            cas.add(certificate.clone()).map_err(|_| bad)?;
            if !is_ca(&certificate) {
                trusted.own.push(certificate);
            }
        }
        if number == 0 { Err(TrustError::NoCertificate) } else { Ok(Self(Arc::new(trusted))) }
    }

    pub(super) fn trusted(&self) -> &Trusted {
        &self.0
    }
}

/// The error if TLS with this host failed: what is wrong with the certificate, or that the host has no TLS.
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
            HttpError::Broken(format!("{host} did not answer with TLS: is that port for https?"))
        }
        _ => return None,
    })
}

/// What is wrong with a certificate, and what to do.
pub fn untrusted(host: &str, problem: &CertificateError) -> HttpError {
    let reason = match problem {
        CertificateError::UnknownIssuer => {
            "it is signed by an unknown CA. If that is your own CA, or the server's certificate is self-signed, set ca_file to a \
             PEM file with that certificate"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired. Have it renewed, or correct this machine's clock (ca_file does not help)"
                .to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet. Correct this machine's clock (ca_file does not help)".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it belongs to another host. Correct the endpoint (ca_file does not help)".to_owned()
        }
        other if other.to_string().contains("CaUsedAsEndEntity") => {
            "it is a CA's own certificate, not a server's. Have the CA sign one for the server, and set ca_file to the \
             CA's (a self-signed one must have CA:FALSE)"
                .to_owned()
        }
        CertificateError::Revoked => {
            "it was revoked. The owner of the server must replace it (ca_file does not help)".to_owned()
        }
        other => format!(
            "it cannot be used ({other}). Ask the owner of the server for another one; if your own CA signed it, set ca_file to \
             the CA's certificate"
        ),
    };
    HttpError::Certificate(format!("the certificate of {host} is not trusted: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, IsCa};
    use rstest::rstest;
    use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

    fn pem(is_ca: IsCa) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = is_ca;
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn cas_are_added_to_the_standard_ones_and_servers_own_certificates_are_not() {
        let standard = standard().len();
        assert_eq!(standard, TLS_SERVER_ROOTS.len());
        let ca = || pem(IsCa::Ca(BasicConstraints::Unconstrained));
        let of_depth = pem(IsCa::Ca(BasicConstraints::Constrained(0)));
        let pem = format!("# ours\n{}text between\n{of_depth}{}{}", ca(), pem(IsCa::NoCa), pem(IsCa::ExplicitNoCa));
        let trust = Trust::with_pem(pem.as_bytes()).unwrap();
        assert_eq!((trust.0.cas.len(), trust.0.own.len()), (standard + 2, 2));
    }

    #[test]
    fn all_that_browsers_trust_is_a_ca() {
        assert!(TLS_SERVER_ROOT_CERTS.iter().all(|certificate| is_ca(certificate)));
    }

    #[rstest]
    #[case("", "no PEM certificate")]
    #[case("not PEM at all", "no PEM certificate")]
    #[case("-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n", "no PEM certificate")]
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
    #[case(CertificateError::UnknownIssuer, "set ca_file to a PEM file")]
    #[case(CertificateError::Expired, "has expired")]
    #[case(CertificateError::NotValidYet, "clock")]
    #[case(CertificateError::NotValidForName, "another host")]
    #[case(CertificateError::Revoked, "was revoked")]
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
