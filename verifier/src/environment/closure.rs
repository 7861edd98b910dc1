//! From the packages that are wanted to all that they need, the same every time.
//!
//! Only `Pre-Depends` and `Depends` count. The first alternative that is chosen already wins, then
//! the first that the archive has, as a package or as a virtual package provided by another (in
//! order of name). Conflicts are not looked at: two packages that hold the same file cannot be
//! unpacked into one tree.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use anyhow::{Context, ensure};
use debversion::Version;

use super::definition::{EnvironmentSpec, LockedPackage, Word};
use super::index::Package;

/// Most packages of one environment.
const PACKAGES_MAX: usize = 2_000;

/// The packages of `spec` with everything that they depend on, in order of name.
pub fn resolve(
    spec: &EnvironmentSpec,
    packages: &BTreeMap<Word, Package>,
) -> anyhow::Result<Vec<LockedPackage>> {
    let index = Index::new(packages)?;
    let mut chosen = BTreeSet::new();
    let mut pending = Vec::new();
    for name in &spec.packages {
        let package = packages.get(name);
        let package = package.with_context(|| format!("{} has no package {name}", spec.suite))?;
        if chosen.insert(name) {
            pending.push(package);
        }
    }
    // Breadth first, so that what the spec names is there before anything is chosen for it.
    let mut next = 0;
    while let Some(package) = pending.get(next) {
        next += 1;
        ensure!(next <= PACKAGES_MAX, "more than {PACKAGES_MAX} packages are needed");
        let name = &package.locked.name;
        let relations = parse_relations(&package.depends)
            .with_context(|| format!("read the dependencies of {name}"))?;
        for alternatives in relations {
            if alternatives.iter().any(|one| index.choices(one).any(|found| chosen.contains(found)))
            {
                continue;
            }
            match index.first_choice(&alternatives, spec) {
                Choice::Package(found) => {
                    chosen.insert(found);
                    pending.push(&packages[found]);
                }
                Choice::Omitted => {}
                Choice::None => anyhow::bail!(
                    "{name} needs {}, which {} {} does not have",
                    describe(&alternatives),
                    spec.suite,
                    spec.architecture
                ),
            }
        }
    }
    Ok(chosen.into_iter().map(|name| packages[name].locked.clone()).collect())
}

enum Choice<'a> {
    Package(&'a Word),
    Omitted,
    None,
}

/// The archive, with virtual packages by name.
struct Index<'a> {
    packages: &'a BTreeMap<Word, Package>,
    providers: BTreeMap<String, Vec<(&'a Word, Relation)>>,
}

impl<'a> Index<'a> {
    fn new(packages: &'a BTreeMap<Word, Package>) -> anyhow::Result<Index<'a>> {
        let mut providers: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for (name, package) in packages {
            let provided = parse_relations(&package.provides)
                .with_context(|| format!("read what {name} provides"))?;
            for relation in provided.into_iter().flatten() {
                providers.entry(relation.name.clone()).or_default().push((name, relation));
            }
        }
        Ok(Index { packages, providers })
    }

    /// The packages that satisfy `relation`: the one of that name, then its providers by name.
    fn choices(&self, relation: &Relation) -> impl Iterator<Item = &'a Word> {
        let by_name = relation.name.parse::<Word>().ok();
        let real = by_name.and_then(|name| self.packages.get_key_value(&name));
        let real = real.filter(|(_, package)| relation.accepts(package.locked.version.as_str()));
        let providers = self.providers.get(&relation.name).into_iter().flatten();
        let providers = providers.filter(|(_, provided)| match &provided.version {
            // Policy 7.5: an unversioned Provides satisfies no versioned dependency.
            Some((_, version)) => relation.accepts(version),
            None => relation.version.is_none(),
        });
        let names: Vec<_> = real
            .map(|(name, _)| name)
            .into_iter()
            .chain(providers.map(|(name, _)| *name))
            .collect();
        names.into_iter()
    }

    fn first_choice(&self, alternatives: &[Relation], spec: &EnvironmentSpec) -> Choice<'a> {
        for relation in alternatives {
            if spec.omit.keys().any(|omitted| omitted.as_str() == relation.name) {
                return Choice::Omitted;
            }
            if let Some(found) = self.choices(relation).next() {
                return Choice::Package(found);
            }
        }
        Choice::None
    }
}

/// `name`, `name (>= version)`; the architecture qualifier `:any` adds nothing in one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Relation {
    name: String,
    version: Option<(Comparison, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Relation {
    fn accepts(&self, version: &str) -> bool {
        let Some((comparison, wanted)) = &self.version else { return true };
        let (Ok(found), Ok(wanted)) = (Version::from_str(version), Version::from_str(wanted))
        else {
            return false;
        };
        match comparison {
            Comparison::Earlier => found < wanted,
            Comparison::EarlierOrEqual => found <= wanted,
            Comparison::Equal => found == wanted,
            Comparison::LaterOrEqual => found >= wanted,
            Comparison::Later => found > wanted,
        }
    }
}

/// Commas join what is needed, bars what is enough.
fn parse_relations(text: &str) -> anyhow::Result<Vec<Vec<Relation>>> {
    let groups = text.split(',').map(str::trim).filter(|group| !group.is_empty());
    groups.map(|group| group.split('|').map(parse_relation).collect()).collect()
}

fn parse_relation(text: &str) -> anyhow::Result<Relation> {
    let (name, version) = match text.split_once('(') {
        Some((name, rest)) => {
            let inside = rest.trim().strip_suffix(')').with_context(|| format!("{text:?}"))?;
            (name, Some(parse_version(inside.trim())?))
        }
        None => (text, None),
    };
    let name = name.trim();
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let name: Word = name.parse().with_context(|| format!("{text:?}"))?;
    Ok(Relation { name: name.into(), version })
}

fn parse_version(text: &str) -> anyhow::Result<(Comparison, String)> {
    let split = text.find(|c| !"<>=".contains(c)).unwrap_or(text.len());
    let comparison = match &text[..split] {
        "<<" => Comparison::Earlier,
        "<=" => Comparison::EarlierOrEqual,
        "=" => Comparison::Equal,
        ">=" => Comparison::LaterOrEqual,
        ">>" => Comparison::Later,
        other => anyhow::bail!("{other:?} compares no versions"),
    };
    Ok((comparison, text[split..].trim().to_owned()))
}

fn describe(alternatives: &[Relation]) -> String {
    let one = |relation: &Relation| match &relation.version {
        Some((comparison, version)) => {
            let sign = match comparison {
                Comparison::Earlier => "<<",
                Comparison::EarlierOrEqual => "<=",
                Comparison::Equal => "=",
                Comparison::LaterOrEqual => ">=",
                Comparison::Later => ">>",
            };
            format!("{} ({sign} {version})", relation.name)
        }
        None => relation.name.clone(),
    };
    alternatives.iter().map(one).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use rebuilder::Digest;

    use super::*;

    /// Lines of `name version; depends; provides`.
    fn index(lines: &[&str]) -> BTreeMap<Word, Package> {
        let package = |line: &&str| {
            let fields: Vec<_> = line.split(';').map(str::trim).collect();
            let (name, version) = fields[0].split_once(' ').unwrap();
            let locked = LockedPackage {
                name: name.parse().unwrap(),
                version: version.parse().unwrap(),
                path: "pool/x.deb".parse().unwrap(),
                size: 1,
                sha256: Digest::of(b""),
            };
            let (depends, provides) = (fields[1].to_owned(), fields[2].to_owned());
            (locked.name.clone(), Package { locked, depends, provides })
        };
        lines.iter().map(package).collect()
    }

    fn check(lines: &[&str], wanted: &[&str], expected: Result<&str, &str>) {
        let packages: Vec<_> = wanted.iter().filter(|name| !name.starts_with('-')).collect();
        let omit: Vec<_> = wanted.iter().filter_map(|name| name.strip_prefix('-')).collect();
        let mut spec = format!(
            "name='x'\nsuite='trixie'\narchitecture='amd64'\ncomponents=['main']\n\
             packages={packages:?}\n[omit]\n"
        );
        omit.iter().for_each(|name| spec.push_str(&format!("{name}='why'\n")));
        let spec = EnvironmentSpec::parse(&spec).unwrap();
        let found = resolve(&spec, &index(lines)).map_err(|error| format!("{error:#}"));
        let names = found.map(|found| {
            found.iter().map(|package| package.name.to_string()).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(names.as_deref().map_err(String::as_str), expected, "{wanted:?} of {lines:?}");
    }

    #[test]
    fn a_closure_is_what_the_packages_need_and_no_more() {
        let archive = [
            "git 1:2.47-1; libc6 (>= 2.38), perl:any | perl6, mta;",
            "libc6 2.41-12; libgcc-s1;",
            "libgcc-s1 14-1; libc6 (<< 3);",
            "perl 5.40; libc6;",
            "zmail 1; ; mta",
            "amail 1; ; mta (= 2)",
            "old 1; libc6 (<< 2.41~), git;",
            "new 1; libc6 (= 2.41-12) | nothing;",
            "fussy 1; mta (>= 2);",
            "fussier 1; mta (>= 3);",
            "lost 1; nowhere | neverland (>> 2);",
            "second 1; nowhere | perl;",
            "odd 1; libc6 (~ 2);",
        ];
        let all = |wanted: &[&str], expected| check(&archive, wanted, expected);
        all(&["libc6"], Ok("libc6 libgcc-s1"));
        all(&["git"], Ok("amail git libc6 libgcc-s1 perl"));
        all(&["git", "zmail"], Ok("git libc6 libgcc-s1 perl zmail"));
        all(&["git", "-perl", "-mta"], Ok("git libc6 libgcc-s1"));
        all(&["second"], Ok("libc6 libgcc-s1 perl second"));
        all(&["new"], Ok("libc6 libgcc-s1 new"));
        all(&["fussy"], Ok("amail fussy"));
        all(&["old"], Err("old needs libc6 (<< 2.41~), which trixie amd64 does not have"));
        all(&["fussier"], Err("fussier needs mta (>= 3), which trixie amd64 does not have"));
        all(
            &["lost"],
            Err("lost needs nowhere or neverland (>> 2), which trixie amd64 does not have"),
        );
        all(&["gone"], Err("trixie has no package gone"));
        all(&["odd"], Err("read the dependencies of odd: \"\" compares no versions"));
    }
}
