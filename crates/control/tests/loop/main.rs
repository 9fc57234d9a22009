//! The whole loop, told as scripts: what is configured, what traffic comes, what people do, and what comes out.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its literals this way")]

mod chance;
mod harness;
mod invariants;
mod objectives;
mod orders;
mod reload;
mod restart;
mod rollback;
mod script;
mod steps;
