//! Names into addresses: one look-up of a name at a time, on a thread of its own, as the system's look-up knows neither a
//! deadline nor a way to break it off. Everybody who needs the name waits for that one, and can be sent away.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::Uri;
use thiserror::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// ureq's own limit on the addresses of a name.
const MAX_ADDRESSES: usize = 16;

/// How long the outcome of a look-up is used again.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Addresses. ureq by itself looks the name up before every request.
    pub found: Duration,
    /// A failure: all who waited learn of it, and the name service is not asked by each of them.
    pub failed: Duration,
}

impl Default for Kept {
    fn default() -> Self {
        Self { found: Duration::from_secs(30), failed: Duration::from_secs(1) }
    }
}

/// Why a name has no address.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LookupError {
    /// The name service says no, or says nothing: the two look alike.
    #[error("the name {name} cannot be looked up ({said})")]
    Failed {
        /// The name.
        name: String,
        /// What the system said.
        said: String,
    },
    /// The deadline has passed.
    #[error("the name {name} could not be looked up within {} ms", .patience.as_millis())]
    TooSlow {
        /// The name.
        name: String,
        /// So long was waited.
        patience: Duration,
    },
    /// Broken off by [`Names::cut`].
    #[error("the look-up was broken off")]
    Cut,
}

type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The names that are known, or being looked up. Clones share them.
#[derive(Clone)]
pub struct Names(Arc<Shared>);

struct Shared {
    lookup: Box<Lookup>,
    kept: Kept,
    patience: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    known: HashMap<String, Known>,
    is_cut: bool,
}

enum Known {
    Asking,
    Found(Instant, Vec<SocketAddr>),
    Failed(Instant, LookupError),
}

impl Names {
    /// Asks the system; whoever needs a name waits `patience` at most.
    pub fn of_system(patience: Duration) -> Self {
        Self::new(patience, Kept::default(), |name| Ok(name.to_socket_addrs()?.collect()))
    }

    /// Asks `lookup` for names of the form `host:port`.
    pub fn new(
        patience: Duration,
        kept: Kept,
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self(Arc::new(Shared { lookup: Box::new(lookup), kept, patience, state, changed }))
    }

    /// The addresses of `host:port`.
    pub fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, LookupError> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let (shared, asked) = (&self.0, Instant::now());
        let mut state = shared.lock();
        loop {
            if state.is_cut {
                return Err(LookupError::Cut);
            }
            match state.known.get(name) {
                Some(Known::Found(since, addresses)) if since.elapsed() < shared.kept.found => {
                    return Ok(addresses.clone());
                }
                // Whoever was waiting takes the failure, however short it is kept.
                Some(Known::Failed(since, error)) if *since >= asked || since.elapsed() < shared.kept.failed => {
                    return Err(error.clone());
                }
                Some(Known::Asking) => {}
                _ => {
                    state.known.insert(name.to_owned(), Known::Asking);
                    self.ask(name, &mut state);
                    continue;
                }
            }
            let Some(left) = shared.patience.checked_sub(asked.elapsed()).filter(|left| !left.is_zero()) else {
                return Err(LookupError::TooSlow { name: host(name), patience: shared.patience });
            };
            state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends everybody away who waits, and whoever comes later.
    pub fn cut(&self) {
        self.0.lock().is_cut = true;
        self.0.changed.notify_all();
    }

    /// Starts the look-up. Its thread may outlast everybody who waits for it.
    fn ask(&self, name: &str, state: &mut State) {
        let (shared, asked) = (Arc::clone(&self.0), name.to_owned());
        let started = thread::Builder::new().name("look-up".to_owned()).spawn(move || {
            let outcome = (shared.lookup)(&asked);
            shared.lock().learn(&asked, outcome);
            shared.changed.notify_all();
        });
        if let Err(error) = started {
            state.learn(name, Err(error));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn learn(&mut self, name: &str, outcome: io::Result<Vec<SocketAddr>>) {
        let failed = |said| Known::Failed(Instant::now(), LookupError::Failed { name: host(name), said });
        let known = match outcome {
            Ok(addresses) if addresses.is_empty() => failed("it has no address".to_owned()),
            Ok(addresses) => Known::Found(Instant::now(), addresses),
            Err(error) => failed(error.to_string()),
        };
        self.known.insert(name.to_owned(), known);
    }
}

/// The name without its port, for a message.
fn host(name: &str) -> String {
    name.rsplit_once(':').map_or(name, |(host, _)| host).to_owned()
}

impl fmt::Debug for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Names")
    }
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let unusable = || ureq::Error::BadUri("no host to look up".to_owned());
        let (scheme, authority) = uri.scheme().zip(uri.authority()).ok_or_else(unusable)?;
        let name = DefaultResolver::host_and_port(scheme, authority).ok_or_else(unusable)?;
        let addresses = self.addresses(&name).map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let mut resolved = self.empty();
        addresses.into_iter().take(MAX_ADDRESSES).for_each(|address| resolved.push(address));
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_mins(1);

    fn address() -> SocketAddr {
        ([10, 0, 0, 1], 443).into()
    }

    /// Names that count how often they are looked up.
    fn counted(
        kept: Kept,
        lookup: impl Fn(usize) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> (Names, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        (Names::new(LONG, kept, move |_| lookup(counter.fetch_add(1, Ordering::SeqCst))), count)
    }

    fn not_found() -> io::Result<Vec<SocketAddr>> {
        Err(io::Error::other("Name or service not known"))
    }

    #[test]
    fn an_address_is_not_looked_up() {
        let (names, count) = counted(Kept::default(), |_| not_found());
        assert_eq!(names.addresses("10.0.0.1:443"), Ok(vec![address()]));
        assert!(names.addresses("[::1]:443").is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn what_was_found_and_what_failed_is_kept_for_its_time() {
        let (names, count) = counted(Kept { found: LONG, failed: LONG }, |_| Ok(vec![address()]));
        let (failing, failures) = counted(Kept { found: LONG, failed: LONG }, |_| not_found());
        for _ in 0..3 {
            assert_eq!(names.addresses("a:443"), Ok(vec![address()]));
            assert!(failing.addresses("a:443").unwrap_err().to_string().contains("the name a cannot be looked up"));
        }
        assert_eq!((count.load(Ordering::SeqCst), failures.load(Ordering::SeqCst)), (1, 1));
    }

    #[test]
    fn a_failure_is_forgotten_so_that_a_later_look_up_may_find_it() {
        let (names, count) = counted(Kept { found: LONG, failed: Duration::ZERO }, |number| {
            if number == 0 { not_found() } else { Ok(vec![address()]) }
        });
        assert!(names.addresses("a:443").is_err());
        assert_eq!(names.addresses("a:443"), Ok(vec![address()]));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_name_without_an_address_is_not_found() {
        let (names, _) = counted(Kept::default(), |_| Ok(Vec::new()));
        assert!(matches!(names.addresses("a:443"), Err(LookupError::Failed { .. })));
    }

    #[test]
    fn all_wait_for_one_look_up_and_share_its_outcome() {
        let (release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let (names, count) = counted(Kept { found: LONG, failed: LONG }, move |_| {
            held.lock().unwrap().recv().ok();
            Ok(vec![address()])
        });
        thread::scope(|scope| {
            let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| names.addresses("a:443"))).collect();
            release.send(()).unwrap();
            for waiter in waiting {
                assert_eq!(waiter.join().unwrap(), Ok(vec![address()]));
            }
        });
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_look_up_that_hangs_is_waited_for_until_the_deadline_and_not_asked_twice() {
        let (_release, held) = mpsc::channel::<()>();
        let (held, count) = (Mutex::new(held), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&count);
        let names = Names::new(Duration::from_millis(50), Kept::default(), move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            held.lock().unwrap().recv().ok();
            not_found()
        });
        for _ in 0..3 {
            let error = names.addresses("slow.example:443").unwrap_err();
            assert_eq!(error.to_string(), "the name slow.example could not be looked up within 50 ms");
        }
        assert!(count.load(Ordering::SeqCst) <= 1);
    }

    #[test]
    fn whoever_waits_can_be_sent_away() {
        let (_release, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let (names, count) = counted(Kept::default(), move |_| {
            held.lock().unwrap().recv().ok();
            not_found()
        });
        thread::scope(|scope| {
            let waiting = scope.spawn(|| names.addresses("a:443"));
            while count.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            names.cut();
            assert_eq!(waiting.join().unwrap(), Err(LookupError::Cut));
        });
        assert_eq!(names.addresses("b:443"), Err(LookupError::Cut));
    }
}
