//! What python.org claims of a release's files, compared with what it claimed before. Pure.

use crate::observation::ObservationKind;
use crate::release::{PublishedFile, Release};

/// One claim that is another one now, or new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimChange {
    /// [`ObservationKind::ClaimChanged`] or [`ObservationKind::ClaimAdded`].
    pub kind: ObservationKind,
    /// The file that it is about.
    pub artifact: String,
    /// One sentence with both values.
    pub detail: String,
}

/// What is claimed otherwise than before, file by file. A file that is missing now is no change:
/// the answer may be cut, and whether the file is still served is looked at by itself.
pub fn changes(before: &Release, now: &Release) -> Vec<ClaimChange> {
    let mut changes = Vec::new();
    for new in &now.files {
        let Some(old) = before.files.iter().find(|file| file.name == new.name) else {
            let detail = format!("python.org's API did not announce {} and now does", new.name);
            let artifact = new.name.to_string();
            changes.push(ClaimChange { kind: ObservationKind::ClaimAdded, artifact, detail });
            continue;
        };
        for ((claim, old_value), (_, new_value)) in claims(old).into_iter().zip(claims(new)) {
            changes.extend(change(new, claim, old_value, new_value));
        }
    }
    changes
}

fn change(
    file: &PublishedFile,
    claim: &str,
    old: Option<String>,
    new: Option<String>,
) -> Option<ClaimChange> {
    if old == new {
        return None;
    }
    let kind = match old {
        Some(_) => ObservationKind::ClaimChanged,
        None => ObservationKind::ClaimAdded,
    };
    let text = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
    let detail = format!(
        "python.org's API claimed {} as the {claim} of {} and now claims {}",
        text(old),
        file.name,
        text(new)
    );
    Some(ClaimChange { kind, artifact: file.name.to_string(), detail })
}

/// Everything that is claimed of a file, by name, always in the same order.
fn claims(file: &PublishedFile) -> Vec<(&'static str, Option<String>)> {
    let sidecars = &file.sidecars;
    let url = |url: &Option<url::Url>| url.as_ref().map(ToString::to_string);
    vec![
        ("URL", Some(file.url.to_string())),
        ("size", file.size.map(|size| size.to_string())),
        ("SHA-256", file.sha256.map(|digest| digest.to_string())),
        ("MD5", file.md5.map(|digest| digest.to_string())),
        ("OpenPGP signature", url(&sidecars.asc)),
        ("Sigstore bundle", url(&sidecars.bundle)),
        ("Sigstore signature", url(&sidecars.signature)),
        ("Sigstore certificate", url(&sidecars.certificate)),
        ("SPDX document", url(&sidecars.sbom)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(change: impl FnOnce(&mut PublishedFile)) -> Release {
        let url = "https://www.python.org/ftp/python/3.13.5/Python-3.13.5.tgz";
        let mut file = PublishedFile {
            name: "Python-3.13.5.tgz".parse().unwrap(),
            url: url.parse().unwrap(),
            size: Some(7),
            sha256: None,
            md5: None,
            sidecars: Default::default(),
        };
        change(&mut file);
        Release {
            version: "3.13.5".parse().unwrap(),
            announced: "2025-06-11T17:00:00Z".parse().unwrap(),
            files: vec![file],
            ignored: Vec::new(),
        }
    }

    #[track_caller]
    fn check(now: &Release, expected: &[(ObservationKind, &str)]) {
        let found = changes(&release(|_| ()), now);
        let found: Vec<_> =
            found.iter().map(|change| (change.kind, change.detail.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_claim_that_changed_is_told_from_one_that_was_added() {
        use ObservationKind::{ClaimAdded, ClaimChanged};
        check(&release(|_| ()), &[]);
        let size = "python.org's API claimed 7 as the size of Python-3.13.5.tgz and now claims 8";
        check(&release(|file| file.size = Some(8)), &[(ClaimChanged, size)]);
        let none = "python.org's API claimed 7 as the size of Python-3.13.5.tgz and now claims \
            nothing";
        check(&release(|file| file.size = None), &[(ClaimChanged, none)]);
        let signature = "https://www.python.org/ftp/python/3.13.5/Python-3.13.5.tgz.asc";
        let signed = "python.org's API claimed nothing as the OpenPGP signature of \
            Python-3.13.5.tgz and now claims \
            https://www.python.org/ftp/python/3.13.5/Python-3.13.5.tgz.asc";
        let signed_now = release(|file| file.sidecars.asc = Some(signature.parse().unwrap()));
        check(&signed_now, &[(ClaimAdded, signed)]);
    }

    #[test]
    fn a_file_that_is_missing_now_is_not_believed_and_a_new_one_is() {
        let mut cut = release(|_| ());
        cut.files.clear();
        check(&cut, &[]);
        let mut longer = release(|_| ());
        let mut second = longer.files[0].clone();
        second.name = "Python-3.13.5.tar.xz".parse().unwrap();
        longer.files.push(second);
        let added = "python.org's API did not announce Python-3.13.5.tar.xz and now does";
        check(&longer, &[(ObservationKind::ClaimAdded, added)]);
    }
}
