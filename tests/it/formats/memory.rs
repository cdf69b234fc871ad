//! Reads huge inputs in little memory, as measured from outside.

use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use rstest::rstest;

use crate::report::Report;
use crate::scripted::{Act, Scripted, Seen};
use crate::support::{Run, braze, wait_while_running};
use crate::td::{Reply, Td, success};

const HUGE: usize = 100 * 1024 * 1024;
const MOST_KIB: u64 = 64 * 1024;

/// `HUGE` times the letter x, in pieces.
struct Xs(usize);

impl std::io::Read for Xs {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.0);
        buffer[..count].fill(b'x');
        self.0 -= count;
        Ok(count)
    }
}

fn plain(before: &[u8], after: &[u8], out: &mut dyn Write) {
    out.write_all(before).unwrap();
    std::io::copy(&mut Xs(HUGE), out).unwrap();
    out.write_all(after).unwrap();
}

fn gzip_bomb(before: &[u8], after: &[u8], out: &mut dyn Write) {
    let mut packed = Vec::new();
    let mut encoder = GzEncoder::new(&mut packed, Compression::new(3));
    plain(before, after, &mut encoder);
    encoder.finish().unwrap();
    assert!(HUGE / packed.len() > 200, "{} bytes are no bomb", packed.len());
    out.write_all(&packed).unwrap();
}

/// The most memory that the process has ever had, in KiB.
fn peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

type Feed = fn(&[u8], &[u8], &mut dyn Write);

const CSV: (&[u8], &[u8], &[u8]) = (b"user_ids\r\n\"", b"\"\r\n", b"u1\r\n");
const PLAIN_CSV: (&[u8], &[u8], &[u8]) = (b"user_ids\r\n", b"\r\n", b"u1\r\n");
const JSON: (&[u8], &[u8], &[u8]) = (b"{\"user_ids\": 1}\n{\"user_ids\": \"", b"\"}\n", b"{\"user_ids\": 2}\n");
const MSGPACK: (&[u8], &[u8], &[u8]) = (b"\x91\x01\x91\xdb\x06\x40\x00\x00", b"", b"\x91\x02");

/// 100 MiB between a beginning and an end, then enough rows for a batch. When the batch has arrived, all of the 100 MiB was read.
#[rstest]
#[case::a_csv_cell(plain, CSV, "/cells_rejected/too_long")]
#[case::a_csv_cell_without_quotes(plain, PLAIN_CSV, "/cells_rejected/too_long")]
#[case::a_json_line(plain, JSON, "/rows_malformed/too_long")]
#[case::a_msgpack_cell(plain, MSGPACK, "/cells_rejected/too_long")]
#[case::a_csv_cell_from_a_gzip_bomb(gzip_bomb, CSV, "/cells_rejected/too_long")]
#[case::a_json_line_from_a_gzip_bomb(gzip_bomb, JSON, "/rows_malformed/too_long")]
fn a_hundred_megabytes_are_read_in_little_memory(
    #[case] feed: Feed,
    #[case] (before, after, row): (&[u8], &[u8], &[u8]),
    #[case] rejected: &str,
) {
    let braze = braze();
    let run = Run::upload().to(&braze).set("input", "\"-\"").arg("--json");
    let run = if before == MSGPACK.0 { run.set("format", "msgpack").set("columns", "user_ids") } else { run };
    let (mut child, _directory) = run.spawn_with(Stdio::piped());
    let mut stdin = child.stdin.take().unwrap();
    feed(before, &[after, &row.repeat(1000)].concat(), &mut stdin);
    while braze.stats().batch_sizes.is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it was through");
        thread::yield_now();
    }
    let peak = peak(&child);
    assert!(peak < MOST_KIB, "{peak} KiB");
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    Report::read(&String::from_utf8(output.stdout).unwrap()).has(&[(rejected, 1), ("/undelivered", 0)]);
}

#[test]
fn a_result_of_a_hundred_megabytes_is_fetched_in_little_memory() {
    let (before, after, row) = MSGPACK;
    let mut bytes = Vec::new();
    plain(before, after, &mut bytes);
    bytes.extend_from_slice(row);
    let td = Td::with_result(success(3), move |_| Reply::whole(&bytes));
    // When the only batch arrives, everything was fetched and read.
    let server = Scripted::for_members(|_| Act::Silence);
    let (mut child, _directory) = td.feeds(Run::upload().set("endpoint", server.endpoint())).spawn();
    wait_while_running(&mut child, "its members arrived", || server.seen().iter().any(Seen::has_members));
    let peak = peak(&child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(peak < MOST_KIB, "{peak} KiB");
}
