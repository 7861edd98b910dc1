//! What this machine's own apt and pip are set up to use, so that no archive's or index's host is
//! written into the project.
//!
//! It reads files; the process's environment is given by the caller, who is the one to read it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use deb822_fast::Deb822;
use url::Url;

/// Longest settings file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Variables of the host that reach pip as they are.
const VARIABLES: &[&str] = &[
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// Base URLs of the Debian archives that apt uses, in apt's order.
pub fn machine_archives() -> Vec<Url> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    let mut parts: Vec<_> = parts.filter_map(|entry| Some(entry.ok()?.path())).collect();
    parts.sort();
    files.extend(parts);
    let texts = files.iter().filter_map(|file| Some((file.as_path(), read(file)?)));
    archives(texts.collect::<Vec<_>>().iter().map(|(file, text)| (*file, text.as_str())))
}

fn archives<'a>(files: impl Iterator<Item = (&'a Path, &'a str)>) -> Vec<Url> {
    let mut found = Vec::new();
    for (file, text) in files {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => found.extend(text.lines().filter_map(one_line)),
            Some("sources") => found.extend(stanzas(text)),
            _ => {}
        }
    }
    let mut archives: Vec<Url> = Vec::new();
    for text in found {
        // mirror+file:, cdrom: and the like need apt itself.
        let Ok(url) = text.parse::<Url>() else { continue };
        if matches!(url.scheme(), "http" | "https") && !archives.contains(&url) {
            archives.push(url);
        }
    }
    archives
}

/// sources.list(5), one-line style: `deb [options] uri suite components…`.
fn one_line(line: &str) -> Option<String> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_ascii_whitespace();
    let (uri, _suite) = (words.next()?, words.next()?);
    words.any(|component| component == "main").then(|| uri.to_owned())
}

/// sources.list(5), deb822 style.
fn stanzas(text: &str) -> Vec<String> {
    let comments = |line: &&str| !line.starts_with('#');
    let text: Vec<_> = text.lines().filter(comments).collect();
    let Ok(paragraphs) = text.join("\n").parse::<Deb822>() else { return Vec::new() };
    let mut uris = Vec::new();
    for paragraph in paragraphs {
        let words = |name: &str| -> Vec<String> {
            let value = paragraph.get(name).unwrap_or_default();
            value.split_ascii_whitespace().map(str::to_owned).collect()
        };
        let says = |name: &str, word: &str| words(name).iter().any(|found| found == word);
        let disabled = says("Enabled", "no") || says("Enabled", "false");
        if says("Types", "deb") && says("Components", "main") && !disabled {
            uris.extend(words("URIs"));
        }
    }
    uris
}

/// The host's settings that pip is to see inside the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipSettings {
    /// Environment variables for pip.
    pub variables: BTreeMap<String, String>,
    /// The host's bundle of certificate authorities, which may hold one of its own.
    pub bundle: Option<PathBuf>,
}

/// Reads pip's settings files and what `variable` says the process's environment holds.
pub fn machine_pip(variable: &dyn Fn(&str) -> Option<String>) -> PipSettings {
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
    let files = [
        PathBuf::from("/etc/pip.conf"),
        home.join(".config/pip/pip.conf"),
        home.join(".pip/pip.conf"),
    ];
    let texts: Vec<_> = files.iter().filter_map(|file| read(file)).collect();
    let bundles = ["PIP_CERT", "SSL_CERT_FILE"].into_iter().filter_map(variable).map(PathBuf::from);
    let usual = PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
    let bundle = bundles.chain([usual]).find(|path| path.is_absolute() && path.is_file());
    PipSettings { variables: pip_variables(&texts, variable), bundle }
}

fn pip_variables(
    files: &[String],
    variable: &dyn Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for text in files {
        variables.extend(pip_file(text));
    }
    let set = |name: &&str| Some(((*name).to_owned(), variable(name)?));
    variables.extend(VARIABLES.iter().filter_map(set));
    variables
}

/// The three keys of pip.conf that say where packages are, as pip's variables. Indented lines go
/// on with the value before them.
fn pip_file(text: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut applies = false;
    for line in text.lines() {
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let (true, Some(name)) = (line.starts_with([' ', '\t']), &current) {
            let value: &mut String = variables.entry(name.clone()).or_default();
            value.push(' ');
            value.push_str(line.trim());
            continue;
        }
        current = None;
        if let Some(section) = line.trim().strip_prefix('[') {
            applies = ["global]", "download]"].contains(&section);
            continue;
        }
        let Some((key, value)) = line.split_once(['=', ':']) else { continue };
        let name = match key.trim().replace('_', "-").as_str() {
            "index-url" => "PIP_INDEX_URL",
            "extra-index-url" => "PIP_EXTRA_INDEX_URL",
            "trusted-host" => "PIP_TRUSTED_HOST",
            _ => continue,
        };
        if applies {
            variables.insert(name.to_owned(), value.trim().to_owned());
            current = Some(name.to_owned());
        }
    }
    variables.values_mut().for_each(|value| *value = value.trim().to_owned());
    variables
}

fn read(file: &Path) -> Option<String> {
    let is_small = fs::metadata(file).is_ok_and(|metadata| metadata.len() <= FILE_BYTES_MAX);
    is_small.then(|| fs::read_to_string(file).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_read_as_apt_reads_them() {
        let files = [
            (
                "a.list",
                "# deb http://comment.example/ trixie main\n\
                 deb [arch=amd64 signed-by=/x] http://one.example/debian trixie x main # why\n\
                 deb-src http://source.example/debian trixie main\n\
                 deb cdrom:[Debian]/ trixie main\n\
                 deb http://vendor.example/apt stable nonfree\n\
                 deb http://flat.example/ ./\n",
            ),
            (
                "b.sources",
                "Types: deb deb-src\n# a comment\nURIs: https://two.example/debian/\n \
                 http://one.example/debian\nSuites: trixie\nComponents: main\n\n\
                 Types: deb\nURIs: http://off.example/\nComponents: main\nEnabled: no\n\n\
                 Types: deb-src\nURIs: http://src.example/\nSuites: x\nComponents: main\n",
            ),
            ("c.save", "deb http://saved.example/ trixie main\n"),
        ];
        let found = archives(files.iter().map(|(name, text)| (Path::new(*name), *text)));
        let found: Vec<_> = found.iter().map(Url::as_str).collect();
        assert_eq!(found, ["http://one.example/debian", "https://two.example/debian/"]);
    }

    #[test]
    fn pip_sees_the_hosts_indexes_and_proxies_and_nothing_else() {
        let files = [
            "[global]\nindex-url = https://one.example/simple\ncert = /x\n\
             extra-index-url =\n    https://two.example/simple\n    https://three.example/simple\n"
                .to_owned(),
            "[install]\nindex-url = https://no.example\n[global]\ntrusted_host: four.example\n"
                .to_owned(),
        ];
        let environment = |name: &str| match name {
            "PIP_INDEX_URL" => Some("https://five.example/simple".to_owned()),
            "https_proxy" => Some("http://proxy.example:3128".to_owned()),
            "SECRET" => Some("secret".to_owned()),
            _ => None,
        };
        let found = pip_variables(&files, &environment);
        let expected = [
            ("PIP_EXTRA_INDEX_URL", "https://two.example/simple https://three.example/simple"),
            ("PIP_INDEX_URL", "https://five.example/simple"),
            ("PIP_TRUSTED_HOST", "four.example"),
            ("https_proxy", "http://proxy.example:3128"),
        ];
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(found, expected);
    }
}
