//! How a run of the program under test ended, as a user sees it.

use std::process::Output;

use serde_json::Value;

/// Exit status and everything that was printed.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// From what the operating system says.
    pub fn of(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).expect("what is printed is UTF-8");
        let code = output.status.code();
        Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The one document on standard output.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_str(&self.stdout) {
            Ok(document) => document,
            Err(error) => panic!("standard output is not one JSON document: {error}\n{self:?}"),
        }
    }

    /// The one sentence in which the program says why it gave up; it is the last line.
    #[track_caller]
    pub fn sentence(&self) -> &str {
        let is_sentence = |line: &&str| line.starts_with("verbatim: ");
        let sentences: Vec<&str> = self.stderr.split('\n').filter(is_sentence).collect();
        let [sentence] = sentences.as_slice() else {
            panic!("{} sentences instead of one: {self:?}", sentences.len())
        };
        let controls = self.stderr.chars().any(|c| c.is_control() && c != '\n');
        assert!(!controls, "control characters on standard error: {self:?}");
        assert!(self.stderr.ends_with(&format!("{sentence}\n")), "not the last line: {self:?}");
        sentence
    }

    /// Panics unless the program ended with `code`.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Ran {
        assert_eq!(self.code, Some(code), "exit status; {}{}", self.stdout, self.stderr);
        self
    }

    /// Panics unless it gave up: exit 2, nothing on standard output, one sentence with `expected`.
    #[track_caller]
    pub fn gives_up(&self, expected: &str) {
        self.exits(2);
        assert_eq!(self.stdout, "", "nothing is judged, so nothing is printed");
        let sentence = self.sentence();
        assert!(sentence.contains(expected), "{sentence:?} does not say {expected:?}");
    }
}
