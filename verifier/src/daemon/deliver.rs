//! Tells webhooks what changed: each one by itself, so that a slow receiver delays nobody else.
//!
//! A change is delivered at least once: what is owed stands in the store, and a delivery whose
//! sender died is sent again, with the same id.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;

use super::{Daemon, stopped};
use crate::clock;
use crate::fault;
use crate::http::{Answered, Post, PostError, Sender};
use crate::observation::AlarmKind;
use crate::store::{DeliveryRow, DeliveryState, Store};
use crate::webhook::{Key, Message, Webhook, next_wait};

/// What is due is looked for this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A receiver may take this long.
const ATTEMPT_SECONDS_MAX: u64 = 15;
/// A delivery whose sender says nothing for so long is sent again.
const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// The webhooks, ready to be sent to. Without any there is no client either.
#[derive(Clone, Debug)]
pub struct Couriers(Arc<Vec<Courier>>);

#[derive(Clone, Debug)]
struct Courier {
    webhook: Webhook,
    key: Key,
    sender: Sender,
}

impl Couriers {
    /// Reads the secrets, and tells the store to whom changes are owed from now on.
    pub async fn new(webhooks: &[Webhook], store: &Store) -> anyhow::Result<Couriers> {
        let mut couriers = Vec::new();
        if !webhooks.is_empty() {
            let sender = Sender::new()?;
            for webhook in webhooks {
                let (webhook, sender) = (webhook.clone(), sender.clone());
                couriers.push(Courier { key: webhook.key()?, webhook, sender });
            }
        }
        store.set_webhooks(webhooks).await?;
        Ok(Couriers(Arc::new(couriers)))
    }
}

/// Delivers what is due, until it is told to stop. A courier's panic is that of the daemon.
pub async fn deliver(daemon: Daemon, mut stop: signal::Receiver<bool>) {
    let mut each = JoinSet::new();
    for courier in daemon.couriers.0.iter() {
        let (daemon, courier, stop) = (daemon.clone(), courier.clone(), stop.clone());
        each.spawn(async move { to_one(&daemon, &courier, stop).await });
    }
    loop {
        tokio::select! {
            // An attempt that is cut off is made again.
            () = stopped(&mut stop) => return,
            Some(ended) = each.join_next() => {
                if let Err(error) = ended {
                    // Nobody cancels one: this is a bug, and a restart is the cure.
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        }
    }
}

/// One attempt of everything that is due.
pub async fn round(daemon: &Daemon) {
    for courier in daemon.couriers.0.iter() {
        while next(daemon, courier).await {}
    }
}

async fn to_one(daemon: &Daemon, courier: &Courier, mut stop: signal::Receiver<bool>) {
    while !*stop.borrow() {
        if next(&daemon.current(), courier).await {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stopped(&mut stop) => {}
        }
    }
}

/// Sends what is due first; false if nothing was, or there was trouble of ours.
async fn next(daemon: &Daemon, courier: &Courier) -> bool {
    match attempt(daemon, courier).await {
        Ok(something) => something,
        Err(error) => {
            tracing::warn!(webhook = courier.webhook.name, "{error:#}");
            false
        }
    }
}

async fn attempt(daemon: &Daemon, courier: &Courier) -> anyhow::Result<bool> {
    let store = &daemon.line.store;
    let Some(delivery) = store.take_delivery(&courier.webhook.name, LEASE).await? else {
        return Ok(false);
    };
    let settings = &daemon.line.config.server;
    let message = Message::of(&delivery.change, |path| settings.public(path))?;
    fault::before("deliver")?;
    let post = Post {
        url: courier.webhook.url.clone(),
        reach: courier.webhook.reach,
        headers: courier.key.headers(&message, clock::now()),
        body: message.body.into_bytes(),
        seconds_max: ATTEMPT_SECONDS_MAX,
    };
    let outcome = Outcome::of(courier.sender.post(&post).await);
    fault::after("deliver")?;
    note(daemon, &delivery, outcome).await?;
    Ok(true)
}

/// What an attempt came to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Taken(String),
    /// And not sooner than after this time, if the receiver says so.
    NotNow(String, SignedDuration),
    /// The receiver wants no more of it.
    Unwanted(String),
}

impl Outcome {
    fn of(answered: Result<Answered, PostError>) -> Outcome {
        match answered {
            Ok(Answered { status, .. }) if (200..300).contains(&status) => {
                Outcome::Taken(format!("HTTP {status}"))
            }
            // The standard: this receiver is gone.
            Ok(Answered { status: 410, .. }) => Outcome::Unwanted("HTTP 410".to_owned()),
            Ok(Answered { status, .. }) if (300..400).contains(&status) => {
                let text = format!("HTTP {status}: redirects are not followed");
                Outcome::NotNow(text, SignedDuration::ZERO)
            }
            Ok(Answered { status, retry_after_seconds }) => {
                let seconds = i64::try_from(retry_after_seconds.unwrap_or(0)).unwrap_or(i64::MAX);
                Outcome::NotNow(format!("HTTP {status}"), SignedDuration::from_secs(seconds))
            }
            Err(error) => Outcome::NotNow(error.to_string(), SignedDuration::ZERO),
        }
    }
}

async fn note(daemon: &Daemon, delivery: &DeliveryRow, outcome: Outcome) -> anyhow::Result<()> {
    let store = &daemon.line.store;
    let queue = &daemon.line.config.queue;
    let webhook = &delivery.webhook;
    let version = &delivery.change.version;
    let answer = match outcome {
        Outcome::Taken(answer) => {
            tracing::info!(webhook, %version, "delivered");
            store.end_delivery(delivery.seq, DeliveryState::Delivered, &answer).await?;
            return store.settle_alarm(AlarmKind::WebhookFailed, webhook).await;
        }
        Outcome::NotNow(answer, asked) => {
            let before = delivery.attempts.saturating_sub(1);
            let fraction = super::fraction();
            match next_wait(queue.retry, before, queue.park, asked, fraction) {
                Some(wait) => {
                    tracing::info!(webhook, %version, "not delivered: {answer}");
                    return store.send_again(delivery.seq, &answer, clock::now() + wait).await;
                }
                None => answer,
            }
        }
        Outcome::Unwanted(answer) => answer,
    };
    tracing::warn!(webhook, %version, "given up: {answer}");
    let detail = format!(
        "the change of {version} was not delivered in {} attempts: {answer}",
        delivery.attempts
    );
    store.raise(AlarmKind::WebhookFailed, webhook, &detail).await?;
    store.end_delivery(delivery.seq, DeliveryState::Failed, &answer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_is_taken_and_only_gone_is_final() {
        let of =
            |status, retry_after_seconds| Outcome::of(Ok(Answered { status, retry_after_seconds }));
        for status in [200, 201, 204] {
            assert_eq!(of(status, None), Outcome::Taken(format!("HTTP {status}")));
        }
        assert_eq!(of(410, None), Outcome::Unwanted("HTTP 410".to_owned()));
        let minute = SignedDuration::from_mins(1);
        assert_eq!(of(429, Some(60)), Outcome::NotNow("HTTP 429".to_owned(), minute));
        for status in [301, 400, 401, 404, 500, 503] {
            assert!(matches!(of(status, None), Outcome::NotNow(_, SignedDuration::ZERO)));
        }
        let slow = Outcome::of(Err(PostError::TooSlow(15)));
        assert!(matches!(slow, Outcome::NotNow(_, SignedDuration::ZERO)));
    }
}
