//! The sockets: a listener, one thread a connection, and an end to all of it that cannot hang.

use std::io::{self, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::answer::{Answer, Framing, deliver};
use super::http::{RequestError, read_body, read_head};
use super::service::Service;
use super::stop::StopSignal;

mod connections;

use connections::Connections;

/// How long a connection may be silent, between requests as within one.
const IDLE: Duration = Duration::from_mins(5);
/// How long a client may leave an answer unread.
const WRITE: Duration = Duration::from_mins(1);
/// How long to wait where the system has no socket to give.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);
/// How long stopping waits for a thread that does not end, before it leaves it alone.
const STOP: Duration = Duration::from_secs(5);
/// How long, and how many bytes, a refused client may go on sending so that it can read why.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 64 * 1024 * 1024;

const BUFFER: usize = 64 * 1024;

/// A listening service.
pub struct Server {
    address: SocketAddr,
    service: Service,
    stop: StopSignal,
    connections: Arc<Connections>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Starts accepting on a thread of its own, which owns the listener.
    ///
    /// # Errors
    /// The system gives no address or no thread.
    pub fn start(listener: TcpListener, service: Service) -> io::Result<Arc<Self>> {
        let server = Arc::new(Self {
            address: listener.local_addr()?,
            service,
            stop: StopSignal::default(),
            connections: Arc::default(),
            acceptor: Mutex::new(None),
        });
        let accepting = Arc::clone(&server);
        let acceptor = thread::Builder::new().name("sandbox".to_owned()).spawn(move || accepting.accept(&listener))?;
        *server.acceptor.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor);
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it serves.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Blocks until it is stopped.
    pub fn wait(&self) {
        self.stop.wait();
    }

    /// Closes the listener, cuts all connections and waits for their threads, 5 s at most.
    pub fn stop(&self) {
        self.stop.stop();
        let acceptor = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(acceptor) = acceptor {
            // Nothing but a connection wakes `accept`. Where none can be made, waiting for the thread would hang.
            if TcpStream::connect_timeout(&self.address, STOP).is_ok() && acceptor.join().is_err() {
                log::error!("the sandbox's listener panicked");
            }
        }
        self.connections.cut(STOP);
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        loop {
            let accepted = listener.accept();
            if self.stop.is_stopped() {
                return;
            }
            let opened = accepted.and_then(|(socket, _)| self.open(socket));
            if let Err(error) = opened {
                log::warn!("cannot take a connection: {error}");
                self.stop.pause(ACCEPT_AGAIN);
            }
        }
    }

    fn open(self: &Arc<Self>, socket: TcpStream) -> io::Result<()> {
        let connection = self.connections.open(socket);
        let server = Arc::clone(self);
        self.service.count_connection();
        thread::Builder::new().name("sandbox-connection".to_owned()).spawn(move || {
            if let Err(error) = server.serve(connection.socket()) {
                log::debug!("a connection ended: {error}");
            }
        })?;
        Ok(())
    }

    /// Answers one request after the other until either side ends the connection.
    fn serve(&self, mut socket: &TcpStream) -> Result<(), RequestError> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(IDLE))?;
        socket.set_write_timeout(Some(WRITE))?;
        let mut reader = BufReader::with_capacity(BUFFER, socket);
        let mut body = Vec::new();
        loop {
            let head = match read_head(&mut reader) {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(()),
                Err(error) => return self.refuse(&mut reader, socket, error),
            };
            if let Err(error) = read_body(&mut reader, &mut socket, &head, &mut body) {
                return self.refuse(&mut reader, socket, error);
            }
            let answer = self.service.answer(&head, &body, |latency| self.stop.pause(latency));
            log::info!("{} {} ({} bytes) -> {}", head.method, head.path, body.len(), answer.status);
            let framing = Framing { keep_alive: head.keep_alive, head_only: head.method == "HEAD" };
            deliver(&mut socket, &answer, framing)?;
            if !head.keep_alive {
                return Ok(());
            }
        }
    }

    fn refuse(&self, reader: &mut impl Read, mut socket: &TcpStream, error: RequestError) -> Result<(), RequestError> {
        let Some(status) = error.status() else {
            return Err(error);
        };
        self.service.count_unreadable(status);
        let answer = Answer::message(status, &error.to_string());
        deliver(&mut socket, &answer, Framing { keep_alive: false, head_only: false })?;
        // Closing with bytes unread resets the connection, and the client may lose the answer over it.
        socket.shutdown(Shutdown::Write)?;
        socket.set_read_timeout(Some(LINGER))?;
        io::copy(&mut reader.take(LINGER_BYTES), &mut io::sink())?;
        Err(error)
    }
}
