//! Extension headers of tar: pax records (POSIX.1-2017) and GNU's long names.

use std::collections::BTreeMap;
use std::io;

use super::super::limits::Stop;
use super::super::member::name_of;
use super::fields::NameForm;
use super::header::{Header, text};
use super::sparse;

/// What the extension headers in front of a member say.
#[derive(Debug, Default)]
pub(super) struct Extended {
    records: BTreeMap<String, Vec<u8>>,
    /// Sparse 0.0 repeats its keys; their values in order.
    sparse_pairs: Vec<u64>,
    gnu_path: Option<String>,
    gnu_link: Option<String>,
    /// Typeflag and own name of each extension header.
    headers: Vec<(u8, String)>,
}

impl Extended {
    pub(super) fn note_header(&mut self, header: &Header) {
        self.headers.push((header.typeflag, header.name().0));
    }

    /// Reads `LENGTH KEY=VALUE\n` records.
    pub(super) fn read_pax(&mut self, header: &Header, body: &[u8]) -> io::Result<()> {
        self.note_header(header);
        let damaged = || Stop::Corrupt("a pax extended header is damaged".into()).into_io();
        let mut rest = body;
        while !rest.is_empty() {
            let blank = rest.iter().position(|byte| *byte == b' ').ok_or_else(damaged)?;
            let length: usize = std::str::from_utf8(&rest[..blank])
                .ok()
                .and_then(|digits| digits.parse().ok())
                .ok_or_else(damaged)?;
            let record = rest.get(blank + 1..length).ok_or_else(damaged)?;
            let record = record.strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(damaged)?;
            let (key, value) = (name_of(&record[..equals]), &record[equals + 1..]);
            if matches!(key.as_str(), "GNU.sparse.offset" | "GNU.sparse.numbytes") {
                self.sparse_pairs.push(parse(value).ok_or_else(damaged)?);
            }
            self.records.insert(key, value.to_vec());
            rest = &rest[length..];
        }
        Ok(())
    }

    pub(super) fn read_gnu(&mut self, header: &Header, body: &[u8]) {
        self.note_header(header);
        match header.typeflag {
            b'L' => self.gnu_path = Some(text(body)),
            _ => self.gnu_link = Some(text(body)),
        }
    }

    pub(super) fn longest_name(&self) -> usize {
        let paths = ["path", "linkpath"].into_iter().filter_map(|key| self.records.get(key));
        let gnu = [&self.gnu_path, &self.gnu_link].into_iter().flatten().map(String::len);
        paths.map(Vec::len).chain(gnu).max().unwrap_or(0)
    }

    fn value<'a>(&'a self, key: &str, global: &'a Extended) -> Option<&'a [u8]> {
        let value = self.records.get(key).or_else(|| global.records.get(key))?;
        Some(value.as_slice())
    }

    pub(super) fn path(&self, global: &Extended) -> Option<(String, NameForm)> {
        if let Some(path) = self.value("path", global) {
            return Some((name_of(path), NameForm::Pax));
        }
        self.gnu_path.clone().map(|path| (path, NameForm::GnuLong))
    }

    pub(super) fn link(&self, global: &Extended) -> Option<String> {
        match self.value("linkpath", global) {
            Some(link) => Some(name_of(link)),
            None => self.gnu_link.clone(),
        }
    }

    pub(super) fn number(&self, key: &str, global: &Extended) -> Option<u64> {
        parse(self.value(key, global)?)
    }

    pub(super) fn text(&self, key: &str, global: &Extended) -> Option<String> {
        self.value(key, global).map(name_of)
    }

    /// Seconds and nanoseconds of a decimal time.
    pub(super) fn time(&self, key: &str, global: &Extended) -> Option<(i64, u32)> {
        let value = std::str::from_utf8(self.value(key, global)?).ok()?;
        let (seconds, fraction) = value.split_once('.').unwrap_or((value, ""));
        let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        Some((seconds.parse().ok()?, digits.parse().ok()?))
    }

    /// Records that no field of [`super::fields::TarFields`] covers, and the names of all.
    pub(super) fn records(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.records
    }

    pub(super) fn headers(&self) -> &[(u8, String)] {
        &self.headers
    }

    pub(super) fn is_sparse(&self) -> bool {
        self.records.keys().any(|key| key.starts_with("GNU.sparse."))
    }

    pub(super) fn sparse_name(&self) -> Option<String> {
        self.records.get("GNU.sparse.name").map(|name| name_of(name))
    }

    pub(super) fn sparse_map_in_data(&self) -> bool {
        self.records.get("GNU.sparse.major").is_some_and(|major| major == b"1")
    }

    /// Formats 0.0 and 0.1 keep it in records.
    pub(super) fn sparse_map(&self) -> sparse::Map {
        let size = ["GNU.sparse.realsize", "GNU.sparse.size"]
            .into_iter()
            .find_map(|key| self.records.get(key))
            .and_then(|value| parse(value));
        let mut map = sparse::Map::new(size.unwrap_or_default());
        let numbers = match self.records.get("GNU.sparse.map") {
            Some(list) => list.split(|byte| *byte == b',').filter_map(parse).collect(),
            None => self.sparse_pairs.clone(),
        };
        for pair in numbers.chunks_exact(2) {
            map.push(pair[0], pair[1]);
        }
        map
    }
}

fn parse(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}
