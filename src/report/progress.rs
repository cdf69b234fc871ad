//! How far a run is: a bar on a terminal, a line every ten seconds in a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use log::info;

use crate::delivery::counts::DeliveryCounts;
use crate::terminal;

const LOG_EVERY: Duration = Duration::from_secs(10);

/// Shows text on a bar or in the log.
struct Display {
    bar: Option<&'static ProgressBar>,
    last_line: Instant,
}

impl Display {
    fn new(bar: Option<&'static ProgressBar>) -> Self {
        Self { bar, last_line: Instant::now() }
    }

    fn show(&mut self, text: impl FnOnce() -> String) {
        if let Some(bar) = self.bar {
            bar.set_message(text());
        } else if self.last_line.elapsed() >= LOG_EVERY {
            info!("{}", text());
            self.last_line = Instant::now();
        }
    }
}

/// Shows the progress of an upload.
pub struct Progress {
    started: Instant,
    bytes_read: Arc<AtomicU64>,
    size: Option<u64>,
    display: Display,
}

impl Progress {
    /// `size` is the input's in bytes, if it is known, and `bytes_read` counts what is read of it.
    pub fn new(size: Option<u64>, bytes_read: Arc<AtomicU64>) -> Self {
        let display = Display::new(terminal::has_bar().then(|| terminal::start_bar(size)));
        Self { started: Instant::now(), bytes_read, size, display }
    }

    /// Shows what was sent so far, if it is time.
    pub fn show(&mut self, sent: DeliveryCounts) {
        let (read, elapsed) = (self.bytes_read.load(Ordering::Relaxed), self.started.elapsed());
        if let Some(bar) = self.display.bar {
            bar.set_position(read);
        }
        self.display.show(|| line(sent, elapsed, self.size.map(|size| (read, size))));
    }

    /// Shows how much longer the run waits for unanswered requests, if it is time.
    pub fn show_wait(&mut self, left: Duration) {
        self.display.show(|| format!("waiting {} s more for unanswered requests (grace)", left.as_secs() + 1));
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

/// Shows the progress of a download, if it is time: the bytes so far, and of how many if that is known. Nothing before the first byte.
pub fn of_download() -> impl FnMut(u64, Option<u64>) {
    let mut display = Display::new(None);
    move |bytes, whole| {
        if bytes == 0 {
            return;
        }
        if terminal::has_bar() {
            let bar = *display.bar.get_or_insert_with(|| terminal::start_bar(whole));
            terminal::set_bar_length(bar, whole);
            bar.set_position(bytes);
        }
        display.show(|| download_line(bytes, whole));
    }
}

fn download_line(bytes: u64, whole: Option<u64>) -> String {
    let whole = whole.map_or_else(String::new, |whole| format!(" of {whole}"));
    format!("{bytes}{whole} bytes of the job's result fetched")
}

/// Identifiers, rate, requests, retries, and the time left, estimated from the bytes read.
fn line(sent: DeliveryCounts, elapsed: Duration, read: Option<(u64, u64)>) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = sent.delivered.saturating_mul(1000) / millis;
    // The bytes read tell nothing before anything was delivered.
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

    #[test]
    fn a_line_tells_how_much_was_fetched() {
        assert_eq!(download_line(10, Some(40)), "10 of 40 bytes of the job's result fetched");
        assert_eq!(download_line(10, None), "10 bytes of the job's result fetched");
    }
}
