//! The connections that are open, so that they can be cut.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// All open connections.
#[derive(Default)]
pub struct Connections {
    open: Mutex<Open>,
    closed: Condvar,
}

#[derive(Default)]
struct Open {
    opened: u64,
    sockets: HashMap<u64, Arc<TcpStream>>,
}

impl Connections {
    /// Keeps the connection in sight until it is dropped.
    pub fn open(self: &Arc<Self>, socket: TcpStream) -> Connection {
        let socket = Arc::new(socket);
        let mut open = self.lock();
        open.opened += 1;
        let number = open.opened;
        open.sockets.insert(number, Arc::clone(&socket));
        Connection { connections: Arc::clone(self), number, socket }
    }

    /// Ends what every connection is waiting for, and waits until all of them are dropped, `patience` at most.
    pub fn cut(&self, patience: Duration) {
        let open = self.lock();
        for socket in open.sockets.values() {
            // It fails only where the client has cut it already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        let (open, _) = self
            .closed
            .wait_timeout_while(open, patience, |open| !open.sockets.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        if !open.sockets.is_empty() {
            log::warn!("{} connections do not end", open.sockets.len());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection. Its socket closes when it is dropped.
pub struct Connection {
    connections: Arc<Connections>,
    number: u64,
    socket: Arc<TcpStream>,
}

impl Connection {
    /// Its socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.lock().sockets.remove(&self.number);
        self.connections.closed.notify_all();
    }
}
