//! A connection that knows what happened to it: whether it had served before, and whether an answer came although the
//! request could not be written to its end.

use std::fmt;
use std::io;

use ureq::Error;
use ureq::unversioned::transport::{Buffers, Connector, NextTimeout, Transport};

use super::{Details, MAX_HEAD_BYTES};

/// The server had closed a connection that was kept for the next request, before it heard anything of it.
#[derive(Debug)]
pub struct StaleConnection;

impl fmt::Display for StaleConnection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the idle connection was closed")
    }
}

impl std::error::Error for StaleConnection {}

/// The answer has no end: interim answers, one after the other.
#[derive(Debug)]
pub struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "more than {MAX_HEARD_BYTES} bytes")
    }
}

impl std::error::Error for Endless {}

/// Of the answer to a POST, with all that comes before it: its head and body have their own limits, which together are less.
const MAX_HEARD_BYTES: usize = 128 * 1024;

/// Stands last in the chain and watches what the others have connected.
#[derive(Debug)]
pub struct WatchConnector;

impl<In: Transport> Connector<In> for WatchConnector {
    type Out = Watched<In>;

    fn connect(&self, _: &Details, chained: Option<In>) -> Result<Option<Watched<In>>, Error> {
        Ok(chained.map(|inner| Watched {
            inner,
            held: Vec::new(),
            answers: 0,
            hearing: false,
            is_fresh: false,
            left: None,
            write_error: None,
        }))
    }
}

/// The watched connection.
#[derive(Debug)]
pub struct Watched<T> {
    inner: T,
    /// The head of a request that is sent together with its body: one call of the system and one packet instead of two.
    held: Vec<u8>,
    /// Answers that began on this connection.
    answers: u64,
    /// Something of the answer to the latest request was heard.
    hearing: bool,
    /// Nobody asked since the latest answer whether it is open.
    is_fresh: bool,
    /// How many more bytes of this answer are read, where it has to be short.
    left: Option<usize>,
    /// The request could not be written to its end. The server may have answered all the same, and then its answer counts.
    write_error: Option<Error>,
}

impl<T: Transport> Watched<T> {
    /// Sends what is held and then what stands in the output; together, where there is room.
    fn transmit_with_head(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let head = self.held.len();
        let output = self.inner.buffers().output();
        if head == 0 {
            return self.inner.transmit_output(amount, timeout);
        }
        if head + amount <= output.len() {
            output.copy_within(..amount, head);
            output[..head].copy_from_slice(&self.held);
            self.held.clear();
            return self.inner.transmit_output(head + amount, timeout);
        }
        let displaced = output[..head].to_vec();
        output[..head].copy_from_slice(&self.held);
        self.held.clear();
        self.inner.transmit_output(head, timeout)?;
        self.inner.buffers().output()[..head].copy_from_slice(&displaced);
        self.inner.transmit_output(amount, timeout)
    }

    /// The error to give where the connection ended without a word.
    fn ended(&mut self, error: Error) -> Error {
        let error = self.write_error.take().unwrap_or(error);
        if self.hearing {
            // ureq takes a reset within the body for its end where no length was announced; a lost answer must not pass
            // for a whole one.
            return Error::Other(Box::new(io::Error::new(io::ErrorKind::ConnectionReset, error.to_string())));
        }
        if self.answers > 0 { Error::Other(Box::new(StaleConnection)) } else { error }
    }
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.held.is_empty() {
            let output = self.inner.buffers().output();
            let is_post = output.starts_with(b"POST ");
            if is_post {
                self.left = Some(MAX_HEARD_BYTES);
            } else if self.hearing {
                self.left = None;
            }
            self.hearing = false;
            if is_post && output[..amount].ends_with(b"\r\n\r\n") {
                self.held.extend_from_slice(&output[..amount]);
                return Ok(());
            }
        }
        if self.write_error.is_some() {
            return Ok(());
        }
        match self.transmit_with_head(amount, timeout) {
            Err(error @ Error::Io(_)) => {
                self.write_error = Some(error);
                Ok(())
            }
            result => result,
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if !self.held.is_empty() {
            // A request without a body.
            self.transmit_output(0, timeout)?;
        }
        // Reading into a full buffer reads nothing, which would pass for the end of the connection.
        if self.inner.buffers().input_append_buf().is_empty() {
            return Err(Error::LargeResponseHeader(self.inner.buffers().input().len(), MAX_HEAD_BYTES));
        }
        if self.left == Some(0) {
            return Err(Error::Other(Box::new(Endless)));
        }
        let before = self.inner.buffers().input().len();
        match self.inner.await_input(timeout) {
            Ok(true) => {
                let heard = self.inner.buffers().input().len().saturating_sub(before);
                self.left = self.left.map(|left| left.saturating_sub(heard));
                self.answers += u64::from(!self.hearing);
                self.hearing = true;
                self.is_fresh = true;
                Ok(true)
            }
            Ok(false) if self.hearing => Ok(false),
            Ok(false) => {
                Err(self.ended(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer").into()))
            }
            Err(error @ Error::Io(_)) => Err(self.ended(error)),
            Err(error) => Err(error),
        }
    }

    fn is_open(&mut self) -> bool {
        // It is asked when the answer was read and again before the next request. Only the second one needs the three calls of
        // the system that looking costs.
        self.write_error.is_none() && (std::mem::take(&mut self.is_fresh) || self.inner.is_open())
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
