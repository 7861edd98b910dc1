//! The shipped witnesses that this machine's package archive can play for the genuine 3.13.5.

use rebuilder::Digest;
use tests::genuine::{Prepared, is_asked_for};
use verifier::authenticate::witness;
use verifier::config::Config;
use verifier::definitions::Definitions;
use verifier::evidence::CheckOutcome;
use verifier::http::Client;
use verifier::version::Version;

use crate::PLACE;

#[test]
fn debian_keeps_the_digest_of_the_genuine_archive() {
    if !is_asked_for() {
        return;
    }
    let genuine = Prepared::in_place(PLACE).genuine;
    let mut witnesses = Definitions::BuiltIn.witnesses().unwrap();
    witnesses.retain(|witness| witness.name.as_str() == "debian-13");
    let version: Version = "3.13.5".parse().unwrap();
    let (sha256, _) = Digest::of_file(&genuine.tar_xz).unwrap();
    let names = ["Python-3.13.5.tar.xz", "Python-3.13.5.tgz"];
    let files = names.map(|name| (name.to_owned(), sha256));
    let settings = Config::default().environment_settings();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new().unwrap();
    let asked = witness::ask(&client, &settings, &witnesses, &version, &files);
    let evidence = runtime.block_on(asked);
    println!("{evidence:#?}");
    let outcomes: Vec<_> = evidence.iter().map(|evidence| evidence.outcome).collect();
    assert_eq!(outcomes, [CheckOutcome::Agrees, CheckOutcome::Missing]);
    assert!(evidence[0].detail.contains("its record is of 2"), "{evidence:?}");
}
