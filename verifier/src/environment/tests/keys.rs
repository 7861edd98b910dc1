//! Keys and clear-signed texts of every kind that a test needs.

use pgp::composed::{
    CleartextSignedMessage, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey,
    SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, RevocationCode, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData,
};
use pgp::ser::Serialize;
use pgp::types::{Duration, KeyDetails, Password, SigningKey, Tag, Timestamp};

/// When all keys here were made: 2020-09-13.
pub const KEY_MADE: u32 = 1_600_000_000;

/// A key with a signing subkey; both sign.
pub struct Key(SignedSecretKey);

impl Key {
    /// A new key that is good for ever.
    pub fn new() -> Key {
        let mut subkey = SubkeyParamsBuilder::default();
        let made = Timestamp::from_secs(KEY_MADE);
        subkey.key_type(KeyType::Ed25519Legacy).can_sign(true).created_at(made);
        let mut key = SecretKeyParamsBuilder::default();
        key.key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_certify(true)
            .created_at(made)
            .primary_user_id("Archive <archive@debian.example>".to_owned())
            .subkey(subkey.build().unwrap());
        let key = key.build().unwrap().generate(rand::thread_rng()).unwrap();
        let mut key = Key(key);
        // As made by the crate, its own signature is of today and later than what the tests sign.
        key.certify(true, 0);
        let binding = key.subkey_binding();
        key.0.secret_subkeys[0].signatures = vec![binding];
        key
    }

    /// The key, good for `seconds` after it was made, and whether it may sign.
    pub fn certify(&mut self, may_sign: bool, seconds: u32) {
        let mut flags = KeyFlags::default();
        flags.set_certify(true);
        flags.set_sign(may_sign);
        let mut facts = vec![SubpacketData::KeyFlags(flags)];
        if seconds != 0 {
            facts.push(SubpacketData::KeyExpirationTime(Duration::from_secs(seconds)));
        }
        let primary = &self.0.primary_key;
        let config = config(primary, SignatureType::CertPositive, KEY_MADE, facts);
        let (public, id) = (primary.public_key(), self.0.details.users[0].id.clone());
        let made = config
            .sign_certification(primary, &public, &Password::empty(), Tag::UserId, &id)
            .unwrap();
        self.0.details.users[0].signatures = vec![made];
    }

    /// Revokes the key at a time, for a reason.
    pub fn revoke(&mut self, reason: RevocationCode, made: u32) {
        let facts = vec![SubpacketData::RevocationReason(reason, Vec::new().into())];
        let primary = &self.0.primary_key;
        let config = config(primary, SignatureType::KeyRevocation, made, facts);
        let signature = config.sign_key(primary, &Password::empty(), &primary.public_key());
        self.0.details.revocation_signatures.push(signature.unwrap());
    }

    /// Takes the subkey's own signature away: anybody could have put it there.
    pub fn forget_back_signature(&mut self) {
        let mut flags = KeyFlags::default();
        flags.set_sign(true);
        let binding = self.binding(vec![SubpacketData::KeyFlags(flags)]);
        self.0.secret_subkeys[0].signatures = vec![binding];
    }

    fn subkey_binding(&self) -> Signature {
        let subkey = &self.0.secret_subkeys[0].key;
        let config = config(subkey, SignatureType::KeyBinding, KEY_MADE, Vec::new());
        let (primary, password) = (self.0.primary_key.public_key(), Password::empty());
        let back = config
            .sign_primary_key_binding(subkey, &subkey.public_key(), &password, &primary)
            .unwrap();
        let mut flags = KeyFlags::default();
        flags.set_sign(true);
        self.binding(vec![
            SubpacketData::KeyFlags(flags),
            SubpacketData::EmbeddedSignature(Box::new(back)),
        ])
    }

    fn binding(&self, facts: Vec<SubpacketData>) -> Signature {
        let primary = &self.0.primary_key;
        let config = config(primary, SignatureType::SubkeyBinding, KEY_MADE, facts);
        let subkey = self.0.secret_subkeys[0].key.public_key();
        config
            .sign_subkey_binding(primary, &primary.public_key(), &Password::empty(), &subkey)
            .unwrap()
    }

    /// The keyring that holds only this key.
    pub fn keyring(&self) -> Vec<u8> {
        SignedPublicKey::from(self.0.clone()).to_bytes().unwrap()
    }

    /// `text`, clear-signed by the primary key at the time `made`.
    pub fn sign(&self, text: &str, made: u32) -> String {
        sign(&self.0.primary_key, text, made, HashAlgorithm::Sha256)
    }

    /// The same by the subkey.
    pub fn sign_by_subkey(&self, text: &str, made: u32) -> String {
        sign(&self.0.secret_subkeys[0].key, text, made, HashAlgorithm::Sha512)
    }

    /// A detached signature over `bytes` by the primary key at the time `made`.
    pub fn sign_detached(&self, bytes: &[u8], made: u32) -> String {
        detached(&self.0.primary_key, bytes, made, HashAlgorithm::Sha256, None)
    }

    /// The same by the subkey.
    pub fn sign_detached_by_subkey(&self, bytes: &[u8], made: u32) -> String {
        detached(&self.0.secret_subkeys[0].key, bytes, made, HashAlgorithm::Sha512, None)
    }

    /// The same, but it says that it used the hash function `says`.
    pub fn sign_detached_weakly(&self, bytes: &[u8], made: u32, says: HashAlgorithm) -> String {
        detached(&self.0.primary_key, bytes, made, HashAlgorithm::Sha256, Some(says))
    }

    /// The fingerprint in upper case.
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.0.primary_key.fingerprint())
    }

    /// The keyring that holds only this key, as text.
    pub fn armoured(&self) -> String {
        let key = SignedPublicKey::from(self.0.clone());
        key.to_armored_string(Default::default()).unwrap()
    }

    /// The same, but it says that it used a hash function that nobody should use any more; the
    /// pgp crate makes no genuine one.
    pub fn sign_weakly(&self, text: &str, made: u32) -> String {
        let key = &self.0.primary_key;
        let config = config(key, SignatureType::Text, made, Vec::new());
        let good = config.clone().sign(key, &Password::empty(), text.as_bytes()).unwrap();
        let weak = SignatureConfig { hash_alg: HashAlgorithm::Sha1, ..config };
        let bytes = good.signature().unwrap().clone();
        let weak = Signature::from_config(weak, [0, 0], bytes).unwrap();
        let message = CleartextSignedMessage::new_many(text, |_| Ok(vec![weak])).unwrap();
        message.to_armored_string(Default::default()).unwrap()
    }
}

fn detached(
    key: &impl SigningKey,
    bytes: &[u8],
    made: u32,
    hash: HashAlgorithm,
    says: Option<HashAlgorithm>,
) -> String {
    let mut config = config(key, SignatureType::Binary, made, Vec::new());
    config.hash_alg = hash;
    let mut signature = config.clone().sign(key, &Password::empty(), bytes).unwrap();
    if let Some(hash_alg) = says {
        let bytes = signature.signature().unwrap().clone();
        let config = SignatureConfig { hash_alg, ..config };
        signature = Signature::from_config(config, [0, 0], bytes).unwrap();
    }
    DetachedSignature::new(signature).to_armored_string(Default::default()).unwrap()
}

fn sign(key: &impl SigningKey, text: &str, made: u32, hash: HashAlgorithm) -> String {
    let mut config = config(key, SignatureType::Text, made, Vec::new());
    config.hash_alg = hash;
    let message = CleartextSignedMessage::new(text, config, key, &Password::empty()).unwrap();
    message.to_armored_string(Default::default()).unwrap()
}

fn config(
    key: &impl KeyDetails,
    typ: SignatureType,
    made: u32,
    facts: Vec<SubpacketData>,
) -> SignatureConfig {
    let mut config = SignatureConfig::v4(typ, key.algorithm(), HashAlgorithm::Sha256);
    let fixed = [
        SubpacketData::SignatureCreationTime(Timestamp::from_secs(made)),
        SubpacketData::IssuerFingerprint(key.fingerprint()),
    ];
    let all = fixed.into_iter().chain(facts);
    config.hashed_subpackets = all.map(|fact| Subpacket::regular(fact).unwrap()).collect();
    config
}
