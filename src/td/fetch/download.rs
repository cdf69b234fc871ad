//! One body in several tries: it goes on where it broke off where the server can do that, and else begins anew.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, HeaderValue, IF_RANGE, RANGE};

use super::{Client, Received, read_error};
use crate::http::{Patience, Stream, begins_html, declares_html};
use crate::td::answer::{self, Part, Trouble};

const BUFFER_BYTES: usize = 64 * 1024;

/// What is here of the body.
pub struct Download<'a> {
    file: File,
    at: u64,
    /// The farthest that any try has come: what is only fetched again is no progress.
    farthest: u64,
    /// What tells whether a part belongs to the same body.
    tag: Option<HeaderValue>,
    received: &'a Received,
}

/// How one try ended.
pub struct Attempt {
    /// The server said anything at all.
    pub answered: bool,
    /// The bytes that came.
    pub bytes: u64,
    /// It came farther than any try before.
    pub got_further: bool,
    /// Whether the body is whole.
    pub result: Result<(), Failure>,
}

/// Why it is not.
pub enum Failure {
    /// The server, or the way to it.
    Trouble(Trouble),
    /// The file.
    Write(io::Error),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl<'a> Download<'a> {
    /// Nothing is here yet. The file has no name, so that it is gone with the process, and only its owner could read it.
    pub fn begin(received: &'a Received) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, at: 0, farthest: 0, tag: None, received })
    }

    /// How many bytes are here.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The file, and how many bytes of it count.
    pub fn finish(self) -> (File, u64) {
        (self.file, self.at)
    }

    /// Asks for what is missing and keeps what comes.
    pub fn attempt(&mut self, client: &Client<'_>) -> Attempt {
        let (mut answered, mut bytes) = (false, 0);
        let result = self.request(client, &mut answered, &mut bytes);
        let got_further = self.at > self.farthest;
        self.farthest = self.farthest.max(self.at);
        Attempt { answered, bytes, got_further, result }
    }

    fn request(&mut self, client: &Client<'_>, answered: &mut bool, bytes: &mut u64) -> Result<(), Failure> {
        let address = client.job.result_address();
        let stream = client
            .get
            .get(&address, &self.headers(&client.headers), Patience::EachPiece)
            .map_err(|error| answer::of_error(client.job, &error))?;
        *answered = true;
        let part = answer::part(&stream.headers);
        match (stream.status, part) {
            (200, _) => self.restart()?,
            (206, Some(Part { start: Some(start), .. })) if self.at > 0 && start == self.at => {}
            (206, _) => {
                self.restart()?;
                return Err(Trouble::Again("the server sent another part than was asked for".to_owned(), None).into());
            }
            // Everything was here already, but for the word that it was.
            (416, Some(Part { start: None, whole: Some(whole) })) if self.at > 0 && whole == self.at => return Ok(()),
            (416, _) if self.at > 0 => {
                self.restart()?;
                return Err(Trouble::Again("the server has no such part (416)".to_owned(), None).into());
            }
            _ => {
                let answer = read_error(stream).map_err(|error| answer::of_error(client.job, &error))?;
                return Err(answer::of_answer(client.job, &answer).into());
            }
        }
        if declares_html(&stream.headers) {
            return Err(answer::not_treasure_data(client.job, "a web page came in the place of the result").into());
        }
        self.tag = answer::strong_tag(&stream.headers);
        self.keep(client, stream, part, bytes)
    }

    /// The call's own headers, and which part is wanted.
    fn headers(&self, common: &HeaderMap) -> HeaderMap {
        let mut headers = common.clone();
        if self.at > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.at))
        {
            headers.insert(RANGE, range);
            if let Some(tag) = &self.tag {
                headers.insert(IF_RANGE, tag.clone());
            }
        }
        headers
    }

    fn restart(&mut self) -> Result<(), Failure> {
        (self.at, self.tag) = (0, None);
        self.received.bytes.store(0, Ordering::Relaxed);
        self.file.set_len(0).map_err(Failure::Write)
    }

    /// Reads to the end of the body. ureq makes an error of an end that comes before it was due.
    fn keep(
        &mut self,
        client: &Client<'_>,
        mut stream: Stream,
        part: Option<Part>,
        bytes: &mut u64,
    ) -> Result<(), Failure> {
        let length = stream.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
        let whole = length.map(|length: u64| self.at.saturating_add(length));
        self.received.whole.store(whole.unwrap_or_default(), Ordering::Relaxed);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = stream
                .body
                .read(&mut buffer)
                .map_err(|error| Trouble::Again(format!("the download broke off: {error}"), None))?;
            if count == 0 {
                break;
            }
            let piece = &buffer[..count];
            if self.at == 0 && begins_html(piece) {
                return Err(answer::not_treasure_data(client.job, "a web page came in the place of the result").into());
            }
            self.file.write_all_at(piece, self.at).map_err(Failure::Write)?;
            self.at += count as u64;
            *bytes += count as u64;
            self.received.bytes.store(self.at, Ordering::Relaxed);
            if client.gate.is_stopped() {
                return Err(Trouble::Again("the run was stopped".to_owned(), None).into());
            }
        }
        match part.and_then(|part| part.whole).or(whole) {
            Some(whole) if whole != self.at => {
                Err(Trouble::Again(format!("{} of {whole} bytes came", self.at), None).into())
            }
            _ => Ok(()),
        }
    }
}
