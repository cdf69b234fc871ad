//! The process that started this one. When it ends, the upload must end too, or it would change the cohort during the
//! next run.

use std::os::unix::process::parent_id;
use std::thread;
use std::time::Duration;

use log::warn;
use signal_hook::consts::SIGTERM;
use signal_hook::low_level;

use super::signals;

/// How often we check the parent.
const LOOK: Duration = Duration::from_secs(1);

/// Raises SIGTERM when this process gets another parent, because the one that started it has ended.
///
/// In a container the parent is outside (0), or a shell or init (1). That does not change while it waits.
pub fn watch() {
    let parent = parent_id();
    thread::spawn(move || {
        while parent_id() == parent {
            thread::sleep(LOOK);
        }
        // A second signal would end the process without its report.
        if !signals::is_heard() {
            let _ = low_level::raise(SIGTERM);
        }
        // Afterwards, because the log may be slow.
        warn!("the process that started this one has ended: stopping as on SIGTERM");
    });
}
