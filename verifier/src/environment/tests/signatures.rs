//! Which signatures are good enough for an index.

use jiff::Timestamp;
use pgp::packet::RevocationCode;

use super::keys::{KEY_MADE, Key};
use crate::environment::signature::verify;
use crate::openpgp::read_keyring;

const DAY: u32 = 86_400;
const SIGNED: u32 = KEY_MADE + 100 * DAY;
const TEXT: &str = "Suite: stable\n- dash\nSHA256:\n abc 1 main/x\n";

fn check(key: &Key, message: &str, expected: Result<(), &str>) {
    let keyring = read_keyring(&key.keyring()).unwrap();
    let now = Timestamp::from_second(i64::from(SIGNED + 50 * DAY)).unwrap();
    match (verify(message.as_bytes(), &keyring, now), expected) {
        (Ok(text), Ok(())) => assert!(text.as_str().starts_with("Suite: stable\n- dash\n")),
        (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{reason}"),
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
}

#[test]
fn a_good_signature_by_key_or_subkey_is_accepted() {
    let key = Key::new();
    check(&key, &key.sign(TEXT, SIGNED), Ok(()));
    check(&key, &key.sign_by_subkey(TEXT, SIGNED), Ok(()));
}

#[test]
fn a_changed_missing_or_foreign_signature_is_refused() {
    let (key, stranger) = (Key::new(), Key::new());
    let message = key.sign(TEXT, SIGNED);
    check(&key, &message.replace("stable", "stabme"), Err("does not fit"));
    check(&key, TEXT, Err("it is not signed"));
    check(&key, "", Err("it is not signed"));
    check(&key, &format!("Evil: yes\n{message}"), Err("it is not signed"));
    check(&key, &format!("{message}Evil: yes\n"), Err("cannot be read"));
    check(&key, &message[..message.len() - 40], Err("cannot be read"));
    check(&key, &stranger.sign(TEXT, SIGNED), Err("which is not in the keyring"));
    let empty = message.split("-----BEGIN PGP SIGNATURE").next().unwrap();
    check(&key, empty, Err("cannot be read"));
}

#[test]
fn a_flipped_bit_anywhere_in_the_signed_text_is_refused() {
    let key = Key::new();
    let message = key.sign(TEXT, SIGNED);
    let start = message.find("Suite").unwrap();
    let keyring = read_keyring(&key.keyring()).unwrap();
    for index in start..start + TEXT.trim_end().len() {
        let mut bytes = message.clone().into_bytes();
        bytes[index] ^= 1;
        // A dash that is escaped or a space at an end are not part of what is signed.
        if let Ok(text) = verify(&bytes, &keyring, Timestamp::from_second(1_700_000_000).unwrap()) {
            assert!(text.as_str().starts_with("Suite: stable\n- dash\nSHA256:\n abc 1 main/x"));
        }
    }
}

#[test]
fn a_signature_with_a_broken_hash_function_is_refused() {
    let key = Key::new();
    check(&key, &key.sign_weakly(TEXT, SIGNED), Err("hash function that is broken"));
}

#[test]
fn times_are_those_of_the_signature() {
    let mut key = Key::new();
    check(&key, &key.sign(TEXT, KEY_MADE - DAY), Err("signed before it was made"));
    check(&key, &key.sign(TEXT, SIGNED + 60 * DAY), Err("in the future"));
    key.certify(true, 50 * DAY);
    check(&key, &key.sign(TEXT, SIGNED), Err("had expired when it signed"));
    check(&key, &key.sign_by_subkey(TEXT, SIGNED), Err("had expired when it signed"));
    // Expired since, but good then.
    key.certify(true, 120 * DAY);
    check(&key, &key.sign(TEXT, SIGNED), Ok(()));
}

#[test]
fn a_revoked_key_is_refused_and_a_retired_one_keeps_its_past() {
    let mut stolen = Key::new();
    stolen.revoke(RevocationCode::KeyCompromised, SIGNED + DAY);
    check(&stolen, &stolen.sign(TEXT, SIGNED), Err("is revoked"));
    check(&stolen, &stolen.sign_by_subkey(TEXT, SIGNED), Err("is revoked"));
    let mut retired = Key::new();
    retired.revoke(RevocationCode::KeyRetired, SIGNED + DAY);
    check(&retired, &retired.sign(TEXT, SIGNED), Ok(()));
    check(&retired, &retired.sign(TEXT, SIGNED + 2 * DAY), Err("is revoked"));
}

#[test]
fn a_key_that_is_not_meant_to_sign_is_refused() {
    let mut key = Key::new();
    key.certify(false, 0);
    check(&key, &key.sign(TEXT, SIGNED), Err("not meant to sign"));
    check(&key, &key.sign_by_subkey(TEXT, SIGNED), Ok(()));
    key.forget_back_signature();
    check(&key, &key.sign_by_subkey(TEXT, SIGNED), Err("not meant to sign"));
}

#[test]
fn a_keyring_without_keys_is_refused() {
    assert!(read_keyring(b"").is_err());
    assert!(read_keyring(b"not a keyring").is_err());
}
