//! The shell in which the commands of a page run: a directory as after a clone, our binary on PATH, a sandbox for Braze.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, process};

use regex_lite::Regex;
use td_braze_cohort::sandbox::Sandbox;
use tempfile::TempDir;

use super::page::top;
use crate::support::{PARTNER_KEY, SECRET, braze};

/// The endpoint in the pages.
const SHOWN_ENDPOINT: &str = "https://rest.iad-03.braze.com";
/// Builds nothing: runs our binary for `cargo run … -- ARGUMENTS`.
const CARGO: &str = r#"cargo() { while [ "$1" != -- ]; do shift; done; shift; td-braze-cohort "$@"; }"#;
/// What is in a clone. Digdag leaves `.digdag` in a folder where a workflow was run.
const CLONE: &str = r#"cp -R docs workflows "$0" && find "$0" -name .digdag -prune -exec rm -r {} +"#;
const HANGS: Duration = Duration::from_mins(2);

/// The shell of one page. Files that a block leaves are there for the next one; variables are not.
pub struct Shell {
    _clone: TempDir,
    /// Where a block begins: at the top of the clone, or in the folder of a page in `workflows/`.
    begins: PathBuf,
    sandbox: Sandbox,
}

/// How a block ended.
pub struct Ended {
    pub code: Option<i32>,
    /// Standard output, and standard error without the log; without what differs from run to run.
    pub printed: String,
    pub log: String,
}

impl Shell {
    /// For this page.
    pub fn new(page: &Path) -> Self {
        let clone = tempfile::tempdir().unwrap();
        let copied = process::Command::new("bash").args(["-c", CLONE]).arg(clone.path()).current_dir(top()).status();
        assert!(copied.unwrap().success());
        let folder = page.parent().filter(|folder| folder.starts_with("workflows"));
        let begins = folder.map_or(clone.path().to_owned(), |folder| clone.path().join(folder));
        Self { _clone: clone, begins, sandbox: braze() }
    }

    /// Writes a file that the page shows.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.begins.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Runs the commands of a block.
    pub fn run(&self, script: &str) -> Ended {
        let bin = Path::new(env!("CARGO_BIN_EXE_td-braze-cohort")).parent().unwrap();
        let output = assert_cmd::Command::new("bash")
            .args(["-eu", "-c", &format!("{CARGO}\n{script}")])
            .current_dir(&self.begins)
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()))
            .env("BRAZE_ENDPOINT", self.sandbox.endpoint())
            .env("BRAZE_CLIENT_SECRET", SECRET)
            .env("BRAZE_PARTNER_API_KEY", PARTNER_KEY)
            .timeout(HANGS)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&self.sandbox.endpoint(), SHOWN_ENDPOINT);
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        let (log, said): (Vec<_>, Vec<_>) = stderr.lines().partition(|line| is_logged(line));
        Ended { code: output.status.code(), printed: steady(&(stdout + &said.join("\n"))), log: log.join("\n") }
    }
}

/// A log line begins with the time.
fn is_logged(line: &str) -> bool {
    line.split(' ').next().is_some_and(|first| first.parse::<jiff::Timestamp>().is_ok())
}

/// With `N` for the seconds that something took.
pub fn steady(text: &str) -> String {
    let seconds = Regex::new(r"(?m)^seconds +[0-9.]+$").unwrap();
    let blanks = Regex::new(r"(?m) +$").unwrap();
    blanks.replace_all(&seconds.replace_all(text.trim_end(), "seconds N"), "").into_owned()
}
