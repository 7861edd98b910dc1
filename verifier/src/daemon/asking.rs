//! Requests to python.org's API: so many a day, each sent once, and none while python.org wants to
//! be left alone.

use anyhow::Context;
use jiff::SignedDuration;

use crate::clock;
use crate::config;
use crate::feed::AllowanceUsedUp;
use crate::http::{Client, HttpError};
use crate::line::Line;
use crate::store::ApiRequest;

/// The longest wait that is believed.
const THROTTLED_SECONDS_MAX: u64 = 24 * 3600;
/// Until when python.org wants to be left alone.
pub const NOT_BEFORE: &str = "feed.not_before";

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The list of releases, at its usual pace.
    List,
    /// The files of a release that is new.
    Release,
    /// What can wait.
    Rest,
}

/// Asks python.org's API with a client that sends what was counted once.
pub async fn ask<T>(
    line: &Line,
    purpose: Purpose,
    request: impl AsyncFnOnce(&Client, &config::Feed) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let feed = &line.config.feed;
    if let Some(retry_after_seconds) = asked_to_wait(line).await? {
        return Err(HttpError::Throttled { url: feed.api.clone(), retry_after_seconds }.into());
    }
    let counted = match purpose {
        Purpose::List => ApiRequest::List,
        Purpose::Release | Purpose::Rest => ApiRequest::Other { most: most(purpose, feed) },
    };
    if !line.store.take_api_request(counted, feed.requests_per_day).await? {
        return Err(AllowanceUsedUp.into());
    }
    let answer = request(&line.client.without_retries(), feed).await;
    if let Err(error) = &answer
        && let Some(seconds) = throttled(error)
    {
        let until = clock::now() + SignedDuration::from_secs(seconds.cast_signed());
        line.store.set_fact(NOT_BEFORE, &until.to_string()).await?;
    }
    answer
}

/// Whether anything is left of the day's requests for what can wait.
pub async fn has_spare_requests(line: &Line) -> bool {
    let others = line.store.other_api_requests().await;
    others.is_ok_and(|others| others < most(Purpose::Rest, &line.config.feed))
}

/// How many of a day's requests are for this: what the list at its usual pace does not need, but
/// half of all at least; and what can wait leaves a fifth of that to new releases.
fn most(purpose: Purpose, feed: &config::Feed) -> u32 {
    let interval = feed.interval.as_millis().max(1);
    let lists = SignedDuration::from_hours(24).as_millis().unsigned_abs() / interval.unsigned_abs();
    let all = feed.requests_per_day;
    let others = all - u32::try_from(lists).unwrap_or(u32::MAX).min(all / 2);
    match purpose {
        Purpose::List => all,
        Purpose::Release => others,
        Purpose::Rest => others - others / 5,
    }
}

/// The wait in seconds that python.org asks for; a day at most.
pub fn throttled(error: &anyhow::Error) -> Option<u64> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(HttpError::Throttled { retry_after_seconds, .. }) => {
            Some((*retry_after_seconds).min(THROTTLED_SECONDS_MAX))
        }
        _ => None,
    })
}

/// How much of a wait is left that python.org asked for, maybe of an earlier process, in seconds.
async fn asked_to_wait(line: &Line) -> anyhow::Result<Option<u64>> {
    let Some(until) = line.store.fact(NOT_BEFORE).await? else { return Ok(None) };
    let until: jiff::Timestamp = until.parse().context("read how long python.org said to wait")?;
    let left = until.duration_since(clock::now()).as_secs();
    // A clock that was set back must not make it longer.
    Ok(u64::try_from(left).ok().filter(|left| (1..=THROTTLED_SECONDS_MAX).contains(left)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(requests_per_day: u32, minutes: i64) -> [u32; 2] {
        let interval = SignedDuration::from_mins(minutes);
        let feed = config::Feed { requests_per_day, interval, ..config::Feed::default() };
        [most(Purpose::Release, &feed), most(Purpose::Rest, &feed)]
    }

    #[test]
    fn what_the_list_needs_is_nobody_elses() {
        assert_eq!(shares(100, 30), [52, 42]);
        assert_eq!(shares(100, 60), [76, 61]);
        // A pace that the allowance does not cover leaves half of it.
        assert_eq!(shares(100, 1), [50, 40]);
        assert_eq!(shares(1, 30), [1, 1]);
    }
}
