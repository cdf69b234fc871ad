//! ureq's TCP with two differences. A phase ends at its deadline even if the server still takes or sends a few bytes
//! now and then. If a request cannot be sent completely, the answer is still read, because the server may have refused
//! early.

use std::cell::Cell;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem;
use std::net::TcpStream;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

use super::HttpError;

/// The longest output that is held back: about the size of a head.
const MAX_HELD: usize = 1024;
/// How long to wait for an early answer if the request could not be sent.
const EARLY_ANSWER: Duration = Duration::from_secs(1);

/// Data that a request and its connection exchange. ureq offers no way.
#[derive(Clone, Copy)]
pub struct Exchange {
    connect_by: Option<Instant>,
    /// Whether a connection was made for it.
    pub is_new_connection: bool,
    /// Whether the system accepted all of its bytes.
    pub is_sent: bool,
}

thread_local! {
    // ureq makes the whole request on the caller's thread.
    static EXCHANGE: Cell<Exchange> =
        const { Cell::new(Exchange { connect_by: None, is_new_connection: false, is_sent: true }) };
}

impl Exchange {
    /// Makes a request with this limit for connecting. Also returns how the exchange went.
    pub fn run<T>(connect: Duration, request: impl FnOnce() -> T) -> (T, Self) {
        let connect_by = Some(Instant::now() + connect);
        EXCHANGE.set(Self { connect_by, is_new_connection: false, is_sent: true });
        (request(), EXCHANGE.get())
    }
}

/// What is left now of a phase that had `timeout` left at `since`.
fn time_left(timeout: NextTimeout, since: Instant) -> Result<Duration, Error> {
    let mut left = timeout.after.saturating_sub(since.elapsed());
    // ureq gives each step of connecting the whole time.
    if timeout.reason == Timeout::Connect
        && let Some(by) = EXCHANGE.get().connect_by
    {
        left = left.min(by.saturating_duration_since(Instant::now()));
    }
    if left.is_zero() { Err(Error::Timeout(timeout.reason)) } else { Ok(left) }
}

/// The timeout of one system call: in whole seconds until the last call, so that it rarely changes.
fn wait(left: Duration) -> Duration {
    if left < Duration::from_secs(1) { left } else { Duration::from_secs(left.as_secs()) }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A system error. Never `Error::Io`: if a body has no length, ureq takes a reset for its end.
fn meaning(error: &io::Error) -> Error {
    Error::Other(Box::new(HttpError::Broken(error.to_string())))
}

/// Connects, unless an earlier connector has.
#[derive(Debug)]
pub struct TcpConnector {
    /// Whether every connection leads to a proxy, and through it to TLS.
    pub is_proxied: bool,
}

impl<In: Transport> Connector<In> for TcpConnector {
    type Out = Either<In, Tcp>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        EXCHANGE.set(Exchange { is_new_connection: true, ..EXCHANGE.get() });
        let stream = Arc::new(connect(details)?);
        (details.register_shutdown)(Arc::downgrade(&stream) as Weak<dyn ShutdownHandle>)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        let is_encrypted = self.is_proxied || details.needs_tls();
        Ok(Some(Either::B(Tcp {
            stream,
            buffers,
            is_encrypted,
            held: Vec::new(),
            waits: (None, None),
            is_fresh: false,
            write_error: None,
        })))
    }
}

/// Tries the addresses in turn. Each gets an equal share of the time that is left.
fn connect(details: &ConnectionDetails) -> Result<TcpStream, Error> {
    let mut last = Error::HostNotFound;
    for (addresses_left, address) in (1..=details.addrs.len()).rev().zip(details.addrs.iter()) {
        let left = time_left(details.timeout, Instant::now())?;
        match TcpStream::connect_timeout(address, left / u32::try_from(addresses_left).unwrap_or(1)) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => last = Error::Timeout(details.timeout.reason),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// A connection.
pub struct Tcp {
    stream: Arc<TcpStream>,
    buffers: LazyBuffers,
    /// If so, an end without a closing message is an error.
    is_encrypted: bool,
    /// The head of a request, held back until its body comes. That saves a system call and a packet.
    held: Vec<u8>,
    /// The system's current timeouts for writing and reading.
    waits: (Option<Duration>, Option<Duration>),
    /// It was read after the last call of `is_open`.
    is_fresh: bool,
    write_error: Option<Error>,
}

impl Tcp {
    fn write(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let (timeout, since, held) = (timeout.for_write(), Instant::now(), mem::take(&mut self.held));
        let mut parts = [IoSlice::new(&held), IoSlice::new(&self.buffers.output()[..amount])];
        let mut rest = parts.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let wait = Some(wait(time_left(timeout, since)?));
            if self.waits.0 != wait {
                self.stream.set_write_timeout(wait)?;
                self.waits.0 = wait;
            }
            match (&*self.stream).write_vectored(rest) {
                Ok(count) => IoSlice::advance_slices(&mut rest, count),
                Err(error) if error.kind() == ErrorKind::Interrupted || is_timeout(&error) => {}
                Err(error) => return Err(meaning(&error)),
            }
        }
        Ok(())
    }

    /// Keeps an error for later: the answer may give the reason.
    fn send(&mut self, amount: usize, timeout: NextTimeout) {
        if self.write_error.is_none()
            && let Err(error) = self.write(amount, timeout)
        {
            EXCHANGE.set(Exchange { is_sent: false, ..EXCHANGE.get() });
            self.write_error = Some(error);
        }
    }

    fn read(&mut self, timeout: NextTimeout) -> Result<usize, Error> {
        let (timeout, since) = (timeout.for_read(), Instant::now());
        loop {
            let mut left = time_left(timeout, since)?;
            if self.write_error.is_some() {
                left = left.min(EARLY_ANSWER);
            }
            let wait = Some(wait(left));
            if self.waits.1 != wait {
                self.stream.set_read_timeout(wait)?;
                self.waits.1 = wait;
            }
            match (&*self.stream).read(self.buffers.input_append_buf()) {
                Ok(0) if self.is_encrypted || self.write_error.is_some() => {
                    return Err(meaning(&io::Error::other("closed by the other side")));
                }
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) && self.write_error.is_none() => {}
                Err(error) => return Err(meaning(&error)),
            }
        }
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.held.is_empty() && amount <= MAX_HELD {
            self.held.extend_from_slice(&self.buffers.output()[..amount]);
        } else {
            self.send(amount, timeout);
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if !self.held.is_empty() {
            self.send(0, timeout);
        }
        let count = self.read(timeout).map_err(|error| self.write_error.take().unwrap_or(error))?;
        self.buffers.input_appended(count);
        self.is_fresh = true;
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        // Called after the answer was read, and again before the next request.
        if mem::take(&mut self.is_fresh) {
            return self.write_error.is_none();
        }
        let peeked = recv(&*self.stream, &mut [0_u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.write_error.is_none() && peeked == Err(rustix::io::Errno::WOULDBLOCK)
    }
}

// Not derived: the buffers contain keys and identifiers.
impl fmt::Debug for Tcp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tcp")
    }
}
