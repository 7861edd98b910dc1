//! The project's own data: recipes, environments, witnesses and whom to trust, built in or from a
//! directory.

use std::path::Path;

use anyhow::{Context, bail};
use rust_embed::Embed;

use crate::authenticate::witness::Witness;
use crate::recipe::{Candidates, Recipe};
use crate::version::Version;

/// The files of `config/`, built into the program.
#[derive(Embed)]
#[folder = "../config"]
struct BuiltIn;

/// The largest file of data that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where recipes, environments and witnesses are read from.
#[derive(Clone, Copy, Debug)]
pub enum Definitions<'a> {
    /// Those that the program was built with.
    BuiltIn,
    /// `recipes/`, `environments/` and `witnesses/` of a directory, and what it has of `trust/`.
    Directory(&'a Path),
}

impl<'a> Definitions<'a> {
    /// The built-in ones for an empty path.
    pub fn at(directory: &'a Path) -> Definitions<'a> {
        if directory.as_os_str().is_empty() {
            return Definitions::BuiltIn;
        }
        Definitions::Directory(directory)
    }

    /// The text of a file such as `environments/debian-13.lock`.
    pub fn text(&self, name: &str) -> anyhow::Result<String> {
        let bytes = match self {
            Definitions::BuiltIn => match BuiltIn::get(name) {
                Some(file) => file.data.into_owned(),
                None => bail!("there is no built-in {name}"),
            },
            Definitions::Directory(directory) => {
                let path = directory.join(name);
                let size = std::fs::metadata(&path)
                    .with_context(|| format!("read {}", path.display()))?
                    .len();
                if size > FILE_BYTES_MAX {
                    bail!("{} is larger than {FILE_BYTES_MAX} bytes", path.display());
                }
                std::fs::read(&path).with_context(|| format!("read {}", path.display()))?
            }
        };
        String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))
    }

    /// The text of a file below `trust/`: a directory may leave any of them to the built-in ones.
    pub fn trust_text(&self, name: &str) -> anyhow::Result<String> {
        match self {
            Definitions::Directory(directory) if directory.join(name).exists() => self.text(name),
            Definitions::Directory(_) | Definitions::BuiltIn => Definitions::BuiltIn.text(name),
        }
    }

    /// The list of variations: a directory may leave it to the built-in one.
    pub fn variations(&self) -> anyhow::Result<String> {
        self.trust_text("variations.toml")
    }

    /// Everybody who keeps records of published files, in the order of the files' names. A
    /// directory without `witnesses/` has none.
    pub fn witnesses(&self) -> anyhow::Result<Vec<Witness>> {
        let place = match self {
            Definitions::BuiltIn => None,
            Definitions::Directory(directory) => Some(directory.join("witnesses")),
        };
        if place.as_ref().is_some_and(|place| !place.exists()) {
            return Ok(Vec::new());
        }
        let mut witnesses: Vec<Witness> = Vec::new();
        for name in self.names("witnesses")? {
            let witness = Witness::parse(&name, &self.text(&name)?, place.as_deref())?;
            if witnesses.iter().any(|known| known.name == witness.name) {
                bail!("two witnesses are called {}", witness.name);
            }
            witnesses.push(witness);
        }
        Ok(witnesses)
    }

    /// The recipes that cover `version`.
    pub fn candidates(&self, version: &Version) -> anyhow::Result<Candidates> {
        Candidates::of(self.recipes()?, version)
    }

    /// Every recipe, in the order of the names.
    pub fn recipes(&self) -> anyhow::Result<Vec<Recipe>> {
        let read = |name: &str| self.text(name);
        let names = self.names("recipes")?;
        names.iter().map(|name| Recipe::parse(name, &read(name)?, &read)).collect()
    }

    /// The TOML files of one kind: `recipes/cpython-source.toml`.
    fn names(&self, kind: &str) -> anyhow::Result<Vec<String>> {
        let mut names: Vec<String> = match self {
            Definitions::BuiltIn => BuiltIn::iter().map(|name| name.into_owned()).collect(),
            Definitions::Directory(directory) => {
                let place = directory.join(kind);
                let entries = std::fs::read_dir(&place)
                    .with_context(|| format!("list {}", place.display()))?;
                let name = |entry: std::io::Result<std::fs::DirEntry>| {
                    anyhow::Ok(format!("{kind}/{}", entry?.file_name().to_string_lossy()))
                };
                entries.map(name).collect::<anyhow::Result<_>>()?
            }
        };
        let prefix = format!("{kind}/");
        names.retain(|name| name.starts_with(&prefix) && name.ends_with(".toml"));
        names.sort();
        Ok(names)
    }
}
