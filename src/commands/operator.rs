//! `td-braze-cohort operator RUNNER [NAME] INPUT.json OUTPUT.json`

use std::fs::File;
use std::io::Read;
use std::path::Path;

use log::warn;
use serde_json::{Map, Value};

use super::context::RunContext;
use super::pipeline;
use super::{check, parent, variable};
use crate::commands::cli::OperatorArgs;
use crate::commands::digdag;
use crate::commands::exit::Exit;
use crate::commands::outcome::Stop;
use crate::settings::template::Lookup;
use crate::settings::{self, Config};
use crate::terminal;

/// The longest INPUT.json. It holds the parameters of a workflow, which are a few kilobytes.
const MAX_INPUT_BYTES: u64 = 16 << 20;

/// Runs the command. A failure goes to the log and to OUTPUT.json, where Digdag looks for it.
pub fn run(args: &OperatorArgs) -> Result<Exit, Stop> {
    // RUNNER and NAME are not needed.
    let [.., input, output] = args.arguments.as_slice() else {
        return Err(Stop::Unusable {
            what: "operator".to_owned(),
            problem: "needs RUNNER [NAME] INPUT.json OUTPUT.json, as Digdag gives them".to_owned(),
        });
    };
    let write = |result: &Value| {
        std::fs::write(output, result.to_string())
            .map_err(|error| Stop::Unwritable { what: output.display().to_string(), error })
    };
    // Read before OUTPUT.json is written, which may be the same file.
    let parameters = read_parameters(input);
    // Written before anything is sent: an unwritable file shows now, and after a kill the file has a failure.
    write(&digdag::failure(Exit::Defect, "the upload did not end normally"))?;
    parent::watch();
    let uploaded = parameters.and_then(upload);
    let (exit, problem, report) = uploaded.unwrap_or_else(|error| (error.exit(), Some(error.to_string()), Value::Null));
    let result = match problem {
        None => digdag::success(&report),
        Some(problem) => {
            terminal::say_error(&problem);
            digdag::failure(exit, &terminal::line(&problem))
        }
    };
    write(&result)?;
    Ok(exit)
}

/// Uploads with these parameters. Returns the exit code, the error to show, if any, and the report.
fn upload(parameters: Map<String, Value>) -> Result<(Exit, Option<String>, Value), Stop> {
    let sorted = digdag::sort(&parameters)?;
    let session_time = parameters.get("session_time").and_then(Value::as_str).map(str::to_owned);
    let parameters = Value::Object(parameters);
    let (file, lookup) = (sorted.config.as_deref(), Lookup::Parameters(&parameters));
    let merged = settings::merge(file, &lookup, sorted.settings, variable)?;
    let config = Config::check(&merged, true).map_err(|error| error.with_outside(&sorted.outside))?;
    if !sorted.outside.is_empty() {
        let outside = sorted.outside.join(", ");
        warn!("ignored, because settings are read only from the workflow's map {}: {outside}", digdag::MAP);
    }
    let mut outcome = if config.check_only {
        check::instead_of_upload(config, terminal::print)?
    } else {
        pipeline::run(RunContext { uploaded: sorted.uploaded, ..RunContext::new(config, session_time) })?
    };
    outcome.report.ignored_parameters = sorted.outside;
    terminal::print(&outcome.report.to_text());
    let report = digdag::replacing(&sorted.last_upload, outcome.report.to_json());
    Ok((outcome.exit, outcome.problem(), report))
}

fn read_parameters(path: &Path) -> Result<Map<String, Value>, Stop> {
    let unusable = |problem: String| Stop::Unusable { what: path.display().to_string(), problem };
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_INPUT_BYTES + 1).read_to_end(&mut text))
        .map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if text.len() as u64 > MAX_INPUT_BYTES {
        return Err(unusable(format!("is larger than {} MiB: remove some parameters", MAX_INPUT_BYTES >> 20)));
    }
    parameters_of(&text).map_err(unusable)
}

/// The parameters that INPUT.json holds, or what is wrong with it.
pub fn parameters_of(text: &[u8]) -> Result<Map<String, Value>, String> {
    const HINT: &str = "it must be the INPUT.json of Digdag's py> operator; by hand, use upload";
    let document: Value = serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}; {HINT}"))?;
    match document {
        Value::Object(mut object) => match object.remove("params") {
            Some(Value::Object(parameters)) => Ok(parameters),
            _ => Err(format!("has no map 'params'; {HINT}")),
        },
        _ => Err(format!("is not a JSON object; {HINT}")),
    }
}
