//! The process that started this one: an upload that nobody waits for would change the cohort behind the next run's back.

use std::os::unix::process::parent_id;
use std::thread;
use std::time::Duration;

use log::warn;
use signal_hook::consts::SIGTERM;
use signal_hook::low_level;

use super::signals;

/// How often the parent is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Raises SIGTERM once the process that started this one has ended: the system then gives this one another parent.
///
/// In a container the parent is outside (0), or a shell or init (1): neither changes as long as somebody waits.
pub fn watch() {
    let parent = parent_id();
    thread::spawn(move || {
        while parent_id() == parent {
            thread::sleep(LOOK);
        }
        // A second signal would end it without its report.
        if !signals::is_heard() {
            let _ = low_level::raise(SIGTERM);
        }
        // Afterwards, as the log may be slow.
        warn!("the process that started this one has ended: stopping as on SIGTERM");
    });
}
