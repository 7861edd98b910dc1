//! How often somebody without a token may ask for a rebuild.
//!
//! It promises: a bound on what is remembered; and nobody is let in more often because others ask
//! much, or because the operator changed a limit.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::Settings;
use super::connection::Peer;
use super::problem::Problem;

/// So many addresses are remembered; when there are as many, no other one is let in until the limit
/// of one of them is replenished.
const ADDRESSES_MAX: usize = 10_000;
/// When to come again if there are too many.
const CROWDED: Duration = Duration::from_secs(60);

/// Who may ask without a token, and how often; the operator may change it at any time.
#[derive(Debug)]
pub struct Gate(Mutex<Limits>);

#[derive(Debug)]
struct Limits {
    wanted: Wanted,
    /// Only who was let in is remembered: nobody can fill this faster than the limit of all.
    each: HashMap<IpAddr, Bucket>,
    total: Option<Bucket>,
}

/// What the operator wants: nobody is let in without both quotas.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    each: Option<Quota>,
    total: Option<Quota>,
}

impl Wanted {
    fn new(settings: &Settings) -> Wanted {
        let quota = |number| Some(Quota::per_hour(NonZeroU32::new(number)?));
        let quota = |number| quota(number).filter(|_| settings.anonymous_requests);
        let (each, total) = (settings.requests_per_hour_each, settings.requests_per_hour_total);
        Wanted { each: quota(each), total: quota(total) }
    }
}

/// What is left of one limit.
#[derive(Debug)]
struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
    quota: Quota,
    /// When nothing is used of it any more.
    replenished: Instant,
}

impl Bucket {
    fn new(quota: Quota) -> Bucket {
        let limiter = RateLimiter::direct(quota).with_middleware();
        Bucket { limiter, quota, replenished: Instant::now() }
    }

    /// Takes one, or says how long until there is one.
    fn take(&mut self) -> Result<(), Duration> {
        let left = self
            .limiter
            .check()
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()))?;
        let used = self.quota.burst_size().get() - left.remaining_burst_capacity();
        self.replenished = Instant::now() + self.quota.replenish_interval() * used;
        Ok(())
    }

    /// As much is used of it, but the limit is `quota` from now on.
    fn set(&mut self, quota: Quota) {
        if self.quota == quota {
            return;
        }
        let interval = self.quota.replenish_interval().as_nanos().max(1);
        let used = self.left_until_replenished().as_nanos().div_ceil(interval);
        let used = u32::try_from(used).unwrap_or(u32::MAX).min(quota.burst_size().get());
        *self = Bucket::new(quota);
        if let Some(used) = NonZeroU32::new(used) {
            // There is room for it: no more was used than the quota has.
            let _ = self.limiter.check_n(used);
            self.replenished += quota.replenish_interval() * used.get();
        }
    }

    fn left_until_replenished(&self) -> Duration {
        self.replenished.saturating_duration_since(Instant::now())
    }
}

impl Gate {
    /// A gate as the operator wants it.
    pub fn new(settings: &Settings) -> Gate {
        let wanted = Wanted::new(settings);
        Gate(Mutex::new(Limits { wanted, each: HashMap::new(), total: None }))
    }

    /// From now on the operator wants it like this. What was counted counts on.
    pub fn set(&self, settings: &Settings) {
        self.limits().wanted = Wanted::new(settings);
    }

    /// Lets one request in, or says when to come again.
    pub fn pass(&self, address: IpAddr) -> Result<(), Problem> {
        self.limits().pass(address)
    }

    fn limits(&self) -> MutexGuard<'_, Limits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    fn pass(&mut self, address: IpAddr) -> Result<(), Problem> {
        let Wanted { each: Some(each), total: Some(total) } = self.wanted else {
            let detail = "a request for a rebuild needs a token: Authorization: Bearer vbt_…";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        };
        let all = self.total.get_or_insert_with(|| Bucket::new(total));
        all.set(total);
        let all = |wait| refused("too many requests without a token", wait);
        let own = |wait| refused("too many requests from your address", wait);
        // The address first: who is over his own limit takes nothing from the others'.
        if let Some(known) = self.each.get_mut(&address) {
            known.set(each);
            known.take().map_err(own)?;
            return self.total.as_mut().map_or(Ok(()), Bucket::take).map_err(all);
        }
        if self.each.len() >= ADDRESSES_MAX {
            self.each.retain(|_, known| !known.left_until_replenished().is_zero());
        }
        if self.each.len() >= ADDRESSES_MAX {
            return Err(refused("too many addresses ask for rebuilds", CROWDED));
        }
        self.total.as_mut().map_or(Ok(()), Bucket::take).map_err(all)?;
        let mut first = Bucket::new(each);
        first.take().map_err(own)?;
        self.each.insert(address, first);
        Ok(())
    }
}

fn refused(detail: &str, wait: Duration) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).after(wait.as_secs() + 1)
}

/// The client's address. A peer on this machine is a reverse proxy, if it says for whom it asks:
/// what the proxy itself added is the last entry of `X-Forwarded-For`.
pub fn address(peer: Peer, headers: &HeaderMap) -> IpAddr {
    let own = peer.0.ip().to_canonical();
    let last = || {
        let forwarded = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
        forwarded.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
    };
    let address = if own.is_loopback() { last().unwrap_or(own) } else { own };
    network(address.to_canonical())
}

/// A household has 2^64 IPv6 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, forwarded: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", axum::http::HeaderValue::from_static(value));
        }
        address(Peer(peer.parse().unwrap()), &headers).to_string()
    }

    #[test]
    fn only_a_proxy_on_this_machine_is_believed() {
        assert_eq!(seen("192.0.2.7:1", &["198.51.100.1"]), "192.0.2.7");
        assert_eq!(seen("127.0.0.1:1", &["203.0.113.9, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(seen("127.0.0.1:1", &["203.0.113.9", "198.51.100.2"]), "198.51.100.2");
        assert_eq!(seen("127.0.0.1:1", &["nonsense"]), "127.0.0.1");
        assert_eq!(seen("[2001:db8:1:2:3:4:5:6]:1", &[]), "2001:db8:1:2::");
        assert_eq!(seen("[::ffff:192.0.2.7]:1", &[]), "192.0.2.7");
    }

    #[test]
    fn one_address_at_its_limit_leaves_the_others_theirs() {
        let settings = Settings {
            anonymous_requests: true,
            requests_per_hour_each: 2,
            requests_per_hour_total: 3,
            ..Settings::default()
        };
        let gate = Gate::new(&settings);
        let [one, two]: [IpAddr; 2] = [[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        assert!(gate.pass(one).is_ok() && gate.pass(one).is_ok());
        for _ in 0..5 {
            assert_eq!(gate.pass(one).unwrap_err().status, 429);
        }
        assert!(gate.pass(two).is_ok());
        let refused = gate.pass(two).unwrap_err();
        assert_eq!((refused.status, refused.detail.contains("without a token")), (429, true));
        assert_eq!(Gate::new(&Settings::default()).pass(one).unwrap_err().status, 401);
        gate.set(&settings);
        assert_eq!(gate.pass(two).unwrap_err().status, 429, "what was counted still counts");
        gate.set(&Settings::default());
        assert_eq!(gate.pass(two).unwrap_err().status, 401);
    }

    fn settings(requests_per_hour_each: u32, requests_per_hour_total: u32) -> Settings {
        let anonymous_requests = true;
        Settings {
            anonymous_requests,
            requests_per_hour_each,
            requests_per_hour_total,
            ..Settings::default()
        }
    }

    fn number(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn what_was_counted_counts_on_when_a_limit_is_changed() {
        let gate = Gate::new(&settings(2, 100));
        let passed = |address: u32| (0..20).filter(|_| gate.pass(number(address)).is_ok()).count();
        assert_eq!(passed(1), 2);
        gate.set(&settings(2, 200));
        assert_eq!(passed(1), 0);
        gate.set(&settings(3, 200));
        assert_eq!(passed(1), 1);
        gate.set(&Settings::default());
        assert_eq!(passed(1), 0);
        gate.set(&settings(3, 4));
        assert_eq!((passed(1), passed(2)), (0, 1), "three of four are used of the total");
        gate.set(&settings(1, 200));
        assert_eq!((passed(1), passed(2), passed(3)), (0, 0, 1));
    }

    #[test]
    fn many_addresses_take_little_memory_and_reset_nobodys_limit() {
        let gate = Gate::new(&settings(1, 5));
        let passed = (0..50_000).filter(|address| gate.pass(number(*address)).is_ok()).count();
        assert_eq!((passed, gate.limits().each.len()), (5, 5), "who is refused is not remembered");
        let gate = Gate::new(&settings(1, u32::MAX));
        for address in 0..ADDRESSES_MAX as u32 {
            assert!(gate.pass(number(address)).is_ok());
        }
        for address in 0..20_000 {
            let refused = gate.pass(number(address)).unwrap_err();
            assert_eq!(refused.status, 429);
        }
        assert_eq!(gate.limits().each.len(), ADDRESSES_MAX);
        // Whose limit is replenished is forgotten first.
        gate.limits().each.get_mut(&number(7)).unwrap().replenished = Instant::now();
        assert!(gate.pass(number(20_000)).is_ok());
        assert!(gate.pass(number(8)).is_err() && gate.pass(number(20_001)).is_err());
        assert!(!gate.limits().each.contains_key(&number(7)));
    }
}
