//! Bearer tokens: how they are made and recognised. The store has their SHA-256 only.

use axum::http::{HeaderMap, StatusCode, header};
use rebuilder::Digest;
use subtle::{Choice, ConstantTimeEq};

use super::problem::Problem;
use crate::store::{Scope, Store};

const PREFIX: &str = "vbt_";
const SECRET_BYTES: usize = 32;

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The token's id.
    pub id: String,
    /// What it allows.
    pub scope: Scope,
}

/// A new token: 32 random bytes.
pub fn fresh() -> anyhow::Result<String> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("make a token: {error}"))?;
    Ok(format!("{PREFIX}{}", hex::encode(secret)))
}

/// Who asks; none without a token. A wrong or revoked token is refused, never ignored.
pub async fn bearer(store: &Store, headers: &HeaderMap) -> Result<Option<Bearer>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let refused = || Problem::new(StatusCode::UNAUTHORIZED, "this token is not known or revoked");
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let token = token.filter(|token| is_well_formed(token)).ok_or_else(refused)?;
    let asked = Digest::of(token.as_bytes()).to_string();
    let mut found = None;
    for row in store.tokens().await? {
        let same: Choice = row.sha256.as_bytes().ct_eq(asked.as_bytes());
        if bool::from(same) && row.revoked.is_none() {
            found = Some(Bearer { id: row.id, scope: row.scope });
        }
    }
    found.map(Some).ok_or_else(refused)
}

/// An operator, or nobody gets any further.
pub async fn operator(store: &Store, headers: &HeaderMap) -> Result<Bearer, Problem> {
    let refused = |status| Problem::new(status, "this needs a token of the scope operate");
    let bearer = bearer(store, headers).await?;
    let bearer = bearer.ok_or_else(|| refused(StatusCode::UNAUTHORIZED))?;
    match bearer.scope {
        Scope::Operate => Ok(bearer),
        Scope::Request => Err(refused(StatusCode::FORBIDDEN)),
    }
}

fn is_well_formed(token: &str) -> bool {
    let secret = token.strip_prefix(PREFIX).unwrap_or_default();
    secret.len() == 2 * SECRET_BYTES && secret.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::{fresh, is_well_formed};

    #[test]
    fn a_fresh_token_is_well_formed_and_no_two_are_the_same() {
        let (one, other) = (fresh().unwrap(), fresh().unwrap());
        assert!(is_well_formed(&one) && is_well_formed(&other));
        assert_ne!(one, other);
        assert!(!is_well_formed("vbt_short") && !is_well_formed(&one[4..]));
    }
}
