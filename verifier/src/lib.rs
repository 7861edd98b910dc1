//! Verbatim: rebuilds CPython source releases and says whether the published bytes come out.

pub mod compare;
pub mod compare_command;
pub mod http;
