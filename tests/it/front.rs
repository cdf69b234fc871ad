//! TLS in front of a sandbox: a CA for the tests, and a server that decrypts and forwards.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use td_braze_cohort::sandbox::Sandbox;

/// How long to read in one direction before trying the other.
const A_TURN: Duration = Duration::from_millis(1);

/// A CA that no system trusts.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub struct Identity {
    pub pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Ca {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("CA {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// For `ca_file`.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this host.
    pub fn identity(&self, host: &str) -> Identity {
        self.sign(host, |_| {})
    }

    /// The CA's own certificate, which is not for servers.
    pub fn as_server(&self) -> Identity {
        Identity::of(self.0.pem(), self.0.der().clone(), self.0.key())
    }

    /// One that has expired.
    pub fn expired(&self, host: &str) -> Identity {
        self.sign(host, |params| params.not_after = date_time_ymd(2020, 1, 1))
    }

    fn sign(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        change(&mut params);
        Identity::new(&params.signed_by(&key, &self.0).unwrap(), &key)
    }
}

impl Identity {
    /// A self-signed certificate.
    pub fn self_signed(host: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self::new(&CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap(), &key)
    }

    /// The certificate of a server that is no CA, in PEM; and one for the same host that it has signed anyway.
    pub fn signed_by_no_ca(host: &str, is_ca: IsCa) -> (String, Self) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "no CA");
        params.is_ca = is_ca;
        let signer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &signer).unwrap();
        (signer.pem(), Self::new(&certificate, &key))
    }

    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self::of(certificate.pem(), certificate.der().clone(), key)
    }

    fn of(pem: String, certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        Self { pem, certificate, key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())) }
    }
}

/// A running front; it ends with the test program.
pub struct Front {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Front {
    /// Decrypts for this sandbox and shows this certificate.
    pub fn start(braze: &Sandbox, identity: Identity) -> Self {
        Self::before(braze.endpoint().trim_start_matches("http://"), identity)
    }

    /// Decrypts for the server at this address.
    pub fn before(upstream: &str, identity: Identity) -> Self {
        let upstream = upstream.to_owned();
        Self::serving(identity, move |client| relay(client, &upstream))
    }

    /// Sends this answer as soon as something arrives, and closes without reading on, with or without TLS's closing message.
    pub fn answering(identity: Identity, answer: &'static [u8], says_farewell: bool) -> Self {
        Self::serving(identity, move |mut client| {
            client.read_exact(&mut [0])?;
            // Closing discards what is not sent yet.
            client.sock.set_nodelay(true)?;
            client.write_all(answer)?;
            if says_farewell {
                client.conn.send_close_notify();
            }
            client.flush()
        })
    }

    fn serving(identity: Identity, serve: impl Fn(Client) -> io::Result<()> + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate], identity.key)
            .unwrap();
        let (config, counter) = (Arc::new(config), Arc::clone(&connections));
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                counter.fetch_add(1, Ordering::SeqCst);
                let (config, serve) = (Arc::clone(&config), serve.clone());
                // The client may leave, so an error is not a failure.
                thread::spawn(move || shake_hands(connection, config).and_then(serve).ok());
            }
        });
        Self { address, connections }
    }

    pub fn endpoint(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

type Client = StreamOwned<ServerConnection, TcpStream>;

fn shake_hands(mut connection: TcpStream, config: Arc<ServerConfig>) -> io::Result<Client> {
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    session.complete_io(&mut connection)?;
    Ok(StreamOwned::new(session, connection))
}

/// Forwards bytes in both directions, in turn, until one side ends.
fn relay(mut client: Client, upstream: &str) -> io::Result<()> {
    let mut upstream = TcpStream::connect(upstream)?;
    client.sock.set_read_timeout(Some(A_TURN))?;
    upstream.set_read_timeout(Some(A_TURN))?;
    while hand_on(&mut client, &mut upstream)? && hand_on(&mut upstream, &mut client)? {}
    Ok(())
}

/// Forwards the bytes of one direction; false at its end.
fn hand_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
    let mut bytes = [0; 16 * 1024];
    match from.read(&mut bytes) {
        Ok(0) => Ok(false),
        Ok(length) => {
            to.write_all(&bytes[..length])?;
            to.flush()?;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(true),
        Err(error) => Err(error),
    }
}
