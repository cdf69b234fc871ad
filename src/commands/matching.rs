//! `td-braze-cohort match CONFIG.yml`: how many of the input's identifiers Braze knows. Also asked before an upload
//! (`min_match`).

use std::io;
use std::path::Path;
use std::sync::Arc;

use log::warn;

use super::context::RunContext;
use super::job;
use super::network::network;
use super::phases::look_at;
use super::pipeline::open_once;
use super::sandbox::Embedded;
use super::upload::{NOT_DRY, load};
use super::variable;
use super::watch::watched;
use crate::commands::cli::MatchArgs;
use crate::commands::exit::Exit;
use crate::commands::outcome::{Api, Stop};
use crate::delivery::failed_file::{Failures, FailuresError};
use crate::http::Http;
use crate::http::endpoint::Endpoint;
use crate::input::columns::Names;
use crate::matching::sample::{Sample, SampleSize, Sampler};
use crate::matching::{Asked, Asker, Figures, KindFigures, TooFew};
use crate::members::batch::Batch;
use crate::members::operation::Operation;
use crate::report::matching::{to_json, to_text};
use crate::retry::RateLimiter;
use crate::secret::Secret;
use crate::settings::Config;
use crate::settings::credentials::rest_api_key;
use crate::terminal;

/// The flag for the file of unknown identifiers.
const UNKNOWN: &str = "--unknown";

/// Asks one workspace which identifiers it knows.
pub struct Matching {
    http: Http,
    endpoint: Endpoint,
    key: Secret,
    limiter: Arc<RateLimiter<Stop>>,
    labels: Vec<String>,
    size: SampleSize,
    min_match: Option<u32>,
}

/// Runs the command.
pub fn run(MatchArgs { run: args, sample, unknown }: MatchArgs) -> Result<Exit, Stop> {
    let config = load(&args.config, args.input, NOT_DRY, !args.sandbox)?;
    let file = unknown_file(&config, unknown.as_deref())?;
    let (endpoint, key, _embedded) = if args.sandbox {
        let embedded = Embedded::start(args.users, false)?;
        (Endpoint::of_sandbox(embedded.sandbox.endpoint()), embedded.rest_api_key.clone(), Some(embedded))
    } else {
        (config.required_endpoint()?.clone(), rest_api_key(variable)?, None)
    };
    let mut context = RunContext::new(config, None);
    let size = sample.map_or_else(SampleSize::default, |count| SampleSize { identifiers: count, devices: count });
    let matching = Matching::new(&context, &endpoint, key, size)?;
    let asked = matching.look_and_ask(&mut context)?;
    terminal::print(&if args.json { to_json(&asked.figures).to_string() } else { to_text(&asked.figures) });
    keep_unknown(&file, &asked)?;
    Ok(Exit::Success)
}

impl Matching {
    /// Asks with this key, during a run with these settings.
    pub fn new(context: &RunContext, endpoint: &Endpoint, key: Secret, size: SampleSize) -> Result<Self, Stop> {
        // Not the upload's limiter: Braze limits each of the two addresses separately.
        let limiter = context.limiter(Api::Braze, endpoint.as_str())?;
        let config = &context.config;
        Ok(Self {
            http: Http::new(1, network(config, endpoint)?),
            endpoint: endpoint.clone(),
            key,
            limiter,
            labels: config.input.names.aliases.clone(),
            size,
            min_match: config.matching.min_match,
        })
    }

    /// Collects the sample of one input.
    pub fn sampler(&self) -> Sampler {
        Sampler::new(self.size, self.labels.len())
    }

    /// Reads the input, and asks about it.
    pub fn look_and_ask(&self, context: &mut RunContext) -> Result<Asked, Stop> {
        let readable = job::locate(context)?;
        let reader = open_once(&context.config, &readable, &self.limiter)?;
        let (_, samples) = look_at(reader, Some(self.sampler()), &self.limiter, || {});
        self.ask(samples?, |_| true)
    }

    /// Asks before an upload. If too few are known, also returns why.
    pub fn judge(&self, samples: Vec<Sample>) -> Result<(Figures, Option<TooFew>), Stop> {
        let too_few = |figures: &Figures| self.min_match.and_then(|min_match| figures.too_few(min_match));
        let figures = self.ask(samples, |figures| too_few(figures).is_some())?.figures;
        for KindFigures { name, .. } in figures.kinds.iter().filter(|kind| kind.asked() == 0) {
            warn!(
                "{name} were not asked about, because too many kinds of identifiers came first: min_match does not cover them"
            );
        }
        let error = too_few(&figures);
        Ok((figures, error))
    }

    fn ask(&self, samples: Vec<Sample>, is_to_explain: impl Fn(&Figures) -> bool) -> Result<Asked, Stop> {
        let work = || {
            let mut questions = Asker::new(&self.http, &self.limiter, &self.endpoint, &self.key, &self.labels);
            let mut asked = questions.ask(samples)?;
            if is_to_explain(&asked.figures) {
                questions.explain(&mut asked)?;
            }
            Ok(asked)
        };
        watched(&self.http, &self.limiter, work)
    }
}

/// Begins the file before anything is asked.
fn unknown_file(config: &Config, path: Option<&Path>) -> Result<Failures, FailuresError> {
    if let Some(path) = path.filter(|path| config.reads(path)) {
        let error = io::Error::other("it is the input file");
        return Err(FailuresError { name: UNKNOWN, path: path.to_owned(), error });
    }
    Failures::begin_as(UNKNOWN, path, &Names { operation: None, ..config.input.names.clone() })
}

fn keep_unknown(file: &Failures, asked: &Asked) -> Result<(), FailuresError> {
    for (figures, unknown) in asked.figures.kinds.iter().zip(&asked.unknown) {
        let mut batch = Batch::new(Operation::Add);
        for identifier in unknown {
            batch.push(figures.kind, identifier);
        }
        file.take(&batch, "unknown to Braze")?;
    }
    file.finish().map(drop)
}
