//! Independent witnesses: parties that keep SHA-256 records of published files for purposes of
//! their own. Whoever replaces a file on python.org cannot replace them too.
//!
//! The door is [`ask`]; [`judge`] is its pure half. A witness agrees, disagrees (an alarm), is
//! silent, or cannot be asked; each answer carries its date. None of this fails the line: a witness
//! that cannot be reached, or answers with something else, is evidence of kind *cannot check*.

mod definition;
mod formats;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use rebuilder::Digest;

use crate::compare::report::printable;
use crate::environment;
use crate::evidence::{Check, CheckOutcome, Evidence};
use crate::http::{Client, Get, HttpError, Transport};
use crate::version::Version;

pub use definition::{Place, Witness};
pub use formats::{Format, Statement, Unreadable, parse};

/// Longest record that is fetched or read, in bytes.
const RECORD_BYTES_MAX: u64 = 64 << 20;
/// Longest time for one witness, in seconds.
const WITNESS_SECONDS_MAX: u64 = 120;
/// Characters of a reason that are kept.
const REASON_CHARS_MAX: usize = 300;

/// What a witness was found to say, and when it was asked.
#[derive(Debug)]
pub struct Answer {
    /// When the answer came.
    pub asked: Timestamp,
    /// Its records of the files, or why there are none.
    pub statement: Result<Statement, String>,
}

/// What witnesses are asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub client: &'a Client,
    /// The archives whose indexes are records, and who signs them.
    pub settings: &'a environment::Settings,
    pub version: &'a Version,
    /// Names, and the SHA-256 of the bytes that were fetched.
    pub files: &'a [(String, Digest)],
}

/// Asks all `witnesses` at once. Whoever has not answered when `patience` ends cannot be asked.
/// Gives one piece of evidence a witness and file, in the order given.
pub async fn ask(
    question: Question<'_>,
    witnesses: &[Witness],
    patience: impl Future<Output = ()>,
) -> Vec<Evidence> {
    let Question { version, files, .. } = question;
    let covers = |(_, witness): &(usize, &Witness)| witness.covers(version);
    let mut asking: FuturesUnordered<_> = witnesses
        .iter()
        .enumerate()
        .filter(covers)
        .map(|(place, witness)| async move {
            let statement = records(question, witness).await;
            (place, Answer { asked: Timestamp::now(), statement })
        })
        .collect();
    let mut answers: Vec<Option<Answer>> = witnesses.iter().map(|_| None).collect();
    let mut patience = pin!(patience);
    loop {
        tokio::select! {
            biased;
            answer = asking.next() => match answer {
                Some((place, answer)) => answers[place] = Some(answer),
                None => break,
            },
            () = &mut patience => break,
        }
    }
    let mut evidence = Vec::new();
    for (witness, answer) in witnesses.iter().zip(answers) {
        let answer = answer.unwrap_or_else(Answer::too_late);
        evidence.extend(files.iter().map(|(name, sha256)| match witness.covers(version) {
            true => judge(witness, name, *sha256, &answer),
            false => not_expected(witness, name, version),
        }));
    }
    evidence
}

impl Answer {
    fn too_late() -> Answer {
        let reason = "it had not answered when the rebuild was over".to_owned();
        Answer { asked: Timestamp::now(), statement: Err(reason) }
    }
}

/// What the `answer` means for the file `name`, whose bytes have the digest `ours`.
pub fn judge(witness: &Witness, name: &str, ours: Digest, answer: &Answer) -> Evidence {
    let by = &witness.name;
    let statement = answer.statement.as_ref();
    let recorded = statement.ok().and_then(|statement| statement.recorded);
    let recorded = recorded.map(|date| format!("; its record is of {date}")).unwrap_or_default();
    let dates = format!("; asked {:.0}{recorded}", answer.asked);
    let evidence = |outcome, what: String| {
        Evidence::new(Check::Witness, name, outcome, format!("{by} {what}{dates}"))
    };
    let records = match statement {
        Ok(statement) => statement.records_of(name),
        Err(reason) => {
            let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
            let what = format!("cannot be asked: {}", printable(&reason));
            return evidence(CheckOutcome::CannotCheck, what);
        }
    };
    let theirs: Vec<String> = records.iter().map(Digest::to_string).collect();
    let theirs = theirs.join(" and ");
    match (records.len(), records.contains(&ours)) {
        (0, _) => evidence(CheckOutcome::Missing, format!("says nothing about {name}")),
        (1, true) => evidence(CheckOutcome::Agrees, "keeps the same SHA-256".to_owned()),
        // 3.14.0a5 was replaced within a day, and a list that was kept all along has both. It
        // does not contradict these bytes, but it does not say which ones are the release either.
        (_, true) => evidence(
            CheckOutcome::CannotCheck,
            format!("keeps several SHA-256 for {name}, this file's being one of them: {theirs}"),
        ),
        (_, false) => evidence(
            CheckOutcome::Disagrees,
            format!("keeps SHA-256 {theirs} for {name}, and this file has {ours}"),
        ),
    }
}

fn not_expected(witness: &Witness, name: &str, version: &Version) -> Evidence {
    let detail = format!("{} keeps no record of {version}", witness.name);
    Evidence::new(Check::Witness, name, CheckOutcome::NotExpected, detail)
}

/// The witness's records of the `files`, within its time.
async fn records(question: Question<'_>, witness: &Witness) -> Result<Statement, String> {
    let asked = async {
        let Some(record) = record(question, witness).await? else {
            return Ok(Statement::default());
        };
        let names: Vec<String> = question.files.iter().map(|(name, _)| name.clone()).collect();
        let format = witness.format;
        // A Sources index unpacks to 60 MB.
        let work = move || parse(format, &record.bytes, &names);
        let parsed = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
        let mut statement = parsed.map_err(|error| error.to_string())?;
        statement.recorded = record.date;
        Ok(statement)
    };
    match tokio::time::timeout(Duration::from_secs(WITNESS_SECONDS_MAX), asked).await {
        Ok(result) => result,
        Err(_) => Err(format!("it took longer than {WITNESS_SECONDS_MAX} s")),
    }
}

/// The bytes of a record.
struct Record {
    bytes: Vec<u8>,
    /// The date that the record itself carries.
    date: Option<Timestamp>,
}

/// The bytes; `None` where the witness keeps one file a version and has none of this one.
async fn record(question: Question<'_>, witness: &Witness) -> Result<Option<Record>, String> {
    let Question { client, settings, version, .. } = question;
    match &witness.place {
        Place::Url(url) => {
            let get = Get {
                url: url
                    .of(version)
                    .parse()
                    .map_err(|error| format!("its URL is none: {error}"))?,
                size_bytes_max: RECORD_BYTES_MAX,
                seconds_max: WITNESS_SECONDS_MAX,
                transport: Transport::Secure,
            };
            match client.bytes(&get).await {
                Ok(bytes) => Ok(Some(Record { bytes, date: None })),
                Err(HttpError::NotFound { .. }) if url.is_of_one_version() => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        }
        Place::File(path) => {
            let place = PathBuf::from(path.of(version));
            let read = tokio::task::spawn_blocking(move || read(&place)).await;
            match read.map_err(|error| error.to_string())? {
                Ok(bytes) => Ok(Some(Record { bytes, date: None })),
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && path.is_of_one_version() =>
                {
                    Ok(None)
                }
                // The path is the operator's own business, and evidence is published.
                Err(error) => Err(format!("its file cannot be read: {error}")),
            }
        }
        Place::Suite { suite, component } => {
            let sources = environment::sources(suite, component, settings, client).await;
            let (date, bytes) = sources.map_err(|error| format!("{:#}", anyhow::anyhow!(error)))?;
            Ok(Some(Record { bytes, date: Some(date) }))
        }
    }
}

fn read(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(RECORD_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > RECORD_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {RECORD_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
