//! Standard error and output, for which nobody waits: a reader who has gone to sleep must not stop an upload, nor keep a stopped run
//! from ending. What is written goes through a queue to a thread of its own; when the queue is full and stays so, it is lost, and
//! counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// So many pieces may wait to be written.
const QUEUE: usize = 1000;
/// How long a full queue is waited for, once; after that nothing is waited for until something is taken from it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the last words are waited for.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long a result on standard output is waited for.
const RESULT: Duration = Duration::from_secs(5);

/// A way out.
pub struct Outlet {
    pieces: Sender<Piece>,
    is_stuck: AtomicBool,
    lost: AtomicU64,
}

enum Piece {
    Text(Vec<u8>),
    /// Says when everything before it is written.
    Written(Sender<()>),
}

impl Outlet {
    /// Standard error.
    pub fn stderr() -> &'static Self {
        static STDERR: OnceLock<Outlet> = OnceLock::new();
        STDERR.get_or_init(|| Self::to(io::stderr()))
    }

    fn to(out: impl Write + Send + 'static) -> Self {
        let (pieces, queue) = bounded(QUEUE);
        // Where no thread can be made the queue is gone with it, and everything is lost; nothing else is.
        let _ = thread::Builder::new().name("outlet".to_owned()).spawn(move || write_all(out, &queue));
        Self { pieces, is_stuck: AtomicBool::new(false), lost: AtomicU64::new(0) }
    }

    /// Writes the text when its turn comes; before it, what `told_of_loss` makes of the number of texts that were lost.
    pub fn write(&self, text: &[u8], told_of_loss: impl FnOnce(u64) -> String) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let note = if lost > 0 { told_of_loss(lost) } else { String::new() };
        let piece = Piece::Text([note.as_bytes(), text].concat());
        let sent = if self.is_stuck.load(Ordering::Relaxed) {
            self.pieces.try_send(piece).is_ok()
        } else {
            self.pieces.send_timeout(piece, PATIENCE).is_ok()
        };
        self.is_stuck.store(!sent, Ordering::Relaxed);
        if !sent {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written, but not for ever.
    pub fn flush(&self) {
        let (written, is_written) = bounded(1);
        if self.pieces.send_timeout(Piece::Written(written), LAST_WORDS).is_ok() {
            let _ = is_written.recv_timeout(LAST_WORDS);
        }
    }
}

fn write_all(mut out: impl Write, queue: &Receiver<Piece>) {
    for piece in queue {
        match piece {
            // Whoever does not listen does not keep anybody from working.
            Piece::Text(text) => drop(out.write_all(&text).and_then(|()| out.flush())),
            Piece::Written(written) => drop(written.send(())),
        }
    }
}

/// Why a result was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nobody reads it.
    #[error("nobody reads it")]
    Stuck,
}

/// Writes a result to standard output, and waits for it a while.
pub fn write_result(text: String) -> Result<(), OutletError> {
    write_within(io::stdout(), text, RESULT)
}

fn write_within(mut out: impl Write + Send + 'static, text: String, limit: Duration) -> Result<(), OutletError> {
    let (said, result) = bounded(1);
    thread::Builder::new()
        .name("result".to_owned())
        .spawn(move || said.send(out.write_all(text.as_bytes()).and_then(|()| out.flush())))?;
    Ok(result.recv_timeout(limit).map_err(|_| OutletError::Stuck)??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Takes nothing until it is told to.
    struct Sleepy {
        awake: Receiver<()>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Sleepy {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.awake.recv();
            self.text.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_nobody_reads_is_lost_and_counted_and_nobody_waits_for_it() {
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let (wake, awake) = bounded::<()>(0);
        let told = |lost| format!("({lost} are lost)\n");
        let outlet = Outlet::to(Sleepy { awake, text: Arc::clone(&text) });
        (0..QUEUE + 50).for_each(|_| outlet.write(b"x\n", told));
        assert!(outlet.is_stuck.load(Ordering::Relaxed));
        drop(wake);
        outlet.flush();
        outlet.write(b"last\n", told);
        outlet.flush();
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        assert!(text.contains(" are lost)\nlast\n"), "{}", &text[text.len() - 80..]);
    }

    #[test]
    fn a_result_that_nobody_reads_is_given_up() {
        let (_keeps_it_asleep, awake) = bounded::<()>(0);
        let out = Sleepy { awake, text: Arc::default() };
        let given_up = write_within(out, "account".to_owned(), Duration::from_millis(10));
        assert!(matches!(given_up, Err(OutletError::Stuck)));
    }
}
