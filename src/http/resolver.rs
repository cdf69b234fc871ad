//! ureq's name look-up, with a cache: ureq looks names up for every request.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::HttpError;

/// How long addresses are cached.
const KEPT: Duration = Duration::from_mins(1);

/// The error of a look-up. An unknown name and a failing name service look the same.
pub fn failed(name: &str, error: &Error) -> HttpError {
    HttpError::Unreachable(match error {
        Error::Timeout(_) => format!("the name {name} cannot be looked up (timed out)"),
        Error::HostNotFound => format!("the name {name} has no address"),
        Error::Io(said) => format!("the name {name} cannot be looked up ({said})"),
        said => format!("the name {name} cannot be looked up ({said})"),
    })
}

/// Caches the addresses of another resolver.
#[derive(Debug)]
pub struct CachingResolver<R> {
    inner: R,
    kept: Duration,
    known: Mutex<HashMap<Option<String>, (Instant, ResolvedSocketAddrs)>>,
}

impl Default for CachingResolver<DefaultResolver> {
    fn default() -> Self {
        Self { inner: DefaultResolver::default(), kept: KEPT, known: Mutex::default() }
    }
}

impl<R: Resolver> Resolver for CachingResolver<R> {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        // Not locked during a look-up, which may take until its deadline.
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = uri.scheme().zip(uri.authority());
        let key = key.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        if let Some((since, addresses)) = known().get(&key)
            && since.elapsed() < self.kept
        {
            return Ok(addresses.clone());
        }
        let addresses = self
            .inner
            .resolve(uri, config, timeout)
            .map_err(|error| Error::Other(Box::new(failed(uri.host().unwrap_or_default(), &error))))?;
        known().insert(key, (Instant::now(), addresses.clone()));
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use ureq::Timeout;

    /// Fails this often before it finds something, first with an error, then with a timeout.
    #[derive(Debug)]
    struct Counted {
        asked: AtomicUsize,
        failures: usize,
    }

    impl Resolver for Counted {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            if asked < self.failures {
                let unknown = Error::Io(io::Error::other("Name or service not known"));
                return Err(if asked == 0 { unknown } else { Error::Timeout(Timeout::Resolve) });
            }
            let mut found = self.empty();
            found.push(([10, 0, 0, 1], 443).into());
            Ok(found)
        }
    }

    fn counted(kept: Duration, failures: usize) -> CachingResolver<Counted> {
        CachingResolver { inner: Counted { asked: AtomicUsize::new(0), failures }, kept, known: Mutex::default() }
    }

    fn look_up(resolver: &CachingResolver<Counted>, address: &str) -> Result<ResolvedSocketAddrs, String> {
        let found = resolver.resolve(&address.parse().unwrap(), &Config::default(), NextTimeout::default());
        found.map_err(|error| error.to_string())
    }

    #[rstest]
    #[case::kept(Duration::from_mins(1), 3)]
    #[case::no_longer_kept(Duration::ZERO, 5)]
    fn each_host_and_port_is_looked_up_once_for_its_time(#[case] kept: Duration, #[case] expected: usize) {
        let resolver = counted(kept, 0);
        for address in ["https://a/x", "https://a:443/y", "https://a:8443/x", "https://b/x", "https://u:p@a/x"] {
            assert_eq!(look_up(&resolver, address).unwrap().len(), 1);
        }
        assert_eq!(resolver.inner.asked.load(Ordering::SeqCst), expected);
    }

    #[test]
    fn a_failure_names_the_host_and_is_not_kept() {
        let resolver = counted(Duration::from_mins(1), 2);
        let failed = look_up(&resolver, "https://a/x").unwrap_err();
        assert!(failed.contains("the name a cannot be looked up (Name or service not known)"), "{failed}");
        let too_slow = look_up(&resolver, "https://a/x").unwrap_err();
        assert!(too_slow.contains("the name a cannot be looked up (timed out)"), "{too_slow}");
        assert!(look_up(&resolver, "https://a/x").is_ok());
    }
}
