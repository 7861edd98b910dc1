//! The states that a release can be seen in, each with a word, a shape and a meaning of its own.

use crate::feed::AllowanceUsedUp;
use crate::queue::JobState;
use crate::recipe::NotCovered;
use crate::store::{FileStanding, LiveJob};

/// What a page says of a release or of one file of it. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Every byte came out of the tag.
    Pass,
    /// Some byte did not, or a claim about the bytes is false.
    Fail,
    /// The tag does not build.
    NotBuilt,
    /// It is in the queue or running.
    Pending,
    /// It is not complete yet: no tag or no file so far.
    Waiting,
    /// Nobody has looked.
    NotChecked,
    /// We could not look; this says nothing about the release.
    Trouble,
}

impl State {
    /// Every state, in the order in which legends list them.
    pub const ALL: [State; 7] = [
        State::Pass,
        State::Fail,
        State::NotBuilt,
        State::Pending,
        State::Waiting,
        State::NotChecked,
        State::Trouble,
    ];

    /// Of a release: what its newest record says of what is served; else what its job does.
    pub fn of_release(status: Option<&str>, job: Option<&LiveJob>) -> State {
        match status {
            Some(status) => State::of_status(status),
            None => job.map_or(State::NotChecked, State::of_job),
        }
    }

    /// Of a job that is not over.
    pub fn of_job(job: &LiveJob) -> State {
        match job.state {
            JobState::Running => State::Pending,
            // What is parked for a reason and without trouble: the tag moved.
            JobState::Parked if job.waiting.is_some() => State::NotChecked,
            JobState::Parked => State::Trouble,
            JobState::Queued | JobState::Done | JobState::Cancelled => {
                if let Some(reason) = &job.waiting {
                    return State::of_waiting(reason);
                }
                if job.error.is_some() { State::Trouble } else { State::Pending }
            }
        }
    }

    /// Of a job that waits for this reason. Only some reasons are about the release.
    pub fn of_waiting(reason: &str) -> State {
        if NotCovered::is(reason) {
            return State::NotChecked;
        }
        if AllowanceUsedUp::is(reason) { State::Pending } else { State::Waiting }
    }

    /// Of a file; without a verdict about what is served now, it is as its release is.
    pub fn of_file(file: Option<FileStanding>, job: Option<&LiveJob>) -> State {
        match file {
            Some(FileStanding::Reproduced | FileStanding::Replayed) => State::Pass,
            Some(FileStanding::Different | FileStanding::Disputed) => State::Fail,
            Some(FileStanding::NotBuilt) => State::NotBuilt,
            None => State::of_release(None, job),
        }
    }

    /// Of the word that the store keeps for a record's status.
    pub fn of_status(word: &str) -> State {
        match word {
            "pass" => State::Pass,
            "not_built" => State::NotBuilt,
            // The store's own checks let nothing else pass but these.
            _ => State::Fail,
        }
    }

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            State::Pass => "pass",
            State::Fail => "fail",
            State::NotBuilt => "not built",
            State::Pending => "pending",
            State::Waiting => "waiting",
            State::NotChecked => "not checked",
            State::Trouble => "trouble of ours",
        }
    }

    /// The class that gives it shape and colour in style.css.
    pub fn class(self) -> &'static str {
        match self {
            State::Pass => "p",
            State::Fail => "f",
            State::NotBuilt => "b",
            State::Pending => "q",
            State::Waiting => "w",
            State::NotChecked => "n",
            State::Trouble => "t",
        }
    }

    /// What it means, one sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            State::Pass => {
                "The rebuild gave every published file byte for byte (or replayed, where the page \
                 says so), and no claim about them that could be checked is false."
            }
            State::Fail => {
                "The rebuild gave other bytes, or a claim about the files or the tag is false: a \
                 size, a digest, a signature."
            }
            State::NotBuilt => "The tag's source could not be packed by the steps of its recipe.",
            State::Pending => "It is in the queue or being rebuilt; no verdict is published yet.",
            State::Waiting => {
                "It is not complete yet: the tag or the files are not there so far. A normal state \
                 of a new release."
            }
            State::NotChecked => "Nobody has judged what is published. This says nothing about it.",
            State::Trouble => {
                "We could not look: network, disk, a missing package. This says nothing about the \
                 release; it is tried again."
            }
        }
    }
}
