//! The sockets: a listener, and one thread for each connection.

use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::http::{Answer, Request};
use super::service::Service;

/// How long to wait if the system has no free socket.
const ACCEPT_AGAIN: Duration = Duration::from_millis(20);

/// A running sandbox. It stops when it is dropped; open connections continue until their clients end them.
pub struct Sandbox {
    pub(super) address: SocketAddr,
    pub(super) service: Arc<Service>,
    is_stopped: Arc<AtomicBool>,
}

impl Sandbox {
    /// Starts a thread that accepts connections and owns the listener.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(listener: TcpListener, service: Service) -> io::Result<Self> {
        let (address, service, is_stopped) = (listener.local_addr()?, Arc::new(service), Arc::<AtomicBool>::default());
        let server = Self { address, service: Arc::clone(&service), is_stopped: Arc::clone(&is_stopped) };
        thread::Builder::new().name("sandbox".to_owned()).spawn(move || {
            for socket in listener.incoming() {
                if is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Err(error) = socket.and_then(|socket| begin(socket, &service)) {
                    log::warn!("cannot take a connection: {error}");
                    thread::sleep(ACCEPT_AGAIN);
                }
            }
        })?;
        Ok(server)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        // Only a connection wakes the thread of the listener.
        TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok();
    }
}

fn begin(socket: TcpStream, service: &Arc<Service>) -> io::Result<()> {
    let service = Arc::clone(service);
    service.lock().stats.connections += 1;
    thread::Builder::new().name("sandbox-connection".to_owned()).spawn(move || {
        if let Err(error) = serve(&socket, &service) {
            log::debug!("a connection ended: {error}");
        }
    })?;
    Ok(())
}

fn serve(mut socket: &TcpStream, service: &Service) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut reader = BufReader::new(socket);
    while let Some(read) = Request::read(&mut reader)? {
        let request = match read {
            Ok(request) => request,
            Err(refusal) => return Answer::from(refusal).deliver(&mut socket, false),
        };
        let answer = service.answer(&request);
        // The page asks every second.
        let level = if request.method == "GET" { log::Level::Debug } else { log::Level::Info };
        log::log!(level, "{} {} ({} bytes) -> {}", request.method, request.path, request.body.len(), answer.status);
        answer.deliver(&mut socket, request.keep_alive)?;
        if !request.keep_alive {
            break;
        }
    }
    Ok(())
}
