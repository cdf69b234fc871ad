//! How far a run has come: a bar on a terminal, a line every ten seconds in a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use log::info;

use crate::delivery::counts::DeliveryCounts;
use crate::terminal;

const LOG_EVERY: Duration = Duration::from_secs(10);

/// Where progress is shown.
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

    fn finish(&self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows progress.
pub struct Progress {
    started: Instant,
    bytes_read: Arc<AtomicU64>,
    size: Option<u64>,
    display: Display,
}

impl Progress {
    /// For an input of this size, of which so much is read.
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

    /// Shows how long is waited for requests that were not answered, if it is time.
    pub fn show_wait(&mut self, left: Duration) {
        self.display.show(|| format!("waiting {} s more for unanswered requests (grace)", left.as_secs() + 1));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.display.finish();
    }
}

/// Shows what is waited for.
pub fn show_step(step: &str) {
    if terminal::has_bar() {
        terminal::start_bar(None).set_message(step.to_owned());
    } else {
        info!("{step}");
    }
}

/// Takes away what [`show_step`] has shown.
pub fn finish_steps() {
    if terminal::has_bar() {
        terminal::start_bar(None).finish_and_clear();
    }
}

/// Shows how far a download is; nothing before the first byte.
pub struct DownloadProgress(Display);

impl Default for DownloadProgress {
    fn default() -> Self {
        Self(Display::new(None))
    }
}

impl DownloadProgress {
    /// Shows that so many bytes are here, of so many where that is known, if it is time.
    pub fn show(&mut self, bytes: u64, whole: Option<u64>) {
        if bytes == 0 {
            return;
        }
        if terminal::has_bar() {
            let bar = *self.0.bar.get_or_insert_with(|| terminal::start_bar(whole));
            terminal::set_bar_length(bar, whole);
            bar.set_position(bytes);
        }
        self.0.show(|| download_line(bytes, whole));
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.0.finish();
    }
}

fn download_line(bytes: u64, whole: Option<u64>) -> String {
    let whole = whole.map_or_else(String::new, |whole| format!(" of {whole}"));
    format!("{bytes}{whole} bytes of the job's result fetched")
}

/// Identifiers, rate, requests, retries and the time left, as far as it can be told from the bytes read.
fn line(sent: DeliveryCounts, elapsed: Duration, read: Option<(u64, u64)>) -> String {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = sent.delivered.saturating_mul(1000) / millis;
    // What was read says nothing of the time left before anything was delivered.
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
