//! Records of every format, what they mean for a file, and witnesses on loopback.

use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use rebuilder::Digest;

use super::{Answer, Format, Place, Question, Statement, Witness, ask, judge, parse};
use crate::definitions::Definitions;
use crate::environment::{PipSettings, Settings};
use crate::evidence::{CheckOutcome, Evidence};
use crate::http::Client;
use crate::version::Version;
use crate::world::{Fault, World};

const TAR_XZ: &str = "Python-9.1.0.tar.xz";
const TGZ: &str = "Python-9.1.0.tgz";
const DEFINITION: &str = "name = 'them'\nabout = 'They build from it.'\nformat = 'sha256sum'\n";

fn digest(content: &str) -> Digest {
    Digest::of(content.as_bytes())
}

fn names() -> Vec<String> {
    vec![TGZ.to_owned(), TAR_XZ.to_owned()]
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What the record says of the .tar.xz and the .tgz.
#[track_caller]
fn check(format: Format, record: &[u8], tar_xz: &[&str], tgz: &[&str]) {
    let statement = parse(format, record, &names()).unwrap();
    for (name, contents) in [(TAR_XZ, tar_xz), (TGZ, tgz)] {
        let mut expected: Vec<Digest> = contents.iter().map(|content| digest(content)).collect();
        expected.sort();
        assert_eq!(statement.records_of(name), expected, "{name}");
    }
}

#[track_caller]
fn refused(format: Format, record: &[u8], expected: &str) {
    let error = parse(format, record, &names()).unwrap_err().to_string();
    assert!(error.starts_with("its record cannot be read: ") && error.len() < 300, "{error}");
    assert!(error.contains(expected), "{error}");
}

#[test]
fn lines_of_sha256sum_are_read_in_all_three_forms() {
    let (a, b, c) = (digest("a"), digest("b"), digest("c"));
    let list = format!(
        "# checked by hand\n\n{a}  ./9.1.0/{TAR_XZ}\r\n{b} *{TGZ}\nSHA256 ({TGZ}) = {c}\n\
         {a}  Python-9.1.1.tgz\n"
    );
    check(Format::Sha256sum, list.as_bytes(), &["a"], &["b", "c"]);
    refused(Format::Sha256sum, b"", "holds no SHA-256");
    refused(Format::Sha256sum, b"# nothing\n", "holds no SHA-256");
    refused(Format::Sha256sum, b"<html>\n", "line 1 is no line of sha256sum");
    refused(Format::Sha256sum, format!("{a}  x\n{a}\n").as_bytes(), "line 2 is no line");
    refused(Format::Sha256sum, b"d41d8cd98f00b204e9800998ecf8427e  x\n", "line 1 is no line");
    refused(Format::Sha256sum, b"\xff", "not UTF-8");
    let many: String =
        (0..9).map(|number| format!("{}  {TGZ}\n", digest(&number.to_string()))).collect();
    refused(Format::Sha256sum, many.as_bytes(), "more than 8 SHA-256 for Python-9.1.0.tgz");
}

#[test]
fn a_build_definition_of_pyenv_has_both_archives() {
    let (a, b, c) = (digest("a"), digest("b"), digest("c"));
    let script = format!(
        "prefer_openssl3\n\
         # \"https://a.example/{TGZ}#{c}\"\n\
         install_package \"openssl-3\" \"https://a.example/openssl-3.tar.gz#{c}\" mac_openssl\n\
         if has_tar_xz_support; then\n  \
         install_package \"Python-9.1.0\" \"https://a.example/9.1.0/{TAR_XZ}#{a}\" standard\n\
         else\n  \
         install_package \"Python-9.1.0\" \"https://a.example/9.1.0/{TGZ}#{b}\" standard\n\
         fi\n"
    );
    check(Format::Pyenv, script.as_bytes(), &["a"], &["b"]);
    refused(Format::Pyenv, b"<html class=\"x\">404</html>", "holds no SHA-256");
}

#[test]
fn versions_of_docker_library_have_the_newest_of_each_series() {
    let a = digest("a");
    let json = format!(
        r#"{{"9.0": {{"version": "9.0.7", "variants": ["trixie"]}}, "9.2-rc": null,
            "9.1": {{"version": "9.1.0", "checksums": {{
                "source": {{"sha256": "{a}"}}, "windows": {{"sha256": "{a}"}}}}}}}}"#
    );
    check(Format::DockerLibrary, json.as_bytes(), &["a"], &[]);
    refused(Format::DockerLibrary, b"{}", "holds no SHA-256");
    refused(Format::DockerLibrary, b"<html>", "expected value");
    refused(Format::DockerLibrary, "[".repeat(1_000_000).as_bytes(), "");
    let hex = json.replace(&a.to_string(), "123");
    refused(Format::DockerLibrary, hex.as_bytes(), "is not a SHA-256 digest");
}

#[test]
fn a_sources_index_names_the_archives_of_its_source_packages() {
    let (a, b) = (digest("a"), digest("b"));
    let index = format!(
        "Package: python9.1\nVersion: 9.1.0-2\nFiles:\n 0123 7 python9.1_9.1.0.orig.tar.xz\n\
         Checksums-Sha256:\n {b} 9 python9.1_9.1.0-2.dsc\n {a} 7 python9.1_9.1.0.orig.tar.xz\n \
         {b} 9 python9.1_9.1.0.orig.tar.xz.asc\n\n\
         Package: other\nChecksums-Sha256:\n {b} 7 other_9.1.0.orig.tar.gz\n\n"
    );
    check(Format::DebianSources, &xz(index.as_bytes()), &["a"], &[]);
    refused(Format::DebianSources, index.as_bytes(), "");
    refused(Format::DebianSources, &xz(b""), "holds no SHA-256");
    let whole = xz(index.as_bytes());
    refused(Format::DebianSources, &whole[..whole.len() / 2], "");
}

fn witness(more: &str) -> Witness {
    Witness::parse("witnesses/them.toml", &format!("{DEFINITION}{more}\n"), None).unwrap()
}

fn answer(statement: Result<Statement, String>) -> Answer {
    Answer { asked: "2026-11-21T12:00:00.5Z".parse().unwrap(), statement }
}

fn says(list: &str) -> Answer {
    answer(Ok(parse(Format::Sha256sum, list.as_bytes(), &names()).unwrap()))
}

#[test]
fn each_answer_is_evidence_with_its_date() {
    let witness = witness("file = '/list'");
    let (a, b) = (digest("a"), digest("b"));
    let check = |answer: Answer, outcome: CheckOutcome, expected: &str| {
        let evidence = judge(&witness, TGZ, a, &answer);
        assert_eq!((evidence.outcome, evidence.artifact.as_str()), (outcome, TGZ));
        assert_eq!(evidence.detail, expected);
    };
    let asked = "; asked 2026-11-21T12:00:00Z";
    check(
        says(&format!("{a}  {TGZ}\n")),
        CheckOutcome::Agrees,
        &format!("them keeps the same SHA-256{asked}"),
    );
    check(
        says(&format!("{b}  {TGZ}\n")),
        CheckOutcome::Disagrees,
        &format!("them keeps SHA-256 {b} for {TGZ}, and this file has {a}{asked}"),
    );
    check(
        says(&format!("{a}  {TAR_XZ}\n")),
        CheckOutcome::Missing,
        &format!("them says nothing about {TGZ}{asked}"),
    );
    let (first, second) = (a.min(b), a.max(b));
    check(
        says(&format!("{a}  {TGZ}\n{b}  {TGZ}\n")),
        CheckOutcome::CannotCheck,
        &format!(
            "them keeps several SHA-256 for {TGZ}, this file's being one of them: {first} and \
             {second}{asked}"
        ),
    );
    check(
        answer(Err(format!("no\u{1b}[2J{}", "x".repeat(1000)))),
        CheckOutcome::CannotCheck,
        &format!("them cannot be asked: no\\x1b[2J{}{asked}", "x".repeat(294)),
    );
    let mut dated = says(&format!("{a}  {TGZ}\n"));
    dated.statement.as_mut().unwrap().recorded = Some("2026-09-06T08:00:00Z".parse().unwrap());
    check(
        dated,
        CheckOutcome::Agrees,
        &format!("them keeps the same SHA-256{asked}; its record is of 2026-09-06T08:00:00Z"),
    );
}

#[test]
fn what_a_definition_may_not_say_is_refused_with_a_sentence() {
    let url = "url = 'https://a.example/{version}'";
    let cases = [
        ("", "exactly one of url and file"),
        ("url = 'https://a.example'\nfile = '/list'", "exactly one of url and file"),
        ("suite = 'trixie'", "exactly one of url and file"),
        ("ulr = 'https://a.example'", "ulr is not a key; the nearest key is url"),
        ("url = 'http://a.example/list'", "not an https URL"),
        ("url = 'ftp://a.example/list'", "not an https URL"),
        ("url = 'list'", "not a URL"),
        ("file = 'list'", "not an absolute path"),
        ("file = '/list'\ncomponent = 'main'", "component belongs to a suite"),
        ("file = '/list'\ncovers = ['soon']", "read the range \"soon\""),
    ];
    let parse = |text: &str| Witness::parse("witnesses/them.toml", text, None);
    for (more, expected) in cases {
        let error = format!("{:#}", parse(&format!("{DEFINITION}{more}\n")).unwrap_err());
        assert!(error.starts_with("read witnesses/them.toml: "), "{error}");
        assert!(error.contains(expected), "{more}: {error}");
    }
    let whole = format!("{DEFINITION}{url}\n");
    for (from, to, expected) in [
        ("'sha256sum'", "'sha256sums'", "unknown variant"),
        ("'sha256sum'", "'debian-sources'", "takes a suite"),
        ("'them'", "'../them'", "not a name"),
        ("'They build from it.'", "''", "one sentence"),
        ("'They build from it.'", "\"a\\u001b[2J\"", "one sentence"),
    ] {
        let error = format!("{:#}", parse(&whole.replace(from, to)).unwrap_err());
        assert!(error.contains(expected), "{to}: {error}");
    }
    let beside = Witness::parse(
        "witnesses/them.toml",
        &format!("{DEFINITION}file = 'lists/{{version}}'\n"),
        Some(Path::new("/definitions/witnesses")),
    );
    let Place::File(path) = beside.unwrap().place else { panic!("it has a file") };
    let path = path.of(&"9.1.0".parse().unwrap());
    assert_eq!(path, "/definitions/witnesses/lists/9.1.0");
}

#[test]
fn the_shipped_witnesses_are_read_and_cover_what_they_say() {
    let witnesses = Definitions::BuiltIn.witnesses().unwrap();
    let asked = |version: &str| -> Vec<String> {
        let version: Version = version.parse().unwrap();
        let covering = witnesses.iter().filter(|witness| witness.covers(&version));
        covering.map(|witness| witness.name.to_string()).collect()
    };
    assert_eq!(asked("3.13.5"), ["debian-13", "debian-unstable", "docker-library", "pyenv"]);
    assert_eq!(asked("3.11.2"), ["debian-12", "docker-library", "pyenv"]);
    assert_eq!(asked("3.9.2"), ["debian-11", "pyenv"]);
}

#[test]
fn a_directory_of_definitions_has_its_own_witnesses_or_none() {
    let directory = tempfile::tempdir().unwrap();
    let definitions = Definitions::Directory(directory.path());
    assert!(definitions.witnesses().unwrap().is_empty());
    let place = directory.path().join("witnesses");
    std::fs::create_dir(&place).unwrap();
    let text = format!("{DEFINITION}file = 'list'\n");
    std::fs::write(place.join("one.toml"), &text).unwrap();
    std::fs::write(place.join("list"), "").unwrap();
    assert_eq!(definitions.witnesses().unwrap().len(), 1);
    std::fs::write(place.join("two.toml"), &text).unwrap();
    let error = definitions.witnesses().unwrap_err().to_string();
    assert_eq!(error, "two witnesses are called them");
}

fn no_archives() -> Settings {
    Settings {
        archives: Vec::new(),
        indexes: Vec::new(),
        pip: PipSettings::default(),
        keyring: "/nowhere".into(),
        state: "/nowhere".into(),
    }
}

async fn asked(witnesses: &[Witness]) -> Vec<Evidence> {
    asked_until(witnesses, std::future::pending()).await
}

async fn asked_until(witnesses: &[Witness], patience: impl Future<Output = ()>) -> Vec<Evidence> {
    let files = [(TGZ.to_owned(), digest("a")), (TAR_XZ.to_owned(), digest("b"))];
    let version = "9.1.0".parse().unwrap();
    let (client, settings) = (Client::new().unwrap(), no_archives());
    let question =
        Question { client: &client, settings: &settings, version: &version, files: &files };
    ask(question, witnesses, patience).await
}

fn outcomes(evidence: &[Evidence]) -> Vec<CheckOutcome> {
    evidence.iter().map(|evidence| evidence.outcome).collect()
}

#[tokio::test]
async fn every_witness_is_asked_and_none_fails_the_line() {
    use CheckOutcome::{Agrees, CannotCheck, Disagrees, Missing, NotExpected};
    let world = World::start().await.unwrap();
    let place = tempfile::tempdir().unwrap();
    let list = place.path().join("list");
    std::fs::write(&list, format!("{}  {TGZ}\n{}  {TAR_XZ}\n", digest("a"), digest("x"))).unwrap();
    let page = place.path().join("page");
    std::fs::write(&page, "<html>").unwrap();
    {
        let mut state = world.state();
        state.served.insert("/9.1.0".to_owned(), list.clone());
        state.served.insert("/page".to_owned(), page);
        state.served.insert("/slow".to_owned(), list.clone());
        state.fail("/slow", Fault::Status(500, Vec::new()), 100);
        state.fail("/huge", Fault::TenGigabytes, 100);
    }
    let base = world.base();
    let named = |more: String| witness(&more);
    let witnesses = [
        named(format!("url = '{base}/{{version}}'")),
        named(format!("file = '{}'", list.display())),
        named(format!("url = '{base}/of/{{version}}'")),
        named(format!("url = '{base}/gone'")),
        named(format!("url = '{base}/page'")),
        named(format!("url = '{base}/slow'")),
        named(format!("url = '{base}/huge'")),
        named("url = 'http://127.0.0.1:1/list'".to_owned()),
        named("file = '/nowhere/list'".to_owned()),
        named("file = '/nowhere/{version}'".to_owned()),
        named("file = '/nowhere/list'\ncovers = ['<9']".to_owned()),
    ];
    let evidence = asked(&witnesses).await;
    let each = evidence.chunks(2).map(outcomes).collect::<Vec<_>>();
    let nothing = [CannotCheck, CannotCheck];
    assert_eq!(each[0], [Agrees, Disagrees]);
    assert_eq!(each[1], [Agrees, Disagrees]);
    assert_eq!(each[2], [Missing, Missing]);
    for index in 3..9 {
        assert_eq!(each[index], nothing, "{:?}", evidence[2 * index]);
    }
    assert_eq!(each[9], [Missing, Missing]);
    assert_eq!(each[10], [NotExpected, NotExpected]);
    assert!(evidence[6].detail.contains("does not exist"), "{}", evidence[6].detail);
    assert!(evidence[8].detail.contains("line 1 is no line of sha256sum"), "{:?}", evidence[8]);
    assert!(evidence[14].detail.contains("cannot reach"), "{:?}", evidence[14]);
    assert_eq!(evidence[20].detail, "them keeps no record of 9.1.0");
    assert!(!evidence[16].detail.contains("/nowhere"), "{:?}", evidence[16]);
}

#[tokio::test]
async fn whoever_does_not_answer_in_time_is_not_waited_for() {
    use CheckOutcome::{CannotCheck, NotExpected};
    let world = World::start().await.unwrap();
    world.state().fail("/silent", Fault::Silence, 100);
    let base = world.base();
    let witnesses = [
        witness(&format!("url = '{base}/silent'")),
        witness(&format!("url = '{base}/silent'\ncovers = ['<9']")),
    ];
    let was_asked = async {
        while world.state().requests.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    let evidence = asked_until(&witnesses, was_asked).await;
    assert_eq!(outcomes(&evidence), [CannotCheck, CannotCheck, NotExpected, NotExpected]);
    let late = "them cannot be asked: it had not answered when the rebuild was over; asked 20";
    assert!(evidence[0].detail.starts_with(late), "{:?}", evidence[0]);
}

#[tokio::test]
async fn a_record_without_end_is_not_read_to_it() {
    let endless = witness("file = '/dev/zero'");
    let evidence = asked(&[endless]).await;
    assert_eq!(outcomes(&evidence), [CheckOutcome::CannotCheck, CheckOutcome::CannotCheck]);
    assert!(evidence[0].detail.contains("more than 67108864 bytes"), "{:?}", evidence[0]);
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..4096),
        text in "[a-f0-9 *#\"\n()=/.:{}A-Z_]{0,2000}",
    ) {
        let formats =
            [Format::Sha256sum, Format::Pyenv, Format::DockerLibrary, Format::DebianSources];
        for format in formats {
            for record in [&bytes[..], text.as_bytes(), &xz(&bytes), &xz(text.as_bytes())] {
                if let Err(error) = parse(format, record, &names()) {
                    prop_assert!(error.to_string().len() < 1000);
                }
            }
        }
    }
}
