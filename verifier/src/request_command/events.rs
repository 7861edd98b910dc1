//! Server-sent events (HTML Living Standard, section 9.2.6), as far as our own server sends them,
//! read from pieces of any size.

/// An event that is longer is not ours.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The place in the stream, for `Last-Event-ID`.
    pub id: String,
    /// What kind of news.
    pub kind: String,
    /// What it says.
    pub data: String,
}

/// The event is longer than any of ours.
#[derive(Debug, thiserror::Error)]
#[error("the server sent an event of more than {EVENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// Puts pieces together.
#[derive(Debug, Default)]
pub struct Events {
    rest: Vec<u8>,
    event: Event,
}

impl Events {
    /// The events that `piece` completes.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, TooLong> {
        self.rest.extend_from_slice(piece);
        let mut complete = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if !line.is_empty() {
                self.field(line);
                continue;
            }
            let event = std::mem::take(&mut self.event);
            if !event.data.is_empty() {
                complete.push(event);
            }
        }
        if self.rest.len() + self.event.data.len() > EVENT_BYTES_MAX {
            return Err(TooLong);
        }
        Ok(complete)
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => value.clone_into(&mut self.event.id),
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            // A comment is a sign of life.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_in_whatever_pieces_they_come() {
        let text = ":\n\nid: 12\nevent: log\ndata: {\"a\": 1}\r\n\n: alive\n\nevent:state\n\
                    data:one\ndata: two\nid:34-end\n\nid: 5\n\ndata: unfinished\n";
        let expected = [("12", "log", "{\"a\": 1}"), ("34-end", "state", "one\ntwo")];
        for size in 1..text.len() {
            let mut events = Events::default();
            let mut seen = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                seen.extend(events.push(piece).unwrap());
            }
            let seen: Vec<_> =
                seen.iter().map(|e| (e.id.as_str(), e.kind.as_str(), e.data.as_str())).collect();
            assert_eq!(seen, expected, "{size}");
        }
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut events = Events::default();
        let line = format!("data: {}\n", "x".repeat(9_000));
        let mut pushes = (0..1_000).map(|_| events.push(line.as_bytes()));
        assert!(pushes.any(|pushed| pushed.is_err()));
        let mut events = Events::default();
        assert!(events.push(&vec![b'x'; EVENT_BYTES_MAX + 1]).is_err());
    }
}
