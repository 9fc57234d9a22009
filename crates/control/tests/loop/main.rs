//! The whole loop, told as scripts: what is configured, what traffic comes, what people do, and what comes out.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its literals this way")]

#[cfg(test)]
mod chance;
#[cfg(test)]
mod explained;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod objectives;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod rollback;
#[cfg(test)]
mod script;
#[cfg(test)]
mod steps;
