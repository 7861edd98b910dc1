//! Checks a clear-signed text (RFC 9580, section 7) against a keyring.

use jiff::Timestamp;
use pgp::composed::{CleartextSignedMessage, SignedPublicKey};

use crate::openpgp::{self, SIGNATURES_MAX};

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
        match openpgp::check(signature, signed.as_bytes(), keyring, now) {
            Ok(_) => return Ok(SignedText(signed.replace("\r\n", "\n"))),
            Err(reason) => reasons.push(reason.to_string()),
        }
    }
    if reasons.is_empty() {
        return Err("it is not signed".to_owned());
    }
    Err(reasons.join("; "))
}
