//! The cryptography that the Sigstore crates ask for, from what the program links anyway.
//!
//! Their own choice, aws-lc, is minutes of C. ring checks signatures over whole messages: of
//! certificates and logs. It takes no digest in place of a message, so the signature over a release
//! file, which is read as a stream, is checked by p256 and p384. Verification only.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use sha2::Digest;
use sigstore_verify::crypto::{
    CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider,
};
use sigstore_verify::types::HashAlgorithm;

#[derive(Debug)]
struct Linked;

struct Hash<D>(D);

/// Makes the Sigstore crates use this module.
pub fn install() {
    // A second call finds the provider installed, which is what is wanted.
    let _ = install_default_provider(&Linked);
}

impl<D: Digest + Send> HashContext for Hash<D> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

impl CryptoProvider for Linked {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        match algorithm {
            HashAlgorithm::Sha2256 => Ok(Box::new(Hash(sha2::Sha256::new()))),
            HashAlgorithm::Sha2384 => Ok(Box::new(Hash(sha2::Sha384::new()))),
            HashAlgorithm::Sha2512 => Ok(Box::new(Hash(sha2::Sha512::new()))),
            other => Err(Error::UnsupportedAlgorithm(format!("{other} digests"))),
        }
    }

    fn verify_raw(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        data: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let key = UnparsedPublicKey::new(algorithm(scheme)?, key);
        key.verify(data, signature).map_err(|_| refused(scheme))
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        digest: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        match scheme {
            SigningScheme::EcdsaP256Sha256 | SigningScheme::EcdsaP256Sha384 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key);
                let signature = p256::ecdsa::Signature::from_der(signature);
                let good = key.and_then(|key| key.verify_prehash(digest, &signature?));
                good.map_err(|_| refused(scheme))
            }
            SigningScheme::EcdsaP384Sha256 | SigningScheme::EcdsaP384Sha384 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key);
                let signature = p384::ecdsa::Signature::from_der(signature);
                let good = key.and_then(|key| key.verify_prehash(digest, &signature?));
                good.map_err(|_| refused(scheme))
            }
            other => Err(unsupported(other)),
        }
    }
}

fn algorithm(scheme: SigningScheme) -> Result<&'static dyn VerificationAlgorithm> {
    Ok(match scheme {
        SigningScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        SigningScheme::EcdsaP256Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
        SigningScheme::EcdsaP384Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
        SigningScheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        SigningScheme::Ed25519 => &signature::ED25519,
        SigningScheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        SigningScheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        SigningScheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        SigningScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SigningScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SigningScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        other => return Err(unsupported(other)),
    })
}

fn refused(scheme: SigningScheme) -> Error {
    Error::Verification(format!("{} signature invalid", scheme.name()))
}

fn unsupported(scheme: SigningScheme) -> Error {
    Error::UnsupportedAlgorithm(format!("{} is not supported here", scheme.name()))
}
