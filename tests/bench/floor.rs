//! The raw floor: what the same work costs with sockets and nothing else. No report, no retry, no TLS, no check of a cell; it
//! trusts the input (no line break within quotes) and the answer. Not a program to use: a thing to divide by.
//!
//! `bench-floor FILE ADDRESS THREADS`

use std::error::Error;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use memchr::memchr;

const CAPACITY: usize = 1000;
const BLOCK_BYTES: usize = 256 * 1024;
const STACK_BYTES: usize = 128 * 1024;
const HEAD: &[u8] = br#"{"partner_api_key":"a partner key","client_secret":"a data import key","cohort_id":"members","cohort_changes":[{"user_ids":["#;
const DEVICES: &[u8] = br#"],"device_ids":["#;
const ALIASES: &[u8] = br#"],"aliases":["#;
const TAIL: &[u8] = br#"],"should_remove":false}]}"#;

/// What is around an identifier, and in which of the three lists.
#[derive(Clone, Copy)]
struct Column {
    list: usize,
    before: &'static [u8],
    behind: &'static [u8],
}

fn column(name: &[u8]) -> Option<Column> {
    Some(match name {
        b"user_ids" => Column { list: 0, before: b"\"", behind: b"\"," },
        b"device_ids" => Column { list: 1, before: b"\"", behind: b"\"," },
        b"email" => Column { list: 2, before: br#"{"alias_label":"email","alias_name":""#, behind: b"\"}," },
        b"phone" => Column { list: 2, before: br#"{"alias_label":"phone","alias_name":""#, behind: b"\"}," },
        _ => return None,
    })
}

/// The lists of one request, already JSON; each ends with a comma too many.
#[derive(Default)]
struct Lists {
    lists: [Vec<u8>; 3],
    count: usize,
}

impl Lists {
    fn push(&mut self, column: Column, cell: &[u8]) {
        let list = &mut self.lists[column.list];
        list.extend_from_slice(column.before);
        if cell.iter().fold(false, |found, byte| found | matches!(byte, ..0x20 | b'"' | b'\\')) {
            for byte in cell {
                if matches!(byte, b'"' | b'\\') {
                    list.push(b'\\');
                }
                list.push(*byte);
            }
        } else {
            list.extend_from_slice(cell);
        }
        list.extend_from_slice(column.behind);
        self.count += 1;
    }

    fn clear(&mut self) {
        self.lists.iter_mut().for_each(Vec::clear);
        self.count = 0;
    }

    fn send(&self, socket: &mut TcpStream, address: &str) -> io::Result<()> {
        let [users, devices, aliases] = self.lists.each_ref().map(|list| list.strip_suffix(b",").unwrap_or_default());
        let body = [HEAD, users, DEVICES, devices, ALIASES, aliases, TAIL];
        let length: usize = body.iter().map(|part| part.len()).sum();
        let head = format!(
            "POST /partners/treasure_data/cohorts/users HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        let mut slices =
            [head.as_bytes(), body[0], body[1], body[2], body[3], body[4], body[5], body[6]].map(IoSlice::new);
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            let count = socket.write_vectored(left)?;
            IoSlice::advance_slices(&mut left, count);
        }
        let (mut answer, mut filled) = ([0; 1024], 0);
        while !answer[..filled].ends_with(b"}") {
            match socket.read(&mut answer[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        if answer.starts_with(b"HTTP/1.1 201 ") { Ok(()) } else { Err(io::Error::other("no 201")) }
    }
}

/// Hands each line to `take`, without its end.
fn each_line(mut file: File, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut block, mut filled) = (vec![0; BLOCK_BYTES], 0);
    loop {
        let count = file.read(&mut block[filled..])?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let mut start = 0;
        while let Some(length) = memchr(b'\n', &block[start..filled]) {
            let line = &block[start..start + length];
            take(line.strip_suffix(b"\r").unwrap_or(line));
            start += length + 1;
        }
        block.copy_within(start..filled, 0);
        filled -= start;
    }
}

/// The first cell of a line, unquoted, and the line behind it. `unquoted` is room for a cell with quotes in it.
fn split<'line: 'cell, 'cell>(line: &'line [u8], unquoted: &'cell mut Vec<u8>) -> (&'cell [u8], &'line [u8]) {
    let Some(mut rest) = line.strip_prefix(b"\"") else {
        return match memchr(b',', line) {
            None => (line, &[]),
            Some(end) => (&line[..end], &line[end + 1..]),
        };
    };
    unquoted.clear();
    while let Some(end) = memchr(b'"', rest) {
        unquoted.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        if rest.first() != Some(&b'"') {
            break;
        }
        unquoted.push(b'"');
        rest = &rest[1..];
    }
    (unquoted, rest.strip_prefix(b",").unwrap_or(rest))
}

/// Sends what comes until nothing more does, and gives back what was sent, to be filled again.
fn send_all(queue: &Mutex<Receiver<Lists>>, give_back: impl Fn(Lists), address: &str) -> io::Result<()> {
    let mut socket: Option<TcpStream> = None;
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut lists) = next else { return Ok(()) };
        let socket = match &mut socket {
            Some(socket) => socket,
            none => {
                let connected = TcpStream::connect(address)?;
                connected.set_nodelay(true)?;
                none.insert(connected)
            }
        };
        lists.send(socket, address)?;
        lists.clear();
        give_back(lists);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [path, endpoint, threads] = arguments.as_slice() else { return Err("FILE ADDRESS THREADS".into()) };
    let threads: usize = threads.parse()?;
    let address: Arc<str> = endpoint.trim_start_matches("http://").into();
    let (to_workers, queue) = sync_channel(threads);
    let (back, returned) = channel();
    let queue = Arc::new(Mutex::new(queue));
    let workers = (0..threads).map(|_| {
        let (queue, back, address) = (Arc::clone(&queue), back.clone(), Arc::clone(&address));
        let work = move || send_all(&queue, |lists| back.send(lists).unwrap_or_default(), &address);
        thread::Builder::new().stack_size(STACK_BYTES).spawn(work)
    });
    let workers = workers.collect::<io::Result<Vec<_>>>()?;
    let mut columns: Option<Vec<Option<Column>>> = None;
    let (mut lists, mut unquoted) = (Lists::default(), Vec::new());
    each_line(File::open(path)?, |line| {
        let Some(columns) = &columns else {
            let mut found: Vec<_> = line.split(|byte| *byte == b',').map(column).collect();
            // Nobody looks at what is behind the last column that matters.
            found.truncate(found.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
            columns = Some(found);
            return;
        };
        let mut rest = line;
        for column in columns {
            let (cell, behind) = split(rest, &mut unquoted);
            if let Some(column) = column
                && !cell.is_empty()
            {
                lists.push(*column, cell);
                if lists.count == CAPACITY {
                    let next = returned.try_recv().unwrap_or_default();
                    // Whoever does not take it any more says why at the end.
                    to_workers.send(mem::replace(&mut lists, next)).unwrap_or_default();
                }
            }
            rest = behind;
        }
    })?;
    if lists.count > 0 {
        to_workers.send(lists)?;
    }
    drop(to_workers);
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")??;
    }
    Ok(())
}
