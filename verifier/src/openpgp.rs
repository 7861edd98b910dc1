//! OpenPGP signatures (RFC 9580): whether one is good, judged at the time when it was made.
//!
//! The pgp crate checks the mathematics of one signature and one key. That a key may sign, had not
//! expired or been revoked when it signed, and that the hash function is still trusted, is checked
//! here. Pure: bytes in, a [`Signer`] or the reason out.

use std::io::Read;

use jiff::Timestamp;
use pgp::composed::{Deserializable, DetachedSignature, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{RevocationCode, Signature, SignatureType};
use pgp::types::{KeyDetails, Tag, VerifyingKey};

/// Most signatures of one file that are looked at.
pub const SIGNATURES_MAX: usize = 16;
/// How far a signer's clock may be ahead of ours, in seconds.
const CLOCK_SECONDS_MAX: i64 = 86_400;

/// Who made a good signature, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Fingerprint of the certificate's primary key, in upper case.
    pub fingerprint: String,
    /// When the signature says that it was made.
    pub made: Timestamp,
}

/// Why a signature is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenpgpError {
    /// Not a signature at all, or cut.
    #[error("the signature cannot be read: {0}")]
    Unreadable(String),
    /// A certification, a revocation, or one without a time.
    #[error("one signature is not over a document")]
    NotOverDocument,
    /// MD5, SHA-1, RIPEMD-160 and what else is not trusted any more.
    #[error("one signature uses a hash function that is broken ({0})")]
    WeakHash(String),
    /// Its time is ahead of ours.
    #[error("one signature was made in the future")]
    InTheFuture,
    /// The signer limited it in time, and that time is over.
    #[error("one signature has expired")]
    SignatureExpired,
    /// Nobody of the keyring made it.
    #[error("it is signed by key {0}, which is not in the keyring")]
    UnknownKey(String),
    /// The signature is older than its key.
    #[error("key {0} signed before it was made")]
    BeforeKey(String),
    /// The key had expired when it signed.
    #[error("key {0} had expired when it signed")]
    KeyExpired(String),
    /// Revoked before it signed, or for a reason that undoes all its signatures.
    #[error("key {0} is revoked")]
    Revoked(String),
    /// The key lacks the flag to sign, or the subkey did not agree to belong to its certificate.
    #[error("key {0} is not meant to sign")]
    NotForSigning(String),
    /// The subkey's binding is missing or bad.
    #[error("key {0} does not belong to its certificate")]
    NotBound(String),
    /// Nothing good that the key said of itself was in force when it signed.
    #[error("key {0} has no valid signature of its own")]
    NoSelfSignature(String),
    /// Other bytes were signed, or by another key.
    #[error("the signature by key {0} does not fit what it stands for")]
    DoesNotFit(String),
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

/// The signatures of a detached signature file, armoured or binary; never none.
pub fn read_detached(bytes: &[u8]) -> Result<Vec<Signature>, OpenpgpError> {
    let unreadable = |error: String| OpenpgpError::Unreadable(error.chars().take(200).collect());
    let (found, _) = DetachedSignature::from_reader_many(bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    let mut signatures = Vec::new();
    for one in found.take(SIGNATURES_MAX) {
        signatures.push(one.map_err(|error| unreadable(error.to_string()))?.signature);
    }
    if signatures.is_empty() {
        return Err(unreadable("there is none".to_owned()));
    }
    Ok(signatures)
}

/// The fingerprint or key id of who says to have made `signature`, in upper case.
pub fn issuer(signature: &Signature) -> String {
    let fingerprints = signature.issuer_fingerprint();
    let ids = signature.issuer_key_id();
    let fingerprint = fingerprints.first().map(|fingerprint| format!("{fingerprint:X}"));
    let name = fingerprint.or_else(|| ids.first().map(|id| id.to_string().to_ascii_uppercase()));
    name.unwrap_or_else(|| "without a name".to_owned())
}

/// Whether `certificate`, or a subkey of it, says to have made `signature`.
pub fn is_by(signature: &Signature, certificate: &SignedPublicKey) -> bool {
    let subkeys = certificate.public_subkeys.iter();
    is_issuer(signature, &certificate.primary_key)
        || subkeys.map(|subkey| &subkey.key).any(|key| is_issuer(signature, key))
}

/// The fingerprint of a certificate, in upper case.
pub fn fingerprint(certificate: &SignedPublicKey) -> String {
    name(&certificate.primary_key)
}

/// Who of `keyring` made `signature` over what `signed` gives, if it is good.
pub fn check(
    signature: &Signature,
    signed: impl Read,
    keyring: &[SignedPublicKey],
    now: Timestamp,
) -> Result<Signer, OpenpgpError> {
    let is_document = matches!(signature.typ(), Some(SignatureType::Text | SignatureType::Binary));
    let made = signature.created().map(|created| i64::from(created.as_secs()));
    let (true, Some(made)) = (is_document, made) else {
        return Err(OpenpgpError::NotOverDocument);
    };
    if !is_strong(signature) {
        let hash = signature.hash_alg().map(|hash| hash.to_string());
        return Err(OpenpgpError::WeakHash(hash.unwrap_or_else(|| "unknown".to_owned())));
    }
    let now = now.as_second();
    if made > now + CLOCK_SECONDS_MAX {
        return Err(OpenpgpError::InTheFuture);
    }
    let lifetime =
        signature.signature_expiration_time().map_or(0, |time| i64::from(time.as_secs()));
    if lifetime != 0 && made + lifetime < now {
        return Err(OpenpgpError::SignatureExpired);
    }
    for certificate in keyring {
        let key = &certificate.primary_key;
        if is_issuer(signature, key) {
            may_sign(certificate, made)?;
            fits(signature, signed, key)?;
            return Ok(signer(certificate, made));
        }
        let subkeys = &certificate.public_subkeys;
        if let Some(subkey) = subkeys.iter().find(|subkey| is_issuer(signature, &subkey.key)) {
            subkey_may_sign(certificate, subkey, made)?;
            fits(signature, signed, &subkey.key)?;
            return Ok(signer(certificate, made));
        }
    }
    Err(OpenpgpError::UnknownKey(issuer(signature)))
}

fn signer(certificate: &SignedPublicKey, made: i64) -> Signer {
    // An OpenPGP time has 32 bits, so it is always one of ours.
    let made = Timestamp::from_second(made).unwrap_or_default();
    Signer { fingerprint: fingerprint(certificate), made }
}

fn name(key: &impl KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    let fingerprints = signature.issuer_fingerprint();
    if !fingerprints.is_empty() {
        return fingerprints.contains(&&key.fingerprint());
    }
    signature.issuer_key_id().contains(&&key.legacy_key_id())
}

fn fits(
    signature: &Signature,
    signed: impl Read,
    key: &impl VerifyingKey,
) -> Result<(), OpenpgpError> {
    signature.verify(key, signed).map_err(|_| OpenpgpError::DoesNotFit(name(key)))
}

fn may_sign(certificate: &SignedPublicKey, made: i64) -> Result<(), OpenpgpError> {
    let own = valid_primary(certificate, made)?;
    if own.key_flags().sign() {
        return Ok(());
    }
    Err(OpenpgpError::NotForSigning(name(&certificate.primary_key)))
}

fn subkey_may_sign(
    certificate: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    made: i64,
) -> Result<(), OpenpgpError> {
    let (primary, key) = (&certificate.primary_key, &subkey.key);
    valid_primary(certificate, made)?;
    let good = |binding: &&Signature| {
        is_strong(binding) && binding.verify_subkey_binding(primary, key).is_ok()
    };
    let of_type = |typ| {
        subkey.signatures.iter().filter(move |binding| binding.typ() == Some(typ)).filter(good)
    };
    if of_type(SignatureType::SubkeyRevocation).any(|revocation| revokes(revocation, made)) {
        return Err(OpenpgpError::Revoked(name(key)));
    }
    let binding = latest(of_type(SignatureType::SubkeyBinding), made)
        .ok_or_else(|| OpenpgpError::NotBound(name(key)))?;
    check_lifetime(key, binding, made)?;
    // RFC 9580, 10.1.5: a subkey that signs must itself have signed that it belongs here.
    let back = binding.embedded_signature();
    let agreed = back.is_some_and(|back| {
        is_strong(back) && back.verify_primary_key_binding(key, primary).is_ok()
    });
    if !binding.key_flags().sign() || !agreed {
        return Err(OpenpgpError::NotForSigning(name(key)));
    }
    Ok(())
}

/// The self-signature in force at the time `made`, if the certificate was valid then.
fn valid_primary(certificate: &SignedPublicKey, made: i64) -> Result<&Signature, OpenpgpError> {
    let key = &certificate.primary_key;
    if made < i64::from(key.created_at().as_secs()) {
        return Err(OpenpgpError::BeforeKey(name(key)));
    }
    let details = &certificate.details;
    let good = |signature: &&Signature| is_strong(signature) && signature.verify_key(key).is_ok();
    if details.revocation_signatures.iter().filter(good).any(|signature| revokes(signature, made)) {
        return Err(OpenpgpError::Revoked(name(key)));
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
        .ok_or_else(|| OpenpgpError::NoSelfSignature(name(key)))?;
    check_lifetime(key, own, made)?;
    Ok(own)
}

fn check_lifetime(key: &impl KeyDetails, own: &Signature, made: i64) -> Result<(), OpenpgpError> {
    let created = i64::from(key.created_at().as_secs());
    if made < created {
        return Err(OpenpgpError::BeforeKey(name(key)));
    }
    let lifetime = own.key_expiration_time().map_or(0, |time| i64::from(time.as_secs()));
    if lifetime != 0 && created + lifetime < made {
        return Err(OpenpgpError::KeyExpired(name(key)));
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
