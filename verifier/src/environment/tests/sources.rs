//! The Sources index of an archive on loopback, and the witness that it makes.

use rebuilder::Digest;

use super::debs::xz;
use super::keys::Key;
use super::world::World;
use crate::authenticate::witness::{Question, Witness, ask};
use crate::environment::sources;
use crate::evidence::{CheckOutcome, Evidence};
use crate::http::Client;

const FILE: &str = "Python-9.1.0.tar.xz";

/// Serves an index that names an archive with these bytes.
fn publish(world: &World, archive: &[u8]) {
    let sha256 = Digest::of(archive);
    let index = format!(
        "Package: python9.1\nChecksums-Sha256:\n {sha256} 7 python9.1_9.1.0.orig.tar.xz\n\n"
    );
    let index = xz(index.as_bytes());
    let release = format!(
        "Codename: trixie\nDate: Sat, 12 Aug 2023 07:55:41 UTC\nSHA256:\n {} {} \
         main/source/Sources.xz\n",
        Digest::of(&index),
        index.len()
    );
    let signed = world.key.sign(&release, 1_700_000_000);
    world.put("dists/trixie/main/source/Sources.xz", index);
    world.put("dists/trixie/InRelease", signed.into_bytes());
}

async fn asked(world: &World) -> Evidence {
    let text = "name = 'debian'\nabout = 'A distribution.'\nformat = 'debian-sources'\n\
                suite = 'trixie'\n";
    let witness = Witness::parse("witnesses/debian.toml", text, None).unwrap();
    let files = [(FILE.to_owned(), Digest::of(b"as published"))];
    let version = "9.1.0".parse().unwrap();
    let client = Client::new().unwrap();
    let (settings, version) = (&world.settings, &version);
    let question = Question { client: &client, settings, version, files: &files };
    let evidence = ask(question, &[witness], std::future::pending()).await;
    let [evidence] = &evidence[..] else { panic!("one file, one piece: {evidence:?}") };
    evidence.clone()
}

#[tokio::test]
async fn a_signed_index_is_a_witness_with_its_own_date() {
    let world = World::new().await;
    publish(&world, b"as published");
    let evidence = asked(&world).await;
    assert_eq!(evidence.outcome, CheckOutcome::Agrees, "{evidence:?}");
    let detail = &evidence.detail;
    assert!(detail.starts_with("debian keeps the same SHA-256; asked 20"), "{detail}");
    assert!(detail.ends_with("; its record is of 2023-08-12T07:55:41Z"), "{detail}");
    publish(&world, b"something else");
    assert_eq!(asked(&world).await.outcome, CheckOutcome::Disagrees);
}

#[tokio::test]
async fn an_index_that_nobody_vouches_for_says_nothing() {
    let world = World::new().await;
    publish(&world, b"something else");
    let stranger = Key::new();
    std::fs::write(&world.settings.keyring, stranger.keyring()).unwrap();
    let evidence = asked(&world).await;
    assert_eq!(evidence.outcome, CheckOutcome::CannotCheck, "{evidence:?}");
    assert!(evidence.detail.contains("which is not in the keyring"), "{}", evidence.detail);

    let world = World::new().await;
    publish(&world, b"something else");
    let index = world.take("dists/trixie/main/source/Sources.xz");
    world.put("dists/trixie/main/source/Sources.xz", vec![0; index.len()]);
    let evidence = asked(&world).await;
    assert_eq!(evidence.outcome, CheckOutcome::CannotCheck, "{evidence:?}");
    assert!(evidence.detail.contains("is signed"), "{}", evidence.detail);

    let client = Client::new().unwrap();
    let (suite, component) = ("trixie".parse().unwrap(), "contrib".parse().unwrap());
    let error = sources(&suite, &component, &world.settings, &client).await.unwrap_err();
    let error = format!("{:#}", anyhow::anyhow!(error));
    assert!(error.contains("names no contrib/source/Sources.xz"), "{error}");
}
