//! How often somebody without a token may ask for a rebuild.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{PoisonError, RwLock};

use axum::http::{HeaderMap, StatusCode};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::Settings;
use super::connection::Peer;
use super::problem::Problem;

/// More addresses than this are not remembered longer than needed.
const ADDRESSES_MAX: usize = 10_000;

/// Who may ask without a token, and how often; the operator may change it at any time.
#[derive(Debug)]
pub struct Gate(RwLock<Limits>);

#[derive(Debug)]
struct Limits {
    /// Whether anybody may, how often from one address and how often in total.
    of: (bool, u32, u32),
    /// None lets nobody in.
    both: Option<(DefaultKeyedRateLimiter<IpAddr>, DefaultDirectRateLimiter)>,
}

impl Limits {
    fn new(settings: &Settings) -> Limits {
        let quota = |number| Some(Quota::per_hour(NonZeroU32::new(number)?));
        let limits = || {
            let each = RateLimiter::keyed(quota(settings.requests_per_hour_each)?);
            let total = RateLimiter::direct(quota(settings.requests_per_hour_total)?);
            Some((each, total))
        };
        let both = settings.anonymous_requests.then(limits).flatten();
        Limits { of: limits_of(settings), both }
    }
}

fn limits_of(settings: &Settings) -> (bool, u32, u32) {
    let Settings { requests_per_hour_each, requests_per_hour_total, .. } = settings;
    (settings.anonymous_requests, *requests_per_hour_each, *requests_per_hour_total)
}

impl Gate {
    /// A gate as the operator wants it.
    pub fn new(settings: &Settings) -> Gate {
        Gate(RwLock::new(Limits::new(settings)))
    }

    /// From now on the operator wants it like this. Limits that stay go on counting.
    pub fn set(&self, settings: &Settings) {
        let mut limits = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if limits.of != limits_of(settings) {
            *limits = Limits::new(settings);
        }
    }

    /// Lets one request in, or says when to come again.
    pub fn pass(&self, address: IpAddr) -> Result<(), Problem> {
        let limits = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some((each, total)) = &limits.both else {
            let detail = "a request for a rebuild needs a token: Authorization: Bearer vbt_…";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, detail));
        };
        if each.len() > ADDRESSES_MAX {
            each.retain_recent();
        }
        let now = DefaultClock::default().now();
        let refused = |detail: &str, wait: std::time::Duration| {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail).after(wait.as_secs() + 1)
        };
        // The address first: who is over his own limit takes nothing from the others'.
        each.check_key(&address).map_err(|until| {
            refused("too many requests from your address", until.wait_time_from(now))
        })?;
        total.check().map_err(|until| {
            refused("too many requests without a token", until.wait_time_from(now))
        })
    }
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
        gate.set(&Settings { requests_per_hour_total: 9, ..settings });
        assert!(gate.pass(two).is_ok());
        gate.set(&Settings::default());
        assert_eq!(gate.pass(two).unwrap_err().status, 401);
    }
}
