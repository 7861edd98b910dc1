//! Checks a clear-signed text (RFC 9580, section 7) against a keyring.
//!
//! The pgp crate checks the mathematics of one signature and one key. That a key may sign, had not
//! expired or been revoked when it signed, and that the hash function is still trusted, is checked
//! here.

use jiff::Timestamp;
use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, VerifyingKey};

/// Most signatures that are looked at.
const SIGNATURES_MAX: usize = 16;
/// How far a signer's clock may be ahead of ours, in seconds.
const CLOCK_SECONDS_MAX: i64 = 86_400;

/// Text that carries at least one good signature of a key of the keyring. Only [`verify`] makes
/// one, so whoever holds it need not ask.
#[derive(Debug)]
pub struct SignedText(String);

impl SignedText {
    /// What was signed, with `\n` line ends.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The public keys in `keyring`: binary or armoured, any number of certificates.
pub fn read_keyring(keyring: &[u8]) -> Result<Vec<SignedPublicKey>, String> {
    let (keys, _) = SignedPublicKey::from_reader_many(keyring)
        .map_err(|error| format!("the keyring cannot be read: {error}"))?;
    // A certificate of a kind that is not known here must not make the others useless.
    let keys: Vec<_> = keys.filter_map(Result::ok).collect();
    if keys.is_empty() {
        return Err("the keyring holds no key".to_owned());
    }
    Ok(keys)
}

/// The signed text, if one of its signatures is good; otherwise what is wrong with each.
pub fn verify(
    text: &[u8],
    keyring: &[SignedPublicKey],
    now: Timestamp,
) -> Result<SignedText, String> {
    let text = str::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned())?;
    if !text.starts_with("-----BEGIN PGP SIGNED MESSAGE-----") {
        return Err("it is not signed".to_owned());
    }
    let (message, _) = CleartextSignedMessage::from_string(text)
        .map_err(|error| format!("its signature cannot be read: {error}"))?;
    let signed = message.signed_text();
    let mut reasons = Vec::new();
    for signature in message.signatures().iter().take(SIGNATURES_MAX) {
        match check(signature, signed.as_bytes(), keyring, now.as_second()) {
            Ok(()) => return Ok(SignedText(signed.replace("\r\n", "\n"))),
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() {
        return Err("it is not signed".to_owned());
    }
    Err(reasons.join("; "))
}

fn check(
    signature: &Signature,
    signed: &[u8],
    keyring: &[SignedPublicKey],
    now: i64,
) -> Result<(), String> {
    let is_document = matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary));
    let made = signature.created().map(|created| i64::from(created.as_secs()));
    let (true, Some(made)) = (is_document, made) else {
        return Err("one signature is not over a document".to_owned());
    };
    if !is_strong(signature) {
        return Err("one signature uses a hash function that is broken".to_owned());
    }
    if made > now + CLOCK_SECONDS_MAX {
        return Err("one signature was made in the future".to_owned());
    }
    let lifetime =
        signature.signature_expiration_time().map_or(0, |time| i64::from(time.as_secs()));
    if lifetime != 0 && made + lifetime < now {
        return Err("one signature has expired".to_owned());
    }
    for certificate in keyring {
        if is_issuer(signature, &certificate.primary_key) {
            return check_primary(signature, signed, certificate, made);
        }
        let subkeys = &certificate.public_subkeys;
        if let Some(subkey) = subkeys.iter().find(|subkey| is_issuer(signature, &subkey.key)) {
            return check_subkey(signature, signed, certificate, subkey, made);
        }
    }
    let issuers = signature.issuer_key_id();
    let names: Vec<_> = issuers.iter().map(|issuer| issuer.to_string()).collect();
    Err(format!("it is signed by key {}, which is not in the keyring", names.join(", ")))
}

fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if !fingerprints.is_empty() {
        return fingerprints.contains(&&key.fingerprint());
    }
    signature.issuer_key_id().contains(&&key.legacy_key_id())
}

fn check_primary(
    signature: &Signature,
    signed: &[u8],
    certificate: &SignedPublicKey,
    made: i64,
) -> Result<(), String> {
    let key = &certificate.primary_key;
    let own = valid_primary(certificate, made)?;
    if !own.key_flags().sign() {
        return Err(format!("key {} is not meant to sign", key.fingerprint()));
    }
    fits(signature, signed, key)
}

fn check_subkey(
    signature: &Signature,
    signed: &[u8],
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    made: i64,
) -> Result<(), String> {
    let (primary, key) = (&certificate.primary_key, &subkey.key);
    valid_primary(certificate, made)?;
    let good = |binding: &&Signature| {
        is_strong(binding) && binding.verify_subkey_binding(primary, key).is_ok()
    };
    let of_type = |typ| {
        subkey.signatures.iter().filter(move |binding| binding.typ() == Some(typ)).filter(good)
    };
    if of_type(SignatureType::SubkeyRevocation).any(|revocation| revokes(revocation, made)) {
        return Err(format!("key {} is revoked", key.fingerprint()));
    }
    let binding = latest(of_type(SignatureType::SubkeyBinding), made)
        .ok_or_else(|| format!("key {} does not belong to its certificate", key.fingerprint()))?;
    check_lifetime(key, binding, made)?;
    // RFC 9580, 10.1.5: a subkey that signs must itself have signed that it belongs here.
    let back = binding.embedded_signature();
    let agreed = back.is_some_and(|back| {
        is_strong(back) && back.verify_primary_key_binding(key, primary).is_ok()
    });
    if !binding.key_flags().sign() || !agreed {
        return Err(format!("key {} is not meant to sign", key.fingerprint()));
    }
    fits(signature, signed, key)
}

fn fits(signature: &Signature, signed: &[u8], key: &impl VerifyingKey) -> Result<(), String> {
    signature
        .verify(key, signed)
        .map_err(|_| format!("the signature by key {} does not fit the text", key.fingerprint()))
}

/// The self-signature in force at the time `made`, if the certificate was valid then.
fn valid_primary(certificate: &SignedPublicKey, made: i64) -> Result<&Signature, String> {
    let key = &certificate.primary_key;
    let details = &certificate.details;
    let good = |signature: &&Signature| is_strong(signature) && signature.verify_key(key).is_ok();
    if details.revocation_signatures.iter().filter(good).any(|signature| revokes(signature, made)) {
        return Err(format!("key {} is revoked", key.fingerprint()));
    }
    let direct = details.direct_signatures.iter().filter(good);
    let certifications = details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && is_strong(signature)
                && signature.verify_certification(key, Tag::UserId, &user.id).is_ok()
        })
    });
    let own = latest(direct.chain(certifications), made)
        .ok_or_else(|| format!("key {} has no valid signature of its own", key.fingerprint()))?;
    check_lifetime(key, own, made)?;
    Ok(own)
}

fn check_lifetime(key: &impl KeyDetails, own: &Signature, made: i64) -> Result<(), String> {
    let created = i64::from(key.created_at().as_secs());
    if made < created {
        return Err(format!("key {} signed before it was made", key.fingerprint()));
    }
    let lifetime = own.key_expiration_time().map_or(0, |time| i64::from(time.as_secs()));
    if lifetime != 0 && created + lifetime < made {
        return Err(format!("key {} had expired when it signed", key.fingerprint()));
    }
    Ok(())
}

fn latest<'a>(signatures: impl Iterator<Item = &'a Signature>, made: i64) -> Option<&'a Signature> {
    let seconds = |signature: &Signature| {
        signature.created().map_or(i64::MAX, |created| i64::from(created.as_secs()))
    };
    signatures
        .filter(|signature| seconds(signature) <= made)
        .max_by_key(|signature| seconds(signature))
}

/// RFC 9580, 5.2.3.31: a key that was merely retired or replaced keeps its older signatures; one
/// that may have been stolen loses all of them, whatever date they bear.
fn revokes(revocation: &Signature, made: i64) -> bool {
    let soft = matches!(
        revocation.revocation_reason_code(),
        Some(
            RevocationCode::KeyRetired
                | RevocationCode::KeySuperseded
                | RevocationCode::CertUserIdInvalid
        )
    );
    let since = revocation.created().map_or(0, |created| i64::from(created.as_secs()));
    !soft || since <= made
}

fn is_strong(signature: &Signature) -> bool {
    matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    )
}
