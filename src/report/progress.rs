//! The progress of a run: a bar on a terminal, or a line in the log every ten seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use log::info;

use crate::delivery::counts::DeliveryCounts;
use crate::terminal;

const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shows the progress of an upload.
pub struct Progress {
    started: Instant,
    bytes_read: Arc<AtomicU64>,
    size: Option<u64>,
    bar: Option<&'static ProgressBar>,
    last_line: Instant,
}

impl Progress {
    /// `size` is that of the input in bytes, if it is known. `bytes_read` counts the bytes that were read.
    pub fn new(size: Option<u64>, bytes_read: Arc<AtomicU64>) -> Self {
        let (bar, now) = (terminal::has_bar().then(|| terminal::start_bar(size)), Instant::now());
        Self { started: now, bytes_read, size, bar, last_line: now }
    }

    /// Shows what was sent so far, if it is time to.
    pub fn show(&mut self, sent: DeliveryCounts) {
        let (read, elapsed) = (self.bytes_read.load(Ordering::Relaxed), self.started.elapsed());
        if let Some(bar) = self.bar {
            bar.set_position(read);
        }
        let size = self.size;
        self.show_text(|| line(sent, elapsed, size.map(|size| (read, size))));
    }

    /// Shows how much longer the run waits for unanswered requests, if it is time to.
    pub fn show_wait(&mut self, left: Duration) {
        self.show_text(|| format!("waiting {} s more for unanswered requests (grace)", left.as_secs() + 1));
    }

    fn show_text(&mut self, text: impl FnOnce() -> String) {
        if let Some(bar) = self.bar {
            bar.set_message(text());
        } else if self.last_line.elapsed() >= LOG_EVERY {
            info!("{}", text());
            self.last_line = Instant::now();
        }
    }
}

/// Shows what the run waits for.
pub fn show_step(step: &str) {
    if terminal::has_bar() {
        terminal::start_bar(None).set_message(step.to_owned());
    } else {
        info!("{step}");
    }
}

/// Removes the bar.
pub fn finish() {
    if terminal::has_bar() {
        terminal::start_bar(None).finish_and_clear();
    }
}

/// Identifiers, rate, requests, retries, and the time left, estimated from the bytes read.
fn line(sent: DeliveryCounts, elapsed: Duration, read: Option<(u64, u64)>) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = sent.delivered.saturating_mul(1000) / millis;
    // Before the first delivery the bytes read show nothing.
    let is_known = |(read, size): &(u64, u64)| sent.delivered > 0 && *read > 0 && read <= size;
    let left = read.filter(is_known).map_or_else(String::new, |(read, size)| {
        format!(", about {} s left", millis.saturating_mul(size - read) / read / 1000)
    });
    format!(
        "{} identifiers delivered, {rate}/s, {} requests, {} retries{left}",
        sent.delivered, sent.requests, sent.retries
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_was_delivered_and_how_long_it_will_take() {
        let sent = DeliveryCounts { delivered: 12_000, refused: 0, requests: 14, retries: 1 };
        assert_eq!(
            line(sent, Duration::from_secs(4), Some((250, 1000))),
            "12000 identifiers delivered, 3000/s, 14 requests, 1 retries, about 12 s left"
        );
        assert!(!line(sent, Duration::ZERO, None).contains("left"));
        assert!(!line(DeliveryCounts::default(), Duration::from_secs(4), Some((1000, 1000))).contains("left"));
    }
}
