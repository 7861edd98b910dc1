//! Answers that were rendered, by path, as long as nothing was written since.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

use super::answer::entity_tag;
use crate::publish::site::{Caching, Resource};

/// All bodies and paths together.
const BYTES_MAX: usize = 16 << 20;
/// A larger body is rendered each time.
const BODY_BYTES_MAX: usize = 1 << 20;

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Rendered {
    /// Of a 200 answer. A 304 answer has the same but for the type.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The entity tag, as it stands in the headers.
    pub tag: String,
    /// Since when it is what it is, in whole seconds since 1970; none if it may change at any time.
    pub unchanged_since: Option<i64>,
}

impl Rendered {
    /// `now` is the latest time that `Last-Modified` may name (RFC 9110, section 8.8.2.1).
    pub fn new(resource: Resource, now: Timestamp) -> Rendered {
        let Resource { body, media_type, caching, modified, policy } = resource;
        let modified = Some(modified.min(now)).filter(|at| *at > Timestamp::UNIX_EPOCH);
        let tag = entity_tag(&body);
        let mut headers = HeaderMap::with_capacity(8);
        let fixed = [
            (header::CONTENT_TYPE, media_type),
            (header::CACHE_CONTROL, caching.header()),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut put = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        put(header::ETAG, &tag);
        if let Some(at) = modified {
            put(header::LAST_MODIFIED, &httpdate::fmt_http_date(at.into()));
        }
        // `Last-Modified` is the time of the newest fact. What a job waits for, or that an alarm is
        // over, has none, and yet the body is another one then.
        let unchanged_since =
            modified.filter(|_| caching == Caching::Forever).map(Timestamp::as_second);
        Rendered { headers, body: body.into(), tag, unchanged_since }
    }

    fn bytes(&self) -> usize {
        self.body.len() + 1024
    }
}

/// What was rendered since the last write.
#[derive(Debug, Default)]
pub struct Memory(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    generation: u64,
    bytes: usize,
    answers: HashMap<String, Arc<Rendered>>,
}

impl Memory {
    /// What was kept for `path` under this generation.
    pub fn get(&self, path: &str, generation: u64) -> Option<Arc<Rendered>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if kept.generation != generation {
            return None;
        }
        kept.answers.get(path).cloned()
    }

    /// Keeps an answer that was rendered under this generation. What is of an older one goes; so
    /// does everything when there is too much of it.
    pub fn keep(&self, path: &str, generation: u64, answer: Arc<Rendered>) {
        if answer.body.len() > BODY_BYTES_MAX {
            return;
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let bytes = path.len() + answer.bytes();
        if generation < kept.generation {
            return;
        }
        if generation > kept.generation || kept.bytes + bytes > BYTES_MAX {
            *kept = Kept { generation, ..Kept::default() };
        }
        if kept.answers.insert(path.to_owned(), answer).is_none() {
            kept.bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::site::POLICY;

    fn answer(length: usize) -> Arc<Rendered> {
        let resource = Resource {
            body: vec![b'x'; length],
            media_type: "text/plain",
            caching: Caching::Page,
            modified: Timestamp::UNIX_EPOCH,
            policy: POLICY,
        };
        Arc::new(Rendered::new(resource, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn what_was_kept_goes_with_the_next_write() {
        let memory = Memory::default();
        memory.keep("/a", 3, answer(5));
        assert!(memory.get("/a", 3).is_some());
        assert!(memory.get("/a", 4).is_none() && memory.get("/b", 3).is_none());
        memory.keep("/b", 4, answer(5));
        assert!(memory.get("/a", 3).is_none());
        // Somebody who was slow to render is too late.
        memory.keep("/a", 3, answer(5));
        assert!(memory.get("/a", 3).is_none() && memory.get("/b", 4).is_some());
    }

    #[test]
    fn it_never_keeps_more_than_it_may() {
        let memory = Memory::default();
        for number in 0..100 {
            memory.keep(&format!("/{number}"), 1, answer(BODY_BYTES_MAX));
            assert!(memory.0.read().unwrap().bytes <= BYTES_MAX);
        }
        assert!(memory.get("/99", 1).is_some());
        memory.keep("/large", 1, answer(BODY_BYTES_MAX + 1));
        assert!(memory.get("/large", 1).is_none());
    }
}
