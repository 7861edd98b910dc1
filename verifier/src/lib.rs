//! Verbatim: rebuilds CPython source releases and says whether the published bytes come out.

pub mod environment;
pub mod http;
