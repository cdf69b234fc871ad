//! TCP as ureq does it, but for two things. A phase ends at its deadline, however often the server takes or sends a few
//! bytes. And where a request cannot be sent to its end, the answer is read all the same: a refusal may have come early.

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

/// What is so short waits for what follows it, or for the question what the answer is: about as long as a head.
const MAX_HELD: usize = 1024;
/// How long an answer is waited for if the request could not be sent. It has come by then, or never will.
const EARLY_ANSWER: Duration = Duration::from_secs(1);

/// What a request and its connection have to know of each other. ureq has no way to say it.
#[derive(Clone, Copy)]
pub struct Exchange {
    connect_by: Option<Instant>,
    /// Whether a connection was made for it.
    pub is_new_connection: bool,
    /// Whether all that was written of it was taken by the system.
    pub is_sent: bool,
}

thread_local! {
    // ureq makes the whole request on the thread that asks for it.
    static EXCHANGE: Cell<Exchange> =
        const { Cell::new(Exchange { connect_by: None, is_new_connection: false, is_sent: true }) };
}

impl Exchange {
    /// Makes a request, which may take this long to be connected, and says how it went.
    pub fn run<T>(connect: Duration, request: impl FnOnce() -> T) -> (T, Self) {
        let connect_by = Some(Instant::now() + connect);
        EXCHANGE.set(Self { connect_by, is_new_connection: false, is_sent: true });
        (request(), EXCHANGE.get())
    }
}

/// What is left of a phase of which `timeout` was left at `since`.
fn time_left(timeout: NextTimeout, since: Instant) -> Result<Duration, Error> {
    let mut left = timeout.after.saturating_sub(since.elapsed());
    // Each step of connecting is given the whole time by ureq.
    if timeout.reason == Timeout::Connect
        && let Some(by) = EXCHANGE.get().connect_by
    {
        left = left.min(by.saturating_duration_since(Instant::now()));
    }
    if left.is_zero() { Err(Error::Timeout(timeout.reason)) } else { Ok(left) }
}

/// How long one call of the system may wait: whole seconds, so that it need not be told anew for each call, but for the last one.
fn wait(left: Duration) -> Duration {
    if left < Duration::from_secs(1) { left } else { Duration::from_secs(left.as_secs()) }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// What an error of the system means. Never `Error::Io`: a reset within a body without a length would pass for its end.
fn meaning(error: &io::Error) -> Error {
    Error::Other(Box::new(HttpError::Broken(error.to_string())))
}

/// Connects, if nothing before it in the chain has.
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

/// Tries the addresses in turn. Each has an equal share of the time that is left.
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
    /// TLS says farewell, so that an end without one is none.
    is_encrypted: bool,
    /// The head of a request, until its body comes: one call of the system and one packet instead of two.
    held: Vec<u8>,
    /// How long the system waits at present, to write and to read.
    waits: (Option<Duration>, Option<Duration>),
    /// It was read since somebody asked whether it is open.
    is_fresh: bool,
    write_error: Option<Error>,
}

impl Tcp {
    /// Writes what is held, and so much of the output.
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

    /// Goes on as if all was written: the answer may say why it was not.
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
        // It is asked when the answer was read, and again before the next request.
        if mem::take(&mut self.is_fresh) {
            return self.write_error.is_none();
        }
        let peeked = recv(&*self.stream, &mut [0_u8], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.write_error.is_none() && peeked == Err(rustix::io::Errno::WOULDBLOCK)
    }
}

// The buffers hold keys and identifiers.
impl fmt::Debug for Tcp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tcp")
    }
}
