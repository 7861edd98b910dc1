//! Evidence: what is claimed about a release beside its bytes, and how each check of it ended.
//!
//! Evidence never turns a difference into a pass. A claim that *disagrees* blocks the pass: the
//! record's status is then `fail`, with that reason.

use serde::{Deserialize, Serialize};

use crate::http::without_secrets;

/// One check and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was checked.
    pub check: Check,
    /// Name of the file, or of the tag.
    pub artifact: String,
    /// How it ended.
    pub outcome: CheckOutcome,
    /// One sentence that says who, what and when; empty where the outcome says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Evidence {
    /// The check of `artifact` ended like this.
    pub fn new(check: Check, artifact: &str, outcome: CheckOutcome, detail: String) -> Evidence {
        // It is published, and may tell of trouble with a URL of the operator's.
        let detail = without_secrets(&detail).into_owned();
        Evidence { check, artifact: artifact.to_owned(), outcome, detail }
    }
}

/// What is claimed, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The API's size of the file.
    Size,
    /// The API's SHA-256 of the file.
    Sha256,
    /// The API's MD5 of the file.
    Md5,
    /// The file's Sigstore bundle, or its .sig and .crt.
    Sigstore,
    /// The file's OpenPGP signature (.asc).
    Openpgp,
    /// The tag's OpenPGP signature.
    TagSignature,
    /// Tag, commit and tree are those of every earlier record.
    Tag,
    /// The file's SPDX document.
    Sbom,
    /// The SHA-256 that an independent party keeps.
    Witness,
}

/// How a check ended. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// Claim and bytes say the same.
    Agrees,
    /// They do not: this blocks a pass.
    Disagrees,
    /// Nothing is claimed where something should be.
    Missing,
    /// Nothing is claimed, and nothing should be.
    NotExpected,
    /// Nothing is claimed so far; it is expected to come.
    NotYet,
    /// The check could not be made; the detail says why.
    CannotCheck,
}

impl Check {
    /// The name as it stands in a record, with spaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Check::Size => "size",
            Check::Sha256 => "sha256",
            Check::Md5 => "md5",
            Check::Sigstore => "sigstore",
            Check::Openpgp => "openpgp",
            Check::TagSignature => "tag signature",
            Check::Tag => "tag",
            Check::Sbom => "sbom",
            Check::Witness => "witness",
        }
    }
}

impl CheckOutcome {
    /// The outcome in words.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckOutcome::Agrees => "agrees",
            CheckOutcome::Disagrees => "disagrees",
            CheckOutcome::Missing => "missing",
            CheckOutcome::NotExpected => "not expected",
            CheckOutcome::NotYet => "not yet",
            CheckOutcome::CannotCheck => "cannot check",
        }
    }
}
