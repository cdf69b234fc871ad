//! The sockets: a listener, one thread for each connection, and a stop that cannot hang.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::answer::Answer;
use super::http::{Head, RequestError};
use super::service::Service;

/// How long a connection may be silent, between requests or within one.
const IDLE: Duration = Duration::from_mins(5);
/// How long a client may leave an answer unread.
const WRITE: Duration = Duration::from_mins(1);
/// How long to wait if the system has no free socket.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);
/// How long `stop` tries to wake the listener's thread.
const STOP: Duration = Duration::from_secs(5);
/// How long, and how many bytes, a refused client may go on sending, so that it can read the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: u64 = 64 * 1024 * 1024;

const BUFFER: usize = 64 * 1024;

/// A listening service.
pub struct Server {
    pub address: SocketAddr,
    pub service: Service,
    open: Mutex<Open>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

/// The open connections, to be cut at the stop.
#[derive(Default)]
struct Open {
    is_stopped: bool,
    opened: u64,
    sockets: HashMap<u64, Arc<TcpStream>>,
}

impl Server {
    /// Starts a thread that accepts connections and owns the listener.
    ///
    /// # Errors
    /// The address is not available, or no thread can be started.
    pub fn start(listener: TcpListener, service: Service) -> io::Result<Arc<Self>> {
        let address = listener.local_addr()?;
        let server = Arc::new(Self { address, service, open: Mutex::default(), acceptor: Mutex::new(None) });
        let accepting = Arc::clone(&server);
        let acceptor = thread::Builder::new().name("sandbox".to_owned()).spawn(move || accepting.accept(&listener))?;
        *server.acceptor.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor);
        Ok(server)
    }

    /// Cuts all connections, also within an answer, and closes the listener.
    pub fn stop(&self) {
        {
            let mut open = self.open();
            open.is_stopped = true;
            // It fails only if the client has closed it already.
            open.sockets.values().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
        }
        let acceptor = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Only a connection wakes `accept`. If none can be made, waiting for the thread would hang.
        if let Some(acceptor) = acceptor
            && TcpStream::connect_timeout(&self.address, STOP).is_ok()
            && acceptor.join().is_err()
        {
            log::error!("the sandbox's listener panicked");
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for socket in listener.incoming() {
            match socket.and_then(|socket| self.begin(socket)) {
                Ok(is_stopped) if is_stopped => return,
                Ok(_) => {}
                Err(error) => {
                    log::warn!("cannot take a connection: {error}");
                    thread::sleep(ACCEPT_AGAIN);
                }
            }
        }
    }

    /// Starts a thread for a connection; returns whether the server is stopped instead.
    fn begin(self: &Arc<Self>, socket: TcpStream) -> io::Result<bool> {
        let socket = Arc::new(socket);
        let number = {
            let mut open = self.open();
            if open.is_stopped {
                return Ok(true);
            }
            open.opened += 1;
            let number = open.opened;
            open.sockets.insert(number, Arc::clone(&socket));
            number
        };
        self.service.recorder.lock().stats.connections += 1;
        let closing = Closing { server: Arc::clone(self), number };
        thread::Builder::new().name("sandbox-connection".to_owned()).spawn(move || {
            if let Err(error) = closing.server.serve(&socket) {
                log::debug!("a connection ended: {error}");
            }
        })?;
        Ok(false)
    }

    /// Answers one request after the other until either side ends the connection.
    fn serve(&self, mut socket: &TcpStream) -> Result<(), RequestError> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(IDLE))?;
        socket.set_write_timeout(Some(WRITE))?;
        let mut reader = BufReader::with_capacity(BUFFER, socket);
        let mut body = Vec::new();
        loop {
            let read = Head::read(&mut reader)
                .and_then(|head| head.map(|head| head.read_body(&mut reader, &mut body).map(|()| head)).transpose());
            let head = match read {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(()),
                Err(error) => return self.refuse(&mut reader, socket, error),
            };
            let answer = self.service.answer(&head, &body, thread::sleep);
            // The page asks every second.
            let level = if head.method == "GET" { log::Level::Debug } else { log::Level::Info };
            log::log!(level, "{} {} ({} bytes) -> {}", head.method, head.path, body.len(), answer.status);
            answer.deliver(&mut socket, head.keep_alive)?;
            if !head.keep_alive {
                return Ok(());
            }
        }
    }

    fn refuse(&self, reader: &mut impl Read, mut socket: &TcpStream, error: RequestError) -> Result<(), RequestError> {
        let RequestError::Refused { status, message } = error else {
            return Err(error);
        };
        self.service.count_unreadable(status, message);
        Answer::message(status, message).deliver(&mut socket, false)?;
        // Closing a connection with unread bytes resets it, and the client may lose the answer.
        socket.shutdown(Shutdown::Write)?;
        socket.set_read_timeout(Some(LINGER))?;
        io::copy(&mut reader.take(LINGER_BYTES), &mut io::sink())?;
        Err(error)
    }
}

/// Drops the server's hold on a connection when its thread ends, also by a panic, so that the socket closes.
struct Closing {
    server: Arc<Server>,
    number: u64,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.server.open().sockets.remove(&self.number);
    }
}
