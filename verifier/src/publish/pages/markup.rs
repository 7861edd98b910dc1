//! From values to markup: escaping, times, numbers.

use std::fmt;

use askama::filters::{Escaper, Html};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::compare::report::printable;

/// How every value is written into a template: unsafe characters (controls, and those that reorder
/// or hide text) become visible escapes, then what HTML reserves is escaped.
#[derive(Clone, Copy, Debug)]
pub struct Printed;

impl Escaper for Printed {
    fn write_escaped_str<W: fmt::Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        // Most of what is written is plain, and is written as it is.
        if string.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Html.write_escaped_str(&mut dest, string);
        }
        Html.write_escaped_str(&mut dest, &printable(string))
    }
}

/// A time as a `datetime` attribute and in words: whole seconds, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// `2026-11-21T16:04:35Z`.
    pub machine: String,
    /// `2026-11-21 16:04 UTC`.
    pub minute: String,
    /// `2026-11-21`.
    pub day: String,
}

impl Moment {
    pub fn new(at: Timestamp) -> Moment {
        let civil = at.to_zoned(TimeZone::UTC);
        Moment {
            machine: civil.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            minute: civil.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            day: civil.strftime("%Y-%m-%d").to_string(),
        }
    }

    /// A time that the store keeps as text; none if it is not one.
    pub fn read(text: &str) -> Option<Moment> {
        text.parse().ok().map(Moment::new)
    }
}

/// `56.2 s`, `3 min 20 s`, `1 h 5 min`.
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0..60 => format!("{}.{} s", seconds, milliseconds % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `1 file`, `2 files`.
pub fn counted(number: usize, noun: &str) -> String {
    let number = number as u64;
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", crate::compare::report::grouped(number))
}

#[cfg(test)]
mod tests {
    use askama::filters::Escaper;

    use super::{Moment, Printed, duration};

    #[track_caller]
    fn check(input: &str, expect: &str) {
        let mut out = String::new();
        Printed.write_escaped_str(&mut out, input).unwrap();
        assert_eq!(out, expect);
    }

    #[test]
    fn what_comes_from_outside_opens_no_element_and_reorders_no_line() {
        check("Misc/NEWS", "Misc/NEWS");
        check("<b a='\">&", "&#60;b a=&#39;&#34;&#62;&#38;");
        check("a\u{202e}b\u{1b}[1m\n", "a\\u{202e}b\\x1b[1m\\x0a");
        check("Grüße → <", "Grüße → &#60;");
    }

    #[test]
    fn times_are_written_in_utc_without_a_fraction() {
        let moment = Moment::read("2026-11-21T16:04:35.123456Z").unwrap();
        assert_eq!(moment.machine, "2026-11-21T16:04:35Z");
        assert_eq!((moment.minute, moment.day).1, "2026-11-21");
        assert_eq!(Moment::read("soon"), None);
    }

    #[test]
    fn durations_are_as_exact_as_a_reader_needs() {
        for (milliseconds, expect) in
            [(40, "0.0 s"), (56_240, "56.2 s"), (200_000, "3 min 20 s"), (3_900_000, "1 h 5 min")]
        {
            assert_eq!(duration(milliseconds), expect);
        }
    }
}
