//! Sigstore: who signed a file, offline, against a trusted root that is data.
//!
//! Takes a bundle (layouts v0.1 to v0.3), or a signature and a certificate; says who signed, when,
//! and whether that proves it. Whose name should stand there is decided by the caller.

use std::io::Read;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use rebuilder::Digest;
use rustls_pki_types::{CertificateDer, UnixTime};
use sigstore_trust_root::TrustedRoot;
use sigstore_types::{Bundle, DerCertificate, Sha256Hash, SignatureBytes};
use sigstore_verify::crypto::{self, CertificateInfo, SubjectAltName, WEBPKI_VERIFICATION_ALGS};
use sigstore_verify::{
    CertificateError, Error, TimestampError, TransparencyLogError, VerificationPolicy, Verifier,
    bundle,
};

use super::crypto as linked;

/// What every media type of a bundle begins with (sigstore/protobuf-specs, sigstore_bundle.proto).
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle";
const KNOWN_VERSIONS: [&str; 3] = ["0.1", "0.2", "0.3"];
/// RFC 5280, 4.2.1.12: id-kp-codeSigning, as DER without tag and length.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// Sigstore's certificate authority and logs, ready to verify with.
pub struct Authority {
    root: TrustedRoot,
    verifier: Verifier,
}

/// A signature that fits the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The name in the certificate: an e-mail address or a URI.
    pub identity: String,
    /// The OpenID Connect issuer that vouched for it.
    pub issuer: String,
    /// When, as far as that is known: the log's time, or else the certificate's.
    pub at: Timestamp,
}

/// Why a signature does not say who made the file.
#[derive(Debug, thiserror::Error)]
pub enum SigstoreError {
    /// What is claimed is not so: other bytes, a forged certificate, a tampered log entry, or no
    /// signature at all where one should be.
    #[error("{0}")]
    Refused(String),
    /// Nothing wrong is found, and nothing is proven either.
    #[error("{0}")]
    Undecided(String),
}

impl Authority {
    /// From the text of a `trusted_root.json`.
    pub fn parse(text: &str) -> anyhow::Result<Authority> {
        linked::install();
        let root = TrustedRoot::from_json(text).context("read Sigstore's trusted root")?;
        let verifier = Verifier::new(&root).context("use Sigstore's trusted root")?;
        Ok(Authority { root, verifier })
    }

    /// Who signed the file that `file` reads, by the bundle `text`.
    pub fn bundle(&self, text: &[u8], file: impl Read) -> Result<Signed, SigstoreError> {
        let bundle = parse(text)?;
        self.check_logs(&bundle)?;
        let policy = VerificationPolicy::any_identity();
        let result = self.verifier.verify_reader(file, &bundle, &policy).map_err(refusal)?;
        let at = result.verified_timestamps().iter().min().copied();
        let (Some(identity), Some(issuer), Some(at)) = (result.identity(), result.issuer(), at)
        else {
            return Err(refused("its certificate names nobody"));
        };
        Ok(Signed { identity: named(identity), issuer: issuer.to_owned(), at })
    }

    /// Who signed the file with this SHA-256, by a detached signature (base64) and its certificate
    /// (PEM, or that in base64).
    ///
    /// The certificate is good for ten minutes, and without an entry of the log nothing proves that
    /// the signature was made within them: whoever got hold of the key later could have made it. So
    /// the answer is who is named in a genuine certificate of that time, and no more.
    pub fn detached(
        &self,
        signature: &[u8],
        certificate: &[u8],
        sha256: Digest,
    ) -> Result<Signed, SigstoreError> {
        let (certificate, facts) = read_certificate(certificate)?;
        let signature = text(signature).and_then(|text| SignatureBytes::from_base64(text).ok());
        let signature = signature.ok_or_else(|| refused("the .sig is not a signature"))?;
        let digest = hex::decode(sha256.to_string()).unwrap_or_default();
        let digest = Sha256Hash::try_from(digest.as_slice());
        let digest = digest.map_err(|error| refused(&error.to_string()))?;
        let scheme = facts.key_algorithm.default_signing_scheme();
        if scheme.hash_algorithm() != Some(sigstore_types::HashAlgorithm::Sha2256) {
            let name = scheme.name();
            return Err(undecided(&format!("signatures by {name} keys are not supported")));
        }
        let key = &facts.public_key;
        crypto::verify_signature_prehashed(key, digest.as_bytes(), &signature, scheme)
            .map_err(|error| of_crypto(&error, "the .sig does not fit the file"))?;
        self.check_chain(&certificate, facts.not_before)?;
        match (&facts.identity, facts.issuer) {
            (Some(identity), Some(issuer)) => {
                Ok(Signed { identity: named(identity), issuer, at: facts.not_before })
            }
            _ => Err(refused("its certificate names nobody")),
        }
    }

    /// Sigstore starts a new log now and then: an entry of one that is not known here says that the
    /// trusted root is old, or that somebody has a log of his own.
    fn check_logs(&self, bundle: &Bundle) -> Result<(), SigstoreError> {
        for entry in &bundle.verification_material.tlog_entries {
            let id = &entry.log_id.key_id;
            if !self.root.tlogs.iter().any(|log| log.log_id.key_id == *id) {
                return Err(undecided(&format!(
                    "it is in a transparency log that the trusted root does not know ({id})"
                )));
            }
        }
        Ok(())
    }

    /// Whether Sigstore's authority issued the certificate; judged at the time when it did.
    fn check_chain(
        &self,
        certificate: &DerCertificate,
        issued: Timestamp,
    ) -> Result<(), SigstoreError> {
        let in_force = self
            .root
            .certificate_authorities
            .iter()
            .filter(|authority| authority.valid_for.is_none_or(|range| range.contains(issued)));
        let certificates: Vec<CertificateDer> = in_force
            .flat_map(|authority| &authority.cert_chain.certificates)
            .map(|one| CertificateDer::from(one.raw_bytes.as_bytes()))
            .collect();
        let anchors: Vec<_> = certificates
            .iter()
            .filter_map(|one| webpki::anchor_from_trusted_cert(one).ok())
            .collect();
        let seconds = u64::try_from(issued.as_second()).unwrap_or_default();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let certificate = CertificateDer::from(certificate.as_bytes());
        let chain = webpki::EndEntityCert::try_from(&certificate).and_then(|leaf| {
            let usage = webpki::KeyUsage::required(CODE_SIGNING);
            let algorithms = WEBPKI_VERIFICATION_ALGS;
            leaf.verify_for_usage(algorithms, &anchors, &[], time, usage, None, None).map(|_| ())
        });
        chain.map_err(|error| {
            refused(&format!("its certificate is not of Sigstore's authority: {error}"))
        })
    }
}

fn parse(bytes: &[u8]) -> Result<Bundle, SigstoreError> {
    // A file that is announced as a signature and is none is a claim that does not hold. Were it
    // only something that cannot be checked, whoever replaces a file had better spoil its
    // signature, too.
    let spoilt = |error: &dyn std::fmt::Display| refused(&format!("it is no bundle: {error}"));
    let text = str::from_utf8(bytes).map_err(|error| spoilt(&error))?;
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| spoilt(&error))?;
    let media_type = value["mediaType"].as_str().unwrap_or_default();
    let is_known = KNOWN_VERSIONS.iter().any(|version| media_type.contains(version));
    if media_type.starts_with(MEDIA_TYPE) && !is_known {
        return Err(undecided(&format!("bundles of the layout {media_type:?} are not known here")));
    }
    Bundle::from_json(text).map_err(|error| spoilt(&error))
}

fn read_certificate(bytes: &[u8]) -> Result<(DerCertificate, CertificateInfo), SigstoreError> {
    let spoilt = || refused("the .crt is not a certificate");
    let outer = text(bytes).ok_or_else(spoilt)?;
    let certificate = match DerCertificate::from_pem(outer) {
        Ok(certificate) => certificate,
        // cosign writes the PEM in base64 once more.
        Err(_) => {
            let inner = SignatureBytes::from_base64(outer).map_err(|_| spoilt())?;
            let inner = text(inner.as_bytes()).ok_or_else(spoilt)?;
            DerCertificate::from_pem(inner).map_err(|_| spoilt())?
        }
    };
    let facts = crypto::parse_certificate_info(&certificate).map_err(|_| spoilt())?;
    Ok((certificate, facts))
}

fn text(bytes: &[u8]) -> Option<&str> {
    Some(str::from_utf8(bytes).ok()?.trim())
}

fn named(identity: &SubjectAltName) -> String {
    identity.as_str().to_owned()
}

fn refused(reason: &str) -> SigstoreError {
    SigstoreError::Refused(reason.chars().take(300).collect())
}

fn undecided(reason: &str) -> SigstoreError {
    SigstoreError::Undecided(reason.chars().take(300).collect())
}

fn of_crypto(error: &crypto::Error, what: &str) -> SigstoreError {
    match error {
        crypto::Error::UnsupportedAlgorithm(reason) => undecided(reason),
        _ => refused(what),
    }
}

/// What the crate's errors mean here. What this program or its trusted root does not know yet is
/// undecided; everything that contradicts the claim is refused.
fn refusal(error: Error) -> SigstoreError {
    let reason = error.to_string();
    match error {
        Error::UnsupportedBundle(_)
        | Error::UnsupportedArtifact(_)
        | Error::InvalidTrustRoot(_)
        | Error::TrustRoot(_)
        | Error::TrustedCertificate(_)
        | Error::ArtifactRead(_)
        | Error::TransparencyLog(TransparencyLogError::UnknownLog { .. })
        | Error::Certificate(CertificateError::NoValidAuthority { .. })
        | Error::Timestamp(TimestampError::NoVerifiedTimestamp(_))
        | Error::Crypto(crypto::Error::UnsupportedAlgorithm(_))
        | Error::Bundle(
            bundle::Error::MissingSigningTimeEvidence
            | bundle::Error::MissingInclusionProof(_)
            | bundle::Error::MissingInclusionPromise(_)
            | bundle::Error::MissingCheckpoint,
        ) => undecided(&reason),
        _ => refused(&reason),
    }
}
