//! POST to somebody's receiver, whose URL an operator wrote.
//!
//! It promises: never longer than `seconds_max`; no redirect followed; no proxy; what comes back is
//! not read beyond its headers. Unless the operator allows it, no address is connected to that is
//! not one of the internet: each address that a name resolves to is looked at right before it is
//! connected to, so that a name cannot say one thing when it is checked and another when it is
//! used. No error names the URL, in which there may be a secret.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Url, redirect};

use super::address::is_public;

const CONNECT_SECONDS_MAX: u64 = 10;

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of the internet.
    Public,
    /// Loopback, private and link-local ones, too.
    Anywhere,
}

/// One message and its bounds.
#[derive(Clone)]
pub struct Post {
    /// Where to.
    pub url: Url,
    /// Which addresses may be connected to.
    pub reach: Reach,
    /// Header fields, by name.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Longest time for the whole exchange, in seconds.
    pub seconds_max: u64,
}

/// What a receiver said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// `Retry-After`, if it is a number.
    pub retry_after_seconds: Option<u64>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// An address that the operator does not allow, or a header that cannot be sent.
    #[error("refused: {0}")]
    Refused(String),
    /// DNS, TCP, TLS or HTTP framing.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The whole exchange took too long.
    #[error("took longer than {0} s")]
    TooSlow(u64),
}

/// The client; cheap to clone.
#[derive(Clone, Debug)]
pub struct Sender {
    public: reqwest::Client,
    anywhere: reqwest::Client,
}

impl Sender {
    /// A client with this machine's certificate roots.
    pub fn new() -> anyhow::Result<Sender> {
        let builder = || {
            super::client()
                .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
                .redirect(redirect::Policy::none())
                // What a proxy connects to cannot be looked at here.
                .no_proxy()
                // Messages are hours apart.
                .pool_max_idle_per_host(0)
        };
        let public = builder().dns_resolver(Arc::new(OnlyPublic)).build()?;
        Ok(Sender { public, anywhere: builder().build()? })
    }

    /// Sends the message once.
    pub async fn post(&self, post: &Post) -> Result<Answered, PostError> {
        let client = match post.reach {
            Reach::Public => {
                // A literal address is connected to without a resolver.
                literal(&post.url).map_or(Ok(()), allowed)?;
                &self.public
            }
            Reach::Anywhere => &self.anywhere,
        };
        let request = client
            .post(post.url.clone())
            .headers(headers(&post.headers)?)
            .body(post.body.clone())
            .send();
        let limit = Duration::from_secs(post.seconds_max);
        let response = match tokio::time::timeout(limit, request).await {
            Ok(response) => response.map_err(|error| trouble(&error, post.seconds_max))?,
            Err(_) => return Err(PostError::TooSlow(post.seconds_max)),
        };
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after_seconds = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Answered { status: response.status().as_u16(), retry_after_seconds })
    }
}

/// Resolves names to addresses of the internet only.
struct OnlyPublic;

impl Resolve for OnlyPublic {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The connector puts the URL's port in the place of 0.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            let public: Vec<SocketAddr> =
                found.iter().copied().filter(|address| is_public(address.ip())).collect();
            match (public.is_empty(), found.first()) {
                (true, Some(first)) => Err(NotPublic(first.ip()).into()),
                (true, None) => Err(io::Error::other("the name has no address").into()),
                (false, _) => Ok(Box::new(public.into_iter()) as Addrs),
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} is no address of the internet, and `internal` is not set")]
struct NotPublic(IpAddr);

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}

fn allowed(address: IpAddr) -> Result<(), PostError> {
    match is_public(address) {
        true => Ok(()),
        false => Err(PostError::Refused(NotPublic(address).to_string())),
    }
}

fn headers(fields: &[(&'static str, String)]) -> Result<HeaderMap, PostError> {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = HeaderValue::from_str(value)
            .map_err(|_| PostError::Refused(format!("the header {name} cannot be sent")))?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

/// Tells our own refusals from the network's trouble.
fn trouble(error: &reqwest::Error, seconds_max: u64) -> PostError {
    if error.is_timeout() {
        return PostError::TooSlow(CONNECT_SECONDS_MAX.min(seconds_max));
    }
    // The outermost one names the URL.
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let mut innermost = "the exchange failed".to_owned();
    for cause in causes {
        if let Some(refused) = cause.downcast_ref::<NotPublic>() {
            return PostError::Refused(refused.to_string());
        }
        innermost = cause.to_string();
    }
    PostError::Unreachable(innermost)
}
