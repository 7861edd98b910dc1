//! Somebody with an OpenPGP key, who signs files and tags as release managers did until 3.13.

use std::fs;
use std::path::Path;

use pgp::composed::{
    DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::types::{KeyDetails, Password};

use crate::scene::Scene;
use crate::source;

/// A new key, good from now on.
pub struct Signer(SignedSecretKey);

impl Default for Signer {
    fn default() -> Signer {
        let mut parameters = SecretKeyParamsBuilder::default();
        parameters
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_certify(true)
            .primary_user_id("Manager <manager@example.org>".to_owned());
        let parameters = parameters.build().expect("the key's parameters are complete");
        Signer(parameters.generate(rand::thread_rng()).expect("make a key"))
    }
}

impl Signer {
    /// The detached signature over `bytes`, armoured.
    pub fn sign(&self, bytes: &[u8]) -> String {
        let (key, password) = (&self.0.primary_key, Password::empty());
        let hash = HashAlgorithm::Sha256;
        DetachedSignature::sign_binary_data(rand::thread_rng(), key, &password, hash, bytes)
            .and_then(|signature| signature.to_armored_string(Default::default()))
            .expect("sign")
    }

    /// The fingerprint in upper case.
    pub fn fingerprint(&self) -> String {
        format!("{:X}", self.0.primary_key.fingerprint())
    }

    fn armoured(&self) -> String {
        let key = SignedPublicKey::from(self.0.clone());
        key.to_armored_string(Default::default()).expect("write a key")
    }
}

impl Scene {
    /// From now on the scene's releases are to be signed by Mary: with this key, and for Sigstore
    /// with this identity and issuer.
    pub fn trust(&self, mary: &Signer, identity: &str, issuer: &str) {
        let trust = self.path("definitions/trust");
        fs::create_dir_all(&trust).expect("make a directory");
        let fingerprint = mary.fingerprint();
        let managers = format!(
            "expected = {{ sigstore = [\">=9.2\"], openpgp = [\">=9\"] }}\n[[manager]]\n\
             name = \"Mary\"\nversions = [\">=9\"]\n\
             sigstore = {{ identity = \"{identity}\", issuer = \"{issuer}\" }}\n\
             openpgp = {{ fingerprint = \"{fingerprint}\", key = \"mary.asc\" }}\n"
        );
        fs::write(trust.join("release-managers.toml"), managers).expect("write the managers");
        fs::write(trust.join("mary.asc"), mary.armoured()).expect("write a key");
    }

    /// Serves `bytes` as the sidecar of the published file `name` with this ending.
    pub fn accompany(&self, name: &str, ending: &str, bytes: &[u8]) {
        let path = self.path(&format!("{name}{ending}"));
        fs::write(&path, bytes).expect("write a sidecar");
        self.world.state().accompany(name, ending, &path);
    }
}

/// Signs the annotated tag `tag` of a bare repository anew.
pub fn sign_tag(repository: &Path, tag: &str, signer: &Signer) {
    let script = "cd \"$1\" && git cat-file tag \"$2\" > tag.text";
    let words = [&repository.display().to_string(), tag];
    let run = |script: &str| {
        source::run("bash", &["-euc", script, "bash", words[0], words[1]]).expect("run git");
    };
    run(script);
    let mut text = fs::read(repository.join("tag.text")).expect("read the tag");
    text.extend(signer.sign(&text).into_bytes());
    fs::write(repository.join("tag.text"), text).expect("write the tag");
    run("cd \"$1\" && git update-ref \"refs/tags/$2\" \"$(git hash-object -t tag -w tag.text)\"");
}
