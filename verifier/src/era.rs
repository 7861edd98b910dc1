//! Eras: how CPython's source releases were packed in the course of time.
//!
//! Which era a release belongs to is read from the published bytes, and expected from its version
//! and its date. Both are recorded. A verdict never depends on it; a recipe may.

use std::fmt;
use std::panic::resume_unwind;
use std::str::FromStr;

use anyhow::Context;
use jiff::Timestamp;
use pep440_rs::VersionSpecifiers;
use serde::{Deserialize, Serialize};

use crate::authenticate::{AuthenticFile, AuthenticRelease};
use crate::compare::{self, Packing, TarWriter};
use crate::version::Version;

/// How releases were packed in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Era {
    /// By hand: GNU format, the manager's own user, times and order of the machine.
    E0,
    /// By the script, on the manager's machine.
    E1,
    /// By the script, on Ubuntu 22.04: tar 1.34.
    E2,
    /// By the script, on Ubuntu 24.04: tar 1.35.
    E3,
    /// The same; Misc/mypy is shipped.
    E4,
    /// The same; Misc/mypy is removed.
    E5,
}

/// An era, the day it began, and the versions that are known to belong to it.
struct Row {
    era: Era,
    began: &'static str,
    /// PEP 440 specifiers; a version belongs here if it fits one of them.
    versions: &'static [&'static str],
}

/// Versions in no row, such as those that only got security fixes, have an era by date only.
const ROWS: [Row; 6] = [
    Row {
        era: Era::E0,
        began: "1970-01-01T00:00:00Z",
        versions: &[
            ">=3.12.0a1,<=3.12.0",
            ">=3.11.0a1,<=3.11.6",
            ">=3.10.0a1,<=3.10.13",
            ">=3.9.0a1,<=3.9.18",
        ],
    },
    Row {
        era: Era::E1,
        began: "2023-10-05T00:00:00Z",
        versions: &["==3.11.7", "==3.12.1", "==3.12.2", ">=3.13.0a1,<=3.13.0a5"],
    },
    Row {
        era: Era::E2,
        began: "2024-03-19T00:00:00Z",
        versions: &[">=3.12.3,<=3.12.7", ">=3.13.0a6,<=3.13.0", "==3.14.0a1"],
    },
    Row {
        era: Era::E3,
        began: "2024-10-28T00:00:00Z",
        versions: &["==3.12.8", "==3.13.1", "==3.14.0a2", "==3.14.0a3"],
    },
    Row {
        era: Era::E4,
        began: "2025-01-14T00:00:00Z",
        versions: &["==3.12.9", "==3.13.2", ">=3.14.0a4,<=3.14.0a6"],
    },
    Row {
        era: Era::E5,
        began: "2025-04-08T00:00:00Z",
        versions: &[">=3.12.10,<3.13", ">=3.13.3,<3.14", ">=3.14.0a7"],
    },
];

/// What the published bytes tell about the era, and whether that is what is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraFinding {
    /// The eras that every published file fits; most often several, as some differ in tools that
    /// leave no trace in a header.
    pub read: Vec<Era>,
    /// What version and date say.
    pub expected: ExpectedEra,
    /// Whether all three agree.
    pub agrees: bool,
    /// What was read, by file.
    pub files: Vec<PackedFile>,
}

/// The era by what is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedEra {
    /// Of the version; null if it is not known to belong to one.
    pub version: Option<Era>,
    /// Of the date.
    pub date: Era,
}

/// A published file and how it was packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedFile {
    /// File name.
    pub name: String,
    #[serde(flatten)]
    pub packing: Packing,
}

/// Reads the era of a release from its published files.
pub fn read(authentic: &AuthenticRelease) -> anyhow::Result<EraFinding> {
    let files = std::thread::scope(|scope| {
        let read = |file| scope.spawn(move || read_file(file));
        let reading: Vec<_> = authentic.files().iter().map(read).collect();
        // A panic while reading is a bug, here as there.
        let files = reading.into_iter().map(|reading| reading.join());
        files
            .map(|file| file.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect::<anyhow::Result<Vec<PackedFile>>>()
    })?;
    let release = authentic.release();
    let expected = ExpectedEra::of(&release.version, release.announced)?;
    Ok(EraFinding::new(expected, files))
}

fn read_file(file: &AuthenticFile) -> anyhow::Result<PackedFile> {
    let name = file.announced.name.to_string();
    let packing = compare::packing(&file.path, &compare::Limits::default())
        .with_context(|| format!("read how {name} was packed"))?;
    Ok(PackedFile { name, packing })
}

impl EraFinding {
    fn new(expected: ExpectedEra, files: Vec<PackedFile>) -> EraFinding {
        let fits_all = |era: &Era| files.iter().all(|file| era.fits(&file.packing));
        let eras = ROWS.map(|row| row.era);
        let read: Vec<Era> = eras.into_iter().filter(fits_all).collect();
        let same = expected.version.is_none_or(|era| era == expected.date);
        let agrees = same && read.contains(&expected.date);
        EraFinding { read, expected, agrees, files }
    }

    /// What wrote the headers of every file; none if the files do not agree.
    pub fn tar(&self) -> Option<TarWriter> {
        let first = self.files.first()?.packing.tar;
        self.files.iter().all(|file| file.packing.tar == first).then_some(first)
    }
}

impl fmt::Display for EraFinding {
    /// `as in E1 or E3 or E4 or E5; E5 by its date`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let read: Vec<String> = self.read.iter().map(|era| format!("{era:?}")).collect();
        let read = if read.is_empty() { "no era".to_owned() } else { read.join(" or ") };
        write!(f, "as in {read}; {:?} by its date", self.expected.date)?;
        match self.expected.version {
            Some(era) if era != self.expected.date => write!(f, ", {era:?} by its version"),
            _ => Ok(()),
        }
    }
}

impl ExpectedEra {
    /// Of a release of `version`, announced at `date`.
    pub fn of(version: &Version, date: Timestamp) -> anyhow::Result<ExpectedEra> {
        let mut expected = ExpectedEra { version: None, date: Era::E0 };
        for row in &ROWS {
            for range in row.versions {
                let range = VersionSpecifiers::from_str(range).context("read the eras")?;
                if range.contains(version.as_pep440()) {
                    expected.version = Some(row.era);
                }
            }
            if row.began.parse::<Timestamp>().context("read the eras")? <= date {
                expected.date = row.era;
            }
        }
        Ok(expected)
    }
}

impl Era {
    /// Whether an archive of this era may be packed like this.
    pub fn fits(self, packing: &Packing) -> bool {
        if packing.note.is_some() {
            return false;
        }
        let by_script = packing.root_owned && packing.times == 1 && packing.sorted;
        let (tar, mypy) = (packing.tar, packing.mypy);
        match self {
            Era::E0 => tar == TarWriter::GnuFormat,
            Era::E1 => by_script && matches!(tar, TarWriter::Tar134 | TarWriter::Tar135) && !mypy,
            Era::E2 => by_script && tar == TarWriter::Tar134 && !mypy,
            Era::E3 | Era::E5 => by_script && tar == TarWriter::Tar135 && !mypy,
            // Not every branch had files in Misc/mypy.
            Era::E4 => by_script && tar == TarWriter::Tar135,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Era, EraFinding, ExpectedEra, PackedFile, ROWS};
    use crate::compare::{Packing, TarWriter};

    const SCRIPT: Packing = Packing {
        members: 5214,
        tar: TarWriter::Tar135,
        root_owned: true,
        times: 1,
        sorted: true,
        mypy: false,
        note: None,
    };

    #[track_caller]
    fn check(packing: Packing, eras: &[Era]) {
        let fitting = ROWS.map(|row| row.era).into_iter().filter(|era| era.fits(&packing));
        assert_eq!(fitting.collect::<Vec<_>>(), eras, "{packing:?}");
    }

    fn expected(version: &str, date: &str) -> ExpectedEra {
        ExpectedEra::of(&version.parse().unwrap(), date.parse().unwrap()).unwrap()
    }

    #[test]
    fn headers_tell_the_eras_apart_as_far_as_they_can() {
        check(SCRIPT, &[Era::E1, Era::E3, Era::E4, Era::E5]);
        check(Packing { tar: TarWriter::Tar134, ..SCRIPT }, &[Era::E1, Era::E2]);
        check(Packing { mypy: true, ..SCRIPT }, &[Era::E4]);
        let by_hand = Packing { root_owned: false, times: 4, sorted: false, ..SCRIPT };
        check(Packing { tar: TarWriter::GnuFormat, ..by_hand.clone() }, &[Era::E0]);
        check(by_hand, &[]);
        check(Packing { root_owned: false, ..SCRIPT }, &[]);
        check(Packing { times: 2, ..SCRIPT }, &[]);
        check(Packing { sorted: false, ..SCRIPT }, &[]);
        check(Packing { tar: TarWriter::Other, ..SCRIPT }, &[]);
        check(Packing { note: Some("it ends too early".to_owned()), ..SCRIPT }, &[]);
    }

    #[test]
    fn version_and_date_of_genuine_releases_expect_the_same_era() {
        for (version, date, era) in [
            ("3.9.2", "2021-02-19T00:00:00Z", Era::E0),
            ("3.10.13", "2023-08-24T00:00:00Z", Era::E0),
            ("3.11.2", "2023-02-08T00:00:00Z", Era::E0),
            ("3.11.6", "2023-10-02T00:00:00Z", Era::E0),
            ("3.12.0", "2023-10-02T00:00:00Z", Era::E0),
            ("3.12.0rc3", "2023-09-19T00:00:00Z", Era::E0),
            ("3.13.0a1", "2023-10-13T00:00:00Z", Era::E1),
            ("3.11.7", "2023-12-04T00:00:00Z", Era::E1),
            ("3.12.2", "2024-02-06T00:00:00Z", Era::E1),
            ("3.13.0a6", "2024-04-09T00:00:00Z", Era::E2),
            ("3.12.3", "2024-04-09T00:00:00Z", Era::E2),
            ("3.13.0", "2024-10-07T00:00:00Z", Era::E2),
            ("3.14.0a1", "2024-10-15T00:00:00Z", Era::E2),
            ("3.13.1", "2024-12-03T00:00:00Z", Era::E3),
            ("3.14.0a3", "2024-12-17T00:00:00Z", Era::E3),
            ("3.14.0a4", "2025-01-14T00:00:00Z", Era::E4),
            ("3.13.2", "2025-02-04T00:00:00Z", Era::E4),
            ("3.14.0a7", "2025-04-08T00:00:00Z", Era::E5),
            ("3.13.5", "2025-06-11T17:00:00Z", Era::E5),
        ] {
            let both = ExpectedEra { version: Some(era), date: era };
            assert_eq!(expected(version, date), both, "{version}");
        }
    }

    #[test]
    fn a_version_in_no_row_has_an_era_by_date_only() {
        let found = expected("3.10.14", "2024-03-19T20:00:00Z");
        assert_eq!(found, ExpectedEra { version: None, date: Era::E2 });
    }

    #[test]
    fn bytes_of_another_era_and_a_date_of_another_era_do_not_agree() {
        let file = |packing| PackedFile { name: "Python-3.13.5.tgz".to_owned(), packing };
        let expected_of = |date| expected("3.13.5", date);
        let today = "2025-06-11T17:00:00Z";
        let read = |date, packings: [Packing; 2]| {
            EraFinding::new(expected_of(date), packings.map(file).to_vec())
        };
        assert!(read(today, [SCRIPT, SCRIPT]).agrees);
        assert!(!read("2024-06-11T17:00:00Z", [SCRIPT, SCRIPT]).agrees);
        let older = || Packing { tar: TarWriter::Tar134, ..SCRIPT };
        let mixed = read(today, [SCRIPT, older()]);
        assert!(!mixed.agrees);
        assert_eq!((mixed.read, mixed.files.len()), (vec![Era::E1], 2));
        let old = read(today, [older(), older()]);
        assert_eq!((old.agrees, old.tar()), (false, Some(TarWriter::Tar134)));
        assert_eq!(old.to_string(), "as in E1 or E2; E5 by its date");
        let early = read("2024-06-11T17:00:00Z", [SCRIPT, SCRIPT]).to_string();
        assert_eq!(early, "as in E1 or E3 or E4 or E5; E2 by its date, E5 by its version");
    }

    #[test]
    fn a_finding_is_recorded_in_few_words() {
        let files = vec![PackedFile { name: "Python-3.13.5.tgz".to_owned(), packing: SCRIPT }];
        let finding = EraFinding::new(expected("3.13.5", "2025-06-11T17:00:00Z"), files);
        let json = serde_json::json!({
            "read": ["E1", "E3", "E4", "E5"],
            "expected": {"version": "E5", "date": "E5"},
            "agrees": true,
            "files": [{
                "name": "Python-3.13.5.tgz", "members": 5214, "tar": "1.35", "root_owned": true,
                "times": 1, "sorted": true, "mypy": false,
            }],
        });
        assert_eq!(serde_json::to_value(&finding).unwrap(), json);
        assert_eq!(serde_json::from_value::<EraFinding>(json).unwrap(), finding);
    }
}
