//! Who signed, and should they have? Every outcome of a signature that is there.
//!
//! Pure but for reading the file that is signed. The same checks serve the line and
//! `verbatim authenticate`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use pgp::packet::Signature;
use rebuilder::Digest;

use super::sigstore::{Signed, SigstoreError};
use super::trust::{Exception, Expected, Trust};
use crate::evidence::CheckOutcome;
use crate::openpgp::{self, OpenpgpError};
use crate::source::Source;
use crate::version::Version;

/// How a check ended, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub outcome: CheckOutcome,
    pub detail: String,
}

impl Finding {
    /// An outcome with its sentence.
    pub fn new(outcome: CheckOutcome, detail: impl Into<String>) -> Finding {
        Finding { outcome, detail: detail.into() }
    }

    /// A signature that is longer than any.
    pub fn too_large(what: &str) -> Finding {
        let detail = format!("its {what} is longer than any signature");
        Finding::new(CheckOutcome::Disagrees, detail)
    }
}

/// A file whose signature is checked.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Where its bytes are.
    pub path: &'a Path,
    /// Their SHA-256.
    pub sha256: Digest,
    /// Which release it belongs to.
    pub version: &'a Version,
}

/// The detached OpenPGP signature `asc` of a file.
pub fn asc(asc: &[u8], subject: Subject, trust: &Trust, now: Timestamp) -> anyhow::Result<Finding> {
    let open = || File::open(subject.path);
    judge(openpgp::read_detached(asc), &open, subject.version, trust, now)
}

/// The Sigstore bundle of a file.
pub fn bundle(text: &[u8], subject: Subject, trust: &Trust) -> anyhow::Result<Finding> {
    let signed = match trust.authority.bundle(text, File::open(subject.path)?) {
        Ok(signed) => signed,
        Err(error) => return Ok(of_sigstore(&error)),
    };
    let Some(expected) = trust.expected(subject.version)? else {
        return Ok(unknown_manager(subject.version));
    };
    Ok(match identity(&signed, &expected) {
        Ok(whose) => Finding::new(CheckOutcome::Agrees, signed_by(&signed, &whose)),
        Err(finding) => finding,
    })
}

/// The detached Sigstore signature and certificate of a file. At best nothing is wrong with them:
/// see [`super::sigstore::Authority::detached`].
pub fn detached(
    signature: &[u8],
    certificate: &[u8],
    subject: Subject,
    trust: &Trust,
) -> anyhow::Result<Finding> {
    let signed = match trust.authority.detached(signature, certificate, subject.sha256) {
        Ok(signed) => signed,
        Err(error) => return Ok(of_sigstore(&error)),
    };
    let Some(expected) = trust.expected(subject.version)? else {
        return Ok(unknown_manager(subject.version));
    };
    Ok(match identity(&signed, &expected) {
        Ok(whose) => Finding::new(
            CheckOutcome::CannotCheck,
            format!(
                "{}, by the certificate; but without a bundle nothing proves that it was signed \
                 in the ten minutes in which that was valid",
                signed_by(&signed, &whose)
            ),
        ),
        Err(finding) => finding,
    })
}

/// The OpenPGP signature in the raw tag object; none for a tag that only is a name.
pub fn tag(
    raw: Option<&[u8]>,
    source: &Source,
    version: &Version,
    trust: &Trust,
    now: Timestamp,
) -> anyhow::Result<Finding> {
    let (signed, signature) = match raw.map(split_tag) {
        Some((signed, Some(signature))) => (signed, signature),
        unsigned => {
            let kind = if unsigned.is_some() { "annotated" } else { "lightweight" };
            let outcome = match trust.expects_openpgp(version) {
                true => CheckOutcome::Missing,
                false => CheckOutcome::NotExpected,
            };
            return Ok(Finding::new(outcome, format!("the tag is {kind} and not signed")));
        }
    };
    let finding = judge(openpgp::read_detached(signature), &|| Ok(signed), version, trust, now)?;
    // The signed text says which tag it is: that of another release would be good, too.
    if finding.outcome == CheckOutcome::Agrees && !names(signed, source) {
        let detail = format!("{}, but as another tag or of another commit", finding.detail);
        return Ok(Finding::new(CheckOutcome::Disagrees, detail));
    }
    Ok(finding)
}

/// Git signs everything before the signature, which comes last.
fn split_tag(raw: &[u8]) -> (&[u8], Option<&[u8]>) {
    const BEGIN: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
    let starts = |place: &usize| {
        raw[*place..].starts_with(BEGIN) && (*place == 0 || raw[*place - 1] == b'\n')
    };
    match (0..raw.len()).rev().find(starts) {
        Some(place) => (&raw[..place], Some(&raw[place..])),
        None => (raw, None),
    }
}

fn names(signed: &[u8], source: &Source) -> bool {
    let header: Vec<&[u8]> =
        signed.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty()).collect();
    let has = |line: String| header.contains(&line.as_bytes());
    has(format!("object {}", source.commit))
        && has("type commit".to_owned())
        && has(format!("tag {}", source.tag))
}

fn judge<R: Read>(
    signatures: Result<Vec<Signature>, OpenpgpError>,
    signed: &dyn Fn() -> io::Result<R>,
    version: &Version,
    trust: &Trust,
    now: Timestamp,
) -> anyhow::Result<Finding> {
    let Some(expected) = trust.expected(version)? else {
        return Ok(unknown_manager(version));
    };
    let signatures = match signatures {
        Ok(signatures) => signatures,
        // As with bundles: a signature that is announced and is none does not hold.
        Err(error) => return Ok(Finding::new(CheckOutcome::Disagrees, error.to_string())),
    };
    let mut worst = None;
    for signature in &signatures {
        let finding = one(signature, signed()?, &expected, trust, now);
        if finding.outcome == CheckOutcome::Agrees {
            return Ok(finding);
        }
        worst.get_or_insert(finding);
    }
    let none = || Finding::new(CheckOutcome::Disagrees, "there is no signature");
    Ok(worst.unwrap_or_else(none))
}

fn one(
    signature: &Signature,
    signed: impl Read,
    expected: &Expected,
    trust: &Trust,
    now: Timestamp,
) -> Finding {
    let manager = expected.manager;
    let should = match manager.fingerprint() {
        Some(fingerprint) => format!("{} (key {fingerprint}) should have", manager.name),
        None => format!("{} has no OpenPGP key", manager.name),
    };
    match openpgp::check(signature, signed, trust.keyring(), now) {
        Ok(signer) => {
            let fingerprint = signer.fingerprint.as_str();
            let name = trust.owner(fingerprint).unwrap_or("somebody unknown");
            let who = format!("signed by {name} (key {fingerprint}) on {}", signer.made);
            let mut signers = expected.signers();
            match signers.find(|(one, _)| one.fingerprint() == Some(fingerprint)) {
                Some((_, None)) => Finding::new(CheckOutcome::Agrees, who),
                Some((_, Some(exception))) => {
                    Finding::new(CheckOutcome::Agrees, format!("{who}; {}", excused(exception)))
                }
                None => Finding::new(CheckOutcome::Disagrees, format!("{who}, but {should}")),
            }
        }
        Err(OpenpgpError::UnknownKey(issuer)) => stranger(&issuer, expected, trust, &should),
        Err(error) => Finding::new(CheckOutcome::Disagrees, error.to_string()),
    }
}

/// A signature by a key that is not at hand: it may be the right one, or a subkey of it.
fn stranger(issuer: &str, expected: &Expected, trust: &Trust, should: &str) -> Finding {
    let at_hand = |fingerprint: &str| {
        trust.keyring().iter().any(|one| openpgp::fingerprint(one) == fingerprint)
    };
    for (manager, _) in expected.signers() {
        let Some(fingerprint) = manager.fingerprint() else {
            let detail = format!("it is signed by key {issuer}, but {should}");
            return Finding::new(CheckOutcome::CannotCheck, detail);
        };
        if !at_hand(fingerprint) {
            let detail = format!(
                "it says to be signed by key {issuer}; the key {fingerprint} of {}, who should \
                 have, is not at hand",
                manager.name
            );
            return Finding::new(CheckOutcome::CannotCheck, detail);
        }
    }
    let detail = format!("it is signed by the unknown key {issuer}, but {should}");
    Finding::new(CheckOutcome::Disagrees, detail)
}

/// Whose identity it is, or that it is the wrong one.
fn identity(signed: &Signed, expected: &Expected) -> Result<String, Finding> {
    for (manager, exception) in expected.signers() {
        let should = &manager.sigstore;
        if signed.identity == should.identity && signed.issuer == should.issuer {
            let excuse = exception.map(|exception| format!("; {}", excused(exception)));
            return Ok(format!("{}{}", manager.name, excuse.unwrap_or_default()));
        }
    }
    let manager = expected.manager;
    Err(Finding::new(
        CheckOutcome::Disagrees,
        format!(
            "signed by {} ({}) on {}, but {} should have as {}",
            signed.identity, signed.issuer, signed.at, manager.name, manager.sigstore
        ),
    ))
}

fn signed_by(signed: &Signed, whose: &str) -> String {
    format!("signed by {} ({}) on {}: {whose}", signed.identity, signed.issuer, signed.at)
}

fn excused(exception: &Exception) -> String {
    format!("known since {}: {}", exception.date, exception.reason)
}

fn of_sigstore(error: &SigstoreError) -> Finding {
    let outcome = match error {
        SigstoreError::Refused(_) => CheckOutcome::Disagrees,
        SigstoreError::Undecided(_) => CheckOutcome::CannotCheck,
    };
    Finding::new(outcome, error.to_string())
}

fn unknown_manager(version: &Version) -> Finding {
    Finding::new(
        CheckOutcome::CannotCheck,
        format!("who should have signed {version} is not known here"),
    )
}
